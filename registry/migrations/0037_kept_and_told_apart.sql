-- What waits for an endpoint that is suspended is kept: it is given up at once, and can be sent again once the
-- endpoint is back. What a worker has in hand it gives up by itself.
CREATE FUNCTION hold_webhooks_of_endpoint() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    WITH held AS (
        UPDATE jobs.pgqueuer SET status = 'failed', updated = clock_timestamp()
        WHERE entrypoint = 'webhook/' || NEW.id AND status = 'queued'
        RETURNING id, entrypoint, priority
    )
    INSERT INTO jobs.pgqueuer_log (job_id, status, entrypoint, priority)
    SELECT id, 'failed', entrypoint, priority FROM held;
    RETURN NULL;
END
$$;
ALTER FUNCTION hold_webhooks_of_endpoint OWNER TO territoire_service;
CREATE TRIGGER webhook_endpoint_suspended AFTER UPDATE OF state ON webhook_endpoint
    FOR EACH ROW WHEN (OLD.state = 'enabled' AND NEW.state = 'disabled')
    EXECUTE FUNCTION hold_webhooks_of_endpoint();

-- What nobody wants any more. Without `chosen`: all. How many.
CREATE FUNCTION discard_webhooks(endpoint int, chosen bigint[]) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH discarded AS (
        DELETE FROM jobs.pgqueuer j USING webhook_endpoint e
        WHERE e.id = endpoint AND e.tenant_id = current_tenant() AND j.entrypoint = 'webhook/' || e.id
          AND j.status = 'failed' AND (chosen IS NULL OR j.id = ANY(chosen))
        RETURNING j.id, j.entrypoint, j.priority
    ), noted AS (
        INSERT INTO jobs.pgqueuer_log (job_id, status, entrypoint, priority)
        SELECT id, 'deleted', entrypoint, priority FROM discarded
    )
    SELECT count(*) FROM discarded
$$;

-- A partner's secret is changed while its system goes on: until then messages may be signed with the former one.
ALTER TABLE event_source ADD COLUMN previous_secret_wrapped bytea, ADD COLUMN previous_until timestamptz;
GRANT SELECT (previous_until) ON event_source TO territoire_api;

DROP FUNCTION partner_secret(int);
CREATE FUNCTION partner_secrets(source int)
    RETURNS TABLE (tenant_id int, name text, team_id int, secrets_wrapped bytea[])
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT s.tenant_id, s.name, s.team_id,
           CASE WHEN s.previous_until > now() THEN ARRAY[s.secret_wrapped, s.previous_secret_wrapped]
                ELSE ARRAY[s.secret_wrapped] END
    FROM event_source s WHERE s.id = source AND s.enabled
$$;

CREATE FUNCTION rotate_partner_secret(source int, wrapped bytea, kek text, former_until timestamptz) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE event_source SET previous_secret_wrapped = secret_wrapped, previous_until = former_until,
           secret_wrapped = wrapped, kek_id = kek
    WHERE id = source AND tenant_id = current_tenant()
    RETURNING true
$$;

-- What the partner calls the thing that its alarm is about: two doors are two alerts. NULL: every other alert.
ALTER TABLE alert ADD COLUMN subject text CHECK (length(subject) BETWEEN 1 AND 200);
DROP INDEX alert_open;
CREATE UNIQUE INDEX alert_open
    ON alert (tenant_id, rule_id, asset_id, datastream_id, device_id, gateway_id, subject)
    NULLS NOT DISTINCT WHERE workflow NOT IN ('resolved', 'closed');

DROP FUNCTION open_partner_alert(int, int, text, timestamptz);
DROP FUNCTION clear_partner_alert(int, int);

-- As the engine's own alerts (alerting.rules.life): raised again while open it is the same, and within 24 hours of its
-- end it is opened again. Due at once, so that the engine tells it; one that comes and goes waits for its summary.
CREATE FUNCTION open_partner_alert(rule int, place int, whose text, said text, instant timestamptz) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    known alert_rule;
    last alert;
    opened bigint;
