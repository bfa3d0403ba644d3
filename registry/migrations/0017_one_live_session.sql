-- A session is not imported beside one that the device uses here: the device would go to the other's slot, and be lost
-- to its own. Refused (object_in_use); the same session again still raises its counters.
CREATE OR REPLACE FUNCTION continue_session(device int, addr bytea, addr_slot int, nwk_s_key bytea, app_s_key bytea,
                                            kek text, next_up bigint, next_down bigint, rx1_delay int,
                                            rx1_dr_offset int, rx2_data_rate int, rx2_frequency int) RETURNS boolean
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
    IF EXISTS (SELECT FROM session s WHERE s.device_id = continue_session.device AND s.closed_at IS NULL
               AND s.first_uplink_at IS NOT NULL) THEN
        RAISE EXCEPTION 'device % uses a session', continue_session.device USING ERRCODE = 'object_in_use';
    END IF;
    -- One that was never used makes room: an earlier import, or a join that the device did not hear of.
    UPDATE session s SET closed_at = now() WHERE s.device_id = continue_session.device AND s.closed_at IS NULL;
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
