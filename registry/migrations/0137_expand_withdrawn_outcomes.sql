-- locks: waste_round_outcome ACCESS EXCLUSIVE scan

-- What was said of a stop by mistake is taken back: said anew, as nothing.

ALTER TABLE waste_round_outcome DROP CONSTRAINT waste_round_outcome_outcome_check;
ALTER TABLE waste_round_outcome ADD CONSTRAINT waste_round_outcome_outcome_check
    CHECK (outcome IN ('emptied', 'skipped', 'withdrawn'));
