-- The asset of a last value stands beside it: who asks when each asset was heard last joined every datastream, and
-- asked its policies, a second time. As in 0071, with one column more.
CREATE OR REPLACE VIEW latest AS
    SELECT l.datastream_id, l.time, l.value, l.flags, d.asset_id
    FROM observation.latest l JOIN datastream d ON d.id = l.datastream_id
    LEFT JOIN opened_asset() g ON g.asset_id = d.asset_id
    WHERE (CASE WHEN d.privacy_class < 2 THEN d.tenant_id = ANY((SELECT visible_tenants())::int[])
                ELSE d.tenant_id = (SELECT current_tenant()) END
           OR CASE WHEN d.privacy_class < 2 THEN g.data ELSE g.by_name END @> l.time)
      AND (d.fine_until IS NULL OR d.fine_until > now());
