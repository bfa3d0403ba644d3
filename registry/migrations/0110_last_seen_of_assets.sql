-- When each asset was last heard stands in one row of it, which ingest writes with the last values: to find it out from
-- these, of all of an asset, was half of the time in which the states of 10,000 assets were read (decision 95).

-- No index has it: an update stays a heap-only one where its page has room.
ALTER TABLE observation.expectation
    ADD COLUMN last_seen_at timestamptz,  -- NULL: nothing was ever measured by a device.
    -- Exactly one device serves it now: what was measured since that began is that device's.
    ADD COLUMN is_sole boolean NOT NULL DEFAULT false;
ALTER TABLE observation.expectation SET (fillfactor = 60);

-- As in 0088, with `is_sole`.
CREATE OR REPLACE FUNCTION refresh_expectations(assets int[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO observation.expectation AS e (asset_id)
    SELECT a.id FROM asset a WHERE a.id = ANY(assets) ORDER BY a.id
    ON CONFLICT (asset_id) DO UPDATE SET asset_id = e.asset_id;
    UPDATE observation.expectation e
    SET expected_interval = w.expected_interval, is_plain = w.is_plain, is_personal = w.is_personal,
        is_sole = w.is_sole
    FROM (
        SELECT a.id, max(p.expected_interval) FILTER (WHERE v.enabled) AS expected_interval,
               coalesce(bool_and(s.tenant_id = a.tenant_id AND v.tenant_id = a.tenant_id
                                 AND coalesce(p.tenant_id, a.tenant_id) = a.tenant_id)
                        FILTER (WHERE v.enabled), true) AS is_plain,
               coalesce(bool_or(v.is_personal) FILTER (WHERE v.enabled), false) AS is_personal,
               count(s.id) = 1 AS is_sole
        FROM asset a
        LEFT JOIN (assignment s JOIN device v ON v.id = s.device_id
                   JOIN device_profile p ON p.id = v.device_profile_id)
            ON s.asset_id = a.id AND upper_inf(s.during)
        WHERE a.id = ANY(assets) GROUP BY a.id
    ) AS w
    WHERE e.asset_id = w.id AND (e.expected_interval, e.is_plain, e.is_personal, e.is_sole)
                                IS DISTINCT FROM (w.expected_interval, w.is_plain, w.is_personal, w.is_sole);
END
$$;

-- What last values say later than is stored: of these datastreams, or (NULL) of all. No manual reading: nobody spoke.
CREATE FUNCTION raise_last_seen(streams int[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    INSERT INTO observation.expectation AS e (asset_id, last_seen_at)
    SELECT m.asset_id, m.at
    FROM (SELECT l.asset_id, max(l.time) AS at FROM observation.latest l
          WHERE (streams IS NULL OR l.datastream_id = ANY(streams)) AND l.asset_id IS NOT NULL AND l.flags & 4 <> 4
          GROUP BY l.asset_id) AS m
    LEFT JOIN observation.expectation k ON k.asset_id = m.asset_id
    WHERE k.last_seen_at IS NULL OR k.last_seen_at < m.at  -- Others are not even locked.
    ORDER BY m.asset_id
    ON CONFLICT (asset_id) DO UPDATE SET last_seen_at = excluded.last_seen_at
    WHERE e.last_seen_at IS NULL OR e.last_seen_at < excluded.last_seen_at;
END
$$;
-- Last values were taken back, or went to another asset: what is left of these assets. What a manual reading has taken
-- the place of is not looked for; then less is said until the device speaks.
CREATE FUNCTION recount_last_seen(assets int[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    INSERT INTO observation.expectation AS e (asset_id, last_seen_at)
    SELECT a.id, (SELECT max(l.time) FROM observation.latest l WHERE l.asset_id = a.id AND l.flags & 4 <> 4)
    FROM asset a WHERE a.id = ANY(assets) ORDER BY a.id
    ON CONFLICT (asset_id) DO UPDATE SET last_seen_at = excluded.last_seen_at
    WHERE e.last_seen_at IS DISTINCT FROM excluded.last_seen_at;
END
$$;

CREATE OR REPLACE FUNCTION note_asset_of_latest() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    WITH measured AS (
        SELECT d.id, d.asset_id FROM inserted i JOIN datastream d ON d.id = i.datastream_id
        WHERE d.asset_id IS NOT NULL ORDER BY d.id FOR SHARE OF d
    )
    UPDATE observation.latest l SET asset_id = m.asset_id FROM measured m WHERE l.datastream_id = m.id;
    IF FOUND THEN
        PERFORM raise_last_seen(ARRAY(SELECT i.datastream_id FROM inserted i));
    END IF;
    RETURN NULL;
END
$$;
CREATE OR REPLACE FUNCTION move_latest() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE observation.latest SET asset_id = NEW.asset_id WHERE datastream_id = NEW.id;
    IF FOUND THEN
        PERFORM recount_last_seen(array_remove(ARRAY[OLD.asset_id, NEW.asset_id], NULL));
    END IF;
    RETURN NULL;
END
$$;
CREATE FUNCTION take_back_last_seen() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM recount_last_seen(ARRAY(SELECT DISTINCT d.asset_id FROM deleted d WHERE d.asset_id IS NOT NULL));
    RETURN NULL;
END
$$;
CREATE TRIGGER latest_takes_back AFTER DELETE ON observation.latest REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION take_back_last_seen();

DO $$
DECLARE
    door regprocedure;
BEGIN
    FOREACH door IN ARRAY ARRAY['raise_last_seen(int[])', 'recount_last_seen(int[])',
                                'take_back_last_seen()']::regprocedure[] LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
    END LOOP;
END
$$;
