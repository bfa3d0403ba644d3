-- locks: observation.dirty ACCESS EXCLUSIVE instant

-- Since when an hour waits to be rolled up: one of three years ago that was marked a moment ago is not late.
ALTER TABLE observation.dirty ADD COLUMN marked_at timestamptz NOT NULL DEFAULT now();
