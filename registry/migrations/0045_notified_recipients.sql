-- Who was notified of what: an address is a recipient of a notification, and the alert knows at which severity it was
-- notified. Notifications of one alert are numbered, and messages have the priority of their severity.

ALTER TABLE alert_notice
    ADD COLUMN sequence int NOT NULL DEFAULT 0,  -- Within its alert, from 1.
    ADD COLUMN phase text NOT NULL GENERATED ALWAYS AS (CASE event
        WHEN 'alert.opened' THEN 'opening' WHEN 'alert.reopened' THEN 'opening' WHEN 'alert.raised' THEN 'rise'
        WHEN 'alert.escalated' THEN 'escalation' WHEN 'alert.resolved' THEN 'end' ELSE 'summary' END) STORED,
    ADD COLUMN nobody_since timestamptz,         -- No address was in service, or none took it: it is sent when one is.
    ADD COLUMN operator_warned_at timestamptz;   -- When the operator was notified of that.
UPDATE alert_notice n SET sequence = numbered.sequence
FROM (SELECT id, row_number() OVER (PARTITION BY alert_id ORDER BY number) AS sequence FROM alert_notice) AS numbered
WHERE n.id = numbered.id;
DROP INDEX alert_notice_of_alert;
CREATE INDEX alert_notice_of_alert ON alert_notice (alert_id, sequence);
CREATE INDEX alert_notice_to_nobody ON alert_notice (alert_id) WHERE nobody_since IS NOT NULL;

-- One address that was notified. `message_id`: of the webhook that carries it, the notice's own or a digest.
CREATE TABLE alert_notice_recipient (
    notice_id uuid NOT NULL REFERENCES alert_notice ON DELETE CASCADE,
    endpoint_id int NOT NULL REFERENCES webhook_endpoint ON DELETE CASCADE,
    tenant_id int NOT NULL REFERENCES tenant,
    alert_id bigint NOT NULL REFERENCES alert ON DELETE CASCADE,
    sequence int NOT NULL,  -- Of the notice.
    message_id uuid NOT NULL,
    -- Replaced: a newer state of the alert went instead, and carries it as its story.
    state text NOT NULL CHECK (state IN ('queued', 'delivered', 'abandoned', 'replaced')),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (notice_id, endpoint_id)
);
CREATE INDEX alert_notice_recipient_of_alert ON alert_notice_recipient (alert_id, endpoint_id, sequence);
CREATE INDEX alert_notice_recipient_of_message ON alert_notice_recipient (endpoint_id, message_id);
CREATE INDEX alert_notice_recipient_abandoned ON alert_notice_recipient (changed_at)
    WHERE state = 'abandoned' AND message_id = notice_id;
CALL scope_to_tenant('alert_notice_recipient');
GRANT SELECT ON alert_notice_recipient TO territoire_api;

ALTER TABLE webhook_endpoint
    ADD COLUMN for_operator boolean NOT NULL DEFAULT false,  -- Of the network's operator: warnings, and no alerts.
    ADD COLUMN gone_at timestamptz,       -- When it first answered 410 since it last answered otherwise.
    ADD COLUMN recovered_at timestamptz;  -- First success after a failure, or resumed: what waited then waits no more.
GRANT SELECT (for_operator, gone_at, recovered_at) ON webhook_endpoint TO territoire_api;

ALTER TABLE alert
    ADD COLUMN notified_severity alert_severity,          -- The highest of this occurrence; NULL: not notified.
    ADD COLUMN end_pending boolean NOT NULL DEFAULT false,  -- Ended in a silence: the end is still to be notified.
    ADD COLUMN sequence int NOT NULL DEFAULT 0;           -- Of its last notice.
