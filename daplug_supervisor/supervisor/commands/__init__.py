"""Commands of people and agents while a run goes on, and when none does."""
