-- What was missing of the audit: reads of personal data, requests on an object that has changed since, resets that
-- were asked for, and its way out to a SIEM. Sessions are listed by their person, and ended one by one.

-- A wrong key hides no missing right of the same minute and address, and neither hides an object that has changed.
ALTER TABLE rejected_login ADD COLUMN kind text NOT NULL DEFAULT 'login' CHECK (kind IN ('login', 'right', 'stale'));
ALTER TABLE rejected_login DROP CONSTRAINT rejected_login_pkey;
ALTER TABLE rejected_login ADD PRIMARY KEY (address, minute, tenant_id, kind);

CREATE OR REPLACE FUNCTION record_rejected_login(origin text, tenant int, actor text, reason text, given jsonb)
    RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO rejected_login (address, minute, tenant_id, kind)
    VALUES (origin, date_trunc('minute', now()), coalesce(tenant, 0),
            CASE WHEN reason IN ('right', 'stale') THEN reason ELSE 'login' END)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details)
    VALUES (tenant, actor, 'reject', 'login', reason, given || jsonb_build_object('address', origin));
    RETURN true;
END
$$;

-- Who has read which personal data (class 2) today: one line of the audit for each, however often they read.
CREATE TABLE personal_read (
    asset_id int NOT NULL REFERENCES asset ON DELETE CASCADE,
    reader text NOT NULL,
    day date NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (asset_id, reader, day)
);
GRANT SELECT, INSERT, DELETE ON personal_read TO territoire_service;

-- The line is in the audit of the owner, and in that of who read, when that is another tenant. How many were written.
CREATE FUNCTION audit_personal_reads(assets int[], streams int[], devices int[], reader text, given jsonb)
    RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    me int := current_tenant();
    my_slug text;
    read record;
    written int := 0;
BEGIN
    FOR read IN
        WITH personal AS (
            SELECT a.id, a.tenant_id FROM asset a
            WHERE a.privacy_class >= 2 AND (
                a.id = ANY(assets)
                OR a.id IN (SELECT d.asset_id FROM datastream d WHERE d.id = ANY(streams))
                OR a.id IN (SELECT s.asset_id FROM assignment s WHERE s.device_id = ANY(devices)))
        ), first_today AS (
            INSERT INTO personal_read (asset_id, reader, day)
            SELECT p.id, me || ' ' || audit_personal_reads.reader, current_date FROM personal p ORDER BY p.id
            ON CONFLICT DO NOTHING RETURNING asset_id
        )
        SELECT p.id, p.tenant_id FROM personal p JOIN first_today f ON f.asset_id = p.id ORDER BY p.id
    LOOP
        SELECT slug INTO my_slug FROM tenant WHERE id = me;
        INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details)
        SELECT DISTINCT one.tenant, reader || CASE WHEN one.tenant = me THEN '' ELSE ' (' || my_slug || ')' END,
               'read', 'asset', read.id::text,
               given || CASE WHEN one.tenant = me THEN '{}' ELSE jsonb_build_object('of_tenant', my_slug) END
        FROM unnest(ARRAY[read.tenant_id, me]) AS one (tenant);
        written := written + 1;
    END LOOP;
    RETURN written;
END
$$;

-- Sessions that their person sees: where, since when, last seen, and on what.
ALTER TABLE person_session ADD COLUMN id int GENERATED ALWAYS AS IDENTITY UNIQUE,
    ADD COLUMN last_seen_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN user_agent text NOT NULL DEFAULT '' CHECK (length(user_agent) <= 200);

DROP FUNCTION open_session(int, int, bytea, text, interval, text);
CREATE FUNCTION open_session(who int, tenant int, token bytea, origin text, lasting interval, proof text,
                             agent text DEFAULT '') RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM require_vouched();
    INSERT INTO person_session (token_sha256, person_id, tenant_id, address, expires_at, user_agent)
    SELECT token, m.person_id, m.tenant_id, origin, now() + lasting, agent
    FROM membership m JOIN person p ON p.id = m.person_id
    WHERE m.person_id = who AND m.tenant_id = tenant AND p.disabled_at IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE person SET last_login_at = now() WHERE id = who;
    INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details)
    SELECT tenant, 'personne ' || p.id, 'login', 'session', p.id::text,
           jsonb_build_object('person', p.id, 'name', p.name, 'address', origin, 'proof', proof,
                              'after', jsonb_build_object('user_agent', agent, 'expires_at', now() + lasting))
    FROM person p WHERE p.id = who;
    RETURN true;
END
$$;

