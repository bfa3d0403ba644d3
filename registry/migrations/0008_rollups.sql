-- What was seen, so that an uplink is stored once whichever way it came; which hours changed, and what they sum up to.

-- The uplinks of the last days by what the device itself says of them; in the transaction that stores the uplink.
CREATE TABLE observation.uplink_seen (
    device_id int NOT NULL,
    f_cnt bigint NOT NULL,
    digest bigint NOT NULL,  -- The first 8 octets of SHA-256 over FPort and payload.
    time timestamptz NOT NULL,
    uplink_id uuid NOT NULL,
    session_id bigint,       -- NULL: it came from a bearer or a network server without sessions of ours.
    PRIMARY KEY (device_id, f_cnt, digest)
);
CREATE INDEX uplink_seen_by_time ON observation.uplink_seen USING brin (time) WITH (autosummarize = on);

-- Hours whose rollups are to be made anew: appended by whoever writes measurements, in its own transaction.
CREATE TABLE observation.dirty (
    hour timestamptz NOT NULL,
    datastream_ids int[] NOT NULL
);
CREATE INDEX dirty_by_hour ON observation.dirty (hour);

-- Sound measurements summed up; suspects are counted and left out. An hour holds [start, end), that of a counter
-- (start, end], so that an index read at an edge ends the bucket before it. Days are those of the deployment's calendar.
CREATE TABLE observation.rollup_hour (
    datastream_id int NOT NULL,
    bucket timestamptz NOT NULL,
    n int NOT NULL,
    suspects int NOT NULL,
    sum double precision,
    min double precision,
    max double precision,
    first double precision,
    last double precision,
    PRIMARY KEY (datastream_id, bucket)
);
-- A week's hours are written anew once (maintenance, packing): what they leave behind is taken up before the next week.
ALTER TABLE observation.rollup_hour SET (autovacuum_vacuum_scale_factor = 0.01);
-- The weeks (Monday to Monday, UTC) whose hours lie on the disk in the order in which they are read.
CREATE TABLE observation.packed (week timestamptz PRIMARY KEY);
GRANT SELECT, INSERT, UPDATE, DELETE ON observation.packed TO territoire_service;
CREATE TABLE observation.rollup_day (LIKE observation.rollup_hour INCLUDING ALL);

ALTER TABLE deployment ADD COLUMN timezone text NOT NULL DEFAULT 'Europe/Paris';

-- A crash between the commit and the acknowledgement brings the same item again: it is kept once, also of those that
-- came before.
DELETE FROM observation.quarantine later USING observation.quarantine first
WHERE (later.service, later.subject, later.sequence, later.data)
      = (first.service, first.subject, first.sequence, first.data) AND later.id > first.id;
CREATE UNIQUE INDEX quarantine_once ON observation.quarantine (service, subject, sequence, md5(data));

GRANT SELECT, INSERT, UPDATE, DELETE
    ON observation.uplink_seen, observation.dirty, observation.rollup_hour, observation.rollup_day
    TO territoire_service;
GRANT SELECT ON observation.dirty, observation.rollup_hour, observation.rollup_day TO territoire_views;

