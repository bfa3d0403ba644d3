-- Accounts at the MQTT broker, of gateways and of partners: these rows are the truth, and intake brings the broker to
-- what they say. The broker hashes passwords by itself and may lose them, so they are kept sealed; a digest could not
-- be given back to it. A rotation is another account: two are valid until the former ends.
CREATE TABLE mqtt_account (
    id text PRIMARY KEY CHECK (id ~ '^[0-9a-f]{16}$'),
    gateway_id int REFERENCES gateway ON DELETE CASCADE,
    -- Of a partner.
    tenant_id int REFERENCES tenant,
    name text,
    -- Topic filters below the tenant's own prefix.
    publishes text[] NOT NULL DEFAULT '{}',
    reads text[] NOT NULL DEFAULT '{}',
    secret_wrapped bytea NOT NULL,
    kek_id text NOT NULL,
    sealed_for uuid NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    -- Since when the broker has it.
    applied_at timestamptz,
    -- A gateway was heard over MQTT while this account was valid: from then on it is believed nothing less.
    proved_at timestamptz,
    owner_id int GENERATED ALWAYS AS (coalesce(gateway_id, tenant_id)) STORED,
    CHECK ((gateway_id IS NULL) <> (tenant_id IS NULL)),
    CHECK ((tenant_id IS NULL) = (name IS NULL))
);
CREATE INDEX mqtt_account_of_gateway ON mqtt_account (gateway_id);
CREATE INDEX mqtt_account_of_tenant ON mqtt_account (tenant_id);
ALTER TABLE mqtt_account ENABLE ROW LEVEL SECURITY;
ALTER TABLE mqtt_account FORCE ROW LEVEL SECURITY;
CREATE POLICY of_services ON mqtt_account TO territoire_service USING (true) WITH CHECK (true);
-- Of a gateway who sees the gateway sees them, as its tokens; of a partner only the tenant itself.
CREATE POLICY of_viewer ON mqtt_account FOR SELECT
    USING (EXISTS (SELECT FROM gateway g WHERE g.id = mqtt_account.gateway_id));
CREATE POLICY of_tenant ON mqtt_account
    USING (tenant_id = (SELECT current_tenant())
           OR EXISTS (SELECT FROM gateway g WHERE g.id = mqtt_account.gateway_id
                      AND g.tenant_id = (SELECT current_tenant())));
GRANT SELECT, INSERT, UPDATE, DELETE ON mqtt_account TO territoire_service;
-- A password can be written by the API's role, not read.
GRANT SELECT (id, gateway_id, tenant_id, name, publishes, reads, created_at, expires_at, applied_at)
    ON mqtt_account TO territoire_api;
GRANT INSERT, UPDATE (expires_at), DELETE ON mqtt_account TO territoire_api;

-- Live at the broker within seconds; that it is, and that one was used, is no change.
CREATE TRIGGER mqtt_account_changed AFTER INSERT OR DELETE OR UPDATE OF expires_at ON mqtt_account
    FOR EACH ROW EXECUTE FUNCTION note_registry_change('mqtt_account', 'owner_id');

-- What goes before `application/{id}/...` at a broker that several share: of ours, the tenant's own prefix.
ALTER TABLE application ADD COLUMN topic_prefix text NOT NULL DEFAULT '';
GRANT SELECT (topic_prefix) ON application TO territoire_api;