DROP FUNCTION find_session(bytea);
CREATE FUNCTION find_session(token bytea)
    RETURNS TABLE (person_id int, person_name text, email text, tenant_id int, tenant_slug text, role text,
                   extra_rights text[], expires_at timestamptz, proved_at timestamptz, has_totp boolean, id int,
                   last_seen_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT p.id, p.name, p.email, t.id, t.slug, m.role, m.extra_rights, s.expires_at, s.proved_at,
           p.totp_confirmed_at IS NOT NULL, s.id, s.last_seen_at
    FROM person_session s JOIN person p ON p.id = s.person_id
    JOIN membership m ON m.person_id = s.person_id AND m.tenant_id = s.tenant_id
    JOIN tenant t ON t.id = s.tenant_id
    WHERE s.token_sha256 = token AND s.expires_at > now() AND p.disabled_at IS NULL
$$;

-- At most once a minute, and from where.
CREATE FUNCTION record_session_use(token bytea, origin text) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE person_session SET last_seen_at = now(), address = origin
    WHERE token_sha256 = token AND last_seen_at < now() - interval '1 minute'
$$;

-- Everywhere: they are the person's, who holds one of them.
CREATE FUNCTION list_sessions(token bytea)
    RETURNS TABLE (id int, tenant text, address text, user_agent text, created_at timestamptz,
                   last_seen_at timestamptz, expires_at timestamptz, is_current boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT s.id, t.slug, s.address, s.user_agent, s.created_at, s.last_seen_at, s.expires_at, s.token_sha256 = token
    FROM find_session(token) own JOIN person_session s ON s.person_id = own.person_id
    JOIN tenant t ON t.id = s.tenant_id WHERE s.expires_at > now() ORDER BY s.last_seen_at DESC, s.id
$$;

CREATE FUNCTION close_session_of(token bytea, wanted int) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM person_session s USING find_session(token) own
    WHERE s.person_id = own.person_id AND s.id = wanted RETURNING true
$$;

-- Who asks is nobody yet; that it was asked for is their tenants' to know.
DROP FUNCTION start_reset(text, bytea, interval);
CREATE FUNCTION start_reset(login text, token bytea, lasting interval, origin text DEFAULT '') RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    who int;
BEGIN
    PERFORM require_vouched();
    INSERT INTO password_reset (token_sha256, person_id, expires_at)
    SELECT token, p.id, now() + lasting FROM person p WHERE p.email = login AND p.disabled_at IS NULL
    RETURNING person_id INTO who;
    INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details)
    SELECT m.tenant_id, 'inconnu', 'request_reset', 'password', who::text,
           jsonb_build_object('address', origin, 'after', jsonb_build_object('link_until', now() + lasting))
    FROM membership m WHERE m.person_id = who;
    RETURN who;
END
$$;

CREATE OR REPLACE FUNCTION finish_reset(token bytea, hash text, origin text) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    who int;
BEGIN
    UPDATE password_reset r SET used_at = now()
    WHERE r.token_sha256 = token AND r.used_at IS NULL AND r.expires_at > now() RETURNING r.person_id INTO who;
    IF who IS NOT NULL THEN
        PERFORM set_password(who, hash, NULL);
        INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details)
        SELECT m.tenant_id, 'personne ' || who, 'reset', 'password', who::text,
               jsonb_build_object('person', who, 'address', origin, 'after', jsonb_build_object('sessions', 'closed'))
        FROM membership m WHERE m.person_id = who;
    END IF;
    RETURN who;
END
$$;

CREATE OR REPLACE FUNCTION accept_invitation(token bytea, person_name text, hash text, origin text) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    invited invitation;
    accepting int;
    former text;
BEGIN
    PERFORM require_vouched();
    SELECT * INTO invited FROM invitation i
    WHERE i.token_sha256 = token AND i.accepted_at IS NULL AND i.expires_at > now() FOR UPDATE;
    IF invited.id IS NULL THEN
        RETURN NULL;
    END IF;
    IF hash IS NULL THEN
        SELECT p.id INTO accepting FROM person p WHERE p.email = invited.email AND p.disabled_at IS NULL;
    ELSE
        INSERT INTO person (email, name, password_hash) VALUES (invited.email, person_name, hash)
        ON CONFLICT (email) DO NOTHING RETURNING id INTO accepting;
    END IF;
    IF accepting IS NULL THEN
        RETURN NULL;
    END IF;
    UPDATE invitation i SET accepted_at = now() WHERE i.id = invited.id;
    SELECT m.role INTO former FROM membership m
    WHERE m.person_id = accepting AND m.tenant_id = invited.tenant_id FOR UPDATE;
    INSERT INTO membership (person_id, tenant_id, role) VALUES (accepting, invited.tenant_id, invited.role)
    ON CONFLICT (person_id, tenant_id) DO UPDATE SET role = excluded.role;
    INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details)
    VALUES (invited.tenant_id, 'personne ' || accepting, 'accept', 'invitation', invited.id::text,
            jsonb_build_object('person', accepting, 'email', invited.email, 'address', origin,
                               'before', jsonb_build_object('role', former),
                               'after', jsonb_build_object('role', invited.role)));
    RETURN accepting;
END
$$;

-- How far the chain has gone out to a SIEM, by where it goes.
CREATE TABLE audit_export (
    destination text PRIMARY KEY,
    sequence bigint NOT NULL,
    moved_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, UPDATE ON audit_export TO territoire_service;

DO $$
DECLARE
    made regprocedure;
BEGIN
    FOREACH made IN ARRAY ARRAY[
        'audit_personal_reads(int[], int[], int[], text, jsonb)',
        'open_session(int, int, bytea, text, interval, text, text)', 'find_session(bytea)',
        'record_session_use(bytea, text)', 'list_sessions(bytea)', 'close_session_of(bytea, int)',
        'start_reset(text, bytea, interval, text)']::regprocedure[] LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', made);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', made);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO territoire_api', made);
    END LOOP;
END
$$;
