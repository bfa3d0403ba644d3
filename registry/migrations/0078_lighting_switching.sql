-- Lighting commands: their states, the octets that they need to their end, and acts of which lighting knows nothing.

-- What was `confirmed` was the relay's word: it is `applied`. `confirmed` is the word of the meter.
DROP INDEX lighting_command_open;
ALTER TABLE lighting_command ALTER COLUMN state DROP DEFAULT;
ALTER TYPE lighting_command_state RENAME TO lighting_command_state_of_relays;
CREATE TYPE lighting_command_state AS ENUM
    ('queued', 'sent', 'acknowledged', 'applied', 'confirmed', 'unproven', 'failed', 'expired', 'superseded');
ALTER TABLE lighting_command
    ALTER COLUMN state TYPE lighting_command_state USING
        (CASE state::text WHEN 'confirmed' THEN 'applied' ELSE state::text END)::lighting_command_state,
    ALTER COLUMN state SET DEFAULT 'queued',
    DROP CONSTRAINT lighting_command_action_check,
    ADD CHECK (action IN ('on', 'off', 'dim')),
    ADD level smallint CHECK (level BETWEEN 1 AND 100),
    ADD CHECK ((action = 'dim') = (level IS NOT NULL)),
    -- Of the command, of the question that proves it, and of lighting again, encoded when it was asked for; empty
    -- before this version.
    ADD octets jsonb NOT NULL DEFAULT '{}',
    ADD expected_power_w float8,      -- What the lamps take once it is applied; NULL: nobody can say.
    ADD power_margin_w float8,        -- How far the meter may be from it.
    ADD unconfirmed text,             -- Why an applied command is confirmed no more: a code of lighting.commands.
    ADD reconciled_at timestamptz,    -- When the device said so after all, of a command that had ended without it.
    ADD work_order_at timestamptz;    -- When people were asked to look at it.
DROP TYPE lighting_command_state_of_relays;
ALTER TABLE lighting_command RENAME confirmed_at TO applied_at;
ALTER TABLE lighting_command ADD confirmed_at timestamptz;
UPDATE lighting_command SET unconfirmed = 'not_compared' WHERE state = 'applied';
CREATE INDEX lighting_command_open ON lighting_command (asset_id, id) WHERE state IN ('queued', 'sent', 'acknowledged');
CREATE INDEX lighting_command_to_confirm ON lighting_command (id) WHERE state = 'applied' AND unconfirmed IS NULL;
CREATE INDEX lighting_command_off_of_device ON lighting_command (device_id, off_until) WHERE action = 'off';
CREATE INDEX lighting_command_owing ON lighting_command (id) WHERE relight_at IS NOT NULL AND action <> 'off';
CREATE INDEX lighting_command_late ON lighting_command (updated_at)
    WHERE state IN ('failed', 'expired') AND reconciled_at IS NULL;

-- Whatever else is sent to a device that serves a lighting circuit is an unknown act: from the same transaction on it
-- is known when, at the latest, the circuit is brought back to its program.
ALTER TABLE downlink ADD by_lighting boolean NOT NULL DEFAULT false;

CREATE TABLE lighting_unknown_act (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    asset_id int NOT NULL REFERENCES asset ON DELETE CASCADE,
    device_id int NOT NULL REFERENCES device ON DELETE CASCADE,
    -- Neither: the device was spoken to before it served the circuit, or the message is gone.
    downlink_id bigint REFERENCES downlink ON DELETE SET NULL,
    multicast_message_id bigint REFERENCES multicast_message ON DELETE SET NULL,
    octets jsonb NOT NULL DEFAULT '{}',  -- By which it is brought back, where the service cannot encode them.
    created_at timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz NOT NULL,
    settled_at timestamptz
);
CREATE INDEX lighting_unknown_act_due ON lighting_unknown_act (due_at) WHERE settled_at IS NULL;
CREATE INDEX lighting_unknown_act_of_asset ON lighting_unknown_act (asset_id);
CREATE INDEX lighting_unknown_act_of_device ON lighting_unknown_act (device_id);
CREATE INDEX lighting_unknown_act_of_tenant ON lighting_unknown_act (tenant_id);
CREATE INDEX lighting_unknown_act_of_downlink ON lighting_unknown_act (downlink_id) WHERE downlink_id IS NOT NULL;
CREATE INDEX lighting_unknown_act_of_message ON lighting_unknown_act (multicast_message_id)
    WHERE multicast_message_id IS NOT NULL;
CALL scope_to_tenant('lighting_unknown_act');

-- The circuits that a device switches now: a cabinet's, or the cabinet where it has none.
CREATE FUNCTION lighting_circuits_of(device int) RETURNS TABLE (id int, tenant_id int)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 2 AS $$
    SELECT DISTINCT coalesce(c.id, a.id), a.tenant_id
    FROM assignment g
    JOIN asset a ON a.id = g.asset_id AND a.kind IN ('lighting_cabinet', 'lighting_circuit', 'light_point')
    LEFT JOIN asset c ON c.parent_id = a.id AND a.kind = 'lighting_cabinet' AND c.kind = 'lighting_circuit'
                     AND c.archived_at IS NULL
    WHERE g.device_id = device AND g.during @> now()
$$;

-- Whether a cabinet has circuits is a fact, whoever asks: without it a key that sees none would put out protected ones.
CREATE FUNCTION lighting_has_circuits(asset int) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM asset c WHERE c.parent_id = lighting_has_circuits.asset
                   AND c.kind = 'lighting_circuit' AND c.archived_at IS NULL)
