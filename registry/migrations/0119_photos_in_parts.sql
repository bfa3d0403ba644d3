-- Photos that a telephone sends in parts, over a network that breaks: what has arrived stays for a day.

-- As a telephone makes them.
ALTER TABLE asset_photo DROP CONSTRAINT asset_photo_content_check,
    ADD CONSTRAINT asset_photo_content_check CHECK (octet_length(content) BETWEEN 4 AND 8388608);
ALTER TABLE work_order_photo DROP CONSTRAINT work_order_photo_content_check,
    ADD CONSTRAINT work_order_photo_content_check CHECK (octet_length(content) BETWEEN 4 AND 8388608);

CREATE TABLE photo_upload (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id int NOT NULL REFERENCES tenant,
    asset_id int REFERENCES asset ON DELETE CASCADE,
    work_order_id int REFERENCES work_order ON DELETE CASCADE,
    octets int NOT NULL CHECK (octets BETWEEN 4 AND 8000000),  -- Of the file as it is sent.
    remark text NOT NULL DEFAULT '' CHECK (length(remark) <= 200),
    requested_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    photo_id int,  -- What was made of it: whose answer was lost asks again.
    UNIQUE (id, tenant_id),
    CHECK (num_nonnulls(asset_id, work_order_id) = 1)
);
CREATE INDEX photo_upload_of_tenant ON photo_upload (tenant_id, id);
CREATE INDEX photo_upload_of_asset ON photo_upload (asset_id) WHERE asset_id IS NOT NULL;
CREATE INDEX photo_upload_of_order ON photo_upload (work_order_id) WHERE work_order_id IS NOT NULL;

CREATE TABLE photo_upload_part (
    upload_id int NOT NULL,
    tenant_id int NOT NULL,
    number int NOT NULL CHECK (number BETWEEN 1 AND 1000),
    octets int NOT NULL GENERATED ALWAYS AS (octet_length(content)) STORED,
    content bytea NOT NULL CHECK (octet_length(content) BETWEEN 1 AND 720000),
    PRIMARY KEY (upload_id, number),
    FOREIGN KEY (upload_id, tenant_id) REFERENCES photo_upload (id, tenant_id) ON DELETE CASCADE
);
ALTER TABLE photo_upload_part ALTER COLUMN content SET STORAGE EXTERNAL;

CALL scope_to_tenant('photo_upload');
CALL scope_to_tenant('photo_upload_part');
CREATE POLICY of_kinds ON photo_upload AS RESTRICTIVE TO territoire_api
    USING ((SELECT proved_kinds()) IS NULL OR asset_id IN (SELECT assets_of_kinds()));
CREATE POLICY of_kinds ON photo_upload_part AS RESTRICTIVE TO territoire_api
    USING ((SELECT proved_kinds()) IS NULL OR EXISTS (SELECT FROM photo_upload u WHERE u.id = upload_id));
GRANT SELECT, INSERT (tenant_id, asset_id, work_order_id, octets, remark, requested_by), UPDATE (photo_id), DELETE
    ON photo_upload TO territoire_api;
GRANT SELECT, INSERT (upload_id, tenant_id, number, content), UPDATE (content), DELETE
    ON photo_upload_part TO territoire_api;

INSERT INTO quota_default (kind, most, counted, condition)
VALUES ('photo_uploads', 50, 'photo_upload', 'photo_id IS NULL');
CREATE TRIGGER quota_of_new AFTER INSERT ON photo_upload FOR EACH ROW
    WHEN (session_user = 'territoire_api') EXECUTE FUNCTION keep_quota();
CREATE TRIGGER quota_of_taken_over AFTER UPDATE OF tenant_id ON photo_upload FOR EACH ROW
    WHEN (session_user = 'territoire_api' AND NEW.tenant_id IS DISTINCT FROM OLD.tenant_id)
    EXECUTE FUNCTION keep_quota();

-- Whole: the photo is where it belongs, or is sent again.
INSERT INTO erasure_step VALUES
(58, 'photo_upload', $$
WITH gone AS (DELETE FROM photo_upload WHERE asset_id = ANY(($1).asset_ids)
OR (($1).kind IN ('person', 'contact') AND requested_by = ANY(($1).names)) RETURNING 1) SELECT count(*) FROM gone $$);
