-- Other people's LNS, and systems of NB-IoT, LTE-M and 4G devices, that hand uplinks to a tenant's devices.

CREATE TABLE lns_source (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    kind text NOT NULL CHECK (kind IN
        ('chirpstack', 'the_things_stack', 'thingpark', 'live_objects', 'wanesy', 'generic')),
    transport text NOT NULL CHECK (transport IN ('http', 'mqtt')),
    name text NOT NULL,
    token_sha256 bytea CHECK (octet_length(token_sha256) = 32),
    mqtt_url text,  -- Without credentials.
    mqtt_topic text,
    mqtt_user text,
    -- Names the session that their broker keeps for us; 23 characters, as MQTT 3.1.1 allows everywhere.
    mqtt_client_id text NOT NULL DEFAULT 'territoire-' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 12),
    secret_wrapped bytea,  -- The password at their broker, or ThingPark's AS key; AES key wrap under kek_id.
    kek_id text,
    enabled boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name),
    CHECK (transport = 'mqtt' OR token_sha256 IS NOT NULL),
    CHECK (transport = 'http' OR (mqtt_url IS NOT NULL AND mqtt_topic IS NOT NULL))
);

-- What intake last knew of a source; apart from the registry row, because it changes all the time.
CREATE TABLE lns_source_state (
    source_id int PRIMARY KEY REFERENCES lns_source ON DELETE CASCADE,
    tenant_id int NOT NULL REFERENCES tenant,
    last_seen_at timestamptz,
    accepted bigint NOT NULL DEFAULT 0,
    ignored bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    last_error text,
    last_error_at timestamptz
);

-- Devices that a source tells of and that its tenant has not registered.
CREATE TABLE lns_unknown_device (
    source_id int NOT NULL REFERENCES lns_source ON DELETE CASCADE,
    dev_eui bytea NOT NULL CHECK (octet_length(dev_eui) = 8),
    tenant_id int NOT NULL REFERENCES tenant,
    first_seen_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    messages bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (source_id, dev_eui)
);
CREATE INDEX lns_unknown_device_by_dev_eui ON lns_unknown_device (dev_eui);

CREATE FUNCTION forget_lns_unknown_device() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    DELETE FROM lns_unknown_device WHERE dev_eui = NEW.dev_eui AND tenant_id = NEW.tenant_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER device_registered AFTER INSERT ON device
    FOR EACH ROW EXECUTE FUNCTION forget_lns_unknown_device();
CREATE TRIGGER lns_source_changed AFTER INSERT OR UPDATE OR DELETE ON lns_source
    FOR EACH ROW EXECUTE FUNCTION note_registry_change('lns_source', 'id');

CALL scope_to_tenant('lns_source');
CALL scope_to_tenant('lns_source_state');
CALL scope_to_tenant('lns_unknown_device');
-- A function takes its owner's rights: only now, when the table's are granted.
ALTER FUNCTION forget_lns_unknown_device OWNER TO territoire_service;

-- Digests and secrets can be written by the API's role, not read.
GRANT SELECT (id, tenant_id, kind, transport, name, mqtt_url, mqtt_topic, mqtt_user, enabled, created_at)
    ON lns_source TO territoire_api;
GRANT INSERT, UPDATE, DELETE ON lns_source TO territoire_api;
GRANT SELECT ON lns_source_state, lns_unknown_device TO territoire_api;
