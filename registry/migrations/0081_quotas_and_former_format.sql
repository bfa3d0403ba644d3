-- Quotas, and the end of sealed values that name no owner (at the end of this file).

-- How many objects of each kind a tenant may have. The count is made here, where two requests at once meet and where
-- imports, claims and transfers come through as well: under a lock of its own for each tenant and kind, so that of two
-- at the last place one passes.

CREATE TABLE quota_default (
    kind text PRIMARY KEY,
    most int NOT NULL CHECK (most >= 0),
    counted regclass NOT NULL UNIQUE,
    -- Which rows count; the others are kept for what they were.
    condition text NOT NULL DEFAULT 'true'
);
INSERT INTO quota_default (kind, most, counted, condition) VALUES
    ('devices', 20000, 'device', 'true'),
    ('gateways', 1000, 'gateway', 'true'),
    ('assets', 50000, 'asset', 'true'),
    ('device_profiles', 500, 'device_profile', 'true'),
    ('codecs', 200, 'codec', 'true'),
    ('redecodes', 50, 'redecode', 'state IN (''waiting'', ''running'')'),
    ('alert_rules', 500, 'alert_rule', 'true'),
    ('teams', 200, 'team', 'true'),
    ('contacts', 1000, 'contact', 'true'),
    ('silences', 1000, 'silence', 'ends_at > now()'),
    ('webhook_endpoints', 200, 'webhook_endpoint', 'true'),
    ('event_sources', 100, 'event_source', 'true'),
    ('lns_sources', 50, 'lns_source', 'true'),
    ('applications', 100, 'application', 'true'),
    ('multicast_groups', 500, 'multicast_group', 'true'),
    ('api_keys', 200, 'api_key', 'revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())'),
    ('key_recipients', 50, 'key_recipient', 'true'),
    ('grants', 1000, 'access_grant', 'revoked_at IS NULL'),
    ('members', 1000, 'membership', 'true'),
    ('invitations', 200, 'invitation', 'accepted_at IS NULL AND expires_at > now()');

-- What the operator has set for one tenant.
CREATE TABLE quota (
    tenant_id int NOT NULL REFERENCES tenant ON DELETE CASCADE,
    kind text NOT NULL REFERENCES quota_default,
    most int NOT NULL CHECK (most >= 0),
    PRIMARY KEY (tenant_id, kind)
);
ALTER TABLE quota ENABLE ROW LEVEL SECURITY;
ALTER TABLE quota FORCE ROW LEVEL SECURITY;
CREATE POLICY of_services ON quota TO territoire_service USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON quota TO territoire_service;
GRANT SELECT ON quota_default TO territoire_service;

-- No more than `bound` are counted, and no row is read beyond them.
CREATE FUNCTION count_objects(tenant int, known quota_default, bound bigint) RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    counted bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM (SELECT FROM %s WHERE tenant_id = $1 AND (%s) LIMIT $2) AS o',
                   known.counted, known.condition) INTO counted USING tenant, bound;
    RETURN counted;
END
$$;

-- What the API makes for a tenant, by whatever function: services and the administrator are not held up.
CREATE FUNCTION keep_quota() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    known quota_default;
    allowed int;
    counted bigint;
BEGIN
    IF NEW.tenant_id IS NULL THEN  -- Offered to every tenant: the operator's.
        RETURN NULL;
    END IF;
    SELECT d.* INTO STRICT known FROM quota_default d WHERE d.counted = TG_RELID;
    PERFORM pg_advisory_xact_lock(hashtext('quota ' || known.kind), NEW.tenant_id);
    SELECT coalesce((SELECT q.most FROM quota q WHERE q.tenant_id = NEW.tenant_id AND q.kind = known.kind), known.most)
    INTO allowed;
    counted := count_objects(NEW.tenant_id, known, allowed::bigint + 1);
    IF counted > allowed THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded', CONSTRAINT = 'quota', TABLE = TG_TABLE_NAME,
            MESSAGE = format('quota of %s: %s', known.kind, allowed), DETAIL = format('%s %s %s', known.kind, allowed,
                            count_objects(NEW.tenant_id, known, 9223372036854775807) - 1);
    END IF;
    RETURN NULL;