BEGIN
    SELECT * INTO known FROM alert_rule r
    WHERE r.id = rule AND r.tenant_id = current_tenant() AND r.kind = 'partner' AND r.enabled
      AND (place IS NULL OR EXISTS (SELECT FROM asset a WHERE a.id = place AND a.tenant_id = r.tenant_id))
    FOR NO KEY UPDATE;  -- One event of a rule at a time: there is no race to lose.
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT * INTO last FROM alert a
    WHERE a.rule_id = rule AND a.tenant_id = known.tenant_id AND a.asset_id IS NOT DISTINCT FROM place
      AND a.subject IS NOT DISTINCT FROM whose
    ORDER BY a.id DESC LIMIT 1 FOR UPDATE;
    IF last.id IS NOT NULL AND last.workflow NOT IN ('resolved', 'closed') THEN
        UPDATE alert a SET message = said, condition = 'firing', occurrences = a.occurrences + 1, updated_at = now()
        WHERE a.id = last.id;
        RETURN last.id;
    END IF;
    IF last.id IS NOT NULL AND now() - last.resolved_at <= interval '24 hours' THEN
        UPDATE alert a SET
            message = said, condition = 'firing', fired_at = instant, severity = known.severity,
            team_id = known.team_id, occurrences = a.occurrences + 1, updated_at = now(), workflow = 'open',
            acknowledged_at = NULL, acknowledged_by = NULL, assignee = NULL, resolved_at = NULL,
            resolved_by = NULL, resolved_cause = NULL, closed_at = NULL, closed_by = NULL, closed_reason = NULL,
            reopen_at = NULL, transitions = a.transitions || now(), told = a.is_flapping,
            untold_transitions = a.untold_transitions + a.is_flapping::int, muted_by = NULL,
            muted_until = CASE WHEN NOT a.is_flapping THEN now() END,
            due_at = CASE WHEN a.is_flapping THEN a.digest_at ELSE now() END
        WHERE a.id = last.id;
        INSERT INTO alert_event (tenant_id, alert_id, at, action, note)
        VALUES (known.tenant_id, last.id, now(), 'reopened', said);
        RETURN last.id;
    END IF;
    INSERT INTO alert (tenant_id, rule_id, asset_id, subject, team_id, severity, message, condition, opened_at,
                       fired_at, told, muted_until, due_at, transitions)
    VALUES (known.tenant_id, known.id, place, whose, known.team_id, known.severity, said, 'firing', instant,
            instant, false, now(), now(), ARRAY[now()])
    RETURNING id INTO opened;
    INSERT INTO alert_event (tenant_id, alert_id, at, action, note)
    VALUES (known.tenant_id, opened, now(), 'opened', said);
    RETURN opened;
END
$$;

-- Its condition is over; the engine ends the alert and tells so. Whoever names the subject need not name the asset.
CREATE FUNCTION clear_partner_alert(rule int, place int, whose text) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH cleared AS (
        UPDATE alert a SET condition = 'ok', updated_at = now() FROM alert_rule r
        WHERE r.id = rule AND r.tenant_id = current_tenant() AND r.kind = 'partner' AND a.rule_id = r.id
          AND a.tenant_id = r.tenant_id AND a.subject IS NOT DISTINCT FROM whose
          AND (a.asset_id IS NOT DISTINCT FROM place OR whose IS NOT NULL AND place IS NULL)
          AND (a.workflow NOT IN ('resolved', 'closed') OR a.reopen_at IS NOT NULL)
        RETURNING a.id
    )
    SELECT count(*) FROM cleared
$$;

DO $$
DECLARE
    door regprocedure;
BEGIN
    FOREACH door IN ARRAY ARRAY['discard_webhooks(int, bigint[])', 'partner_secrets(int)',
                                'rotate_partner_secret(int, bytea, text, timestamptz)',
                                'open_partner_alert(int, int, text, text, timestamptz)',
                                'clear_partner_alert(int, int, text)']::regprocedure[] LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', door);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO territoire_service, territoire_api', door);
    END LOOP;
END
$$;
