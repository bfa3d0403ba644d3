-- What somebody has read and typed, for a bin without coverage or a meter without a sensor: a measurement like any
-- other, with its flag. The API's role enters it by this door only, for a datastream of its tenant.

-- 0: entered; 1: there is a measurement of this instant already; NULL: no such datastream of this tenant.
CREATE FUNCTION enter_manual_reading(stream int, at timestamptz, reading float8, marked smallint) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM datastream d WHERE d.id = stream AND d.tenant_id = current_tenant()) THEN
        RETURN NULL;
    END IF;
    INSERT INTO observation.measurement (datastream_id, time, value, flags) VALUES (stream, at, reading, marked)
    ON CONFLICT (datastream_id, time) DO NOTHING;
    IF NOT FOUND THEN
        RETURN 1;
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
REVOKE EXECUTE ON FUNCTION enter_manual_reading FROM PUBLIC;
ALTER FUNCTION enter_manual_reading OWNER TO territoire_service;
GRANT EXECUTE ON FUNCTION enter_manual_reading TO territoire_api;

-- What was done last to a thing: to take it back, for example.
CREATE INDEX audit_of_entity ON audit (tenant_id, entity, entity_id, id DESC);
