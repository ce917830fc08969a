"""The event log: SQLite, and a twin in memory under the same contract."""