END
$$;

DO $$
DECLARE
    known quota_default;
BEGIN
    FOR known IN SELECT * FROM quota_default LOOP
        EXECUTE format('CREATE TRIGGER quota_of_new AFTER INSERT ON %s FOR EACH ROW '
                       'WHEN (session_user = ''territoire_api'') EXECUTE FUNCTION keep_quota()', known.counted);
        EXECUTE format('CREATE TRIGGER quota_of_taken_over AFTER UPDATE OF tenant_id ON %s FOR EACH ROW WHEN '
                       '(session_user = ''territoire_api'' AND NEW.tenant_id IS DISTINCT FROM OLD.tenant_id) '
                       'EXECUTE FUNCTION keep_quota()', known.counted);
        -- Who has more keeps it, and has room for a quarter more: an upgrade stops nobody's work.
        EXECUTE format('INSERT INTO quota (tenant_id, kind, most) '
                       'SELECT tenant_id, $1, ceil(count(*) * 1.25) FROM %s WHERE tenant_id IS NOT NULL AND (%s) '
                       'GROUP BY tenant_id HAVING ceil(count(*) * 1.25) > $2', known.counted, known.condition)
        USING known.kind, known.most;
    END LOOP;
END
$$;

-- Of a tenant that this transaction may see; of any other nothing.
CREATE FUNCTION quotas_of(tenant int)
    RETURNS TABLE (kind text, used bigint, most int, by_default int)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF tenant IS DISTINCT FROM current_tenant() AND NOT is_operator() THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT d.kind, count_objects(tenant, d, 9223372036854775807),
                        coalesce((SELECT q.most FROM quota q WHERE q.tenant_id = tenant AND q.kind = d.kind), d.most),
                        d.most
                 FROM quota_default d ORDER BY d.kind;
END
$$;

-- NULL: the default again. Only for who operates the network.
CREATE FUNCTION set_quota(tenant int, named text, wanted int) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT has_proved('operate') THEN
        RAISE insufficient_privilege USING MESSAGE = 'only the network''s operator sets quotas';
    END IF;
    IF wanted IS NULL THEN
        DELETE FROM quota q WHERE q.tenant_id = tenant AND q.kind = named;
    ELSE
        INSERT INTO quota AS q (tenant_id, kind, most) VALUES (tenant, named, wanted)
        ON CONFLICT (tenant_id, kind) DO UPDATE SET most = excluded.most;
    END IF;
END
$$;

DO $$
DECLARE
    made regprocedure;
BEGIN
    FOREACH made IN ARRAY ARRAY['count_objects(int, quota_default, bigint)', 'keep_quota()', 'quotas_of(int)',
                                'set_quota(int, text, int)']::regprocedure[] LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', made);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', made);
    END LOOP;
    GRANT EXECUTE ON FUNCTION quotas_of(int), set_quota(int, text, int) TO territoire_api;
END
$$;

-- Since when values of RFC 3394, which name no owner, open no more: `keys rotate` sets it when none is left, and
-- nothing takes it back. No service may write here.
ALTER TABLE deployment ADD COLUMN keys_sealed_at timestamptz;

CREATE FUNCTION keep_keys_sealed() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    NEW.keys_sealed_at := OLD.keys_sealed_at;
    RETURN NEW;
END
$$;
CREATE TRIGGER keys_stay_sealed BEFORE UPDATE ON deployment FOR EACH ROW
    WHEN (OLD.keys_sealed_at IS NOT NULL AND NEW.keys_sealed_at IS DISTINCT FROM OLD.keys_sealed_at)
    EXECUTE FUNCTION keep_keys_sealed();
