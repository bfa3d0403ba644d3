-- Who owns what: tenants, keys, device profiles, assets, devices, gateways, datastreams.
-- Row security: a role sees the rows of the tenant named by app.tenant; the services see all.

CREATE EXTENSION IF NOT EXISTS timescaledb;
CREATE EXTENSION IF NOT EXISTS btree_gist;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'territoire_service') THEN
        CREATE ROLE territoire_service LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'territoire_api') THEN
        CREATE ROLE territoire_api LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'territoire_views') THEN
        CREATE ROLE territoire_views NOLOGIN;
    END IF;
END
$$;

GRANT USAGE ON SCHEMA public TO territoire_service, territoire_api, territoire_views;

-- The tenant of this transaction, or NULL: then no row is visible.
CREATE FUNCTION current_tenant() RETURNS int
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('app.tenant', true), '')::int;

-- What holds for the whole installation, decided at the first migration. {shards} is filled in by the runner.
CREATE TABLE deployment (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    shards smallint NOT NULL CHECK (shards IN (1, 2, 4, 8, 16))
);
INSERT INTO deployment (shards) VALUES ({shards});

-- Raised in the transaction of every change to the registry; each process reads anew what changed.
CREATE SEQUENCE registry_version_seq;
CREATE TABLE registry_change (
    version bigint PRIMARY KEY DEFAULT nextval('registry_version_seq'),
    changed_at timestamptz NOT NULL DEFAULT now(),
    entity text NOT NULL,
    entity_id int NOT NULL
);

CREATE INDEX registry_change_recent ON registry_change (changed_at);

CREATE TABLE tenant (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name text NOT NULL,
    -- Networks (CIDR) or host names inside the authority to which this tenant's webhooks may go.
    webhook_allow_list text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_key (
    id text PRIMARY KEY,
    tenant_id int NOT NULL REFERENCES tenant,
    name text NOT NULL,
    secret_sha256 bytea NOT NULL CHECK (octet_length(secret_sha256) = 32),
    roles text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);

CREATE TABLE device_profile (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int REFERENCES tenant,  -- NULL: offered to every tenant.
    name text NOT NULL,
    vendor text NOT NULL,
    model text NOT NULL,
    codec text NOT NULL,
    codec_options jsonb NOT NULL DEFAULT '{}',
    device_class char(1) NOT NULL DEFAULT 'A' CHECK (device_class IN ('A', 'C')),
    mac_version text NOT NULL DEFAULT '1.0.3',
    region text NOT NULL DEFAULT 'EU868',
    expected_interval interval NOT NULL DEFAULT '1 hour',
    capabilities text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (tenant_id, name)
);

CREATE TABLE asset (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    kind text NOT NULL,
    name text NOT NULL,
    commune text NOT NULL DEFAULT '',
    street text NOT NULL DEFAULT '',
    latitude double precision CHECK (latitude BETWEEN -90 AND 90),
    longitude double precision CHECK (longitude BETWEEN -180 AND 180),
    attributes jsonb NOT NULL DEFAULT '{}',
    privacy_class smallint NOT NULL DEFAULT 0 CHECK (privacy_class BETWEEN 0 AND 2),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, kind, name)
);

CREATE TABLE device (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    dev_eui bytea NOT NULL UNIQUE CHECK (octet_length(dev_eui) = 8),
    join_eui bytea NOT NULL CHECK (octet_length(join_eui) = 8),
    name text NOT NULL,
    device_profile_id int NOT NULL REFERENCES device_profile,
    slot smallint NOT NULL CHECK (slot BETWEEN 0 AND 15),
    activation text NOT NULL DEFAULT 'OTAA' CHECK (activation IN ('OTAA', 'ABP')),
    app_key_wrapped bytea,  -- AES key wrap (RFC 3394) under kek_id; never read by the API.
    kek_id text,
    skip_f_cnt_check boolean NOT NULL DEFAULT false,
    enabled boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (activation = 'ABP' OR app_key_wrapped IS NOT NULL)
);
CREATE INDEX device_by_tenant ON device (tenant_id);

