-- Rollups of many datastreams in fewer octets: what takes time is each value of an array, to write and to read. Only what
-- may be read whole comes from here (decision 105), and only where each bucket has a sound reading; the rest is left to the
-- views. A column is the octets of float8send or timestamptz_send, one after the other. `at` is NULL where the buckets
-- follow each other from `begins` on; `n` has one element where all are alike, `suspects` is NULL without any.
CREATE FUNCTION packed_days(streams int[], since timestamptz, until timestamptz)
    RETURNS TABLE (datastream_id int, begins timestamptz, at timestamptz[], n int[], suspects int[], low bytea,
                   high bytea, first bytea, last bytea, sum bytea)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1000 AS $$
    SELECT s.datastream_id, a.* FROM readable_periods(streams) s CROSS JOIN LATERAL (
        SELECT min(r.bucket),
               CASE WHEN count(*) <> 1 + round(extract(epoch FROM max(r.bucket) - min(r.bucket)) / 86400)
                    THEN array_agg(r.bucket) END,
               CASE WHEN min(r.n) = max(r.n) THEN ARRAY[min(r.n)] ELSE array_agg(r.n) END,
               CASE WHEN max(r.suspects) > 0 THEN array_agg(r.suspects) END,
               string_agg(float8send(r.min), ''), string_agg(float8send(r.max), ''),
               string_agg(float8send(r.first), ''), string_agg(float8send(r.last), ''),
               string_agg(float8send(r.sum), '')
        FROM (SELECT b.bucket, b.n, b.suspects, b.min, b.max, b.first, b.last, b.sum
              FROM observation.rollup_day b
              WHERE b.datastream_id = s.datastream_id AND b.bucket >= since AND b.bucket < until
              ORDER BY b.bucket) AS r
        HAVING min(r.n) > 0) AS a
    WHERE s.periods = '{(,)}'
$$;
CREATE FUNCTION packed_hours(streams int[], since timestamptz, until timestamptz)
    RETURNS TABLE (datastream_id int, begins timestamptz, at timestamptz[], n int[], suspects int[], low bytea,
                   high bytea, first bytea, last bytea, sum bytea)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1000 AS $$
    SELECT s.datastream_id, a.* FROM readable_periods(streams) s CROSS JOIN LATERAL (
        SELECT min(r.bucket),
               CASE WHEN count(*) <> 1 + round(extract(epoch FROM max(r.bucket) - min(r.bucket)) / 3600)
                    THEN array_agg(r.bucket) END,
               CASE WHEN min(r.n) = max(r.n) THEN ARRAY[min(r.n)] ELSE array_agg(r.n) END,
               CASE WHEN max(r.suspects) > 0 THEN array_agg(r.suspects) END,
               string_agg(float8send(r.min), ''), string_agg(float8send(r.max), ''),
               string_agg(float8send(r.first), ''), string_agg(float8send(r.last), ''),
               string_agg(float8send(r.sum), '')
        FROM (SELECT b.bucket, b.n, b.suspects, b.min, b.max, b.first, b.last, b.sum
              FROM observation.rollup_hour b
              WHERE b.datastream_id = s.datastream_id AND b.bucket >= since AND b.bucket < until
              ORDER BY b.bucket) AS r
        HAVING min(r.n) > 0) AS a
    WHERE s.periods = '{(,)}'
$$;
-- Days of indexes in order; not those of an index that fell within a day, nor of before instants were kept. Its lowest and
-- highest are its first and last.
CREATE FUNCTION packed_indexes(streams int[], since timestamptz, until timestamptz)
    RETURNS TABLE (datastream_id int, begins timestamptz, at timestamptz[], n int[], suspects int[], first bytea,
                   last bytea, first_at bytea, last_at bytea)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1000 AS $$
    SELECT s.datastream_id, a.* FROM readable_periods(streams) s CROSS JOIN LATERAL (
        SELECT min(r.bucket),
               CASE WHEN count(*) <> 1 + round(extract(epoch FROM max(r.bucket) - min(r.bucket)) / 86400)
                    THEN array_agg(r.bucket) END,
               CASE WHEN min(r.n) = max(r.n) THEN ARRAY[min(r.n)] ELSE array_agg(r.n) END,
               CASE WHEN max(r.suspects) > 0 THEN array_agg(r.suspects) END,
               string_agg(float8send(r.first), ''), string_agg(float8send(r.last), ''),
               string_agg(timestamptz_send(r.first_at), ''), string_agg(timestamptz_send(r.last_at), '')
        FROM (SELECT d.bucket, d.n, d.suspects, d.first, d.last, d.first_at, d.last_at, d.falls
              FROM observation.rollup_day d
              WHERE d.datastream_id = s.datastream_id AND d.bucket >= since AND d.bucket < until
              ORDER BY d.bucket) AS r
        HAVING min(r.n) > 0 AND count(r.first_at) = count(*) AND count(r.last_at) = count(*) AND count(r.falls) = 0) AS a
    WHERE s.periods = '{(,)}'
$$;

DO $$
DECLARE
    door regprocedure;
BEGIN
    GRANT CREATE ON SCHEMA public TO territoire_views;
    FOREACH door IN ARRAY ARRAY['packed_days(int[], timestamptz, timestamptz)',
                                'packed_hours(int[], timestamptz, timestamptz)',
                                'packed_indexes(int[], timestamptz, timestamptz)']::regprocedure[]
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_views', door);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO territoire_api', door);
    END LOOP;
    REVOKE CREATE ON SCHEMA public FROM territoire_views;
END
$$;
