-- locks: application ACCESS EXCLUSIVE scan
-- locks: application_state ACCESS EXCLUSIVE instant
-- locks: mqtt_account ACCESS EXCLUSIVE scan

-- MQTT accesses: applications at our own broker that whoever may read makes for themselves (docs/decisions/0115).

ALTER TABLE application
    ADD COLUMN at_our_broker boolean NOT NULL DEFAULT false,
    -- Whose rights hold with each event: a key's, or a person's.
    ADD COLUMN key_id text,
    ADD COLUMN person_id int,
    ADD COLUMN personal boolean NOT NULL DEFAULT false,  -- What is of privacy class 2, too.
    ADD CONSTRAINT application_of_its_owner CHECK (num_nonnulls(key_id, person_id) = at_our_broker::int),
    ADD CONSTRAINT application_that_reads CHECK (NOT (at_our_broker AND takes_commands));
GRANT SELECT (at_our_broker, key_id, person_id, personal) ON application TO territoire_api;
-- Events that its owner may not see, or no more.
ALTER TABLE application_state ADD COLUMN withheld bigint NOT NULL DEFAULT 0;

-- Two accounts of an access at once, and a third while its password is renewed: ours publishes, its owner's read.
ALTER TABLE mqtt_account ADD COLUMN application_id int REFERENCES application ON DELETE CASCADE,
    ADD CONSTRAINT mqtt_account_of_partner CHECK (application_id IS NULL OR tenant_id IS NOT NULL);
CREATE INDEX mqtt_account_of_application ON mqtt_account (application_id) WHERE application_id IS NOT NULL;
GRANT SELECT (application_id) ON mqtt_account TO territoire_api;

-- Why the owner of an access may read no more; NULL: it may, or it is an application that an operator has made.
CREATE FUNCTION application_standing(application int) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT CASE
        WHEN t.closed_at IS NOT NULL THEN 'tenant_closed'
        WHEN a.key_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM api_key k
            WHERE k.id = a.key_id AND k.tenant_id = a.tenant_id AND k.revoked_at IS NULL
              AND (k.expires_at IS NULL OR k.expires_at > now()) AND 'read' = ANY(k.roles) AND k.addresses = '{}')
        THEN 'key_ended'
        WHEN a.person_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM membership m JOIN person p ON p.id = m.person_id
            WHERE m.person_id = a.person_id AND m.tenant_id = a.tenant_id AND p.disabled_at IS NULL)
        THEN 'person_gone' END
    FROM application a JOIN tenant t ON t.id = a.tenant_id
    WHERE a.id = application AND a.at_our_broker
$$;

-- Which accesses are told of which of these devices, by their places: of their own tenant's and its members' devices,
-- and of what a grant in force covers at that instant; without instants, what no grant gives. What of it their owners
-- see is asked when it is published.
CREATE FUNCTION listening_applications(devices int[], instants timestamptz[])
    RETURNS TABLE (place bigint, application_id int)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM application a WHERE a.at_our_broker AND a.enabled) THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH RECURSIVE listening (id, tenant_id) AS MATERIALIZED (
        SELECT a.id, a.tenant_id FROM application a
        WHERE a.at_our_broker AND a.enabled AND application_standing(a.id) IS NULL
    ), seen (id, tenant_id) AS (
        SELECT l.id, l.tenant_id FROM listening l
        UNION SELECT s.id, t.id FROM seen s JOIN tenant t ON t.member_of = s.tenant_id
    ), heard (device_id, instant, nth) AS (
        SELECT h.* FROM unnest(devices, instants) WITH ORDINALITY AS h
    )
    SELECT h.nth, s.id FROM heard h JOIN device d ON d.id = h.device_id JOIN seen s ON s.tenant_id = d.tenant_id
    UNION
    SELECT h.nth, l.id FROM heard h
    JOIN datastream d ON d.device_id = h.device_id
    JOIN asset a ON a.id = d.asset_id
    JOIN access_grant g ON g.tenant_id = a.tenant_id AND g.revoked_at IS NULL AND g.valid @> now()
        AND g.data @> h.instant
        AND CASE WHEN g.asset_id IS NOT NULL THEN g.asset_id = a.id
                 ELSE a.privacy_class < 2 AND (g.everything OR g.asset_kind = a.kind OR g.tag = ANY(a.tags)) END
    JOIN listening l ON l.tenant_id = g.grantee_id;
