-- Restores that were tried, apart, against the account of an instant: the last good one is a metric, and its age an alarm.
CREATE TABLE restore_drill (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    began_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT now(),
    outcome text NOT NULL CHECK (outcome IN ('good', 'counts_differ', 'not_marked', 'not_archived', 'no_room', 'not_restored')),
    detail text NOT NULL DEFAULT '',
    octets bigint NOT NULL DEFAULT 0,
    restored_s real NOT NULL DEFAULT 0,  -- From the repository to a server that runs.
    ready_s real NOT NULL DEFAULT 0  -- And to where the stack may be started on it.
);
GRANT SELECT ON restore_drill TO territoire_service;
