-- Rollups of many datastreams at once. The views ask their policy for each row, which takes twice as long as reading it:
-- here it is asked once for each datastream. Only what may be read whole comes from here; the rest is left to the views.

-- Days as arrays, a row for each datastream that has some.
CREATE FUNCTION whole_days(streams int[], since timestamptz, until timestamptz)
    RETURNS TABLE (datastream_id int, at timestamptz[], n int[], suspects int[], low float8[], high float8[],
                   first float8[], last float8[], sum float8[])
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1000 AS $$
    SELECT s.datastream_id, a.* FROM readable_periods(streams) s CROSS JOIN LATERAL (
        SELECT array_agg(r.bucket), array_agg(r.n), array_agg(r.suspects), array_agg(r.min), array_agg(r.max),
               array_agg(r.first), array_agg(r.last), array_agg(r.sum)
        FROM observation.rollup_day r
        WHERE r.datastream_id = s.datastream_id AND r.bucket >= since AND r.bucket < until
        HAVING count(*) > 0) AS a
    WHERE s.periods = '{(,)}'
$$;
-- Of indexes a row for each bucket of days between these edges, the first of which is number 1. Where an index rose from
-- day to day, as `firsts` and `lasts` say in their order, that is all there is to know of a bucket; `known`: unless an
-- index fell within a day, or nobody knows when in the day it was read.
CREATE FUNCTION whole_index_buckets(streams int[], since timestamptz, until timestamptz, edges timestamptz[])
    RETURNS TABLE (datastream_id int, number int, n int, suspects int, low float8, high float8, firsts float8[],
                   lasts float8[], first_at timestamptz, last_at timestamptz, known boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1000 AS $$
    SELECT s.datastream_id, a.* FROM readable_periods(streams) s CROSS JOIN LATERAL (
        SELECT width_bucket(day.bucket, edges), sum(day.n)::int, sum(day.suspects)::int, min(day.min), max(day.max),
               array_agg(day.first) FILTER (WHERE day.n > 0), array_agg(day.last) FILTER (WHERE day.n > 0),
               min(day.first_at), max(day.last_at),
               bool_and(day.n = 0 OR (day.first_at IS NOT NULL AND day.falls IS NULL))
        FROM (SELECT r.* FROM observation.rollup_day r
              WHERE r.datastream_id = s.datastream_id AND r.bucket >= since AND r.bucket < until
              ORDER BY r.bucket) AS day
        GROUP BY 1) AS a
    WHERE s.periods = '{(,)}'
$$;

DO $$
DECLARE
    door regprocedure;
BEGIN
    GRANT CREATE ON SCHEMA public TO territoire_views;
    FOREACH door IN ARRAY ARRAY['whole_days(int[], timestamptz, timestamptz)',
                                'whole_index_buckets(int[], timestamptz, timestamptz, timestamptz[])']::regprocedure[]
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_views', door);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO territoire_api', door);
    END LOOP;
    REVOKE CREATE ON SCHEMA public FROM territoire_views;
END
$$;