END
$$;

-- Tells the applications of this device, as before, and the accesses that hear of it.
CREATE OR REPLACE FUNCTION queue_application_event(device int, of_kind text, of_what jsonb) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO observation.application_event (application_id, device_id, kind, time, what)
    SELECT a.id, d.id, of_kind, clock_timestamp(), of_what
    FROM device d JOIN application a ON a.tenant_id = d.tenant_id AND a.enabled AND NOT a.at_our_broker
    WHERE d.id = device
      AND (a.all_devices
           OR EXISTS (SELECT FROM application_device l WHERE l.application_id = a.id AND l.device_id = d.id))
    UNION ALL
    SELECT l.application_id, device, of_kind, clock_timestamp(), of_what
    FROM listening_applications(ARRAY[device], ARRAY[NULL]::timestamptz[]) l
$$;

-- The door of intake, as `enter_measurement_webhook`: with what the owner of an access may see now. Otherwise why not;
-- NULL: there is none.
CREATE FUNCTION enter_mqtt_access(application int) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    known application;
    kinds text[];
    fault text;
BEGIN
    SELECT a.* INTO known FROM application a WHERE a.id = enter_mqtt_access.application AND a.at_our_broker;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    fault := application_standing(known.id);
    IF fault IS NOT NULL THEN
        RETURN fault;
    END IF;
    SELECT k.asset_kinds INTO kinds FROM api_key k WHERE k.id = known.key_id;
    PERFORM set_config('app.proved', '', true);
    PERFORM seal_transaction(known.tenant_id, false, known.tenant_id, '{}');
    IF kinds <> '{}' THEN
        PERFORM set_config('app.proved', current_setting('app.proved') || '|' || kinds::text, true);
        PERFORM set_config('app.seal', seal_of_settings(s.secret), true) FROM seal_secret s;
    END IF;
    RETURN 'entered';
END
$$;

-- Of these devices those whose life in the network is the owner's to see: its tenant's and its members', and of a
-- key that is limited to kinds of assets those that serve one.
CREATE FUNCTION followed_devices(devices int[]) RETURNS SETOF int
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT d FROM unnest(devices) AS d
    WHERE sees_device(d) AND (proved_kinds() IS NULL OR d IN (SELECT devices_of_kinds()))
$$;

DO $$
DECLARE
    made regprocedure;
BEGIN
    FOREACH made IN ARRAY ARRAY['application_standing(int)', 'listening_applications(int[], timestamptz[])',
                                'enter_mqtt_access(int)', 'followed_devices(int[])']::regprocedure[] LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', made);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', made);
    END LOOP;
    GRANT EXECUTE ON FUNCTION application_standing(int) TO territoire_api;
END
$$;

-- Of these uplinks those that this transaction may see, as the view `uplink` shows them.
CREATE FUNCTION shown_uplinks(devices int[], times timestamptz[], ids uuid[]) RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT u.uplink_id FROM unnest(devices, times, ids) AS asked (device_id, time, uplink_id)
    JOIN uplink u USING (device_id, time, uplink_id)
    WHERE u.time BETWEEN (SELECT min(t) FROM unnest(times) t) AND (SELECT max(t) FROM unnest(times) t)
$$;
GRANT CREATE ON SCHEMA public TO territoire_views;
ALTER FUNCTION shown_uplinks(int[], timestamptz[], uuid[]) OWNER TO territoire_views;
REVOKE CREATE ON SCHEMA public FROM territoire_views;
REVOKE EXECUTE ON FUNCTION shown_uplinks(int[], timestamptz[], uuid[]) FROM PUBLIC;

-- Of a person who is erased the accesses go, with their accounts.
INSERT INTO erasure_step VALUES
(200, 'application', $$
WITH gone AS (DELETE FROM application WHERE person_id = ANY(($1).person_ids) RETURNING 1) SELECT count(*) FROM gone $$);
