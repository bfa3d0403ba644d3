-- What concerns a dwelling, a device, a person or a contact is exported and erased; assets and devices are archived.
--
-- The API asks (a row of `erasure`, under row security), maintenance works it off in batches by functions of
-- territoire_service and has no right of its own to what is erased. Each step is a row of `erasure_step`: a later table
-- that refers to an asset, device, datastream or person adds its step here and its line in registry/personal_data.py.

-- Archived: out of lists, alerts and missing data; what was measured stays readable. A device is disabled besides.
ALTER TABLE asset ADD COLUMN archived_at timestamptz;
ALTER TABLE device ADD COLUMN archived_at timestamptz;
GRANT SELECT (archived_at), UPDATE (archived_at) ON device TO territoire_api;

CREATE TABLE erasure (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    kind text NOT NULL CHECK (kind IN ('asset', 'device', 'person', 'contact')),
    subject_id int NOT NULL,
    reason text NOT NULL,
    requested_by text NOT NULL,
    by_operator boolean NOT NULL DEFAULT false,
    requested_at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'settling', 'done', 'refused')),
    refusal text CHECK (refusal IN ('unknown', 'of_others')),
    started_at timestamptz,
    settling_since timestamptz,
    ended_at timestamptz,
    erased bigint NOT NULL DEFAULT 0,
    counts jsonb NOT NULL DEFAULT '{}',
    subjects int NOT NULL DEFAULT 0,
    -- Keyed digests of what was erased, as in the ledger beside the backups; nobody reads an id out of them.
    digests bytea[] NOT NULL DEFAULT '{}',
    receipt_sha256 bytea,
    -- What it is about, fixed when it begins and emptied when it ends.
    scope jsonb NOT NULL DEFAULT '[]',
    asset_ids int[] NOT NULL DEFAULT '{}',
    device_ids int[] NOT NULL DEFAULT '{}',
    datastream_ids int[] NOT NULL DEFAULT '{}',
    alert_ids bigint[] NOT NULL DEFAULT '{}',
    person_ids int[] NOT NULL DEFAULT '{}',
    contact_ids int[] NOT NULL DEFAULT '{}',
    endpoint_ids int[] NOT NULL DEFAULT '{}',
    -- Of a device that serves others as well, and of a datastream that others fed as well: only these periods.
    span_device_ids int[] NOT NULL DEFAULT '{}',
    span_datastream_ids int[] NOT NULL DEFAULT '{}',
    span_during tstzrange[] NOT NULL DEFAULT '{}',
    -- By which what refers to it is found in texts: as a part of any text, or as a whole value.
    needles text[] NOT NULL DEFAULT '{}',
    names text[] NOT NULL DEFAULT '{}',
    octets bytea[] NOT NULL DEFAULT '{}',
    message_ids text[] NOT NULL DEFAULT '{}',
    -- What lines of the audit are about: entity/number.
    audited text[] NOT NULL DEFAULT '{}'
);
CREATE UNIQUE INDEX erasure_under_way ON erasure (kind, subject_id) WHERE state NOT IN ('done', 'refused');
CREATE INDEX erasure_by_tenant ON erasure (tenant_id, id DESC);
CALL scope_to_tenant('erasure');
GRANT SELECT (id, tenant_id, kind, subject_id, reason, requested_by, requested_at, state, refusal, started_at,
              settling_since, ended_at, erased, counts, subjects, digests, receipt_sha256) ON erasure
    TO territoire_api;
GRANT INSERT (tenant_id, kind, subject_id, reason, requested_by, by_operator) ON erasure TO territoire_api;
CREATE POLICY of_operator ON erasure AS RESTRICTIVE FOR INSERT TO territoire_api
    WITH CHECK (NOT by_operator OR (SELECT is_operator()) OR (SELECT has_proved('operate')));

-- `statement` erases at most $2 rows of what $1, an erasure, is about, and says how many.
CREATE TABLE erasure_step (
    place int PRIMARY KEY,
    relation text NOT NULL,
    statement text NOT NULL
);
GRANT SELECT ON erasure_step TO territoire_service;

