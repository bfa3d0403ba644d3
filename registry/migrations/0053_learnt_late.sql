-- Of a state that holds and was learnt late: when it was learnt. NULL: in time.
ALTER TABLE alert ADD COLUMN learnt_at timestamptz;

-- The last readings of a rule that needs more than one: where a reading that comes minutes late is put in between.
ALTER TABLE rule_state ADD COLUMN past bytea NOT NULL DEFAULT '';
