-- locks: latest ACCESS EXCLUSIVE instant

-- As in 0111, with whose the datastream and the last value are: the same, and each is found by an index of its own.
CREATE OR REPLACE VIEW latest AS
    SELECT l.datastream_id, l.time, l.value, l.flags, d.asset_id, d.device_id, d.quantity, d.tenant_id,
           l.tenant_id AS value_tenant_id
    FROM observation.latest l JOIN datastream d ON d.id = l.datastream_id
    LEFT JOIN opened_asset() g ON g.asset_id = d.asset_id
    WHERE (CASE WHEN d.privacy_class < 2 THEN d.tenant_id = ANY((SELECT visible_tenants())::int[])
                ELSE d.tenant_id = (SELECT current_tenant()) END
           OR CASE WHEN d.privacy_class < 2 THEN g.data ELSE g.by_name END @> l.time)
      AND (d.fine_until IS NULL OR d.fine_until > now());

-- As in 0111, which is for the version before. Of the reader's tenants from the start: assignments and last values of
-- others were read, too. `signs`: 'seen' or 'battery' alone, or 'both'; what is not asked for is NULL.
CREATE FUNCTION device_heard(wanted int[], signs text)
    RETURNS TABLE (device_id int, last_seen_at timestamptz, battery double precision)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    SET plan_cache_mode = force_custom_plan ROWS 1000 AS $$
#variable_conflict use_column
DECLARE
    me int := current_tenant();
    mine int[] := visible_tenants();
BEGIN
    RETURN QUERY
    SELECT d.id, greatest(spoken.at, CASE WHEN measured.at >= d.owned_since THEN measured.at END), battery.value
    FROM device d
    LEFT JOIN (
        SELECT s.device_id, max(s.last_uplink_at) AS at FROM session s
        WHERE signs <> 'battery' AND (wanted IS NULL OR s.device_id = ANY(wanted)) AND s.closed_at IS NULL
        GROUP BY s.device_id
    ) AS spoken ON spoken.device_id = d.id AND spoken.at >= d.owned_since
    -- Of a plain asset they are all of one tenant; what is said of others is looked for below.
    LEFT JOIN assignment g
        ON wanted IS NULL AND signs <> 'battery' AND g.device_id = d.id AND upper_inf(g.during)
       AND g.tenant_id = ANY(mine)
    LEFT JOIN observation.expectation e
        ON e.asset_id = g.asset_id AND e.is_sole AND e.is_plain AND e.last_seen_at >= lower(g.during)
       AND e.asset_id NOT IN (SELECT f.asset_id FROM datastream f
                              WHERE f.fine_until <= now() AND f.asset_id IS NOT NULL)
    CROSS JOIN LATERAL (
        SELECT CASE WHEN signs <> 'battery' THEN coalesce(e.last_seen_at, (
            SELECT max(l.time) FROM datastream s JOIN observation.latest l ON l.datastream_id = s.id
            WHERE s.device_id = d.id AND s.tenant_id = ANY(mine) AND l.flags & 4 <> 4
              AND (s.fine_until IS NULL OR s.fine_until > now()))) END AS at
        OFFSET 0  -- Or it is found out for each mention.
    ) AS measured
    LEFT JOIN (
        SELECT DISTINCT ON (s.device_id) s.device_id, l.time AS at, l.value
        FROM datastream s JOIN observation.latest l ON l.datastream_id = s.id AND l.tenant_id = ANY(mine)
        WHERE signs <> 'seen' AND (wanted IS NULL OR s.device_id = ANY(wanted)) AND s.tenant_id = ANY(mine)
          AND s.quantity = 'battery_level' AND (s.fine_until IS NULL OR s.fine_until > now())
        ORDER BY s.device_id, l.time DESC
    ) AS battery ON battery.device_id = d.id AND battery.at >= d.owned_since
    WHERE (wanted IS NULL OR d.id = ANY(wanted))
      AND d.tenant_id = ANY(mine) AND (d.tenant_id = me OR NOT d.is_personal)
      AND (d.fine_until IS NULL OR d.fine_until > now());
END
$$;
REVOKE EXECUTE ON FUNCTION device_heard(int[], text) FROM PUBLIC;
ALTER FUNCTION device_heard(int[], text) OWNER TO territoire_service;
GRANT EXECUTE ON FUNCTION device_heard(int[], text) TO territoire_api;