-- What a subject consists of. Of a dwelling: what is below it, and the devices that have served nothing else.
CREATE FUNCTION subject_scope(wanted_kind text, subject int, tenant int) RETURNS erasure
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    e erasure;
BEGIN
    e.tenant_id := tenant; e.kind := wanted_kind; e.subject_id := subject;
    e.asset_ids := '{}'; e.device_ids := '{}'; e.datastream_ids := '{}'; e.alert_ids := '{}'; e.person_ids := '{}';
    e.contact_ids := '{}'; e.endpoint_ids := '{}'; e.span_device_ids := '{}'; e.span_datastream_ids := '{}';
    e.span_during := '{}'; e.needles := '{}'; e.names := '{}'; e.octets := '{}'; e.message_ids := '{}'; e.audited := '{}';
    e.scope := '[]'; e.refusal := NULL;
    -- The API asks for what it has entered; the owner of the function asks for any.
    IF session_user::text = 'territoire_api' AND tenant IS DISTINCT FROM current_tenant() THEN
        e.refusal := 'unknown';
        RETURN e;
    END IF;
    IF wanted_kind = 'asset' THEN
        WITH RECURSIVE below (id, is_dwelling) AS (
            SELECT a.id, is_dwelling(a.kind) FROM asset a WHERE a.id = subject AND a.tenant_id = tenant
            UNION
            SELECT a.id, true FROM asset a JOIN below b ON a.parent_id = b.id
            WHERE b.is_dwelling AND a.tenant_id = tenant
        ) SELECT coalesce(array_agg(id ORDER BY id), '{}') INTO e.asset_ids FROM below;
        SELECT coalesce(array_agg(DISTINCT d.id), '{}') INTO e.device_ids
        FROM device d JOIN assignment g ON g.device_id = d.id AND g.asset_id = ANY(e.asset_ids)
        WHERE d.tenant_id = tenant
          AND NOT EXISTS (SELECT FROM assignment o WHERE o.device_id = d.id AND o.asset_id <> ALL(e.asset_ids));
        SELECT coalesce(array_agg(s.id), '{}') INTO e.datastream_ids FROM datastream s
        WHERE s.asset_id = ANY(e.asset_ids) OR s.asset_id IS NULL AND s.device_id = ANY(e.device_ids);
        SELECT coalesce(array_agg(g.device_id), '{}'), coalesce(array_agg(g.during), '{}')
        INTO e.span_device_ids, e.span_during
        FROM assignment g WHERE g.asset_id = ANY(e.asset_ids) AND g.device_id <> ALL(e.device_ids);
        e.span_datastream_ids := array_fill(NULL::int, ARRAY[cardinality(e.span_device_ids)]);
    ELSIF wanted_kind = 'device' THEN
        SELECT coalesce(array_agg(d.id), '{}') INTO e.device_ids FROM device d
        WHERE d.id = subject AND d.tenant_id = tenant;
        WITH fed AS (
            SELECT s.id, s.asset_id, s.position FROM datastream s WHERE s.device_id = ANY(e.device_ids)
            UNION
            SELECT s.id, s.asset_id, s.position FROM datastream s
            JOIN assignment g ON g.asset_id = s.asset_id AND g.position = s.position
            WHERE g.device_id = ANY(e.device_ids)
        ), judged AS (
            SELECT f.*, EXISTS (SELECT FROM assignment o WHERE o.asset_id = f.asset_id AND o.position = f.position
                                AND o.device_id <> ALL(e.device_ids)) AS is_shared FROM fed f
        ), spans AS (
            SELECT j.id, g.during FROM judged j
            JOIN assignment g ON g.asset_id = j.asset_id AND g.position = j.position
            WHERE j.is_shared AND g.device_id = ANY(e.device_ids)
        )
        SELECT (SELECT coalesce(array_agg(id), '{}') FROM judged WHERE NOT is_shared),
               (SELECT coalesce(array_agg(id), '{}') FROM spans),
               (SELECT coalesce(array_agg(during), '{}') FROM spans)
        INTO e.datastream_ids, e.span_datastream_ids, e.span_during;
        e.span_device_ids := array_fill(NULL::int, ARRAY[cardinality(e.span_datastream_ids)]);
    ELSIF wanted_kind = 'person' THEN
        SELECT coalesce(array_agg(p.id), '{}'), coalesce(array_agg(p.email), '{}'), coalesce(array_agg(p.name), '{}')
        INTO e.person_ids, e.needles, e.names
        FROM person p JOIN membership m ON m.person_id = p.id AND m.tenant_id = tenant WHERE p.id = subject;
        IF EXISTS (SELECT FROM membership m WHERE m.person_id = ANY(e.person_ids) AND m.tenant_id <> tenant) THEN
            e.refusal := 'of_others';
        END IF;
        -- The same person as a contact of a team.
        SELECT coalesce(array_agg(c.id), '{}') INTO e.contact_ids
        FROM contact c JOIN webhook_endpoint w ON w.id = c.webhook_endpoint_id
        WHERE c.tenant_id = tenant AND lower(w.url) LIKE ANY(SELECT '%' || replace(replace(n, '\', '\\'), '_', '\_')
                                                             FROM unnest(e.needles) n);
    ELSE
        SELECT coalesce(array_agg(c.id), '{}') INTO e.contact_ids FROM contact c
        WHERE c.id = subject AND c.tenant_id = tenant;
    END IF;
    IF cardinality(e.asset_ids || e.device_ids || e.person_ids || e.contact_ids) = 0 THEN
        e.refusal := 'unknown';
        RETURN e;
    END IF;
    -- The address of a contact that is nobody else's.
    SELECT coalesce(array_agg(w.id), '{}'), e.needles || coalesce(array_agg(DISTINCT lower(replace(w.url, 'mailto:', '')))
                                                        FILTER (WHERE w.form = 'email'), '{}')
    INTO e.endpoint_ids, e.needles
    FROM webhook_endpoint w
    WHERE EXISTS (SELECT FROM contact c WHERE c.webhook_endpoint_id = w.id AND c.id = ANY(e.contact_ids))
      AND NOT EXISTS (SELECT FROM contact c WHERE c.webhook_endpoint_id = w.id AND c.id <> ALL(e.contact_ids));
    e.names := e.names || ARRAY(SELECT c.name FROM contact c WHERE c.id = ANY(e.contact_ids))
                       || ARRAY(SELECT a.name FROM asset a WHERE a.id = ANY(e.asset_ids))
                       || ARRAY(SELECT a.street FROM asset a WHERE a.id = ANY(e.asset_ids) AND a.street <> '')
                       || ARRAY(SELECT d.name FROM device d WHERE d.id = ANY(e.device_ids));
    e.needles := e.needles || ARRAY(SELECT encode(d.dev_eui, 'hex') FROM device d WHERE d.id = ANY(e.device_ids));
    -- As it is, and as a frame has it.
    e.octets := ARRAY(SELECT d.dev_eui FROM device d WHERE d.id = ANY(e.device_ids)
                      UNION ALL
                      SELECT (SELECT string_agg(substring(d.dev_eui FROM n FOR 1), '' ORDER BY n DESC)
                              FROM generate_series(1, 8) n) FROM device d WHERE d.id = ANY(e.device_ids));
    e.alert_ids := ARRAY(SELECT a.id FROM alert a WHERE a.asset_id = ANY(e.asset_ids)
                         OR a.device_id = ANY(e.device_ids) OR a.datastream_id = ANY(e.datastream_ids));
    e.message_ids := ARRAY(SELECT DISTINCT 'msg_' || replace(r.message_id::text, '-', '')
                           FROM alert_notice_recipient r WHERE r.alert_id = ANY(e.alert_ids)
                           UNION SELECT 'msg_' || replace(n.id::text, '-', '') FROM alert_notice n
                           WHERE n.alert_id = ANY(e.alert_ids));
    e.audited := ARRAY(
        SELECT 'asset/' || i FROM unnest(e.asset_ids) i
        UNION ALL SELECT 'data_subject/asset-' || i FROM unnest(e.asset_ids) i
        UNION ALL SELECT 'device/' || n FROM unnest(e.needles) n
        UNION ALL SELECT 'person/' || i FROM unnest(e.person_ids) i
        UNION ALL SELECT 'contact/' || i FROM unnest(e.contact_ids) i
        UNION ALL SELECT 'webhook_endpoint/' || i FROM unnest(e.endpoint_ids) i
        UNION ALL SELECT k || '/' || i FROM unnest(e.datastream_ids || e.span_datastream_ids) i,
                         unnest(ARRAY['datastream', 'manual_reading', 'measurement']) k WHERE i IS NOT NULL
        UNION ALL SELECT 'alert/' || i FROM unnest(e.alert_ids) i
        UNION ALL SELECT 'silence/' || s.id FROM silence s WHERE s.asset_id = ANY(e.asset_ids)
        UNION ALL SELECT 'maintenance_window/' || w.id FROM maintenance_window w WHERE w.asset_id = ANY(e.asset_ids)
        UNION ALL SELECT 'grant/' || g.id FROM access_grant g WHERE g.asset_id = ANY(e.asset_ids)
        UNION ALL SELECT 'transfer/' || f.id FROM asset_transfer f WHERE f.asset_id = ANY(e.asset_ids)
        UNION ALL SELECT 'processing/' || p.id FROM processing p
        WHERE p.asset_id = ANY(e.asset_ids) OR p.datastream_id = ANY(e.datastream_ids)
        UNION ALL SELECT 'consent/' || c.id FROM consent c
        WHERE c.asset_id = ANY(e.asset_ids) OR c.datastream_id = ANY(e.datastream_ids)
        UNION ALL SELECT 'downlink/' || o.id FROM downlink o WHERE o.device_id = ANY(e.device_ids)
        UNION ALL SELECT 'lighting_command/' || o.id FROM lighting_command o
        WHERE o.asset_id = ANY(e.asset_ids) OR o.device_id = ANY(e.device_ids)
        UNION ALL SELECT 'redecode/' || r.id FROM redecode r WHERE r.device_id = ANY(e.device_ids)
        UNION ALL SELECT 'meter_change/' || m.id FROM observation.meter_change m
        WHERE m.datastream_id = ANY(e.datastream_ids));
    -- What the ledger names by keyed digests: the instant tells an id apart from one that a restored database draws anew.
    SELECT coalesce(jsonb_agg(t ORDER BY t), '[]') INTO e.scope FROM (
        SELECT format('asset/%s/%s', a.id, (extract(epoch FROM a.created_at) * 1000000)::bigint) AS t
        FROM asset a WHERE a.id = ANY(e.asset_ids)
        UNION ALL SELECT format('device/%s/%s', d.id, (extract(epoch FROM d.created_at) * 1000000)::bigint)
        FROM device d WHERE d.id = ANY(e.device_ids)
        UNION ALL SELECT format('person/%s/%s', p.id, (extract(epoch FROM p.created_at) * 1000000)::bigint)
        FROM person p WHERE p.id = ANY(e.person_ids)
        UNION ALL SELECT format('contact/%s/%s', c.id, (extract(epoch FROM c.created_at) * 1000000)::bigint)
        FROM contact c WHERE c.id = ANY(e.contact_ids)) named;
    RETURN e;
END
$$;

-- Fixes what an erasure is about; its state, and what the ledger is to name. Nothing is erased yet.
CREATE FUNCTION begin_erasure(wanted int) RETURNS TABLE (state text, scope jsonb)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    known erasure;
    e erasure;
BEGIN
    SELECT * INTO known FROM erasure WHERE id = wanted FOR UPDATE;
    IF known.state = 'waiting' AND known.scope = '[]' THEN
        e := subject_scope(known.kind, known.subject_id, known.tenant_id);
        IF e.refusal = 'unknown' OR e.refusal = 'of_others' AND NOT known.by_operator THEN
            UPDATE erasure SET state = 'refused', refusal = e.refusal, ended_at = now() WHERE id = wanted;
        ELSE
            UPDATE erasure SET scope = e.scope, asset_ids = e.asset_ids, device_ids = e.device_ids,
                datastream_ids = e.datastream_ids, alert_ids = e.alert_ids, person_ids = e.person_ids,
                contact_ids = e.contact_ids, endpoint_ids = e.endpoint_ids, span_device_ids = e.span_device_ids,
                span_datastream_ids = e.span_datastream_ids, span_during = e.span_during, needles = e.needles,
                names = e.names, octets = e.octets, message_ids = e.message_ids,
                audited = e.audited,
                subjects = jsonb_array_length(e.scope), started_at = now()
            WHERE id = wanted;
            -- Nothing new is taken of them while the past goes.
            UPDATE device SET enabled = false, archived_at = coalesce(archived_at, now())
            WHERE id = ANY(e.device_ids);
            UPDATE asset SET archived_at = coalesce(archived_at, now()) WHERE id = ANY(e.asset_ids);
            UPDATE person SET disabled_at = coalesce(disabled_at, now()) WHERE id = ANY(e.person_ids);
        END IF;
    END IF;
    RETURN QUERY SELECT f.state, f.scope FROM erasure f WHERE f.id = wanted;
END
$$;

-- The ledger has it: erasing may begin.
CREATE FUNCTION record_erasure_digests(wanted int, written bytea[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE erasure SET state = 'running', digests = written WHERE id = wanted AND state = 'waiting' AND scope <> '[]'
$$;

-- At most about `most` rows, in this transaction; how many. 0: nothing is left.
CREATE FUNCTION erase_some(wanted int, most int) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    e erasure;
    step erasure_step;
    n bigint;
    total bigint := 0;
BEGIN
    SELECT * INTO e FROM erasure WHERE id = wanted AND state IN ('running', 'settling') FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    -- What services that had not heard of it have made meanwhile.
    e.datastream_ids := e.datastream_ids || ARRAY(
        SELECT s.id FROM datastream s WHERE s.id <> ALL(e.datastream_ids || e.span_datastream_ids)
          AND (s.asset_id = ANY(e.asset_ids) OR s.device_id = ANY(e.device_ids)));
    e.alert_ids := e.alert_ids || ARRAY(
        SELECT a.id FROM alert a WHERE a.id <> ALL(e.alert_ids)
          AND (a.asset_id = ANY(e.asset_ids) OR a.device_id = ANY(e.device_ids)
               OR a.datastream_id = ANY(e.datastream_ids)));
    e.message_ids := e.message_ids || ARRAY(
        SELECT DISTINCT 'msg_' || replace(i::text, '-', '')
        FROM alert_notice_recipient r, unnest(ARRAY[r.message_id, r.notice_id]) AS i
        WHERE r.alert_id = ANY(e.alert_ids) AND 'msg_' || replace(i::text, '-', '') <> ALL(e.message_ids));
    FOR step IN SELECT * FROM erasure_step ORDER BY place LOOP
        EXECUTE step.statement INTO n USING e, most;
        IF n > 0 THEN
            total := total + n;
            e.counts := jsonb_set(e.counts, ARRAY[step.relation],
                                  to_jsonb(coalesce((e.counts ->> step.relation)::bigint, 0) + n));
        END IF;
        EXIT WHEN total >= most;
    END LOOP;
    UPDATE erasure SET counts = e.counts, erased = erased + total, datastream_ids = e.datastream_ids,
        alert_ids = e.alert_ids, message_ids = e.message_ids WHERE id = wanted;
    RETURN total;
END
$$;

CREATE FUNCTION settle_erasure(wanted int) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE erasure SET state = 'settling', settling_since = clock_timestamp() WHERE id = wanted AND state = 'running'
$$;

-- Its end: what it was about is forgotten, a receipt stays.
CREATE FUNCTION end_erasure(wanted int) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE erasure SET state = 'done', ended_at = date_trunc('second', clock_timestamp()), scope = '[]',
        asset_ids = '{}', device_ids = '{}', datastream_ids = '{}', alert_ids = '{}', person_ids = '{}',
        contact_ids = '{}', endpoint_ids = '{}', span_device_ids = '{}', span_datastream_ids = '{}',
        span_during = '{}', needles = '{}', names = '{}', octets = '{}', message_ids = '{}',
        audited = '{}'
    WHERE id = wanted AND state = 'settling';
    UPDATE erasure SET receipt_sha256 = sha256(convert_to(jsonb_build_object(
        'erasure', id, 'tenant', tenant_id, 'kind', kind, 'subject', subject_id, 'subjects', subjects,
        'requested_at', (extract(epoch FROM requested_at) * 1000000)::bigint,
        'ended_at', extract(epoch FROM ended_at)::bigint, 'counts', counts)::text, 'UTF8'))
    WHERE id = wanted AND state = 'done';
$$;

DO $$
DECLARE
    door text;
BEGIN
    FOREACH door IN ARRAY ARRAY['subject_scope(text, int, int)', 'begin_erasure(int)',
                                'record_erasure_digests(int, bytea[])', 'erase_some(int, int)',
                                'settle_erasure(int)', 'end_erasure(int)'] LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
    END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION subject_scope(text, int, int) TO territoire_api;

-- The audit: details and salt go, and where the number of what was done to says who it was, that number.
ALTER TABLE audit_line ADD COLUMN erased_by int REFERENCES erasure;
CREATE OR REPLACE FUNCTION reject_audit_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF current_setting('app.audit_term', true) = 'on' AND TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    IF current_setting('app.audit_erasure', true) = 'on' AND TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'audit_line' THEN
        IF to_jsonb(NEW) - '{entity_id,erased_by}'::text[] = to_jsonb(OLD) - '{entity_id,erased_by}'::text[]
           AND NEW.entity_id = 'effacé' THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'lines of the audit are not changed' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE FUNCTION erase_audit_entities(lines bigint[], erasure int) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    n bigint;
BEGIN
    PERFORM set_config('app.audit_erasure', 'on', true);
    UPDATE audit_line SET entity_id = 'effacé', erased_by = erasure WHERE id = ANY(lines) AND entity_id <> 'effacé';
    GET DIAGNOSTICS n = ROW_COUNT;
    PERFORM set_config('app.audit_erasure', '', true);
    RETURN n;
END
$$;
REVOKE EXECUTE ON FUNCTION erase_audit_entities FROM PUBLIC;
GRANT EXECUTE ON FUNCTION erase_audit_entities TO territoire_service;

-- As in 0046; the name of a person who was erased goes from what they published, too.
CREATE OR REPLACE FUNCTION keep_codec_version() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changing text[] := '{quarantined_at,quarantine_reason,quarantine_detail,released_at,released_by}';
BEGIN
    IF NEW.author = 'personne effacée' THEN
        changing := changing || 'author'::text;
    END IF;
    IF to_jsonb(NEW) - changing IS DISTINCT FROM to_jsonb(OLD) - changing THEN
        RAISE EXCEPTION 'codec version % is immutable', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'codec_version_immutable';
    END IF;
    RETURN NEW;
END
$$;

-- The steps. First what is large, in batches.
INSERT INTO erasure_step VALUES
(10, 'observation.measurement', $$
WITH gone AS (DELETE FROM observation.measurement m USING (
    SELECT datastream_id, time FROM observation.measurement WHERE datastream_id = ANY(($1).datastream_ids)
    LIMIT $2) k
WHERE m.datastream_id = k.datastream_id AND m.time = k.time RETURNING 1) SELECT count(*) FROM gone $$),
(11, 'observation.measurement', $$
WITH gone AS (DELETE FROM observation.measurement m USING (
    SELECT o.datastream_id, o.time FROM unnest(($1).span_datastream_ids, ($1).span_during) AS s (id, during)
    JOIN observation.measurement o ON o.datastream_id = s.id AND o.time <@ s.during LIMIT $2) k
WHERE m.datastream_id = k.datastream_id AND m.time = k.time RETURNING 1) SELECT count(*) FROM gone $$),
(12, 'observation.correction', $$
WITH gone AS (DELETE FROM observation.correction c
WHERE c.datastream_id = ANY(($1).datastream_ids)
   OR EXISTS (SELECT FROM unnest(($1).span_datastream_ids, ($1).span_during) AS s (id, during)
              WHERE s.id = c.datastream_id AND c.time <@ s.during) RETURNING 1) SELECT count(*) FROM gone $$),
(13, 'observation.rollup_hour', $$
WITH gone AS (DELETE FROM observation.rollup_hour r USING (
    SELECT datastream_id, bucket FROM observation.rollup_hour WHERE datastream_id = ANY(($1).datastream_ids)
    UNION ALL
    SELECT o.datastream_id, o.bucket FROM unnest(($1).span_datastream_ids, ($1).span_during) AS s (id, during)
    JOIN observation.rollup_hour o ON o.datastream_id = s.id AND o.bucket <@ s.during
    LIMIT $2) k
WHERE r.datastream_id = k.datastream_id AND r.bucket = k.bucket RETURNING 1) SELECT count(*) FROM gone $$),
(14, 'observation.rollup_day', $$
WITH gone AS (DELETE FROM observation.rollup_day r USING (
    SELECT datastream_id, bucket FROM observation.rollup_day WHERE datastream_id = ANY(($1).datastream_ids)
    UNION ALL
    SELECT o.datastream_id, o.bucket FROM unnest(($1).span_datastream_ids, ($1).span_during) AS s (id, during)
    JOIN observation.rollup_day o ON o.datastream_id = s.id AND o.bucket <@ s.during
    LIMIT $2) k
WHERE r.datastream_id = k.datastream_id AND r.bucket = k.bucket RETURNING 1) SELECT count(*) FROM gone $$),
(15, 'observation.latest', $$
WITH gone AS (DELETE FROM observation.latest l
WHERE l.datastream_id = ANY(($1).datastream_ids)
   OR EXISTS (SELECT FROM unnest(($1).span_datastream_ids, ($1).span_during) AS s (id, during)
              WHERE s.id = l.datastream_id AND l.time <@ s.during) RETURNING 1) SELECT count(*) FROM gone $$),
(16, 'observation.dirty', $$
WITH taken AS (DELETE FROM observation.dirty WHERE datastream_ids && ($1).datastream_ids
               RETURNING hour, datastream_ids),
left_over AS (SELECT t.hour, ARRAY(SELECT u FROM unnest(t.datastream_ids) u WHERE u <> ALL(($1).datastream_ids)) AS ids
         FROM taken t),
back AS (INSERT INTO observation.dirty SELECT hour, ids FROM left_over WHERE cardinality(ids) > 0)
SELECT count(*) FROM taken $$),
(20, 'observation.reception', $$
WITH gone AS (DELETE FROM observation.reception r USING (
    SELECT device_id, time, uplink_id FROM observation.reception WHERE device_id = ANY(($1).device_ids)
    UNION ALL
    SELECT o.device_id, o.time, o.uplink_id FROM unnest(($1).span_device_ids, ($1).span_during) AS s (id, during)
    JOIN observation.reception o ON o.device_id = s.id AND o.time <@ s.during
    LIMIT $2) k
WHERE r.device_id = k.device_id AND r.time = k.time AND r.uplink_id = k.uplink_id RETURNING 1)
SELECT count(*) FROM gone $$),
(21, 'observation.uplink', $$
WITH gone AS (DELETE FROM observation.uplink r USING (
    SELECT device_id, time, uplink_id FROM observation.uplink WHERE device_id = ANY(($1).device_ids)
    UNION ALL
    SELECT o.device_id, o.time, o.uplink_id FROM unnest(($1).span_device_ids, ($1).span_during) AS s (id, during)
    JOIN observation.uplink o ON o.device_id = s.id AND o.time <@ s.during
    LIMIT $2) k
WHERE r.device_id = k.device_id AND r.time = k.time AND r.uplink_id = k.uplink_id RETURNING 1)
SELECT count(*) FROM gone $$),
(22, 'observation.uplink_seen', $$
WITH gone AS (DELETE FROM observation.uplink_seen WHERE device_id = ANY(($1).device_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
(23, 'observation.application_event', $$
WITH gone AS (DELETE FROM observation.application_event
WHERE device_id = ANY(($1).device_ids) OR device_id = ANY(($1).span_device_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
(24, 'observation.quarantine', $$
WITH gone AS (DELETE FROM observation.quarantine q
WHERE EXISTS (SELECT FROM unnest(($1).octets) o WHERE position(o IN q.data) > 0)
   OR EXISTS (SELECT FROM unnest(($1).needles) n
              WHERE position(convert_to(n, 'UTF8') IN q.data) > 0 OR position(convert_to(upper(n), 'UTF8') IN q.data) > 0
                 OR strpos(lower(q.detail), n) > 0) RETURNING 1) SELECT count(*) FROM gone $$),
(25, 'observation.forgotten', $$
WITH gone AS (DELETE FROM observation.forgotten
WHERE hypertable = 'measurement' AND id = ANY(($1).datastream_ids)
   OR hypertable IN ('uplink', 'reception') AND id = ANY(($1).device_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
(26, 'observation.meter_change', $$
WITH gone AS (DELETE FROM observation.meter_change WHERE datastream_id = ANY(($1).datastream_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
-- Alerts, and what was or is to be sent of them.
(30, 'jobs.pgqueuer', $$
WITH gone AS (DELETE FROM jobs.pgqueuer j
WHERE split_part(j.dedupe_key, '/', 1) = ANY(($1).message_ids)
   OR j.entrypoint = ANY(SELECT 'webhook/' || w FROM unnest(($1).endpoint_ids) w)
   OR EXISTS (SELECT FROM unnest(($1).needles) n WHERE position(convert_to(n, 'UTF8') IN j.payload) > 0)
   OR EXISTS (SELECT FROM unnest(($1).names) n
              WHERE position(convert_to('"' || n || '"', 'UTF8') IN j.payload) > 0) RETURNING j.id),
logged AS (DELETE FROM jobs.pgqueuer_log l USING gone g WHERE l.job_id = g.id)
SELECT count(*) FROM gone $$),
(31, 'jobs.pgqueuer_log', $$
WITH gone AS (DELETE FROM jobs.pgqueuer_log l
WHERE l.traceback IS NOT NULL AND EXISTS (
    SELECT FROM unnest(($1).needles || ($1).names) n WHERE strpos(l.traceback::text, n) > 0) RETURNING 1)
SELECT count(*) FROM gone $$),
(32, 'webhook_attempt', $$
WITH gone AS (DELETE FROM webhook_attempt t
WHERE t.alert_id = ANY(($1).alert_ids) OR t.endpoint_id = ANY(($1).endpoint_ids)
   OR t.message_id = ANY(($1).message_ids)
   OR EXISTS (SELECT FROM unnest(($1).needles) n WHERE strpos(lower(t.answer), n) > 0) RETURNING 1)
SELECT count(*) FROM gone $$),
(33, 'alert_notice_recipient', $$
WITH gone AS (DELETE FROM alert_notice_recipient
WHERE alert_id = ANY(($1).alert_ids) OR endpoint_id = ANY(($1).endpoint_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
(34, 'alert_notice', $$
WITH gone AS (DELETE FROM alert_notice WHERE alert_id = ANY(($1).alert_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
(35, 'alert_event', $$
WITH gone AS (DELETE FROM alert_event WHERE alert_id = ANY(($1).alert_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
(36, 'rule_state', $$
WITH gone AS (DELETE FROM rule_state
WHERE datastream_id = ANY(($1).datastream_ids) OR device_id = ANY(($1).device_ids)
   OR alert_id = ANY(($1).alert_ids) RETURNING 1) SELECT count(*) FROM gone $$),
(37, 'alert', $$
WITH gone AS (DELETE FROM alert WHERE id = ANY(($1).alert_ids) OR asset_id = ANY(($1).asset_ids)
   OR device_id = ANY(($1).device_ids) OR datastream_id = ANY(($1).datastream_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
(38, 'alert_request', $$
WITH gone AS (DELETE FROM alert_request q
WHERE EXISTS (SELECT FROM unnest(($1).needles) n WHERE strpos(q.facts::text, n) > 0)
   OR (q.facts ->> 'device_id') = ANY(($1).device_ids::text[]) RETURNING 1) SELECT count(*) FROM gone $$),
(39, 'deadline', $$
WITH gone AS (DELETE FROM deadline
WHERE device_id = ANY(($1).device_ids) OR asset_id = ANY(($1).asset_ids) RETURNING 1) SELECT count(*) FROM gone $$),
(40, 'clock_doubt', $$
WITH gone AS (DELETE FROM clock_doubt WHERE device_id = ANY(($1).device_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
(41, 'silence', $$
WITH gone AS (DELETE FROM silence WHERE asset_id = ANY(($1).asset_ids) RETURNING 1) SELECT count(*) FROM gone $$),
(42, 'maintenance_window', $$
WITH gone AS (DELETE FROM maintenance_window WHERE asset_id = ANY(($1).asset_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
(43, 'access_grant', $$
WITH gone AS (DELETE FROM access_grant WHERE asset_id = ANY(($1).asset_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
-- The radio and its keys.
(50, 'lighting_command', $$
WITH gone AS (DELETE FROM lighting_command
WHERE asset_id = ANY(($1).asset_ids) OR device_id = ANY(($1).device_ids) RETURNING 1) SELECT count(*) FROM gone $$),
(51, 'transmission', $$
WITH cleared AS (UPDATE transmission t SET downlink_id = NULL FROM downlink d
WHERE d.id = t.downlink_id AND d.device_id = ANY(($1).device_ids) RETURNING 1) SELECT count(*) FROM cleared $$),
(52, 'application_downlink', $$
WITH gone AS (DELETE FROM application_downlink a USING downlink d
WHERE d.id = a.downlink_id AND d.device_id = ANY(($1).device_ids) RETURNING 1) SELECT count(*) FROM gone $$),
(53, 'downlink', $$
WITH gone AS (DELETE FROM downlink WHERE device_id = ANY(($1).device_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
(54, 'frame_refusal', $$
WITH gone AS (DELETE FROM frame_refusal
WHERE device_id = ANY(($1).device_ids) OR subject = ANY(($1).octets) RETURNING 1) SELECT count(*) FROM gone $$),
(55, 'lns_unknown_device', $$
WITH gone AS (DELETE FROM lns_unknown_device WHERE dev_eui = ANY(($1).octets) RETURNING 1)
SELECT count(*) FROM gone $$),
(56, 'codec_difference', $$
WITH gone AS (DELETE FROM codec_difference WHERE device_id = ANY(($1).device_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
(57, 'redecode', $$
WITH gone AS (DELETE FROM redecode WHERE device_id = ANY(($1).device_ids) RETURNING 1)
SELECT count(*) FROM gone $$);

DO $$
DECLARE
    of_device text;
    place int := 60;
BEGIN
    FOREACH of_device IN ARRAY ARRAY['session', 'dev_nonce', 'join_nonce', 'device_status', 'device_decoding_key',
                                     'device_tenure', 'lns_route', 'multicast_member', 'application_device'] LOOP
        INSERT INTO erasure_step VALUES (place, of_device, format(
            'WITH gone AS (DELETE FROM %I WHERE device_id = ANY(($1).device_ids) RETURNING 1) '
            'SELECT count(*) FROM gone', of_device));
        place := place + 1;
    END LOOP;
END
$$;

-- The registry. A datastream that others fed as well goes on with the last of them.
INSERT INTO erasure_step VALUES
(80, 'datastream', $$
WITH moved AS (UPDATE datastream s SET device_id = (
    SELECT g.device_id FROM assignment g
    WHERE g.asset_id = s.asset_id AND g.position = s.position AND g.device_id <> ALL(($1).device_ids)
    ORDER BY upper(g.during) DESC NULLS FIRST LIMIT 1)
WHERE s.id = ANY(($1).span_datastream_ids) AND s.device_id = ANY(($1).device_ids)), gone AS (
DELETE FROM datastream WHERE id = ANY(($1).datastream_ids) RETURNING 1) SELECT count(*) FROM gone $$),
(81, 'assignment', $$
WITH gone AS (DELETE FROM assignment
WHERE asset_id = ANY(($1).asset_ids) OR device_id = ANY(($1).device_ids) RETURNING 1) SELECT count(*) FROM gone $$),
(82, 'asset', $$
WITH gone AS (DELETE FROM asset WHERE id = ANY(($1).asset_ids) RETURNING 1) SELECT count(*) FROM gone $$),
(83, 'device', $$
WITH gone AS (DELETE FROM device d WHERE id = ANY(($1).device_ids)
  -- What ingest made meanwhile goes first.
  AND NOT EXISTS (SELECT FROM datastream s WHERE s.device_id = d.id) RETURNING 1) SELECT count(*) FROM gone $$),
-- People and contacts.
(90, 'contact', $$
WITH gone AS (DELETE FROM contact WHERE id = ANY(($1).contact_ids) RETURNING 1) SELECT count(*) FROM gone $$),
(91, 'webhook_endpoint', $$
WITH gone AS (DELETE FROM webhook_endpoint WHERE id = ANY(($1).endpoint_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
(92, 'invitation', $$
WITH gone AS (DELETE FROM invitation WHERE email = ANY(($1).needles) AND ($1).kind = 'person' RETURNING 1)
SELECT count(*) FROM gone $$),
(93, 'login_failure', $$
WITH gone AS (DELETE FROM login_failure WHERE account = ANY(($1).needles) AND ($1).kind = 'person' RETURNING 1)
SELECT count(*) FROM gone $$),
(94, 'idempotency_key', $$
WITH gone AS (DELETE FROM idempotency_key
WHERE principal = ANY(SELECT 'person/' || p FROM unnest(($1).person_ids) p) RETURNING 1) SELECT count(*) FROM gone $$),
(95, 'person_session', $$
WITH gone AS (DELETE FROM person_session WHERE person_id = ANY(($1).person_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
(96, 'password_reset', $$
WITH gone AS (DELETE FROM password_reset WHERE person_id = ANY(($1).person_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
(97, 'recovery_code', $$
WITH gone AS (DELETE FROM recovery_code WHERE person_id = ANY(($1).person_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
(98, 'person_identity', $$
WITH gone AS (DELETE FROM person_identity WHERE person_id = ANY(($1).person_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
(99, 'membership', $$
WITH gone AS (DELETE FROM membership WHERE person_id = ANY(($1).person_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
(100, 'person', $$
WITH gone AS (DELETE FROM person WHERE id = ANY(($1).person_ids) RETURNING 1) SELECT count(*) FROM gone $$);

-- Who did something stays to be read, but for the name.
DO $$
DECLARE
    named text[];
    place int := 110;
BEGIN
    FOREACH named SLICE 1 IN ARRAY ARRAY[
        ['alert', 'acknowledged_by'], ['alert', 'assignee'], ['alert', 'resolved_by'], ['alert', 'closed_by'],
        ['alert', 'muted_by'], ['alert_event', 'actor'], ['silence', 'author'], ['maintenance_window', 'author'],
        ['access_grant', 'granted_by'], ['access_grant', 'revoked_by'], ['key_recipient', 'registered_by'],
        ['invitation', 'invited_by'], ['redecode', 'requested_by'], ['lighting_command', 'requested_by'],
        ['codec_version', 'author'], ['codec_version', 'released_by'], ['erasure', 'requested_by']] LOOP
        INSERT INTO erasure_step VALUES (place, named[1], format(
            'WITH named AS (UPDATE %1$I SET %2$I = ''personne effacée'' WHERE ($1).kind IN (''person'', ''contact'') '
            'AND %2$I = ANY(($1).names) RETURNING 1) SELECT count(*) FROM named', named[1], named[2]));
        place := place + 1;
    END LOOP;
END
$$;
INSERT INTO erasure_step VALUES
(140, 'alert_event', $$
WITH named AS (UPDATE alert_event v SET note = replace(v.note, n.name, 'personne effacée') FROM unnest(($1).names) AS n (name)
WHERE ($1).kind IN ('person', 'contact') AND length(n.name) > 3 AND strpos(v.note, n.name) > 0 RETURNING 1)
SELECT count(*) FROM named $$),
-- The audit last: what was done meanwhile is in it.
(150, 'audit_detail', $$
SELECT erase_audit_details(ARRAY(
    SELECT l.id FROM audit_line l JOIN audit_detail d ON d.line_id = l.id
    WHERE l.entity || '/' || lower(l.entity_id) = ANY(($1).audited)
       OR l.actor = ANY(SELECT 'personne ' || p FROM unnest(($1).person_ids) p)
       OR EXISTS (SELECT FROM unnest(($1).needles) n WHERE strpos(lower(d.details::text), n) > 0)
       OR EXISTS (SELECT FROM unnest(($1).names) n WHERE strpos(d.details::text, to_json(n)::text) > 0)
    LIMIT $2)) $$),
(151, 'audit_line', $$
SELECT erase_audit_entities(ARRAY(
    SELECT l.id FROM audit_line l
    WHERE EXISTS (SELECT FROM unnest(($1).needles) n WHERE strpos(lower(l.entity_id), n) > 0) LIMIT $2), ($1).id) $$);
