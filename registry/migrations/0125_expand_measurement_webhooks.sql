-- locks: tenant SHARE ROW EXCLUSIVE instant
-- locks: webhook_endpoint ACCESS EXCLUSIVE instant

-- Webhooks of measurements: a subscription has a cursor in the feed, which moves in the transaction that queues the
-- message of what lies between (docs/decisions/0104). Its address is one of `webhook_endpoint`, with the secret, the
-- proof, the attempts and the dead letters that are there.

-- What an address is for is said when it is made: alerts do not go where measurements do.
ALTER TABLE webhook_endpoint
    ADD COLUMN purpose text NOT NULL DEFAULT 'events' CHECK (purpose IN ('events', 'measurements')),
    ADD CONSTRAINT webhook_endpoint_of_software
        CHECK (purpose = 'events' OR (form IN ('standard', 'cloudevents') AND NOT for_operator)),
    ADD CONSTRAINT webhook_endpoint_of_its_tenant UNIQUE (id, tenant_id);
GRANT SELECT (purpose) ON webhook_endpoint TO territoire_api;

CREATE TABLE measurement_webhook (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id int NOT NULL REFERENCES tenant,
    endpoint_id int NOT NULL,
    description text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Whose rights hold with each batch: a key's, or a person's.
    key_id text,
    person_id int,
    -- What is wanted; NULL: whatever it is.
    datastream_ids int[],
    asset_ids int[],
    asset_kind text,
    quantity text,
    tag text,
    commune text,
    personal boolean NOT NULL DEFAULT false,  -- What is of privacy class 2, too.
    batch_most int NOT NULL DEFAULT 500 CHECK (batch_most BETWEEN 1 AND 1000),
    batch_seconds int NOT NULL DEFAULT 10 CHECK (batch_seconds BETWEEN 1 AND 3600),
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'stopped')),
    stopped_at timestamptz,
    reason text CHECK (reason IN ('asked', 'tenant_closed', 'key_ended', 'person_gone', 'withdrawn', 'personal',
                                  'forgotten', 'restored')),
    withheld int NOT NULL DEFAULT 0,  -- Of the datastreams that it names, those of which nothing may be sent now.
    -- Another one with each restart from elsewhere than the cursor: the ids of messages follow from it and the cursor.
    run uuid NOT NULL DEFAULT gen_random_uuid(),
    -- The cursor: what comes after it was queued in no batch.
    epoch text NOT NULL,
    xid bigint NOT NULL,
    number bigint NOT NULL,
    place int NOT NULL,
    -- The last batch: its message, after which entry it begins, and what it is about.
    message_id text,
    former_xid bigint,
    former_number bigint,
    former_place int,
    last_streams int[],
    batches bigint NOT NULL DEFAULT 0,  -- The number of the last one.
    readings bigint NOT NULL DEFAULT 0,
    reached_at timestamptz NOT NULL DEFAULT now(),  -- What was recorded up to then was queued, or is not wanted.
    next_at timestamptz NOT NULL DEFAULT now(),
    warned_at timestamptz,  -- When people were last notified that it is late, since it was not.
    UNIQUE (id, tenant_id),
    FOREIGN KEY (endpoint_id, tenant_id) REFERENCES webhook_endpoint (id, tenant_id),
    CHECK (num_nonnulls(key_id, person_id) = 1),
    CHECK ((state = 'stopped') = (reason IS NOT NULL)),
    CHECK ((message_id IS NULL) = (former_xid IS NULL))
);
CREATE INDEX measurement_webhook_due ON measurement_webhook (next_at) WHERE state = 'active';
CREATE INDEX measurement_webhook_of_tenant ON measurement_webhook (tenant_id, id);
CREATE INDEX measurement_webhook_of_endpoint ON measurement_webhook (endpoint_id);

-- What was sent, without what it said.
CREATE TABLE measurement_batch (
    webhook_id int NOT NULL,
    tenant_id int NOT NULL,
    number bigint NOT NULL,
    message_id text NOT NULL,
    made_at timestamptz NOT NULL,
    readings int NOT NULL,
    recorded_from timestamptz NOT NULL,
    recorded_until timestamptz NOT NULL,
    PRIMARY KEY (webhook_id, number),
    FOREIGN KEY (webhook_id, tenant_id) REFERENCES measurement_webhook (id, tenant_id) ON DELETE CASCADE
);
CREATE INDEX measurement_batch_made_at ON measurement_batch (made_at);

CALL scope_to_tenant('measurement_webhook');
CALL scope_to_tenant('measurement_batch');
GRANT SELECT, DELETE,
      INSERT (tenant_id, endpoint_id, description, key_id, person_id, datastream_ids, asset_ids, asset_kind, quantity, tag,
              commune, personal, batch_most, batch_seconds, epoch, xid, number, place),
      UPDATE (description, key_id, person_id, datastream_ids, asset_ids, asset_kind, quantity, tag, commune,
              personal, batch_most, batch_seconds, state, stopped_at, reason, withheld, run, epoch, xid, number, place,
              message_id, former_xid, former_number, former_place, last_streams, reached_at, next_at, warned_at)
      ON measurement_webhook TO territoire_api;
