-- Hours in parts of a month, days in parts of a year: what there is becomes the oldest part of a table that takes its name (decision 118).
-- Both tables are read once before that, beside readers and writers. The views are those of the same names, read from the
-- table that is there now; programs of before go on with their statements.
-- locks: observation.rollup_hour ACCESS EXCLUSIVE instant
-- locks: observation.rollup_day ACCESS EXCLUSIVE instant
-- locks: rollup_hour ACCESS EXCLUSIVE instant
-- locks: rollup_day ACCESS EXCLUSIVE instant
-- outside a transaction

-- Parts are nobody's to enter but through their table.
-- step
CREATE SCHEMA IF NOT EXISTS observation_part;

-- A month, or a year, that is four weeks away at least: until then nobody writes what this forbids.
-- step
DO $$
DECLARE
    name text;
    unit text;
    cut timestamptz;
BEGIN
    FOREACH name IN ARRAY ARRAY['rollup_hour', 'rollup_day'] LOOP
        IF (SELECT relkind = 'r' FROM pg_class WHERE oid = format('observation.%I', name)::regclass)
           AND NOT EXISTS (SELECT FROM pg_constraint WHERE conname = name || '_before') THEN
            unit := CASE name WHEN 'rollup_hour' THEN 'month' ELSE 'year' END;
            cut := date_add(date_trunc(unit, now() + interval '28 days', 'UTC'), ('1 ' || unit)::interval, 'UTC');
            EXECUTE format('ALTER TABLE observation.%I ADD CONSTRAINT %I CHECK (bucket < %L) NOT VALID',
                           name, name || '_before', cut);
        END IF;
    END LOOP;
END
$$;

-- step
DO $$
DECLARE
    unproved record;
BEGIN
    FOR unproved IN SELECT conrelid::regclass AS name, conname FROM pg_constraint
                    WHERE conname IN ('rollup_hour_before', 'rollup_day_before') AND NOT convalidated LOOP
        EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', unproved.name, unproved.conname);
    END LOOP;
END
$$;

-- The table and its oldest part. What the check has proved is not looked at again, and the primary key is there. The view
-- first, as its readers do; nobody waits for longer than half a second, and who holds the tables is waited for anew.
-- step
DO $$
DECLARE
    name text;
    definition text;
    cut text;
    given record;
    patience int := 20;
BEGIN
    PERFORM set_config('lock_timeout', '500ms', true);
    FOREACH name IN ARRAY ARRAY['rollup_hour', 'rollup_day'] LOOP
        WHILE (SELECT relkind = 'r' FROM pg_class WHERE oid = format('observation.%I', name)::regclass) LOOP
            BEGIN
                definition := pg_get_viewdef(format('public.%I', name)::regclass);
                EXECUTE format('CREATE OR REPLACE VIEW public.%I AS %s', name, definition);
                SELECT substring(pg_get_constraintdef(oid) FROM '''([^'']+)''') INTO cut
                FROM pg_constraint WHERE conname = name || '_before';
                EXECUTE format('ALTER TABLE observation.%I SET SCHEMA observation_part', name);
                EXECUTE format('CREATE TABLE observation.%I (LIKE observation_part.%1$I, PRIMARY KEY (datastream_id, bucket)) '
                               'PARTITION BY RANGE (bucket)', name);
                FOR given IN SELECT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END AS role,
                                    x.privilege_type
                             FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) AS x
                             WHERE c.oid = format('observation_part.%I', name)::regclass AND x.grantee <> c.relowner LOOP
                    EXECUTE format('GRANT %s ON observation.%I TO %s', given.privilege_type, name, given.role);
                END LOOP;
                EXECUTE format('ALTER TABLE observation.%I ATTACH PARTITION observation_part.%1$I '
                               'FOR VALUES FROM (MINVALUE) TO (%L)', name, cut);
                EXECUTE format('ALTER TABLE observation_part.%I DROP CONSTRAINT %I', name, name || '_before');
                EXECUTE format('CREATE TABLE observation_part.%I PARTITION OF observation.%I DEFAULT',
                               name || '_beyond', name);
                EXECUTE format('CREATE OR REPLACE VIEW public.%I AS %s', name, definition);
            EXCEPTION WHEN lock_not_available THEN
                patience := patience - 1;
                IF patience = 0 THEN
                    RAISE;
                END IF;
                PERFORM pg_sleep(0.5);
            END;
        END LOOP;
    END LOOP;
