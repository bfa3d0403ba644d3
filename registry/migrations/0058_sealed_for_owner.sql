-- Wrapped keys and secrets are sealed for their owner (registry/keys.py). A device's and a session's owner is named by
-- DevEUI and DevAddr; a row that the field has no name for draws one, `sealed_for`, that nobody changes. What RFC 3394
-- wrapped before stays, until `keys rotate` seals it.

-- Fingerprints of keys, under a key derived from the key-encryption key: equal keys of one owner are found by them.
ALTER TABLE device ADD COLUMN app_key_fingerprint bytea;
ALTER TABLE session ADD COLUMN keys_fingerprint bytea;

ALTER TABLE webhook_endpoint
    ADD COLUMN sealed_for uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    ADD COLUMN previous_kek_id text,
    ADD COLUMN url_wrapped bytea;  -- Where `url` is a password: then that column has what is shown of it.
ALTER TABLE event_source
    ADD COLUMN sealed_for uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    ADD COLUMN previous_kek_id text;
ALTER TABLE lns_source ADD COLUMN sealed_for uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE;
ALTER TABLE application ADD COLUMN sealed_for uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE;
ALTER TABLE multicast_group ADD COLUMN sealed_for uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE;
ALTER TABLE profile_decoding_key
    ADD COLUMN sealed_for uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    DROP CONSTRAINT profile_decoding_key_key_wrapped_check,
    ADD CONSTRAINT profile_decoding_key_key_wrapped_check CHECK (octet_length(key_wrapped) IN (24, 45));
-- Of a default that its device kept: whose it was when it was sealed. NULL: sealed for the device itself.
ALTER TABLE device_decoding_key
    ADD COLUMN sealed_for uuid,
    DROP CONSTRAINT device_decoding_key_key_wrapped_check,
    ADD CONSTRAINT device_decoding_key_key_wrapped_check CHECK (octet_length(key_wrapped) IN (24, 45));

UPDATE webhook_endpoint SET previous_kek_id = kek_id WHERE previous_secret_wrapped IS NOT NULL;
UPDATE event_source SET previous_kek_id = kek_id WHERE previous_secret_wrapped IS NOT NULL;

-- Whoever renews a secret seals it for the row.
GRANT SELECT (sealed_for) ON webhook_endpoint, event_source TO territoire_api;
GRANT UPDATE (sealed_for) ON device_decoding_key, profile_decoding_key TO territoire_api;

-- What seals values anew changes nothing that anybody has read.
CREATE OR REPLACE FUNCTION note_registry_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF current_setting('app.resealing', true) = 'on' THEN
        RETURN NULL;
    END IF;
    INSERT INTO registry_change (entity, entity_id)
    VALUES (TG_ARGV[0], (to_jsonb(COALESCE(NEW, OLD)) ->> TG_ARGV[1])::int);
    RETURN NULL;
END
$$;

-- As before, and it keeps the owner that the default was sealed for.
CREATE OR REPLACE FUNCTION keep_default_decoding_key() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO device_decoding_key (device_id, key_wrapped, kek_id, set_at, sealed_for)
    SELECT NEW.id, k.key_wrapped, k.kek_id, k.set_at, k.sealed_for
    FROM profile_decoding_key k
    WHERE k.tenant_id = OLD.tenant_id AND k.device_profile_id = OLD.device_profile_id
      AND (NEW.tenant_id <> OLD.tenant_id
           OR EXISTS (SELECT FROM device_profile p
                      WHERE p.id = NEW.device_profile_id AND p.tenant_id <> NEW.tenant_id))
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

-- The former secret stays under the key that sealed it, for the same owner.
CREATE OR REPLACE FUNCTION rotate_webhook_secret(endpoint int, wrapped bytea, kek text, former_until timestamptz)
    RETURNS boolean LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE webhook_endpoint SET previous_secret_wrapped = secret_wrapped, previous_kek_id = kek_id,
           previous_until = former_until, secret_wrapped = wrapped, kek_id = kek
    WHERE id = endpoint AND tenant_id = current_tenant()
    RETURNING true
$$;
CREATE OR REPLACE FUNCTION rotate_partner_secret(source int, wrapped bytea, kek text, former_until timestamptz)
    RETURNS boolean LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE event_source SET previous_secret_wrapped = secret_wrapped, previous_kek_id = kek_id,
           previous_until = former_until, secret_wrapped = wrapped, kek_id = kek
    WHERE id = source AND tenant_id = current_tenant()
    RETURNING true
$$;
DROP FUNCTION partner_secrets(int);
CREATE FUNCTION partner_secrets(source int)
    RETURNS TABLE (tenant_id int, name text, team_id int, secrets_wrapped bytea[], sealed_for uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT s.tenant_id, s.name, s.team_id,
           CASE WHEN s.previous_until > now() THEN ARRAY[s.secret_wrapped, s.previous_secret_wrapped]
                ELSE ARRAY[s.secret_wrapped] END,
           s.sealed_for
    FROM event_source s WHERE s.id = source AND s.enabled
$$;

-- The doors by which keys come in. Sealed values of one key differ: `equal_to` has every fingerprint, and every value
-- of RFC 3394, that the same key may have here. Without it (a caller of before) values are compared.
DROP FUNCTION import_session(int, bytea, bytea, bytea, text);
CREATE FUNCTION import_session(device int, addr bytea, nwk_s_key bytea, app_s_key bytea, kek text,
                               fingerprint bytea DEFAULT NULL) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id, keys_fingerprint)
    SELECT d.id, addr, nwk_s_key, app_s_key, kek, fingerprint FROM device d
    WHERE d.id = device AND d.tenant_id = current_tenant() AND d.activation = 'ABP'
    RETURNING id
