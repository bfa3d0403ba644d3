-- Kits: what a building needs, as a template; commissioned in one transaction, seen device by device, accepted.

-- Each version of a template is a row: what was commissioned stays what it was.
CREATE TABLE kit_template (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    version int NOT NULL CHECK (version > 0),
    description text NOT NULL DEFAULT '' CHECK (length(description) <= 1000),
    items jsonb NOT NULL,
    rules jsonb NOT NULL DEFAULT '[]',
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    UNIQUE (tenant_id, name, version),
    UNIQUE (id, tenant_id)
);

CREATE TABLE kit_commissioning (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    template_id int NOT NULL,
    site text NOT NULL CHECK (length(site) BETWEEN 1 AND 100),
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    accepted_at timestamptz,
    accepted_by text,
    reservations text NOT NULL DEFAULT '' CHECK (length(reservations) <= 4000),
    UNIQUE (id, tenant_id),
    CHECK ((accepted_at IS NULL) = (accepted_by IS NULL)),
    FOREIGN KEY (template_id, tenant_id) REFERENCES kit_template (id, tenant_id)
);
CREATE INDEX kit_commissioning_of_tenant ON kit_commissioning (tenant_id, id DESC);
CREATE INDEX kit_commissioning_of_template ON kit_commissioning (template_id);

-- What was made of each item.
CREATE TABLE kit_item (
    commissioning_id int NOT NULL,
    tenant_id int NOT NULL REFERENCES tenant,
    place int NOT NULL,
    item text NOT NULL,
    asset_id int REFERENCES asset ON DELETE CASCADE,
    device_id int REFERENCES device ON DELETE CASCADE,
    PRIMARY KEY (commissioning_id, place),
    FOREIGN KEY (commissioning_id, tenant_id) REFERENCES kit_commissioning (id, tenant_id) ON DELETE CASCADE
);
CREATE INDEX kit_item_of_tenant ON kit_item (tenant_id);
CREATE INDEX kit_item_of_asset ON kit_item (asset_id);
CREATE INDEX kit_item_of_device ON kit_item (device_id);

CALL scope_to_tenant('kit_template');
CALL scope_to_tenant('kit_commissioning');
CALL scope_to_tenant('kit_item');
GRANT SELECT, INSERT ON kit_template, kit_item TO territoire_api;
GRANT SELECT, INSERT, UPDATE (accepted_at, accepted_by, reservations) ON kit_commissioning TO territoire_api;

INSERT INTO erasure_step VALUES
(71, 'kit_item', $$
WITH gone AS (DELETE FROM kit_item WHERE asset_id = ANY(($1).asset_ids) OR device_id = ANY(($1).device_ids)
RETURNING 1) SELECT count(*) FROM gone $$),
(107, 'kit_template', $$
WITH named AS (UPDATE kit_template SET created_by = 'personne effacée' WHERE ($1).kind IN ('person', 'contact')
AND created_by = ANY(($1).names) RETURNING 1) SELECT count(*) FROM named $$),
(109, 'kit_commissioning', $$
WITH named AS (UPDATE kit_commissioning SET created_by = CASE WHEN created_by = ANY(($1).names) THEN 'personne effacée'
ELSE created_by END, accepted_by = CASE WHEN accepted_by = ANY(($1).names) THEN 'personne effacée' ELSE accepted_by END
WHERE ($1).kind IN ('person', 'contact') AND (created_by = ANY(($1).names) OR accepted_by = ANY(($1).names))
RETURNING 1) SELECT count(*) FROM named $$);
