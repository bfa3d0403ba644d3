-- What lists of devices and assets say, and by what they are filtered.

-- The part of a commune, as its people call it.
ALTER TABLE asset ADD COLUMN quarter text NOT NULL DEFAULT '';

-- What is searched in, folded once and not with each search: of 10,000 assets that was three quarters of a list's time.
ALTER TABLE asset ADD COLUMN words text NOT NULL GENERATED ALWAYS AS (
    folded(name || E'\n' || street || E'\n' || coalesce(external_reference, ''))) STORED;

-- Of a box of longitudes and latitudes. A GiST index of points would not be used: row security lets no operator that may
-- tell of a hidden row before its policies, and those of points are of that kind (decision 87).
CREATE INDEX asset_by_place ON asset (longitude, latitude) WHERE archived_at IS NULL;

-- Names as French puts them in order: É beside E, and 2 before 10.
CREATE COLLATION french (provider = icu, locale = 'fr-u-kn-true');

-- When each of these devices (NULL: of all that this reader sees) was last heard, by its open session or by what it has
-- measured last (no manual reading), and its battery in per cent, from the bare tables: with the policies of datastream
-- and of its last values it takes four times as long. Of a member's dwelling, of what is granted, and of what is kept
-- no longer it says nothing: device_heard_in_part() does, by the policies.
CREATE FUNCTION device_heard(wanted int[])
    RETURNS TABLE (device_id int, last_seen_at timestamptz, battery double precision)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    SET plan_cache_mode = force_custom_plan ROWS 1000 AS $$
#variable_conflict use_column
DECLARE
    me int := current_tenant();
    mine int[] := visible_tenants();
BEGIN
    RETURN QUERY
    SELECT d.id, greatest(spoken.at, measured.at), battery.value
    FROM device d
    LEFT JOIN (
        SELECT s.device_id, max(s.last_uplink_at) AS at FROM session s
        WHERE (wanted IS NULL OR s.device_id = ANY(wanted)) AND s.closed_at IS NULL GROUP BY s.device_id
    ) AS spoken ON spoken.device_id = d.id AND spoken.at >= d.owned_since
    LEFT JOIN (
        SELECT s.device_id, max(l.time) AS at
        FROM datastream s JOIN observation.latest l ON l.datastream_id = s.id
        WHERE (wanted IS NULL OR s.device_id = ANY(wanted)) AND s.tenant_id = ANY(mine) AND l.flags & 4 <> 4
          AND (s.fine_until IS NULL OR s.fine_until > now())
        GROUP BY s.device_id
    ) AS measured ON measured.device_id = d.id AND measured.at >= d.owned_since
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
REVOKE EXECUTE ON FUNCTION device_heard(int[]) FROM PUBLIC;
ALTER FUNCTION device_heard(int[]) OWNER TO territoire_service;

-- With the rights of who asks, each row by its policies: of devices that are shared, for which that says anything else.
CREATE FUNCTION device_heard_in_part(wanted int[])
    RETURNS TABLE (device_id int, last_seen_at timestamptz, battery double precision)
    LANGUAGE plpgsql STABLE SET search_path = public, pg_temp ROWS 10 AS $$
#variable_conflict use_column
DECLARE
    these int[] := ARRAY(SELECT s.device_id FROM shared_device() s WHERE wanted IS NULL OR s.device_id = ANY(wanted));
BEGIN
    IF these = '{}' THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT s.device_id, max(l.time),
           (array_agg(l.value ORDER BY l.time DESC) FILTER (WHERE s.quantity = 'battery_level'))[1]
    FROM datastream s JOIN latest l ON l.datastream_id = s.id
    WHERE s.device_id = ANY(these) AND l.flags & 4 <> 4 GROUP BY s.device_id;
END
$$;
REVOKE EXECUTE ON FUNCTION device_heard_in_part(int[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION device_heard(int[]), device_heard_in_part(int[]) TO territoire_api;