$$;

DROP FUNCTION import_root_key(int, bytea, bytea, text, int);
CREATE FUNCTION import_root_key(device int, join_eui bytea, app_key bytea, kek text, join_nonce int,
                                fingerprint bytea DEFAULT NULL, equal_to bytea[] DEFAULT NULL) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    changed boolean;
BEGIN
    UPDATE device d SET activation = 'OTAA', join_eui = import_root_key.join_eui, app_key_wrapped = app_key,
                        kek_id = kek, app_key_fingerprint = fingerprint
    WHERE d.id = import_root_key.device AND d.tenant_id = current_tenant()
      AND ((d.activation, d.join_eui) IS DISTINCT FROM ('OTAA', import_root_key.join_eui)
           OR (coalesce(d.app_key_fingerprint, d.app_key_wrapped) = ANY(coalesce(equal_to, ARRAY[app_key])))
              IS NOT TRUE);
    changed := FOUND;
    IF join_nonce IS NOT NULL THEN
        INSERT INTO join_nonce AS known (device_id, last_join_nonce)
        SELECT d.id, import_root_key.join_nonce FROM device d
        WHERE d.id = import_root_key.device AND d.tenant_id = current_tenant()
        ON CONFLICT (device_id) DO UPDATE SET last_join_nonce = excluded.last_join_nonce
        WHERE known.last_join_nonce < excluded.last_join_nonce;
        changed := changed OR FOUND;
    END IF;
    RETURN changed;
END
$$;

DROP FUNCTION continue_session(int, bytea, int, bytea, bytea, text, bigint, bigint, int, int, int, int);
CREATE FUNCTION continue_session(device int, addr bytea, addr_slot int, nwk_s_key bytea, app_s_key bytea,
                                 kek text, next_up bigint, next_down bigint, rx1_delay int, rx1_dr_offset int,
                                 rx2_data_rate int, rx2_frequency int, fingerprint bytea DEFAULT NULL,
                                 equal_to bytea[] DEFAULT NULL) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    known session;
BEGIN
    PERFORM FROM device d WHERE d.id = continue_session.device AND d.tenant_id = current_tenant() FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'device % is not of this tenant', continue_session.device USING ERRCODE = 'no_data_found';
    END IF;
    -- One that was closed, because the device joined here since, is not opened again by an old file.
    SELECT * INTO known FROM session s
    WHERE s.device_id = continue_session.device AND s.dev_addr = addr
      AND coalesce(s.keys_fingerprint, s.nwk_s_key_wrapped || s.app_s_key_wrapped)
          = ANY(coalesce(equal_to, ARRAY[nwk_s_key || app_s_key]))
    ORDER BY s.id DESC LIMIT 1;
    IF FOUND THEN
        UPDATE session s SET f_cnt_up = greatest(s.f_cnt_up, next_up), f_cnt_down = greatest(s.f_cnt_down, next_down)
        WHERE s.id = known.id AND s.closed_at IS NULL AND (s.f_cnt_up < next_up OR s.f_cnt_down < next_down);
        IF FOUND THEN  -- Whoever holds it in memory is told.
            UPDATE device d SET slot = d.slot WHERE d.id = continue_session.device;
            RETURN true;
        END IF;
        RETURN false;
    END IF;
    IF EXISTS (SELECT FROM session s WHERE s.device_id = continue_session.device AND s.closed_at IS NULL
               AND s.first_uplink_at IS NOT NULL) THEN
        RAISE EXCEPTION 'device % uses a session', continue_session.device USING ERRCODE = 'object_in_use';
    END IF;
    -- One that was never used makes room: an earlier import, or a join that the device did not hear of.
    UPDATE session s SET closed_at = now() WHERE s.device_id = continue_session.device AND s.closed_at IS NULL;
    INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id, keys_fingerprint,
                         f_cnt_up, f_cnt_down, rx1_delay, rx1_dr_offset, rx2_data_rate, rx2_frequency)
    VALUES (continue_session.device, addr, nwk_s_key, app_s_key, kek, fingerprint, next_up, next_down,
            continue_session.rx1_delay, continue_session.rx1_dr_offset, continue_session.rx2_data_rate,
            continue_session.rx2_frequency);
    -- A device of which we have a session and no root key is ABP.
    UPDATE device d SET slot = addr_slot, kek_id = coalesce(d.kek_id, kek),
        activation = CASE d.activation WHEN 'EXTERNAL' THEN 'ABP' ELSE d.activation END
    WHERE d.id = continue_session.device;
    UPDATE downlink l SET slot = addr_slot
    WHERE l.device_id = continue_session.device AND l.lns_source_id IS NULL AND l.state IN ('queued', 'sending', 'sent');
    RETURN true;
END
$$;

DO $$
DECLARE
    door text;
BEGIN
    FOREACH door IN ARRAY ARRAY['partner_secrets(int)', 'import_session(int, bytea, bytea, bytea, text, bytea)',
        'import_root_key(int, bytea, bytea, text, int, bytea, bytea[])',
        'continue_session(int, bytea, int, bytea, bytea, text, bigint, bigint, int, int, int, int, bytea, bytea[])']
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO territoire_api', door);
    END LOOP;
END
$$;

-- Who may read keys that are taken out: public keys (age), registered before anything is taken out for them.
CREATE TABLE key_recipient (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    public_key text NOT NULL CHECK (public_key ~ '^age1[02-9ac-hj-np-z]{58}$'),
    registered_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, public_key)
);
CALL scope_to_tenant('key_recipient');
GRANT SELECT, INSERT, DELETE ON key_recipient TO territoire_api;