-- Which device serves which asset, when. A device is replaced, the asset's history goes on.
CREATE TABLE assignment (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    asset_id int NOT NULL REFERENCES asset,
    device_id int NOT NULL REFERENCES device,
    position text NOT NULL DEFAULT '',
    during tstzrange NOT NULL DEFAULT tstzrange(now(), NULL),
    EXCLUDE USING gist (device_id WITH =, during WITH &&),
    EXCLUDE USING gist (asset_id WITH =, position WITH =, during WITH &&)
);

CREATE TABLE gateway (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    gateway_id bytea NOT NULL UNIQUE CHECK (octet_length(gateway_id) = 8),
    name text NOT NULL,
    region text NOT NULL DEFAULT 'EU868',
    latitude double precision CHECK (latitude BETWEEN -90 AND 90),
    longitude double precision CHECK (longitude BETWEEN -180 AND 180),
    antenna_gain real NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- What the bridge last knew of a gateway; apart from the registry row, because it changes all the time.
CREATE TABLE gateway_state (
    gateway_id int PRIMARY KEY REFERENCES gateway ON DELETE CASCADE,
    frontend text NOT NULL,
    address text NOT NULL,
    last_seen_at timestamptz NOT NULL,
    stats jsonb NOT NULL DEFAULT '{}'
);

-- Gateways that talk to us without being registered: what an installer looks for first.
CREATE TABLE unknown_gateway (
    gateway_id bytea PRIMARY KEY CHECK (octet_length(gateway_id) = 8),
    frontend text NOT NULL,
    address text NOT NULL,
    first_seen_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL
);

-- What SensorThings calls a Datastream: one quantity of one asset (or of a device that serves none).
CREATE TABLE datastream (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    asset_id int REFERENCES asset,
    device_id int NOT NULL REFERENCES device,
    position text NOT NULL DEFAULT '',
    channel text NOT NULL DEFAULT '',
    quantity text NOT NULL,
    unit text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX datastream_of_asset ON datastream (asset_id, position, channel, quantity)
    WHERE asset_id IS NOT NULL;
CREATE UNIQUE INDEX datastream_of_device ON datastream (device_id, channel, quantity)
    WHERE asset_id IS NULL;
CREATE INDEX datastream_by_tenant ON datastream (tenant_id, quantity);

-- Who did what. Nobody may change or delete a line.
CREATE TABLE audit (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    action text NOT NULL,
    entity text NOT NULL,
    entity_id text NOT NULL,
    details jsonb NOT NULL DEFAULT '{}'
);

CREATE FUNCTION note_registry_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    INSERT INTO registry_change (entity, entity_id)
    VALUES (TG_ARGV[0], (to_jsonb(COALESCE(NEW, OLD)) ->> TG_ARGV[1])::int);
    RETURN NULL;
END
$$;

CREATE TRIGGER device_changed AFTER INSERT OR UPDATE OR DELETE ON device
    FOR EACH ROW EXECUTE FUNCTION note_registry_change('device', 'id');
CREATE TRIGGER assignment_changed AFTER INSERT OR UPDATE OR DELETE ON assignment
    FOR EACH ROW EXECUTE FUNCTION note_registry_change('device', 'device_id');
CREATE TRIGGER device_profile_changed AFTER INSERT OR UPDATE OR DELETE ON device_profile
    FOR EACH ROW EXECUTE FUNCTION note_registry_change('device_profile', 'id');
CREATE TRIGGER asset_changed AFTER INSERT OR UPDATE OR DELETE ON asset
    FOR EACH ROW EXECUTE FUNCTION note_registry_change('asset', 'id');
CREATE TRIGGER gateway_changed AFTER INSERT OR UPDATE OR DELETE ON gateway
    FOR EACH ROW EXECUTE FUNCTION note_registry_change('gateway', 'id');
-- Once registered, whoever registered it, a gateway is no longer unknown.
CREATE FUNCTION forget_unknown_gateway() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    DELETE FROM unknown_gateway WHERE gateway_id = NEW.gateway_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER gateway_registered AFTER INSERT ON gateway
    FOR EACH ROW EXECUTE FUNCTION forget_unknown_gateway();

CREATE TRIGGER tenant_changed AFTER INSERT OR UPDATE OR DELETE ON tenant
    FOR EACH ROW EXECUTE FUNCTION note_registry_change('tenant', 'id');

-- An API key is checked before a tenant is known, hence past row security, and only by this door.
CREATE FUNCTION authenticate_api_key(key_id text, digest bytea)
    RETURNS TABLE (tenant_id int, tenant_slug text, name text, roles text[])
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    SELECT k.tenant_id, t.slug, k.name, k.roles
    FROM api_key k JOIN tenant t ON t.id = k.tenant_id
    WHERE k.id = key_id AND k.secret_sha256 = digest AND k.revoked_at IS NULL
      AND (k.expires_at IS NULL OR k.expires_at > now())
$$;
REVOKE EXECUTE ON FUNCTION authenticate_api_key FROM PUBLIC;
GRANT EXECUTE ON FUNCTION authenticate_api_key TO territoire_api, territoire_service;
ALTER FUNCTION authenticate_api_key OWNER TO territoire_service;
ALTER FUNCTION note_registry_change OWNER TO territoire_service;
ALTER FUNCTION forget_unknown_gateway OWNER TO territoire_service;

-- A table with row security: a tenant's own rows for everybody, all rows for the services.
CREATE PROCEDURE scope_to_tenant(scoped regclass) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', scoped);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', scoped);
    EXECUTE format('CREATE POLICY of_tenant ON %s USING (tenant_id = current_tenant()) '
                   'WITH CHECK (tenant_id = current_tenant())', scoped);
    EXECUTE format('CREATE POLICY of_services ON %s TO territoire_service USING (true) WITH CHECK (true)', scoped);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO territoire_service', scoped);
END
$$;

CALL scope_to_tenant('api_key');
CALL scope_to_tenant('asset');
CALL scope_to_tenant('device');
CALL scope_to_tenant('assignment');
CALL scope_to_tenant('gateway');
CALL scope_to_tenant('datastream');
CALL scope_to_tenant('device_profile');
CREATE POLICY shared ON device_profile FOR SELECT USING (tenant_id IS NULL);
CALL scope_to_tenant('audit');
REVOKE UPDATE, DELETE ON audit FROM territoire_service;

ALTER TABLE tenant ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON tenant USING (id = current_tenant());
CREATE POLICY of_services ON tenant TO territoire_service USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON tenant TO territoire_service;
-- The operator of the network makes tenants and sees that they exist; the API says so in the transaction.
CREATE POLICY seen_by_operator ON tenant FOR SELECT TO territoire_api
    USING (current_setting('app.operator', true) = 'on');
CREATE POLICY made_by_operator ON tenant FOR INSERT TO territoire_api
    WITH CHECK (current_setting('app.operator', true) = 'on');

ALTER TABLE gateway_state ENABLE ROW LEVEL SECURITY;
ALTER TABLE gateway_state FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON gateway_state USING (EXISTS (SELECT FROM gateway g WHERE g.id = gateway_state.gateway_id));
CREATE POLICY of_services ON gateway_state TO territoire_service USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON gateway_state, unknown_gateway TO territoire_service;
GRANT SELECT, INSERT, DELETE ON registry_change TO territoire_service;
GRANT USAGE ON SEQUENCE registry_version_seq TO territoire_service;
GRANT SELECT ON deployment, registry_change TO territoire_service, territoire_api;

GRANT SELECT, INSERT, UPDATE ON tenant TO territoire_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON api_key, asset, assignment, gateway, device_profile TO territoire_api;
GRANT SELECT ON gateway_state, unknown_gateway, datastream TO territoire_api;
GRANT SELECT, INSERT ON audit TO territoire_api;
-- The root key can be written by the API's role, not read.
GRANT SELECT (id, tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation, kek_id,
              skip_f_cnt_check, enabled, created_at) ON device TO territoire_api;
GRANT INSERT, UPDATE, DELETE ON device TO territoire_api;
GRANT SELECT ON datastream TO territoire_views;
