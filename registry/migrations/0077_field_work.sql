-- What who places devices needs: photos of assets, and devices by the short address on the air.

-- Photos are few and small, without what a camera notes of where and by whom.

ALTER TABLE asset ADD UNIQUE (id, tenant_id);
CREATE TABLE asset_photo (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id int NOT NULL REFERENCES tenant,
    asset_id int NOT NULL,
    remark text NOT NULL DEFAULT '' CHECK (length(remark) <= 200),
    taken_by text NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now(),
    octets int NOT NULL GENERATED ALWAYS AS (octet_length(content)) STORED,
    content bytea NOT NULL CHECK (octet_length(content) BETWEEN 4 AND 2097152),
    -- Whoever gets the asset gets what it looks like.
    FOREIGN KEY (asset_id, tenant_id) REFERENCES asset (id, tenant_id) ON UPDATE CASCADE ON DELETE CASCADE
);
-- A JPEG is packed already.
ALTER TABLE asset_photo ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE INDEX asset_photo_of_asset ON asset_photo (asset_id, id DESC);
CREATE INDEX asset_photo_of_tenant ON asset_photo (tenant_id);
-- Its own tenant's alone: a grant opens what is measured, and what is seen in a photo nobody has classed.
CALL scope_to_tenant('asset_photo');
CREATE POLICY of_kinds ON asset_photo AS RESTRICTIVE TO territoire_api
    USING ((SELECT proved_kinds()) IS NULL OR asset_id IN (SELECT assets_of_kinds()));
GRANT SELECT, DELETE ON asset_photo TO territoire_api;
GRANT INSERT (tenant_id, asset_id, remark, taken_by, content) ON asset_photo TO territoire_api;

INSERT INTO quota_default (kind, most, counted) VALUES ('photos', 5000, 'asset_photo');
CREATE TRIGGER quota_of_new AFTER INSERT ON asset_photo FOR EACH ROW
    WHEN (session_user = 'territoire_api') EXECUTE FUNCTION keep_quota();
CREATE TRIGGER quota_of_taken_over AFTER UPDATE OF tenant_id ON asset_photo FOR EACH ROW
    WHEN (session_user = 'territoire_api' AND NEW.tenant_id IS DISTINCT FROM OLD.tenant_id)
    EXECUTE FUNCTION keep_quota();

INSERT INTO erasure_step VALUES
(59, 'asset_photo', $$
WITH gone AS (DELETE FROM asset_photo WHERE id IN (SELECT id FROM asset_photo
WHERE asset_id = ANY(($1).asset_ids) LIMIT $2) RETURNING 1) SELECT count(*) FROM gone $$),
(138, 'asset_photo', $$
WITH named AS (UPDATE asset_photo SET taken_by = 'personne effacée' WHERE ($1).kind IN ('person', 'contact')
AND taken_by = ANY(($1).names) RETURNING 1) SELECT count(*) FROM named $$);

-- Devices by the short address on the air: sessions hold keys, and the API reads none of them.
CREATE FUNCTION devices_with_dev_addr(wanted bytea) RETURNS SETOF int
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT DISTINCT s.device_id FROM session s JOIN device d ON d.id = s.device_id
    WHERE s.dev_addr = wanted AND s.closed_at IS NULL AND d.tenant_id = ANY((SELECT visible_tenants())::int[])
$$;
CREATE FUNCTION dev_addr_of(device int) RETURNS bytea
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT s.dev_addr FROM session s JOIN device d ON d.id = s.device_id
    WHERE s.device_id = dev_addr_of.device AND s.closed_at IS NULL
      AND d.tenant_id = ANY((SELECT visible_tenants())::int[])
    ORDER BY s.last_uplink_at DESC NULLS LAST, s.activated_at DESC LIMIT 1
$$;
DO $$
DECLARE
    door regprocedure;
BEGIN
    FOREACH door IN ARRAY ARRAY['devices_with_dev_addr(bytea)', 'dev_addr_of(int)']::regprocedure[] LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO territoire_api', door);
    END LOOP;
END
$$;
