-- What there is already; ingest of the version before writes last values only, and maintenance makes up for it.
SELECT refresh_expectations(ARRAY(
    SELECT asset_id FROM assignment UNION SELECT asset_id FROM observation.latest WHERE asset_id IS NOT NULL));
SELECT raise_last_seen(NULL);

-- As in 0088. `heard_at` is for the version before.
CREATE OR REPLACE VIEW asset_life AS
    SELECT a.id, a.tenant_id, a.kind, a.name, a.commune, a.street, a.latitude, a.longitude, a.archived_at,
           CASE WHEN a.id IN (SELECT asset_seen_in_part()) THEN NULL ELSE e.expected_interval END AS expected_interval,
           CASE WHEN a.id IN (SELECT asset_seen_in_part()) THEN NULL ELSE e.last_seen_at END AS last_seen_at,
           CASE WHEN a.id IN (SELECT asset_seen_in_part()) THEN NULL ELSE e.last_seen_at END AS heard_at
    FROM asset a LEFT JOIN observation.expectation e ON e.asset_id = a.id;

-- A device serves one asset at a time; until now only an index of ranges said it.
CREATE UNIQUE INDEX assignment_of_device_in_force ON assignment (device_id) WHERE upper_inf(during);

-- As in 0104. Of all of them: a device that alone serves an asset was last heard when that was, if it was since; of the
-- others what they have measured is looked for.
CREATE OR REPLACE FUNCTION device_heard(wanted int[])
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
        WHERE (wanted IS NULL OR s.device_id = ANY(wanted)) AND s.closed_at IS NULL GROUP BY s.device_id
    ) AS spoken ON spoken.device_id = d.id AND spoken.at >= d.owned_since
    LEFT JOIN assignment g ON wanted IS NULL AND g.device_id = d.id AND upper_inf(g.during)
    LEFT JOIN observation.expectation e
        ON e.asset_id = g.asset_id AND e.is_sole AND e.is_plain AND e.last_seen_at >= lower(g.during)
       AND e.asset_id NOT IN (SELECT f.asset_id FROM datastream f
                              WHERE f.fine_until <= now() AND f.asset_id IS NOT NULL)
    CROSS JOIN LATERAL (
        SELECT coalesce(e.last_seen_at, (
            SELECT max(l.time) FROM datastream s JOIN observation.latest l ON l.datastream_id = s.id
            WHERE s.device_id = d.id AND s.tenant_id = ANY(mine) AND l.flags & 4 <> 4
              AND (s.fine_until IS NULL OR s.fine_until > now()))) AS at
        OFFSET 0  -- Or it is found out for each mention.
    ) AS measured
    LEFT JOIN (
        SELECT DISTINCT ON (s.device_id) s.device_id, l.time AS at, l.value
        FROM datastream s JOIN observation.latest l ON l.datastream_id = s.id
        WHERE (wanted IS NULL OR s.device_id = ANY(wanted)) AND s.tenant_id = ANY(mine)
          AND s.quantity = 'battery_level' AND (s.fine_until IS NULL OR s.fine_until > now())
        ORDER BY s.device_id, l.time DESC
    ) AS battery ON battery.device_id = d.id AND battery.at >= d.owned_since
    WHERE (wanted IS NULL OR d.id = ANY(wanted))
      AND (d.tenant_id = me OR (d.tenant_id = ANY(mine) AND NOT d.is_personal))
      AND (d.fine_until IS NULL OR d.fine_until > now());
END
$$;

-- As in 0082, with what lists ask of the datastream beside: joined a second time it was, with its policies, half of a list.
CREATE OR REPLACE VIEW latest AS
    SELECT l.datastream_id, l.time, l.value, l.flags, d.asset_id, d.device_id, d.quantity
    FROM observation.latest l JOIN datastream d ON d.id = l.datastream_id
    LEFT JOIN opened_asset() g ON g.asset_id = d.asset_id
    WHERE (CASE WHEN d.privacy_class < 2 THEN d.tenant_id = ANY((SELECT visible_tenants())::int[])
                ELSE d.tenant_id = (SELECT current_tenant()) END
           OR CASE WHEN d.privacy_class < 2 THEN g.data ELSE g.by_name END @> l.time)
      AND (d.fine_until IS NULL OR d.fine_until > now());