-- What was forgotten of a hypertable: of one datastream or device, of everything when id is 0. An hour before that
-- keeps the rollup it has: what comes in late is not all that there was.
CREATE TABLE observation.forgotten (
    hypertable text NOT NULL CHECK (hypertable IN ('measurement', 'uplink', 'reception')),
    id int NOT NULL,
    before timestamptz NOT NULL,
    PRIMARY KEY (hypertable, id)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON observation.forgotten TO territoire_service;
GRANT SELECT ON observation.forgotten TO territoire_views;

-- What was measured before there were rollups. An instant on an hour's edge ends the hour before, for an index.
INSERT INTO observation.dirty (hour, datastream_ids)
SELECT hour, array_agg(DISTINCT datastream_id)
FROM (
    SELECT date_trunc('hour', time) AS hour, datastream_id FROM observation.measurement
    UNION ALL
    SELECT date_trunc('hour', time - interval '1 microsecond'), datastream_id FROM observation.measurement
    WHERE time = date_trunc('hour', time)
) AS measured
GROUP BY hour;

-- For the readers: the same row security as the measurements'. `unrolled`: hours whose rollup is behind the raw.
CREATE VIEW rollup_hour AS
    SELECT r.* FROM observation.rollup_hour r JOIN datastream d ON d.id = r.datastream_id;

CREATE VIEW rollup_day AS
    SELECT r.* FROM observation.rollup_day r JOIN datastream d ON d.id = r.datastream_id;

CREATE VIEW unrolled AS
    SELECT u.datastream_id, y.hour
    FROM observation.dirty y
    CROSS JOIN LATERAL unnest(y.datastream_ids) AS u (datastream_id)
    JOIN datastream d ON d.id = u.datastream_id
    WHERE NOT EXISTS (
        SELECT FROM observation.forgotten f
        WHERE f.hypertable = 'measurement' AND f.id IN (0, u.datastream_id) AND y.hour < f.before
    );

GRANT CREATE ON SCHEMA public TO territoire_views;
ALTER VIEW rollup_hour OWNER TO territoire_views;
ALTER VIEW rollup_day OWNER TO territoire_views;
ALTER VIEW unrolled OWNER TO territoire_views;
REVOKE CREATE ON SCHEMA public FROM territoire_views;
GRANT SELECT ON rollup_hour, rollup_day, unrolled TO territoire_api;

-- Chunks belong to the schema's owner: the services drop and compress them by these two doors, and old ones only.
CREATE FUNCTION observation.drop_chunks_before(hypertable text, cut timestamptz) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    dropped int;
BEGIN
    IF hypertable NOT IN ('measurement', 'uplink', 'reception') OR cut > now() - interval '28 days' THEN
        RAISE EXCEPTION 'chunks of % before % are not to be dropped', hypertable, cut USING ERRCODE = '22023';
    END IF;
    SELECT count(*) INTO dropped FROM drop_chunks(format('observation.%I', hypertable)::regclass, cut);
    RETURN dropped;
END
$$;

-- Compression exists under Timescale's own licence only, where each chunk is compressed by asking for it.
CREATE FUNCTION observation.compress_chunk_before(cut timestamptz) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    chunk regclass;
BEGIN
    IF cut > now() - interval '7 days' THEN
        RAISE EXCEPTION 'chunks after % are still written to', cut USING ERRCODE = '22023';
    END IF;
    IF NOT EXISTS (SELECT FROM timescaledb_information.hypertables WHERE hypertable_schema = 'observation'
                   AND hypertable_name = 'measurement' AND compression_enabled) THEN
        EXECUTE 'ALTER TABLE observation.measurement SET (timescaledb.compress, '
                'timescaledb.compress_segmentby = ''datastream_id'', timescaledb.compress_orderby = ''time'')';
    END IF;
    SELECT format('%I.%I', chunk_schema, chunk_name)::regclass INTO chunk FROM timescaledb_information.chunks
    WHERE hypertable_schema = 'observation' AND hypertable_name = 'measurement' AND NOT is_compressed
      AND range_end <= cut
    ORDER BY range_start LIMIT 1;
    IF chunk IS NULL THEN
        RETURN 0;
    END IF;
    EXECUTE format('SELECT compress_chunk(%L::regclass)', chunk::text);
    RETURN 1;
END
$$;
REVOKE EXECUTE ON FUNCTION observation.drop_chunks_before, observation.compress_chunk_before FROM PUBLIC;
GRANT EXECUTE ON FUNCTION observation.drop_chunks_before, observation.compress_chunk_before TO territoire_service;

-- The ledger of transmissions is pruned by age.
CREATE INDEX transmission_by_time ON transmission USING brin (starts_at) WITH (autosummarize = on);