GRANT SELECT ON measurement_batch TO territoire_api;

INSERT INTO quota_default (kind, most, counted, condition) VALUES
    ('measurement_webhooks', 20, 'measurement_webhook', 'true');
CREATE TRIGGER quota_of_new AFTER INSERT ON measurement_webhook FOR EACH ROW
    WHEN (session_user = 'territoire_api') EXECUTE FUNCTION keep_quota();
CREATE TRIGGER quota_of_taken_over AFTER UPDATE OF tenant_id ON measurement_webhook FOR EACH ROW
    WHEN (session_user = 'territoire_api' AND NEW.tenant_id IS DISTINCT FROM OLD.tenant_id)
    EXECUTE FUNCTION keep_quota();

-- The job of a subscription's last batch, while it waits, is under way or was given up.
CREATE FUNCTION measurement_batch_job(webhook int) RETURNS TABLE (id bigint, status text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1 AS $$
    SELECT j.id, j.status::text
    FROM measurement_webhook w JOIN jobs.pgqueuer j
      ON j.entrypoint = 'webhook/' || w.endpoint_id AND j.dedupe_key = w.message_id || '/' || w.endpoint_id
    WHERE w.id = webhook AND w.tenant_id = current_tenant() AND j.status IN ('queued', 'picked', 'failed')
$$;

-- Whoever begins elsewhere, or ends, wants no more of what waits.
CREATE FUNCTION drop_measurement_batch() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM jobs.pgqueuer j
    WHERE j.entrypoint = 'webhook/' || OLD.endpoint_id AND j.dedupe_key = OLD.message_id || '/' || OLD.endpoint_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER measurement_webhook_begun AFTER UPDATE OF run ON measurement_webhook FOR EACH ROW
    WHEN (OLD.run <> NEW.run) EXECUTE FUNCTION drop_measurement_batch();
CREATE TRIGGER measurement_webhook_deleted AFTER DELETE ON measurement_webhook FOR EACH ROW
    EXECUTE FUNCTION drop_measurement_batch();

-- The door of alerting, as `enter_export`: with what its owner may see now. Otherwise why not; NULL: it is stopped.
CREATE FUNCTION enter_measurement_webhook(webhook int) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    known measurement_webhook;
    kinds text[] := '{}';
BEGIN
    SELECT w.* INTO known FROM measurement_webhook w WHERE w.id = webhook AND w.state = 'active';
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF EXISTS (SELECT FROM tenant t WHERE t.id = known.tenant_id AND t.closed_at IS NOT NULL) THEN
        RETURN 'tenant_closed';
    END IF;
    IF known.key_id IS NOT NULL THEN
        SELECT k.asset_kinds INTO kinds FROM api_key k
        WHERE k.id = known.key_id AND k.tenant_id = known.tenant_id AND k.revoked_at IS NULL
          AND (k.expires_at IS NULL OR k.expires_at > now()) AND 'read' = ANY(k.roles);
        IF NOT FOUND THEN
            RETURN 'key_ended';
        END IF;
    ELSIF NOT EXISTS (
        SELECT FROM membership m JOIN person p ON p.id = m.person_id
        WHERE m.person_id = known.person_id AND m.tenant_id = known.tenant_id AND p.disabled_at IS NULL)
    THEN
        RETURN 'person_gone';
    END IF;
    PERFORM set_config('app.proved', '', true);
    PERFORM seal_transaction(known.tenant_id, false, known.tenant_id, '{}');
    IF kinds <> '{}' THEN
        PERFORM set_config('app.proved', current_setting('app.proved') || '|' || kinds::text, true);
        PERFORM set_config('app.seal', seal_of_settings(s.secret), true) FROM seal_secret s;
    END IF;
    RETURN 'entered';
END
$$;

DO $$
DECLARE
    made regprocedure;
BEGIN
    FOREACH made IN ARRAY ARRAY['measurement_batch_job(int)', 'drop_measurement_batch()',
                                'enter_measurement_webhook(int)']::regprocedure[] LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', made);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', made);
    END LOOP;
    GRANT EXECUTE ON FUNCTION measurement_batch_job(int) TO territoire_api;
END
$$;

-- A batch with something of it that waits, or was given up, is made anew from where it begins, without that.
INSERT INTO erasure_step VALUES
(29, 'measurement_webhook', $$
WITH renewed AS (UPDATE measurement_webhook w SET run = gen_random_uuid(), xid = w.former_xid, number = w.former_number,
    place = w.former_place, message_id = NULL, former_xid = NULL, former_number = NULL, former_place = NULL,
    last_streams = NULL, next_at = now()
WHERE w.last_streams && (($1).datastream_ids || ($1).span_datastream_ids) AND EXISTS (
    SELECT FROM jobs.pgqueuer j WHERE j.entrypoint = 'webhook/' || w.endpoint_id
    AND j.dedupe_key = w.message_id || '/' || w.endpoint_id) RETURNING 1)
SELECT count(*) FROM renewed $$);
