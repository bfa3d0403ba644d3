-- A partner's system (hypervision, access control, fire panel) posts signed events that open and end alerts.

CREATE TABLE event_source (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    team_id int REFERENCES team ON DELETE SET NULL,  -- Of the rules that its alarms bring.
    secret_wrapped bytea NOT NULL,                   -- As a webhook_endpoint's; read through partner_secret() only.
    kek_id text NOT NULL,
    enabled boolean NOT NULL DEFAULT true,
    last_event_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name)
);
-- Ids that were taken, so that what is sent again is taken once; kept for thirty days.
CREATE TABLE partner_event (
    source_id int NOT NULL REFERENCES event_source ON DELETE CASCADE,
    message_id text NOT NULL CHECK (length(message_id) BETWEEN 1 AND 200),
    tenant_id int NOT NULL REFERENCES tenant,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source_id, message_id)
);
CREATE INDEX partner_event_by_age ON partner_event (source_id, at);
CALL scope_to_tenant('event_source');
CALL scope_to_tenant('partner_event');
GRANT SELECT (id, tenant_id, name, team_id, enabled, last_event_at, created_at, kek_id), INSERT,
      UPDATE (name, team_id, enabled), DELETE ON event_source TO territoire_api;

ALTER TABLE alert_rule
    DROP CONSTRAINT alert_rule_kind_check,
    ADD CONSTRAINT alert_rule_kind_check CHECK (kind IN (
        'threshold', 'range', 'rate', 'boolean', 'flat', 'silence', 'gateway', 'loss', 'gateway_address', 'codec',
        'partner')),
    DROP CONSTRAINT alert_rule_limits_check,
    ADD CONSTRAINT alert_rule_limits_check CHECK (CASE
        WHEN kind IN ('silence', 'gateway', 'gateway_address', 'codec', 'partner') THEN true
        WHEN kind = 'loss' THEN fire_value IS NOT NULL AND clear_value IS NOT NULL
        WHEN kind IN ('flat', 'boolean') THEN quantity IS NOT NULL AND fire_value IS NOT NULL
        WHEN kind = 'range' THEN quantity IS NOT NULL
             AND num_nonnulls(fire_value, fire_upper, clear_value, clear_upper) = 4 AND fire_value <= clear_value AND clear_value <= clear_upper AND clear_upper <= fire_upper
        ELSE quantity IS NOT NULL AND num_nonnulls(fire_op, fire_value, clear_op, clear_value) = 4 END);

-- Whoever posts has no API key: the signature says who it is, and whose events these are.
CREATE FUNCTION partner_secret(source int) RETURNS TABLE (tenant_id int, name text, team_id int, secret_wrapped bytea)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT s.tenant_id, s.name, s.team_id, s.secret_wrapped FROM event_source s WHERE s.id = source AND s.enabled
$$;

-- False: this message was taken before.
CREATE FUNCTION take_partner_event(source int, message text) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM partner_event
    WHERE source_id = source AND tenant_id = current_tenant() AND at < now() - interval '30 days';
    UPDATE event_source SET last_event_at = now() WHERE id = source AND tenant_id = current_tenant();
    WITH taken AS (
        INSERT INTO partner_event (source_id, message_id, tenant_id)
        SELECT s.id, message, s.tenant_id FROM event_source s WHERE s.id = source AND s.tenant_id = current_tenant()
        ON CONFLICT (source_id, message_id) DO NOTHING
        RETURNING true
    )
    SELECT EXISTS (SELECT FROM taken)
$$;

-- As 0028's alerts: due at once, so that the engine tells it as every other. One for a rule and an asset while open.
CREATE FUNCTION open_partner_alert(rule int, place int, said text, instant timestamptz) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO alert (tenant_id, rule_id, asset_id, team_id, severity, message, condition, opened_at, fired_at, told,
                       muted_until, due_at)
    SELECT r.tenant_id, r.id, place, r.team_id, r.severity, said, 'firing', instant, instant, false, now(), now()
    FROM alert_rule r
    WHERE r.id = rule AND r.tenant_id = current_tenant() AND r.kind = 'partner' AND r.enabled
      AND (place IS NULL OR EXISTS (SELECT FROM asset a WHERE a.id = place AND a.tenant_id = r.tenant_id))
    ON CONFLICT (tenant_id, rule_id, asset_id, datastream_id, device_id, gateway_id)
        WHERE workflow NOT IN ('resolved', 'closed')
    DO UPDATE SET message = excluded.message, condition = 'firing', occurrences = alert.occurrences + 1,
                  updated_at = now()
    RETURNING id
$$;

-- Its condition is over; the engine ends the alert and tells so.
CREATE FUNCTION clear_partner_alert(rule int, place int) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE alert a SET condition = 'ok', updated_at = now() FROM alert_rule r
    WHERE r.id = rule AND r.tenant_id = current_tenant() AND r.kind = 'partner' AND a.rule_id = r.id
      AND a.asset_id IS NOT DISTINCT FROM place AND a.workflow NOT IN ('resolved', 'closed')
    RETURNING a.id
$$;

DO $$
DECLARE
    door regprocedure;
BEGIN
    FOREACH door IN ARRAY ARRAY['partner_secret(int)', 'take_partner_event(int, text)',
                                'open_partner_alert(int, int, text, timestamptz)',
                                'clear_partner_alert(int, int)']::regprocedure[] LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', door);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO territoire_service, territoire_api', door);
    END LOOP;
END
$$;