END
$$;

-- Parts from the last one on until `until`, of both tables. What was written beyond the last, since nobody
-- had made its part, is moved there; `beyond`: rows that are there still.
-- step
CREATE OR REPLACE FUNCTION observation.make_rollup_parts(until timestamptz, OUT made int, OUT beyond bigint)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    name text;
    unit text;
    part text;
    since timestamptz;
    following timestamptz;
    rows bigint;
BEGIN
    IF until > now() + interval '366 days' THEN
        RAISE EXCEPTION 'parts of rollups until % are not made now', until USING ERRCODE = '22023';
    END IF;
    made := 0;
    beyond := 0;
    FOREACH name IN ARRAY ARRAY['rollup_hour', 'rollup_day'] LOOP
        unit := CASE name WHEN 'rollup_hour' THEN 'month' ELSE 'year' END;
        LOOP
            SELECT max(substring(pg_get_expr(c.relpartbound, c.oid) FROM $re$TO \('([^']+)'\)$re$)::timestamptz)
            INTO since FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = format('observation.%I', name)::regclass;
            EXIT WHEN since >= until;
            following := date_add(since, ('1 ' || unit)::interval, 'UTC');
            part := name || to_char(since AT TIME ZONE 'UTC', CASE unit WHEN 'month' THEN '"_"YYYY"_"MM' ELSE '"_"YYYY' END);
            EXECUTE format('CREATE TABLE observation_part.%I (LIKE observation.%I INCLUDING ALL) '
                           'WITH (autovacuum_vacuum_scale_factor = 0.01)', part, name);
            EXECUTE format('WITH gone AS (DELETE FROM observation_part.%I WHERE bucket >= %L AND bucket < %L RETURNING *) '
                           'INSERT INTO observation_part.%I SELECT * FROM gone',
                           name || '_beyond', since, following, part);
            EXECUTE format('ALTER TABLE observation.%I ATTACH PARTITION observation_part.%I FOR VALUES FROM (%L) TO (%L)',
                           name, part, since, following);
            made := made + 1;
        END LOOP;
        EXECUTE format('SELECT count(*) FROM observation_part.%I', name || '_beyond') INTO rows;
        beyond := beyond + rows;
    END LOOP;
END
$$;

-- Nobody else does it for a table in parts: joins would be planned without knowing how many datastreams it has.
-- step
CREATE OR REPLACE FUNCTION observation.analyze_rollups() RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    ANALYZE observation.rollup_hour, observation.rollup_day
$$;

-- step
REVOKE EXECUTE ON FUNCTION observation.make_rollup_parts, observation.analyze_rollups FROM PUBLIC;
GRANT EXECUTE ON FUNCTION observation.make_rollup_parts, observation.analyze_rollups TO territoire_service;

-- step
SELECT * FROM observation.make_rollup_parts(now() + interval '92 days');

-- The statements of 0140, each planned for the very bounds that are asked for: in SQL they are planned without knowing
-- them, for every part that there is.
-- step
DO $$
DECLARE
    door regprocedure;
    made text;
BEGIN
    FOREACH door IN ARRAY ARRAY['packed_days(int[], timestamptz, timestamptz)',
                                'packed_hours(int[], timestamptz, timestamptz)',
                                'packed_indexes(int[], timestamptz, timestamptz)']::regprocedure[]
    LOOP
        CONTINUE WHEN (SELECT l.lanname = 'plpgsql' FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
                       WHERE p.oid = door);
        SELECT format('CREATE OR REPLACE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql STABLE SECURITY DEFINER '
                      'SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan ROWS 1000 AS %L',
                      p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
                      E'#variable_conflict use_column\nBEGIN RETURN QUERY' || p.prosrc || E';\nEND')
        INTO made FROM pg_proc p WHERE p.oid = door;
        EXECUTE made;
    END LOOP;
END
$$;

-- step
ANALYZE observation.rollup_hour, observation.rollup_day;
