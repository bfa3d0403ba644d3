-- The AES keys with which meters encrypt what they say (M-Bus), wrapped like the devices' own keys. A key is its
-- device's; a tenant may have a default for its devices of a profile.

CREATE TABLE device_decoding_key (
    device_id int NOT NULL REFERENCES device ON DELETE CASCADE,
    -- Of one meter among those that the device reports, the eight digits on it; '': of any other.
    meter_id text NOT NULL DEFAULT '' CHECK (meter_id ~ '^([0-9a-f]{8})?$'),
    key_wrapped bytea NOT NULL CHECK (octet_length(key_wrapped) = 24),  -- AES key wrap under kek_id.
    kek_id text NOT NULL,
    set_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (device_id, meter_id)
);
CREATE TABLE profile_decoding_key (
    tenant_id int NOT NULL REFERENCES tenant,  -- Whose devices.
    device_profile_id int NOT NULL REFERENCES device_profile ON DELETE CASCADE,
    key_wrapped bytea NOT NULL CHECK (octet_length(key_wrapped) = 24),
    kek_id text NOT NULL,
    set_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, device_profile_id)
);
CREATE INDEX profile_decoding_key_by_profile ON profile_decoding_key (device_profile_id);

CALL scope_to_tenant('profile_decoding_key');
-- A device's key is whose the device is, and of nobody else who sees it.
ALTER TABLE device_decoding_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE device_decoding_key FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON device_decoding_key
    USING (EXISTS (SELECT FROM device d
                   WHERE d.id = device_decoding_key.device_id AND d.tenant_id = current_tenant()));
CREATE POLICY of_services ON device_decoding_key TO territoire_service USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON device_decoding_key TO territoire_service;

-- A key can be written by the API's role, and seen to be there, not read.
GRANT SELECT (device_id, meter_id, set_at) ON device_decoding_key TO territoire_api;
GRANT SELECT (tenant_id, device_profile_id, set_at) ON profile_decoding_key TO territoire_api;
GRANT INSERT, UPDATE (key_wrapped, kek_id, set_at), DELETE
    ON device_decoding_key, profile_decoding_key TO territoire_api;

CREATE TRIGGER device_decoding_key_changed AFTER INSERT OR UPDATE OR DELETE ON device_decoding_key
    FOR EACH ROW EXECUTE FUNCTION note_registry_change('device', 'device_id');
CREATE TRIGGER profile_decoding_key_changed AFTER INSERT OR UPDATE OR DELETE ON profile_decoding_key
    FOR EACH ROW EXECUTE FUNCTION note_registry_change('device_profile', 'device_profile_id');

-- A device that changes hands takes along what opens its telegrams: its giver's default becomes its own key. It is
-- given the receiver's profile before it is given to the receiver; a profile that is offered to all, it keeps.
CREATE FUNCTION keep_default_decoding_key() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO device_decoding_key (device_id, key_wrapped, kek_id, set_at)
    SELECT NEW.id, k.key_wrapped, k.kek_id, k.set_at
    FROM profile_decoding_key k
    WHERE k.tenant_id = OLD.tenant_id AND k.device_profile_id = OLD.device_profile_id
      AND (NEW.tenant_id <> OLD.tenant_id
           OR EXISTS (SELECT FROM device_profile p
                      WHERE p.id = NEW.device_profile_id AND p.tenant_id <> NEW.tenant_id))
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION keep_default_decoding_key FROM PUBLIC;
ALTER FUNCTION keep_default_decoding_key OWNER TO territoire_service;
CREATE TRIGGER device_keeps_default_decoding_key AFTER UPDATE OF tenant_id, device_profile_id ON device
    FOR EACH ROW
    WHEN (OLD.tenant_id <> NEW.tenant_id OR OLD.device_profile_id <> NEW.device_profile_id)
    EXECUTE FUNCTION keep_default_decoding_key();
