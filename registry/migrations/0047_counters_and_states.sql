-- Consumption across resets, rollovers and new meters; means of states weighted by time.

-- By quantity, the number at which a counter of this model goes back to zero.
ALTER TABLE device_profile ADD COLUMN moduli jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(moduli) = 'object');
GRANT SELECT (moduli), INSERT (moduli), UPDATE (moduli) ON device_profile TO territoire_api;

-- From `at` on another meter counts. NULL: what it showed is not known. A replaced device makes one of its own
-- accord (`replacement`), which people complete.
CREATE TABLE observation.meter_change (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    datastream_id int NOT NULL REFERENCES datastream ON DELETE CASCADE,
    at timestamptz NOT NULL,
    final_index double precision,
    initial_index double precision,
    cause text NOT NULL CHECK (cause IN ('replacement', 'manual')),
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (datastream_id, at)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON observation.meter_change TO territoire_service;
GRANT SELECT ON observation.meter_change TO territoire_views;

CREATE VIEW meter_change AS
    SELECT c.id, c.datastream_id, c.at, c.final_index, c.initial_index, c.cause, c.note, c.created_at
    FROM observation.meter_change c JOIN datastream d ON d.id = c.datastream_id
    LEFT JOIN granted_asset() g ON g.asset_id = d.asset_id
    WHERE d.tenant_id = ANY((SELECT visible_tenants())::int[]) OR g.data @> c.at;

-- The API's role writes by these doors only, and for datastreams of its own tenant.

-- NULL: no such datastream of this tenant, or there is a change of this very instant.
CREATE FUNCTION enter_meter_change(stream int, instant timestamptz, final float8, initial float8, noted text)
    RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO observation.meter_change (datastream_id, at, final_index, initial_index, cause, note)
    SELECT d.id, instant, final, initial, 'manual', noted FROM datastream d
    WHERE d.id = stream AND d.tenant_id = current_tenant()
    ON CONFLICT (datastream_id, at) DO NOTHING
    RETURNING id
$$;

CREATE FUNCTION complete_meter_change(change int, final float8, initial float8, noted text) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE observation.meter_change c
    SET final_index = coalesce(final, c.final_index), initial_index = coalesce(initial, c.initial_index),
        note = coalesce(noted, c.note)
    FROM datastream d
    WHERE c.id = change AND d.id = c.datastream_id AND d.tenant_id = current_tenant()
    RETURNING true
$$;

CREATE FUNCTION remove_meter_change(change int) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM observation.meter_change c USING datastream d
    WHERE c.id = change AND d.id = c.datastream_id AND d.tenant_id = current_tenant()
    RETURNING true
$$;

-- Another device than before serves this position from `instant` on: its counters count something else.
CREATE FUNCTION record_replacement(asset int, place text, device int, instant timestamptz) RETURNS int
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH noted AS (
        INSERT INTO observation.meter_change (datastream_id, at, final_index, initial_index, cause)
        SELECT d.id, instant, l.value, NULL, 'replacement'
        FROM datastream d LEFT JOIN observation.latest l ON l.datastream_id = d.id AND l.flags & 1 = 0
        WHERE d.asset_id = asset AND d.position = place AND counts_up(d.quantity)
          AND (current_tenant() IS NULL OR d.tenant_id = current_tenant())
          AND (SELECT s.device_id FROM assignment s
               WHERE s.asset_id = asset AND s.position = place AND lower(s.during) < instant
               ORDER BY lower(s.during) DESC LIMIT 1) <> device
        ON CONFLICT (datastream_id, at) DO NOTHING
        RETURNING 1
    )
    SELECT count(*)::int FROM noted
$$;

-- Which devices fed a datastream since when, and what their profiles say of it: past row security, for a reader
-- to whom an asset is granted sees its values and not the profile. The caller has found the datastream first.
CREATE FUNCTION counter_profiles(stream int)
    RETURNS TABLE (since timestamptz, modulus float8, expected_interval interval)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 2 AS $$
    SELECT coalesce(lower(s.during), '-infinity'), (p.moduli ->> d.quantity)::float8, p.expected_interval
    FROM datastream d
    LEFT JOIN assignment s ON s.asset_id = d.asset_id AND s.position = d.position
    JOIN device v ON v.id = coalesce(s.device_id, d.device_id)
    JOIN device_profile p ON p.id = v.device_profile_id
    WHERE d.id = stream
    ORDER BY 1
$$;

DO $$
DECLARE
    door text;
BEGIN
    FOREACH door IN ARRAY ARRAY['enter_meter_change(int, timestamptz, float8, float8, text)',
                                'complete_meter_change(int, float8, float8, text)', 'remove_meter_change(int)',
                                'record_replacement(int, text, int, timestamptz)', 'counter_profiles(int)'] LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO territoire_api', door);
    END LOOP;
END
$$;

-- What a rollup knows besides of a counter or a state, NULL of anything else and of what was rolled up before and
-- has no raw measurements any more. first_at, last_at: the instants of `first` and `last`. seconds, weighted: how long
-- the state was known from first_at to the bucket's end, and its integral over that time. falls: the index before and
-- after each fall, in order; NULL: it did not fall.
ALTER TABLE observation.rollup_hour
    ADD COLUMN first_at timestamptz, ADD COLUMN last_at timestamptz,
    ADD COLUMN seconds double precision, ADD COLUMN weighted double precision, ADD COLUMN falls double precision[];
ALTER TABLE observation.rollup_day
    ADD COLUMN first_at timestamptz, ADD COLUMN last_at timestamptz,
    ADD COLUMN seconds double precision, ADD COLUMN weighted double precision, ADD COLUMN falls double precision[];

CREATE AGGREGATE concat_arrays(double precision[])
    (SFUNC = array_cat, STYPE = double precision[], INITCOND = '{}');

CREATE OR REPLACE VIEW rollup_hour AS
    SELECT r.* FROM observation.rollup_hour r JOIN datastream d ON d.id = r.datastream_id
    LEFT JOIN granted_asset() g ON g.asset_id = d.asset_id
    WHERE d.tenant_id = ANY((SELECT visible_tenants())::int[])
       OR g.data @> bucket_range(d.quantity, r.bucket, r.bucket + interval '1 hour');

CREATE OR REPLACE VIEW rollup_day AS
    SELECT r.* FROM observation.rollup_day r JOIN datastream d ON d.id = r.datastream_id
    LEFT JOIN granted_asset() g ON g.asset_id = d.asset_id
    WHERE d.tenant_id = ANY((SELECT visible_tenants())::int[])
       OR g.data @> bucket_range(d.quantity, r.bucket,
                                 date_add(r.bucket, interval '1 day', (SELECT timezone FROM deployment)));

GRANT CREATE ON SCHEMA public TO territoire_views;
ALTER VIEW meter_change OWNER TO territoire_views;
REVOKE CREATE ON SCHEMA public FROM territoire_views;
GRANT SELECT ON meter_change TO territoire_api;

-- Hours of states whose raw measurements are there are made anew by maintenance, in the background.
INSERT INTO observation.dirty (hour, datastream_ids)
SELECT r.bucket, array_agg(r.datastream_id)
FROM datastream d JOIN observation.rollup_hour r ON r.datastream_id = d.id
WHERE d.quantity IN ('tilt', 'low_battery', 'device_fault', 'occupancy', 'daylight', 'leak', 'backflow', 'burst', 'dry',
                     'freeze', 'valve_open', 'switch_state', 'open', 'tamper', 'input_state')
  AND r.n > 0
  AND NOT EXISTS (SELECT FROM observation.forgotten f
                  WHERE f.hypertable = 'measurement' AND f.id IN (0, r.datastream_id) AND r.bucket < f.before)
GROUP BY r.bucket;

-- A profile that goes to another tenant takes its moduli along; otherwise as 0022 has it.
CREATE OR REPLACE FUNCTION give_profiles(devices int[], receiver int) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    given record;
    version int;
    theirs int;
BEGIN
    FOR given IN SELECT DISTINCT p.id FROM device d JOIN device_profile p ON p.id = d.device_profile_id
                 WHERE d.id = ANY(devices) AND p.tenant_id IS NOT NULL AND p.tenant_id <> receiver LOOP
        SELECT give_codec_version(p.codec_version_id, receiver) INTO version FROM device_profile p WHERE p.id = given.id;
        SELECT t.id INTO theirs FROM device_profile t JOIN device_profile p ON p.id = given.id
        WHERE t.tenant_id = receiver
          AND (t.codec, t.codec_options, t.device_class, t.mac_version, t.region, t.expected_interval, t.capabilities,
               t.mapping, t.commands, t.moduli)
            = (p.codec, p.codec_options, p.device_class, p.mac_version, p.region, p.expected_interval, p.capabilities,
               p.mapping, p.commands, p.moduli)
          AND (t.rx1_delay, t.adr, t.adr_min_data_rate, t.adr_max_data_rate, t.adr_min_tx_power, t.adr_max_tx_power)
              IS NOT DISTINCT FROM
              (p.rx1_delay, p.adr, p.adr_min_data_rate, p.adr_max_data_rate, p.adr_min_tx_power, p.adr_max_tx_power)
          AND t.codec_version_id IS NOT DISTINCT FROM version ORDER BY t.id LIMIT 1;
        IF theirs IS NULL THEN
            INSERT INTO device_profile (tenant_id, name, vendor, model, codec, codec_options, device_class, mac_version,
                                        region, expected_interval, capabilities, codec_version_id, mapping,
                                        firmware_from, firmware_until, commands, regional_revision, supports_join,
                                        max_eirp, moduli, rx1_delay, adr, adr_min_data_rate, adr_max_data_rate,
                                        adr_min_tx_power, adr_max_tx_power)
            SELECT receiver, CASE WHEN EXISTS (SELECT FROM device_profile t
                                               WHERE t.tenant_id = receiver AND t.name = p.name)
                                  THEN format('%s (%s)', p.name, p.id) ELSE p.name END,
                   p.vendor, p.model, p.codec, p.codec_options, p.device_class, p.mac_version, p.region,
                   p.expected_interval, p.capabilities, version, p.mapping, p.firmware_from, p.firmware_until,
                   p.commands, p.regional_revision, p.supports_join, p.max_eirp, p.moduli, p.rx1_delay,
                   p.adr, p.adr_min_data_rate, p.adr_max_data_rate, p.adr_min_tx_power, p.adr_max_tx_power
            FROM device_profile p WHERE p.id = given.id
            RETURNING id INTO theirs;
        END IF;
        UPDATE device SET device_profile_id = theirs WHERE id = ANY(devices) AND device_profile_id = given.id;
    END LOOP;
END
$$;
