-- Downlinks of devices that another LNS carries, devices and sessions that come from one, and keys that go out.

-- Where their HTTP API takes downlinks, and as whom; NULL: their broker takes them, or nobody does.
ALTER TABLE lns_source
    ADD COLUMN downlink_url text,
    ADD COLUMN downlink_user text,
    ADD UNIQUE (tenant_id, id);
GRANT SELECT (downlink_url, downlink_user) ON lns_source TO territoire_api;

-- Who carries what a device is told; NULL: our own network. Only a source of the device's own tenant can.
-- EXTERNAL: another network activates the device, and has its keys.
ALTER TABLE device
    ADD COLUMN lns_source_id int,
    ADD FOREIGN KEY (tenant_id, lns_source_id) REFERENCES lns_source (tenant_id, id),
    DROP CONSTRAINT device_activation_check,
    DROP CONSTRAINT device_check,
    ADD CONSTRAINT device_activation_check CHECK (activation IN ('OTAA', 'ABP', 'EXTERNAL')),
    ADD CONSTRAINT device_otaa_has_its_key CHECK (activation <> 'OTAA' OR app_key_wrapped IS NOT NULL);
CREATE INDEX device_of_lns_source ON device (lns_source_id) WHERE lns_source_id IS NOT NULL;
GRANT SELECT (lns_source_id) ON device TO territoire_api;

-- A row of theirs is in slot 16, which no shard of network has. `lns_item` names it to their LNS, from before it is
-- handed over; `handed_at` is when they took it.
ALTER TABLE downlink
    ADD COLUMN lns_source_id int REFERENCES lns_source ON DELETE SET NULL,
    ADD COLUMN lns_item text,
    ADD COLUMN handed_at timestamptz,
    ADD CHECK (lns_source_id IS NULL OR slot = 16);
CREATE INDEX downlink_of_lns_item ON downlink (lns_source_id, lns_item) WHERE lns_item IS NOT NULL;

-- Whoever changes the bearer, rows that nobody was asked to send go with the device.
CREATE FUNCTION downlinks_follow_bearer() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    UPDATE downlink SET lns_source_id = NEW.lns_source_id, lns_item = NULL, not_before = NULL, reason = NULL,
        slot = CASE WHEN NEW.lns_source_id IS NULL THEN NEW.slot ELSE 16 END, updated_at = now()
    WHERE device_id = NEW.id AND state = 'queued';
    RETURN NULL;
END
$$;
CREATE TRIGGER bearer_changed AFTER UPDATE OF lns_source_id ON device
    FOR EACH ROW WHEN (OLD.lns_source_id IS DISTINCT FROM NEW.lns_source_id)
    EXECUTE FUNCTION downlinks_follow_bearer();
-- Another tenant's source cannot carry it.
CREATE FUNCTION leave_bearer() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    NEW.lns_source_id := NULL;
    RETURN NEW;
END
$$;
CREATE TRIGGER leaves_bearer BEFORE UPDATE OF tenant_id ON device
    FOR EACH ROW WHEN (OLD.tenant_id <> NEW.tenant_id) EXECUTE FUNCTION leave_bearer();
-- A session's move to another slot (network) leaves alone what another LNS has in hand.
CREATE FUNCTION stay_with_bearer() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    NEW.slot := 16;
    RETURN NEW;
END
$$;
CREATE TRIGGER stays_with_bearer BEFORE UPDATE OF slot ON downlink
    FOR EACH ROW WHEN (NEW.lns_source_id IS NOT NULL AND NEW.slot <> 16) EXECUTE FUNCTION stay_with_bearer();

-- How their LNS calls a device: it says so in every uplink, and some take downlinks under no other name.
CREATE TABLE lns_route (
    source_id int NOT NULL REFERENCES lns_source ON DELETE CASCADE,
    device_id int NOT NULL REFERENCES device ON DELETE CASCADE,
    tenant_id int NOT NULL REFERENCES tenant,
    address text NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (source_id, device_id)
);
CALL scope_to_tenant('lns_route');

-- A device's root key, as it was elsewhere. Key wrap is deterministic: equal keys are equal octets.
CREATE FUNCTION import_root_key(device int, join_eui bytea, app_key bytea, kek text, join_nonce int) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    changed boolean;
BEGIN
    UPDATE device d SET activation = 'OTAA', join_eui = import_root_key.join_eui, app_key_wrapped = app_key,
                        kek_id = kek
    WHERE d.id = import_root_key.device AND d.tenant_id = current_tenant()
      AND (d.activation, d.join_eui, d.app_key_wrapped) IS DISTINCT FROM ('OTAA', import_root_key.join_eui, app_key);
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

