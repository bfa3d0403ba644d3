-- What waits for an endpoint, and what was given up, seen and sent again by whoever manages the endpoint: the API's
-- role has no right on the queue itself, so that each door below looks at whose the endpoint is.

-- When the next attempt is due, by the schedule or by the receiver's own Retry-After; NULL: there is none.
ALTER TABLE webhook_attempt ADD COLUMN next_at timestamptz;
CREATE INDEX webhook_attempt_of_message ON webhook_attempt (message_id);
CREATE INDEX pgqueuer_failed ON jobs.pgqueuer (entrypoint, id DESC) WHERE status = 'failed';

CREATE FUNCTION dead_webhooks(endpoint int, before bigint, most int)
    RETURNS TABLE (id bigint, payload bytea, queued_at timestamptz, failed_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT j.id, j.payload, j.created, j.updated FROM jobs.pgqueuer j
    JOIN webhook_endpoint e ON e.id = endpoint AND e.tenant_id = current_tenant()
    WHERE j.entrypoint = 'webhook/' || e.id AND j.status = 'failed' AND (before IS NULL OR j.id < before)
    ORDER BY j.id DESC LIMIT most
$$;

-- As pgqueuer's own requeue, and the schedule begins anew with `created`. Without `chosen`: all. How many.
CREATE FUNCTION replay_webhooks(endpoint int, chosen bigint[]) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH requeued AS (
        UPDATE jobs.pgqueuer j SET status = 'queued', created = clock_timestamp(), execute_after = clock_timestamp(),
               updated = clock_timestamp(), attempts = 0, queue_manager_id = NULL
        FROM webhook_endpoint e
        WHERE e.id = endpoint AND e.tenant_id = current_tenant() AND j.entrypoint = 'webhook/' || e.id
          AND j.status = 'failed' AND (chosen IS NULL OR j.id = ANY(chosen))
        RETURNING j.id, j.entrypoint, j.priority
    ), noted AS (
        INSERT INTO jobs.pgqueuer_log (job_id, status, entrypoint, priority)
        SELECT id, 'queued', entrypoint, priority FROM requeued
    )
    SELECT count(*) FROM requeued
$$;

CREATE FUNCTION webhook_backlog(endpoint int) RETURNS TABLE (waiting bigint, dead bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*) FILTER (WHERE j.status IN ('queued', 'picked')), count(*) FILTER (WHERE j.status = 'failed')
    FROM jobs.pgqueuer j JOIN webhook_endpoint e ON e.id = endpoint AND e.tenant_id = current_tenant()
    WHERE j.entrypoint = 'webhook/' || e.id
$$;

-- One message for an enabled endpoint; false when there is none.
CREATE FUNCTION queue_webhook(endpoint int, payload bytea) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH queued AS (
        INSERT INTO jobs.pgqueuer (priority, entrypoint, payload, status)
        SELECT 0, 'webhook/' || e.id, payload, 'queued' FROM webhook_endpoint e
        WHERE e.id = endpoint AND e.tenant_id = current_tenant() AND e.state = 'enabled'
        RETURNING id, entrypoint
    ), noted AS (
        INSERT INTO jobs.pgqueuer_log (job_id, status, entrypoint, priority)
        SELECT id, 'queued', entrypoint, 0 FROM queued
    )
    SELECT EXISTS (SELECT FROM queued)
$$;

-- The API's role writes secrets and cannot read them, so that it cannot move the former one aside by itself.
CREATE FUNCTION rotate_webhook_secret(endpoint int, wrapped bytea, kek text, former_until timestamptz) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE webhook_endpoint SET previous_secret_wrapped = secret_wrapped, previous_until = former_until,
           secret_wrapped = wrapped, kek_id = kek
    WHERE id = endpoint AND tenant_id = current_tenant()
    RETURNING true
$$;

DO $$
DECLARE
    door regprocedure;
BEGIN
    FOREACH door IN ARRAY ARRAY['dead_webhooks(int, bigint, int)', 'replay_webhooks(int, bigint[])',
                                'webhook_backlog(int)', 'queue_webhook(int, bytea)',
                                'rotate_webhook_secret(int, bytea, text, timestamptz)']::regprocedure[] LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', door);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO territoire_service, territoire_api', door);
    END LOOP;
END
$$;
