-- Why a device is not let in, what its DevNonces are, and what a downlink waits for: for whoever manages the device.

-- The last refusal of a device that we know. It goes with the next join that is accepted; one row per device, so that
-- a flood writes the same row again.
CREATE TABLE join_refusal (
    device_id int PRIMARY KEY REFERENCES device ON DELETE CASCADE,
    reason text NOT NULL,  -- services.network.joins: mic, dev_nonce_used, ...
    dev_nonce int NOT NULL CHECK (dev_nonce BETWEEN 0 AND 65535),
    times int NOT NULL,  -- In a row, for this reason.
    refused_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, UPDATE, DELETE ON join_refusal TO territoire_service;

-- The API's role reads neither nonces nor sessions: these doors say what the reader of a device may know of them.
-- `heard_at` is the last uplink under any open session.
CREATE FUNCTION join_diagnosis(device int)
    RETURNS TABLE (mac_version text, dev_nonces int, highest_dev_nonce int, joined_at timestamptz,
                   heard_at timestamptz, reason text, dev_nonce int, times int, refused_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT p.mac_version, n.dev_nonces, n.highest, n.joined_at, s.heard_at, r.reason, r.dev_nonce, r.times,
           r.refused_at
    FROM device d
    JOIN device_profile p ON p.id = d.device_profile_id
    LEFT JOIN LATERAL (SELECT count(*)::int AS dev_nonces, max(u.dev_nonce) AS highest, max(u.used_at) AS joined_at
                       FROM dev_nonce u WHERE u.device_id = d.id) n ON true
    LEFT JOIN LATERAL (SELECT max(o.last_uplink_at) AS heard_at FROM session o
                       WHERE o.device_id = d.id AND o.closed_at IS NULL) s ON true
    LEFT JOIN join_refusal r ON r.device_id = d.id
    WHERE d.id = join_diagnosis.device AND d.activation = 'OTAA'
      AND d.tenant_id = ANY((SELECT visible_tenants())::int[])
$$;

-- Forget which DevNonces these devices of the tenant have used. JoinNonces go on rising.
CREATE FUNCTION flush_dev_nonces(devices int[]) RETURNS TABLE (device_id int, dev_nonces int)
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH own AS (SELECT d.id FROM device d WHERE d.id = ANY(devices) AND d.tenant_id = current_tenant()),
         gone AS (DELETE FROM dev_nonce n USING own WHERE n.device_id = own.id RETURNING n.device_id),
         forgiven AS (DELETE FROM join_refusal r USING own WHERE r.device_id = own.id)
    SELECT own.id, count(gone.device_id)::int FROM own LEFT JOIN gone ON gone.device_id = own.id
    GROUP BY own.id ORDER BY own.id
$$;

-- What decides whether our network can tell a device something now. Gateways are counted, not named: they may be
-- another tenant's. `heard_at` is that of the newest session in use; NULL: the network may not speak first (row 23).
CREATE FUNCTION downlink_preflight(device int)
    RETURNS TABLE (device_class char(1), activation text, enabled boolean, has_session boolean, heard_at timestamptz,
                   rx1_delay smallint, gateways int, gateways_online int)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT p.device_class, d.activation, d.enabled,
           EXISTS (SELECT FROM session o WHERE o.device_id = d.id AND o.closed_at IS NULL),
           s.last_uplink_at, s.rx1_delay, coalesce(g.gateways, 0), coalesce(g.online, 0)
    FROM device d
    JOIN device_profile p ON p.id = d.device_profile_id
    LEFT JOIN LATERAL (SELECT * FROM session o WHERE o.device_id = d.id AND o.closed_at IS NULL
                       AND o.last_uplink_at IS NOT NULL ORDER BY o.id DESC LIMIT 1) s ON true
    LEFT JOIN LATERAL (
        SELECT count(DISTINCT heard.gateway_id)::int AS gateways,
               count(DISTINCT heard.gateway_id) FILTER (WHERE t.last_seen_at > now() - interval '90 seconds')::int
                   AS online
        FROM (SELECT decode(copy ->> 0, 'base64') AS gateway_id FROM jsonb_array_elements(s.last_heard_by) AS copy)
             AS heard
        LEFT JOIN gateway w ON w.gateway_id = heard.gateway_id
        LEFT JOIN gateway_state t ON t.gateway_id = w.id) g ON true
    WHERE d.id = downlink_preflight.device AND d.tenant_id = ANY((SELECT visible_tenants())::int[])
$$;

DO $$
DECLARE
    door text;
BEGIN
    FOREACH door IN ARRAY ARRAY['join_diagnosis(int)', 'flush_dev_nonces(int[])', 'downlink_preflight(int)'] LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
    END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION join_diagnosis, flush_dev_nonces, downlink_preflight TO territoire_api;