-- A session that goes on here. The same one again only raises its counters; another one takes over with its first
-- uplink. The device is owned by the DevAddr's slot until a session of ours is used (DESIGN 2).
CREATE FUNCTION continue_session(device int, addr bytea, addr_slot int, nwk_s_key bytea, app_s_key bytea, kek text,
                                 next_up bigint, next_down bigint, rx1_delay int, rx1_dr_offset int,
                                 rx2_data_rate int, rx2_frequency int) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    known session;
BEGIN
    PERFORM FROM device d WHERE d.id = continue_session.device AND d.tenant_id = current_tenant() FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'device % is not of this tenant', continue_session.device USING ERRCODE = 'no_data_found';
    END IF;
    -- One that was closed, because the device joined here since, is not opened again by an old file.
    SELECT * INTO known FROM session s
    WHERE s.device_id = continue_session.device AND s.dev_addr = addr AND s.nwk_s_key_wrapped = nwk_s_key
      AND s.app_s_key_wrapped = app_s_key ORDER BY s.id DESC LIMIT 1;
    IF FOUND THEN
        UPDATE session s SET f_cnt_up = greatest(s.f_cnt_up, next_up), f_cnt_down = greatest(s.f_cnt_down, next_down)
        WHERE s.id = known.id AND s.closed_at IS NULL AND (s.f_cnt_up < next_up OR s.f_cnt_down < next_down);
        IF FOUND THEN  -- Whoever holds it in memory is told.
            UPDATE device d SET slot = d.slot WHERE d.id = continue_session.device;
            RETURN true;
        END IF;
        RETURN false;
    END IF;
    INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id, f_cnt_up, f_cnt_down,
                         rx1_delay, rx1_dr_offset, rx2_data_rate, rx2_frequency)
    VALUES (continue_session.device, addr, nwk_s_key, app_s_key, kek, next_up, next_down, continue_session.rx1_delay,
            continue_session.rx1_dr_offset, continue_session.rx2_data_rate, continue_session.rx2_frequency);
    -- A device of which we have a session and no root key is ABP.
    UPDATE device d SET slot = addr_slot, kek_id = coalesce(d.kek_id, kek),
        activation = CASE d.activation WHEN 'EXTERNAL' THEN 'ABP' ELSE d.activation END
    WHERE d.id = continue_session.device;
    UPDATE downlink l SET slot = addr_slot
    WHERE l.device_id = continue_session.device AND l.lns_source_id IS NULL AND l.state IN ('queued', 'sending', 'sent');
    RETURN true;
END
$$;

-- A tenant's own keys, wrapped; the line in its audit is written by the same door, so that none goes without.
CREATE FUNCTION export_keys(actor text, noted jsonb, wanted bytea[])
    RETURNS TABLE (dev_eui bytea, join_eui bytea, name text, device_profile_id int, activation text,
                   app_key_wrapped bytea, device_kek_id text, join_nonce int, dev_addr bytea,
                   nwk_s_key_wrapped bytea, app_s_key_wrapped bytea, session_kek_id text, f_cnt_up bigint,
                   f_cnt_down bigint, rx1_delay smallint, rx1_dr_offset smallint, rx2_data_rate smallint,
                   rx2_frequency int)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details)
    SELECT current_tenant(), actor, 'export_keys', 'device', 'keys',
           noted || jsonb_build_object('dev_euis', coalesce(jsonb_agg(encode(d.dev_eui, 'hex') ORDER BY d.id), '[]'))
    FROM device d WHERE d.tenant_id = current_tenant() AND (wanted IS NULL OR d.dev_eui = ANY(wanted));
    RETURN QUERY
    SELECT d.dev_eui, d.join_eui, d.name, d.device_profile_id, d.activation, d.app_key_wrapped, d.kek_id,
           n.last_join_nonce, s.dev_addr, s.nwk_s_key_wrapped, s.app_s_key_wrapped, s.kek_id, s.f_cnt_up,
           s.f_cnt_down, s.rx1_delay, s.rx1_dr_offset, s.rx2_data_rate, s.rx2_frequency
    FROM device d
    LEFT JOIN join_nonce n ON n.device_id = d.id
    LEFT JOIN LATERAL (SELECT * FROM session o WHERE o.device_id = d.id AND o.closed_at IS NULL
                       ORDER BY o.first_uplink_at IS NULL, o.id DESC LIMIT 1) s ON true
    WHERE d.tenant_id = current_tenant() AND (wanted IS NULL OR d.dev_eui = ANY(wanted))
    ORDER BY d.id;
END
$$;

DO $$
DECLARE
    door text;
BEGIN
    FOREACH door IN ARRAY ARRAY['downlinks_follow_bearer()', 'import_root_key(int, bytea, bytea, text, int)',
        'continue_session(int, bytea, int, bytea, bytea, text, bigint, bigint, int, int, int, int)',
        'export_keys(text, jsonb, bytea[])'] LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
    END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION import_root_key, continue_session, export_keys TO territoire_api;