$$;

-- Half an hour before twelve hours are over, so that the frame still has time.
CREATE FUNCTION note_unknown_act(device int, downlink bigint, message bigint) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO lighting_unknown_act (tenant_id, asset_id, device_id, downlink_id, multicast_message_id, due_at)
    SELECT c.tenant_id, c.id, device, downlink, message, now() + interval '11 hours 30 minutes'
    FROM lighting_circuits_of(device) AS c
$$;
CREATE FUNCTION note_unknown_downlink() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM note_unknown_act(NEW.device_id, NEW.id, NULL);
    RETURN NULL;
END
$$;
CREATE FUNCTION note_unknown_multicast() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM note_unknown_act(m.device_id, NULL, NEW.id) FROM multicast_member m WHERE m.group_id = NEW.group_id;
    RETURN NULL;
END
$$;
-- A device that begins to serve a circuit may have been spoken to before, or put out what it served until now.
CREATE FUNCTION note_acts_before() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM downlink d WHERE d.device_id = NEW.device_id AND NOT d.by_lighting
               AND d.state <> 'cancelled'
               UNION ALL
               SELECT FROM lighting_command c WHERE c.device_id = NEW.device_id AND c.action = 'off'
               AND c.asset_id <> NEW.asset_id AND c.off_until > now() - interval '1 day')
       AND NOT EXISTS (SELECT FROM lighting_unknown_act u WHERE u.device_id = NEW.device_id
                       AND u.asset_id = NEW.asset_id AND u.settled_at IS NULL) THEN
        PERFORM note_unknown_act(NEW.device_id, (
            SELECT max(d.id) FROM downlink d WHERE d.device_id = NEW.device_id AND NOT d.by_lighting
            AND d.state IN ('queued', 'sending')), NULL);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER unknown_act AFTER INSERT ON downlink
    FOR EACH ROW WHEN (NOT NEW.by_lighting) EXECUTE FUNCTION note_unknown_downlink();
CREATE TRIGGER unknown_act AFTER INSERT ON multicast_message
    FOR EACH ROW EXECUTE FUNCTION note_unknown_multicast();
CREATE TRIGGER unknown_act AFTER INSERT ON assignment FOR EACH ROW EXECUTE FUNCTION note_acts_before();

-- What waits at this moment.
SELECT note_unknown_act(d.device_id, d.id, NULL) FROM downlink d
WHERE d.state IN ('queued', 'sending')
  AND NOT EXISTS (SELECT FROM lighting_command c WHERE d.id IN (c.downlink_id, c.read_back_downlink_id));
SELECT note_unknown_act(m.device_id, NULL, g.id) FROM multicast_message g
JOIN multicast_member m ON m.group_id = g.group_id WHERE g.state IN ('queued', 'sending');

-- By what an act of this very transaction is brought back, where only the API can encode it.
CREATE FUNCTION keep_act_octets(asset int, device int, given jsonb) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE lighting_unknown_act SET octets = given
    WHERE asset_id = asset AND device_id = device AND created_at = now() AND settled_at IS NULL
      AND tenant_id = (SELECT current_tenant())
$$;

DO $$
DECLARE
    door regprocedure;
BEGIN
    FOREACH door IN ARRAY ARRAY['lighting_circuits_of(int)', 'lighting_has_circuits(int)',
                                'note_unknown_act(int, bigint, bigint)',
                                'note_unknown_downlink()', 'note_unknown_multicast()', 'note_acts_before()',
                                'keep_act_octets(int, int, jsonb)']::regprocedure[] LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
    END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION keep_act_octets(int, int, jsonb), lighting_has_circuits(int) TO territoire_api;

-- A cabinet that does not light: people are to look at it.
ALTER TABLE alert_request DROP CONSTRAINT alert_request_kind_check,
    ADD CONSTRAINT alert_request_kind_check CHECK (kind IN ('gateway_address', 'codec', 'clock', 'relight_failed'));
ALTER TABLE alert_rule
    DROP CONSTRAINT alert_rule_kind_check,
    ADD CONSTRAINT alert_rule_kind_check CHECK (kind IN (
        'threshold', 'range', 'rate', 'boolean', 'flat', 'silence', 'gateway', 'loss', 'gateway_address', 'codec',
        'clock', 'relight_failed', 'partner')),
    DROP CONSTRAINT alert_rule_limits_check,
    ADD CONSTRAINT alert_rule_limits_check CHECK (CASE
        WHEN kind IN ('silence', 'gateway', 'gateway_address', 'codec', 'clock', 'relight_failed', 'partner') THEN true
        WHEN kind = 'loss' THEN fire_value IS NOT NULL AND clear_value IS NOT NULL
        WHEN kind IN ('flat', 'boolean') THEN quantity IS NOT NULL AND fire_value IS NOT NULL
        WHEN kind = 'range' THEN quantity IS NOT NULL
             AND num_nonnulls(fire_value, fire_upper, clear_value, clear_upper) = 4 AND fire_value <= clear_value AND clear_value <= clear_upper AND clear_upper <= fire_upper
        ELSE quantity IS NOT NULL AND num_nonnulls(fire_op, fire_value, clear_op, clear_value) = 4 END);

INSERT INTO erasure_step VALUES
(49, 'lighting_unknown_act', $$
WITH gone AS (DELETE FROM lighting_unknown_act
WHERE asset_id = ANY(($1).asset_ids) OR device_id = ANY(($1).device_ids) RETURNING 1) SELECT count(*) FROM gone $$);
