-- The journal, schema version 3. `application_id` says whose file it is; `user_version` which schema.
CREATE TABLE event (
    seq     INTEGER PRIMARY KEY,
    run     TEXT NOT NULL,               -- '' for events of the state directory itself
    at      REAL NOT NULL,               -- UTC, seconds since the epoch
    task    TEXT NOT NULL,               -- '' for events that are not about a task
    kind    TEXT NOT NULL,
    version INTEGER NOT NULL,            -- of the kind
    data    TEXT NOT NULL,               -- JSON, with the kind in it
    before  INTEGER,                     -- `sum` of the row before this one: see rows.py
    sum     INTEGER                      -- checksum of all other columns; NULL in rows of schema version 1
) STRICT;

-- Where each run begins and whether it has finished, without reading its events (core.events.MARKS).
CREATE INDEX run_mark ON event (run, seq)
    WHERE kind IN (
        'run_submitted', 'run_started', 'run_finished', 'plan_changed', 'task_added', 'task_changed', 'task_removed',
        'task_reset', 'task_skipped', 'task_adopted', 'delegated', 'children_done', 'approved', 'rejected',
        'task_answered'
    );
