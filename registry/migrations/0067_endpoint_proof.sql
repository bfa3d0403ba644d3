-- An address receives what a tenant is told only once it was proved that it wants it: a receiver of webhooks answers a
-- signed challenge, behind any other address a person reads a code and enters it. Those that are there count as proved.
-- Until then, and again when the address changes, its state is 'unproved': in service for nobody, as if suspended.

ALTER TABLE webhook_endpoint
    ADD COLUMN proved_at timestamptz DEFAULT now(),
    ADD COLUMN proof_digest bytea,  -- SHA-256 of the challenge or code that was sent last.
    ADD COLUMN proof_until timestamptz,
    ADD COLUMN proof_failures smallint NOT NULL DEFAULT 0;
UPDATE webhook_endpoint SET proved_at = created_at;
ALTER TABLE webhook_endpoint DROP CONSTRAINT webhook_endpoint_state_check,
    ADD CONSTRAINT webhook_endpoint_state_check CHECK (state IN ('enabled', 'disabled', 'unproved')),
    ADD CONSTRAINT webhook_endpoint_is_proved CHECK (
        CASE state WHEN 'enabled' THEN proved_at IS NOT NULL WHEN 'unproved' THEN proved_at IS NULL ELSE true END);
GRANT SELECT (proved_at, proof_until) ON webhook_endpoint TO territoire_api;

-- What waited for the former address is given up, and can be sent again once the new one is proved.
DROP TRIGGER webhook_endpoint_suspended ON webhook_endpoint;
CREATE TRIGGER webhook_endpoint_suspended AFTER UPDATE OF state ON webhook_endpoint
    FOR EACH ROW WHEN (OLD.state = 'enabled' AND NEW.state <> 'enabled')
    EXECUTE FUNCTION hold_webhooks_of_endpoint();

CREATE FUNCTION ask_for_proof() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF coalesce(current_setting('app.resealing', true), '') <> 'on' THEN  -- The same address, sealed anew.
        NEW.state := CASE NEW.state WHEN 'enabled' THEN 'unproved' ELSE NEW.state END;
        NEW.proved_at := NULL;
        NEW.proof_digest := NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER webhook_endpoint_moved BEFORE UPDATE OF url, url_wrapped ON webhook_endpoint
    FOR EACH ROW WHEN (OLD.url IS DISTINCT FROM NEW.url OR OLD.url_wrapped IS DISTINCT FROM NEW.url_wrapped)
    EXECUTE FUNCTION ask_for_proof();

-- What a tenant has sent to addresses at will, tests and challenges, in the last hour: nobody aims us at others.
CREATE TABLE webhook_probe (
    tenant_id int NOT NULL REFERENCES tenant ON DELETE CASCADE,
    endpoint_id int NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX webhook_probe_of_tenant ON webhook_probe (tenant_id, at);
ALTER TABLE webhook_probe ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_probe FORCE ROW LEVEL SECURITY;
CREATE POLICY of_services ON webhook_probe TO territoire_service USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON webhook_probe TO territoire_service;

-- How many seconds from now the next one may be sent; 0: now, and it is counted. One each ten seconds to an endpoint,
-- twenty a minute and a hundred and twenty an hour of a tenant, whichever replica is asked.
CREATE FUNCTION take_webhook_probe(endpoint int) RETURNS double precision
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    tenant int := current_tenant();
    until timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('webhook probe'), tenant);
    DELETE FROM webhook_probe p WHERE p.tenant_id = tenant AND p.at < clock_timestamp() - interval '1 hour';
    SELECT max(b.until) INTO until FROM (
        SELECT max(p.at) + interval '10 s' AS until FROM webhook_probe p
        WHERE p.tenant_id = tenant AND p.endpoint_id = endpoint
        UNION ALL
        (SELECT p.at + interval '1 minute' FROM webhook_probe p WHERE p.tenant_id = tenant
         ORDER BY p.at DESC OFFSET 19 LIMIT 1)
        UNION ALL
        (SELECT p.at + interval '1 hour' FROM webhook_probe p WHERE p.tenant_id = tenant
         ORDER BY p.at DESC OFFSET 119 LIMIT 1)) AS b;
    IF until > clock_timestamp() THEN
        RETURN extract(epoch FROM until - clock_timestamp());
    END IF;
    INSERT INTO webhook_probe (tenant_id, endpoint_id)
    SELECT e.tenant_id, e.id FROM webhook_endpoint e WHERE e.id = endpoint AND e.tenant_id = tenant;
    RETURN 0;
END
$$;

-- Sends what proves an endpoint that is unproved: false when it is not. A second later: whoever made it by software
-- knows its secret by then.
CREATE FUNCTION begin_endpoint_proof(endpoint int, digest bytea, lasts interval, payload bytea) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH begun AS (
        UPDATE webhook_endpoint e SET proof_digest = digest, proof_until = now() + lasts, proof_failures = 0
        WHERE e.id = endpoint AND e.tenant_id = current_tenant() AND e.state = 'unproved' RETURNING e.id
    ), queued AS (
        INSERT INTO jobs.pgqueuer (priority, entrypoint, payload, status, execute_after)
        SELECT 0, 'webhook/' || id, payload, 'queued', clock_timestamp() + interval '1 s' FROM begun RETURNING id, entrypoint
    ), noted AS (
        INSERT INTO jobs.pgqueuer_log (job_id, status, entrypoint, priority)
        SELECT id, 'queued', entrypoint, 0 FROM queued
    )
    SELECT EXISTS (SELECT FROM queued)
$$;

-- proved, wrong, over (too late, or too often wrong); NULL: there is no such endpoint, or nothing to prove.
CREATE FUNCTION enter_endpoint_code(endpoint int, digest bytea) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    known webhook_endpoint;
BEGIN
    SELECT e.* INTO known FROM webhook_endpoint e
    WHERE e.id = endpoint AND e.tenant_id = current_tenant() AND e.state = 'unproved' FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF known.proof_digest IS NULL OR known.proof_until < now() OR known.proof_failures >= 5 THEN
        RETURN 'over';
    END IF;
    IF known.proof_digest <> digest THEN
        UPDATE webhook_endpoint e SET proof_failures = e.proof_failures + 1 WHERE e.id = endpoint;
        RETURN 'wrong';
    END IF;
    UPDATE webhook_endpoint e SET state = 'enabled', proved_at = now(), recovered_at = clock_timestamp(),
           gone_at = NULL, proof_digest = NULL WHERE e.id = endpoint;
    RETURN 'proved';
END
$$;

DO $$
DECLARE
    made regprocedure;
BEGIN
    FOREACH made IN ARRAY ARRAY['take_webhook_probe(int)', 'begin_endpoint_proof(int, bytea, interval, bytea)',
                                'enter_endpoint_code(int, bytea)']::regprocedure[] LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', made);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', made);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO territoire_api', made);
    END LOOP;
END
$$;