UPDATE alert a SET sequence = n.sequence
FROM (SELECT alert_id, max(sequence) AS sequence FROM alert_notice GROUP BY alert_id) AS n WHERE n.alert_id = a.id;
-- What its last notices said. One that has become graver in a silence is notified of that now.
UPDATE alert a SET notified_severity = coalesce((
    SELECT max(n.severity) FROM alert_notice n WHERE n.alert_id = a.id AND n.phase <> 'end' AND n.sequence >= (
        SELECT max(o.sequence) FROM alert_notice o WHERE o.alert_id = a.id AND o.phase = 'opening')), a.severity)
WHERE a.told;
UPDATE alert SET muted_until = now(), due_at = least(due_at, now())
WHERE workflow NOT IN ('resolved', 'closed') AND severity > notified_severity;
DROP INDEX alert_unanswered;
ALTER TABLE alert DROP COLUMN told;
CREATE INDEX alert_unanswered ON alert (team_id)
    WHERE workflow = 'open' AND notified_severity IS NOT NULL AND muted_by IS NULL;

-- A job's key names its message and its address. Of the same two, should they be there twice, one has it.
UPDATE jobs.pgqueuer j SET dedupe_key = named.key FROM (
    SELECT id, message || '/' || substring(entrypoint FROM 9) AS key,
           row_number() OVER (PARTITION BY message, entrypoint ORDER BY id) AS copy
    FROM (SELECT id, entrypoint,
                 substring(encode(substring(payload FOR 100), 'escape') FROM 'msg_[0-9a-f]{32}') AS message
          FROM jobs.pgqueuer WHERE entrypoint ~ '^webhook/[0-9]+$' AND dedupe_key IS NULL) AS queued
    WHERE message IS NOT NULL) AS named
WHERE j.id = named.id AND named.copy = 1;
-- Of alerts that are open: who got their notices, and who is still to get them.
INSERT INTO alert_notice_recipient (notice_id, endpoint_id, tenant_id, alert_id, sequence, message_id, state)
SELECT n.id, w.endpoint_id, n.tenant_id, n.alert_id, n.sequence, n.id, w.state
FROM alert a
JOIN alert_notice n ON n.alert_id = a.id
JOIN LATERAL (
    SELECT d.endpoint_id, 'delivered' AS state FROM webhook_attempt d
    WHERE d.message_id = 'msg_' || replace(n.id::text, '-', '') AND d.outcome = 'delivered'
    UNION
    SELECT e.id, CASE j.status WHEN 'failed' THEN 'abandoned' ELSE 'queued' END
    FROM webhook_endpoint e
    JOIN jobs.pgqueuer j ON j.dedupe_key = 'msg_' || replace(n.id::text, '-', '') || '/' || e.id
     AND j.status IN ('queued', 'picked', 'failed')
    WHERE e.tenant_id = n.tenant_id
    ORDER BY state DESC) AS w ON true
WHERE a.workflow NOT IN ('resolved', 'closed')
ON CONFLICT DO NOTHING;
UPDATE jobs.pgqueuer j SET priority = CASE n.severity
    WHEN 'critical' THEN 3 WHEN 'major' THEN 2 WHEN 'warning' THEN 1 ELSE 0 END
FROM alert_notice n WHERE j.dedupe_key ~ '^msg_[0-9a-f]{32}/' AND substring(j.dedupe_key FROM 5 FOR 32)::uuid = n.id;
-- Open alerts of which nobody got anything lately, though they counted as notified.
UPDATE alert_notice n SET nobody_since = n.at
FROM alert a
CROSS JOIN LATERAL (SELECT max(o.sequence) AS sequence FROM alert_notice o
                    WHERE o.alert_id = a.id AND o.phase = 'opening') AS opening
WHERE n.alert_id = a.id AND n.sequence >= opening.sequence AND a.notified_severity IS NOT NULL
  AND a.workflow NOT IN ('resolved', 'closed')
  AND NOT EXISTS (SELECT FROM alert_notice_recipient r
                  WHERE r.alert_id = a.id AND r.sequence >= opening.sequence)
  AND NOT EXISTS (SELECT FROM alert_notice h WHERE h.alert_id = a.id AND h.sequence >= opening.sequence
                  AND (h.held_until IS NOT NULL OR h.at < now() - interval '30 days'));

