-- A deadline begins with an assignment, or with the registration of a device that serves nothing, and no longer with the
-- first message only. What was assigned before is given its own period from the upgrade on; what was registered before,
-- and serves nothing, is waited for once it has spoken, as before.
ALTER TABLE deployment ADD COLUMN deadlines_from timestamptz NOT NULL DEFAULT now();
