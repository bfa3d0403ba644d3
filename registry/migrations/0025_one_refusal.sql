-- One memory of refused joins: what `join_refusal` had is said by `frame_refusal` too, which keeps it for operators.

ALTER TABLE frame_refusal
    ADD COLUMN dev_nonce int CHECK (dev_nonce BETWEEN 0 AND 65535),  -- The last join-request's, of a device we know.
    -- Of `times`: before the device was let in, or its DevNonces were forgotten. What is beyond needs somebody.
    ADD COLUMN forgiven bigint NOT NULL DEFAULT 0;
UPDATE frame_refusal f SET dev_nonce = r.dev_nonce, forgiven = greatest(f.times - r.times, 0)
FROM join_refusal r JOIN device d ON d.id = r.device_id
WHERE f.subject = d.dev_eui AND f.device_id = r.device_id AND f.reason = r.reason;

-- Whoever knows a DevEUI can send a wrong MIC: for an hour that hides no refusal of the device itself.
CREATE OR REPLACE FUNCTION join_diagnosis(device int)
    RETURNS TABLE (mac_version text, dev_nonces int, highest_dev_nonce int, joined_at timestamptz,
                   heard_at timestamptz, reason text, dev_nonce int, times int, refused_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT p.mac_version, n.dev_nonces, n.highest, n.joined_at, s.heard_at, r.reason, r.dev_nonce, r.times, r.last_at
    FROM device d
    JOIN device_profile p ON p.id = d.device_profile_id
    LEFT JOIN LATERAL (SELECT count(*)::int AS dev_nonces, max(u.dev_nonce) AS highest, max(u.used_at) AS joined_at
                       FROM dev_nonce u WHERE u.device_id = d.id) n ON true
    LEFT JOIN LATERAL (SELECT max(o.last_uplink_at) AS heard_at FROM session o
                       WHERE o.device_id = d.id AND o.closed_at IS NULL) s ON true
    LEFT JOIN LATERAL (
        SELECT f.reason, f.dev_nonce, least(f.times - f.forgiven, 2147483647)::int AS times, f.last_at
        FROM frame_refusal f
        WHERE f.subject = d.dev_eui AND f.device_id = d.id AND f.dev_nonce IS NOT NULL AND f.times > f.forgiven
        ORDER BY f.last_at - CASE f.reason WHEN 'mic' THEN interval '1 hour' ELSE interval '0' END DESC LIMIT 1) r
        ON true
    WHERE d.id = join_diagnosis.device AND d.activation = 'OTAA'
      AND d.tenant_id = ANY((SELECT visible_tenants())::int[])
$$;
CREATE OR REPLACE FUNCTION flush_dev_nonces(devices int[]) RETURNS TABLE (device_id int, dev_nonces int)
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH own AS (SELECT d.id, d.dev_eui FROM device d
                 WHERE d.id = ANY(devices) AND d.tenant_id = current_tenant()),
         gone AS (DELETE FROM dev_nonce n USING own WHERE n.device_id = own.id RETURNING n.device_id),
         forgiven AS (UPDATE frame_refusal f SET forgiven = f.times FROM own
                      WHERE f.subject = own.dev_eui AND f.device_id = own.id)
    SELECT own.id, count(gone.device_id)::int FROM own LEFT JOIN gone ON gone.device_id = own.id
    GROUP BY own.id ORDER BY own.id
$$;

DROP TABLE join_refusal;