-- As before (0037), with what was notified in place of whether.
CREATE OR REPLACE FUNCTION open_partner_alert(rule int, place int, whose text, said text, instant timestamptz)
    RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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
            reopen_at = NULL, transitions = a.transitions || now(),
            notified_severity = CASE WHEN a.is_flapping THEN known.severity
                                     WHEN a.end_pending THEN a.notified_severity END,
            end_pending = false,
            untold_transitions = a.untold_transitions + a.is_flapping::int, muted_by = NULL,
            muted_until = CASE WHEN NOT a.is_flapping THEN now() END,
            due_at = CASE WHEN a.is_flapping THEN a.digest_at ELSE now() END
        WHERE a.id = last.id;
        INSERT INTO alert_event (tenant_id, alert_id, at, action, note)
        VALUES (known.tenant_id, last.id, now(), 'reopened', said);
        RETURN last.id;
    END IF;
    INSERT INTO alert (tenant_id, rule_id, asset_id, subject, team_id, severity, message, condition, opened_at,
                       fired_at, muted_until, due_at, transitions)
    VALUES (known.tenant_id, known.id, place, whose, known.team_id, known.severity, said, 'firing', instant,
            instant, now(), now(), ARRAY[now()])
    RETURNING id INTO opened;
    INSERT INTO alert_event (tenant_id, alert_id, at, action, note)
    VALUES (known.tenant_id, opened, now(), 'opened', said);
    RETURN opened;
END
$$;

-- As before (0037), and recipients know it.
CREATE OR REPLACE FUNCTION hold_webhooks_of_endpoint() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    WITH held AS (
        UPDATE jobs.pgqueuer SET status = 'failed', updated = clock_timestamp()
        WHERE entrypoint = 'webhook/' || NEW.id AND status = 'queued'
        RETURNING id, entrypoint, priority, dedupe_key
    ), abandoned AS (
        UPDATE alert_notice_recipient r SET state = 'abandoned', changed_at = clock_timestamp() FROM held
        WHERE r.endpoint_id = NEW.id AND r.state = 'queued'
          AND held.dedupe_key = 'msg_' || replace(r.message_id::text, '-', '') || '/' || NEW.id
    )
    INSERT INTO jobs.pgqueuer_log (job_id, status, entrypoint, priority)
    SELECT id, 'failed', entrypoint, priority FROM held;
    RETURN NULL;
END
$$;

-- As before (0030), and recipients know it.
CREATE OR REPLACE FUNCTION replay_webhooks(endpoint int, chosen bigint[]) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH requeued AS (
        UPDATE jobs.pgqueuer j SET status = 'queued', created = clock_timestamp(), execute_after = clock_timestamp(),
               updated = clock_timestamp(), attempts = 0, queue_manager_id = NULL
        FROM webhook_endpoint e
        WHERE e.id = endpoint AND e.tenant_id = current_tenant() AND j.entrypoint = 'webhook/' || e.id
          AND j.status = 'failed' AND (chosen IS NULL OR j.id = ANY(chosen))
        RETURNING j.id, j.entrypoint, j.priority, j.dedupe_key
    ), waiting AS (
        UPDATE alert_notice_recipient r SET state = 'queued', changed_at = clock_timestamp() FROM requeued q
        WHERE r.endpoint_id = endpoint AND r.state = 'abandoned'
          AND q.dedupe_key = 'msg_' || replace(r.message_id::text, '-', '') || '/' || endpoint
    ), noted AS (
        INSERT INTO jobs.pgqueuer_log (job_id, status, entrypoint, priority)
        SELECT id, 'queued', entrypoint, priority FROM requeued
    )
    SELECT count(*) FROM requeued
$$;
