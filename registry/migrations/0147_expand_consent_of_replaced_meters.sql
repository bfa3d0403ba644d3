-- A meter that was replaced measures nothing any more: its frames go with the consent of the dwelling that it served last.
CREATE OR REPLACE FUNCTION refresh_devices(devices int[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE device d SET is_personal = w.is_personal, fine_until = w.fine_until
    FROM (
        SELECT v.id,
               EXISTS (SELECT FROM assignment s JOIN asset a ON a.id = s.asset_id
                       WHERE s.device_id = v.id AND a.privacy_class = 2)
               OR EXISTS (SELECT FROM datastream s WHERE s.device_id = v.id AND s.privacy_class = 2)
               OR (v.is_personal AND NOT EXISTS (SELECT FROM assignment s WHERE s.device_id = v.id)
                   AND NOT EXISTS (SELECT FROM datastream s WHERE s.device_id = v.id)) AS is_personal,
               CASE WHEN EXISTS (SELECT FROM datastream s WHERE s.device_id = v.id)
                    THEN (SELECT min(s.fine_until) FROM datastream s WHERE s.device_id = v.id)
                    ELSE (SELECT min(s.fine_until) FROM datastream s WHERE s.asset_id = (
                              SELECT a.asset_id FROM assignment a WHERE a.device_id = v.id
                              ORDER BY a.during DESC LIMIT 1)) END AS fine_until
        FROM device v
        WHERE v.id = ANY(devices) OR v.id IN (
            SELECT a.device_id FROM datastream s JOIN assignment a ON a.asset_id = s.asset_id
            WHERE s.device_id = ANY(devices))
    ) AS w
    WHERE d.id = w.id AND (d.is_personal, d.fine_until) IS DISTINCT FROM (w.is_personal, w.fine_until)
$$;
SELECT refresh_devices(ARRAY(
    SELECT d.id FROM device d
    WHERE d.is_personal AND NOT EXISTS (SELECT FROM datastream s WHERE s.device_id = d.id)));
