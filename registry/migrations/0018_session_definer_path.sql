-- As migration 0015 has it for every function with its owner's rights: 0017 defined this one anew without it.

ALTER FUNCTION continue_session(int, bytea, int, bytea, bytea, text, bigint, bigint, int, int, int, int)
    SET search_path = public, pg_temp;
