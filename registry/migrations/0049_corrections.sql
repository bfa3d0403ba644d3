-- A second, different value for one instant is kept. It wins where it is manual, or its source is authoritative.

-- The network's operator says so of a source: what it states later about an instant is right.
ALTER TABLE lns_source ADD COLUMN authoritative boolean NOT NULL DEFAULT false;
GRANT SELECT (authoritative) ON lns_source TO territoire_api;

-- Every value that was stated for an instant with more than one, the first one too (`received_at` NULL). The one that
-- counts is in observation.measurement. It goes with the measurement's term.
CREATE TABLE observation.correction (
    datastream_id int NOT NULL REFERENCES datastream ON DELETE CASCADE,
    time timestamptz NOT NULL,
    value double precision NOT NULL,
    flags smallint NOT NULL,
    source_id int REFERENCES lns_source ON DELETE SET NULL,
    is_authoritative boolean NOT NULL DEFAULT false,
    received_at timestamptz,
    PRIMARY KEY (datastream_id, time, value)
);
CREATE INDEX correction_of_source ON observation.correction (source_id) WHERE source_id IS NOT NULL;
CREATE INDEX correction_by_time ON observation.correction (time);
GRANT SELECT, INSERT, UPDATE, DELETE ON observation.correction TO territoire_service;
GRANT SELECT ON observation.correction TO territoire_views;

CREATE VIEW correction AS
    SELECT c.datastream_id, c.time, c.value, c.flags, c.source_id, c.received_at,
           m.value IS NOT DISTINCT FROM c.value AS in_force
    FROM observation.correction c JOIN datastream d ON d.id = c.datastream_id
    LEFT JOIN observation.measurement m ON m.datastream_id = c.datastream_id AND m.time = c.time
    LEFT JOIN granted_asset() g ON g.asset_id = d.asset_id
    WHERE d.tenant_id = ANY((SELECT visible_tenants())::int[]) OR g.data @> c.time;

GRANT CREATE ON SCHEMA public TO territoire_views;
ALTER VIEW correction OWNER TO territoire_views;
REVOKE CREATE ON SCHEMA public FROM territoire_views;
GRANT SELECT ON correction TO territoire_api;

-- 0: known already; 1: kept; 2: kept, and it is the measurement now; NULL: there is no measurement of this instant.
-- Flags: 4 manual, 64 corrected. What somebody has typed yields to what somebody types later, and to nothing else.
CREATE FUNCTION observation.keep_correction(
    stream int, instant timestamptz, reading float8, marked smallint, source int
) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    stored observation.measurement;
    is_manual boolean := marked & 4 <> 0;
    outranks boolean := EXISTS (SELECT FROM lns_source s WHERE s.id = source AND s.authoritative);
BEGIN
    SELECT * INTO stored FROM observation.measurement m WHERE m.datastream_id = stream AND m.time = instant;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF stored.value = reading THEN
        RETURN 0;
    END IF;
    INSERT INTO observation.correction (datastream_id, time, value, flags)
    VALUES (stream, instant, stored.value, stored.flags) ON CONFLICT DO NOTHING;
    INSERT INTO observation.correction AS c (datastream_id, time, value, flags, source_id, is_authoritative, received_at)
    VALUES (stream, instant, reading, marked, source, outranks, now())
    ON CONFLICT (datastream_id, time, value) DO UPDATE
    SET flags = excluded.flags, source_id = excluded.source_id, is_authoritative = excluded.is_authoritative,
        received_at = excluded.received_at
    WHERE is_manual OR (excluded.is_authoritative AND NOT c.is_authoritative);
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    UPDATE observation.measurement m SET value = reading, flags = marked | 64
    WHERE m.datastream_id = stream AND m.time = instant AND (is_manual OR (outranks AND m.flags & 4 = 0));
    IF NOT FOUND THEN
        RETURN 1;
    END IF;
    UPDATE observation.latest l SET value = reading, flags = marked | 64
    WHERE l.datastream_id = stream AND l.time = instant;
    -- An index at the very edge ends the hour before.
    INSERT INTO observation.dirty (hour, datastream_ids)
    SELECT DISTINCT date_trunc('hour', edge, 'UTC'), ARRAY[stream]
    FROM unnest(ARRAY[instant, instant - interval '1 microsecond']) AS edge;
    RETURN 2;
END
$$;
REVOKE EXECUTE ON FUNCTION observation.keep_correction FROM PUBLIC;
GRANT EXECUTE ON FUNCTION observation.keep_correction TO territoire_service;

-- 0: entered; 1: this very value is there already; 2: it corrects another one; NULL: no such datastream of this tenant.
CREATE OR REPLACE FUNCTION enter_manual_reading(stream int, at timestamptz, reading float8, marked smallint) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM datastream d WHERE d.id = stream AND d.tenant_id = current_tenant()) THEN
        RETURN NULL;
    END IF;
    INSERT INTO observation.measurement (datastream_id, time, value, flags) VALUES (stream, at, reading, marked)
    ON CONFLICT (datastream_id, time) DO NOTHING;
    IF NOT FOUND THEN
        RETURN CASE observation.keep_correction(stream, at, reading, marked, NULL) WHEN 2 THEN 2 ELSE 1 END;
    END IF;
    INSERT INTO observation.latest (datastream_id, time, value, flags) VALUES (stream, at, reading, marked)
    ON CONFLICT (datastream_id) DO UPDATE
    SET time = excluded.time, value = excluded.value, flags = excluded.flags WHERE latest.time < excluded.time;
    -- A counter's value at the very edge ends the hour before.
    INSERT INTO observation.dirty (hour, datastream_ids)
    SELECT DISTINCT date_trunc('hour', edge, 'UTC'), ARRAY[stream]
    FROM unnest(ARRAY[at, at - interval '1 microsecond']) AS edge;
    RETURN 0;
END
$$;
