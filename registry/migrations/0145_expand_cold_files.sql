-- locks: tenant SHARE ROW EXCLUSIVE instant

-- Readings of classes 0 and 1 whose chunk was dropped, as Parquet files in a folder of the operator's: one for each chunk
-- and tenant, which only exports read (docs/decisions/0118). A file is never changed: another one is written, and the row
-- names it from then on.
CREATE TABLE observation.cold_file (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    since timestamptz NOT NULL,  -- Of the chunk.
    until timestamptz NOT NULL CHECK (since < until),
    name text NOT NULL UNIQUE,
    readings bigint NOT NULL CHECK (readings > 0),
    octets bigint NOT NULL,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),  -- SHA-256 of the file, as it was read again.
    classes smallint[] NOT NULL CHECK (classes <@ '{0,1}'),
    datastream_ids int[] NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, since, until)
);
CREATE INDEX cold_file_by_time ON observation.cold_file (since);
CREATE INDEX cold_file_of_datastreams ON observation.cold_file USING gin (datastream_ids);
CALL scope_to_tenant('observation.cold_file');

-- Whose the folder is, and why chunks are kept that should have gone.
CREATE TABLE observation.cold_state (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    folder_id uuid NOT NULL DEFAULT gen_random_uuid(),
    failed_since timestamptz,
    reason text CHECK (reason IN ('unset', 'missing', 'foreign', 'full', 'denied', 'extra', 'broken', 'changing')),
    chunks int NOT NULL DEFAULT 0,
    CHECK ((failed_since IS NULL) = (reason IS NULL))
);
INSERT INTO observation.cold_state DEFAULT VALUES;
GRANT SELECT ON observation.cold_state TO territoire_service;

-- What an erasure that is under way takes out of files, which maintenance rewrites; and how many readings that were.
CREATE FUNCTION erasure_of_cold(wanted int)
    RETURNS TABLE (datastream_ids int[], span_datastream_ids int[], span_during tstzrange[])
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT e.datastream_ids, e.span_datastream_ids, e.span_during FROM erasure e
    WHERE e.id = wanted AND e.state IN ('running', 'settling')
$$;
CREATE FUNCTION count_cold_erasure(wanted int, gone bigint) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE erasure SET erased = erased + gone,
        counts = jsonb_set(counts, '{observation.cold_file}',
                           to_jsonb(coalesce((counts ->> 'observation.cold_file')::bigint, 0) + gone))
    WHERE id = wanted AND state IN ('running', 'settling')
$$;
REVOKE EXECUTE ON FUNCTION erasure_of_cold(int), count_cold_erasure(int, bigint) FROM PUBLIC;
ALTER FUNCTION erasure_of_cold(int) OWNER TO territoire_service;
ALTER FUNCTION count_cold_erasure(int, bigint) OWNER TO territoire_service;
