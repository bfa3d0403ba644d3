-- What a gateway proves itself by. The secret is 32 random octets, so its SHA-256 is enough; two are valid at once only
-- during a rotation, when the former has an end.
CREATE TABLE gateway_token (
    id text PRIMARY KEY CHECK (id ~ '^[0-9a-f]{16}$'),
    gateway_id int NOT NULL REFERENCES gateway ON DELETE CASCADE,
    secret_sha256 bytea NOT NULL CHECK (octet_length(secret_sha256) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    last_used_at timestamptz
);
CREATE INDEX gateway_token_of_gateway ON gateway_token (gateway_id);
ALTER TABLE gateway_token ENABLE ROW LEVEL SECURITY;
ALTER TABLE gateway_token FORCE ROW LEVEL SECURITY;
CREATE POLICY of_services ON gateway_token TO territoire_service USING (true) WITH CHECK (true);
CREATE POLICY of_viewer ON gateway_token FOR SELECT
    USING (EXISTS (SELECT FROM gateway g WHERE g.id = gateway_token.gateway_id));
CREATE POLICY of_tenant ON gateway_token
    USING (EXISTS (SELECT FROM gateway g WHERE g.id = gateway_token.gateway_id AND g.tenant_id = current_tenant()));
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway_token TO territoire_service;
-- A digest can be written by the API's role, not read.
GRANT SELECT (id, gateway_id, created_at, expires_at, last_used_at) ON gateway_token TO territoire_api;
GRANT INSERT, UPDATE (expires_at), DELETE ON gateway_token TO territoire_api;

-- A withdrawn token ends its connection within seconds; that one was used is no change.
CREATE TRIGGER gateway_token_changed AFTER INSERT OR DELETE OR UPDATE OF expires_at ON gateway_token
    FOR EACH ROW EXECUTE FUNCTION note_registry_change('gateway', 'gateway_id');

-- Stations of before may come without a credential for a month; NULL: they may not.
ALTER TABLE gateway ADD COLUMN unproved_until timestamptz;
UPDATE gateway SET unproved_until = now() + interval '30 days'
WHERE id IN (SELECT gateway_id FROM gateway_state WHERE frontend = 'basics_station');
