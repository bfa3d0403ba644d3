-- People: their accounts, what each is in which tenant, how they log in, and their sessions. The API's role reads no
-- password, no token and no code: what needs them goes through the functions below.

CREATE TABLE person (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    email text NOT NULL UNIQUE CHECK (email = lower(email) AND length(email) BETWEEN 3 AND 254),
    name text NOT NULL,
    password_hash text,  -- Argon2id in its own text form; NULL: no password, logs in by a provider.
    totp_wrapped bytea,
    kek_id text,
    totp_confirmed_at timestamptz,
    totp_last_step bigint NOT NULL DEFAULT 0,  -- A code opens once.
    created_at timestamptz NOT NULL DEFAULT now(),
    last_login_at timestamptz,
    disabled_at timestamptz
);

CREATE TABLE membership (
    person_id int NOT NULL REFERENCES person ON DELETE CASCADE,
    tenant_id int NOT NULL REFERENCES tenant,
    role text NOT NULL CHECK (role IN ('operator', 'service_manager', 'field_agent', 'reader', 'open_data_officer',
                                       'energy_adviser', 'auditor')),
    extra_rights text[] NOT NULL DEFAULT '{}' CHECK (extra_rights <@ ARRAY['export_keys']),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (person_id, tenant_id)
);
CREATE INDEX membership_by_tenant ON membership (tenant_id);

CREATE TABLE invitation (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    token_sha256 bytea NOT NULL UNIQUE CHECK (octet_length(token_sha256) = 32),
    email text NOT NULL CHECK (email = lower(email)),
    name text NOT NULL,
    role text NOT NULL,
    invited_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    accepted_at timestamptz
);
CREATE INDEX invitation_by_tenant ON invitation (tenant_id);

CREATE TABLE password_reset (
    token_sha256 bytea PRIMARY KEY CHECK (octet_length(token_sha256) = 32),
    person_id int NOT NULL REFERENCES person ON DELETE CASCADE,
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);

CREATE TABLE recovery_code (
    person_id int NOT NULL REFERENCES person ON DELETE CASCADE,
    code_sha256 bytea NOT NULL CHECK (octet_length(code_sha256) = 32),
    used_at timestamptz,
    PRIMARY KEY (person_id, code_sha256)
);

CREATE TABLE person_session (
    token_sha256 bytea PRIMARY KEY CHECK (octet_length(token_sha256) = 32),
    person_id int NOT NULL REFERENCES person ON DELETE CASCADE,
    tenant_id int NOT NULL REFERENCES tenant,
    address text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    proved_at timestamptz NOT NULL DEFAULT now()  -- When the person last gave the password or a code.
);
CREATE INDEX person_session_by_person ON person_session (person_id);

-- Wrong passwords, by account and address; '' stands for any. Both together: a stranger locks nobody else out.
CREATE TABLE login_failure (
    account text NOT NULL,
    address text NOT NULL,
    failures int NOT NULL,
    first_at timestamptz NOT NULL,
    locked_until timestamptz,
    PRIMARY KEY (account, address)
);

CALL scope_to_tenant('membership');
CALL scope_to_tenant('invitation');
ALTER TABLE person ENABLE ROW LEVEL SECURITY;
ALTER TABLE person FORCE ROW LEVEL SECURITY;
CREATE POLICY of_members ON person FOR SELECT
    USING (EXISTS (SELECT FROM membership m WHERE m.person_id = person.id AND m.tenant_id = current_tenant()));
CREATE POLICY of_services ON person TO territoire_service USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON person, password_reset, recovery_code, person_session, login_failure
    TO territoire_service;
GRANT SELECT (id, email, name, totp_confirmed_at, created_at, last_login_at, disabled_at) ON person TO territoire_api;
GRANT SELECT, UPDATE, DELETE ON membership TO territoire_api;
GRANT SELECT (id, tenant_id, email, name, role, invited_by, created_at, expires_at, accepted_at) ON invitation
    TO territoire_api;
GRANT INSERT, DELETE ON invitation TO territoire_api;

-- Logging in.

CREATE FUNCTION find_login(login text)
    RETURNS TABLE (person_id int, password_hash text, totp_wrapped bytea, kek_id text, has_totp boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT p.id, p.password_hash, p.totp_wrapped, p.kek_id, p.totp_confirmed_at IS NOT NULL
    FROM person p WHERE p.email = login AND p.disabled_at IS NULL
$$;

-- Of a person who is logged in already: a second proof.
CREATE FUNCTION find_secrets(who int)
    RETURNS TABLE (person_id int, password_hash text, totp_wrapped bytea, kek_id text, has_totp boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT p.id, p.password_hash, p.totp_wrapped, p.kek_id, p.totp_confirmed_at IS NOT NULL
    FROM person p WHERE p.id = who AND p.disabled_at IS NULL
$$;

CREATE FUNCTION login_locked_until(login text, origin text) RETURNS timestamptz
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT max(f.locked_until) FROM login_failure f
    WHERE f.locked_until > now() AND (f.account, f.address) IN ((login, origin), ('', origin), (login, ''))
$$;

-- Five wrong ones of one account from one address, twenty from an address, a hundred of an account: 15 minutes.
CREATE FUNCTION record_login_failure(login text, origin text) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO login_failure AS f (account, address, failures, first_at)
    SELECT DISTINCT k.account, k.address, 1, now()
    FROM (VALUES (login, origin), ('', origin), (login, '')) AS k (account, address)
    WHERE (k.account, k.address) <> ('', '') ORDER BY 1, 2
    ON CONFLICT (account, address) DO UPDATE SET
        failures = CASE WHEN f.first_at < now() - interval '15 minutes' THEN 1 ELSE f.failures + 1 END,
        first_at = CASE WHEN f.first_at < now() - interval '15 minutes' THEN now() ELSE f.first_at END,
        locked_until = CASE
            WHEN f.first_at >= now() - interval '15 minutes' AND f.failures + 1 >=
                 CASE WHEN f.account = '' THEN 20 WHEN f.address = '' THEN 100 ELSE 5 END
            THEN now() + interval '15 minutes' ELSE f.locked_until END
$$;

CREATE FUNCTION clear_login_failures(login text, origin text) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM login_failure WHERE account = login AND address = origin
$$;

CREATE FUNCTION use_totp_step(who int, step bigint) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE person p SET totp_last_step = step
    WHERE p.id = who AND p.totp_wrapped IS NOT NULL AND p.totp_last_step < step RETURNING true
$$;

CREATE FUNCTION use_recovery_code(who int, digest bytea) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE recovery_code SET used_at = now()
    WHERE person_id = who AND code_sha256 = digest AND used_at IS NULL RETURNING true
$$;

CREATE FUNCTION memberships_of(who int)
    RETURNS TABLE (tenant_id int, slug text, name text, role text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT t.id, t.slug, t.name, m.role FROM membership m JOIN tenant t ON t.id = m.tenant_id
    WHERE m.person_id = who ORDER BY t.slug
$$;

-- Sessions.

-- The line in the audit is written by the same door.
CREATE FUNCTION open_session(who int, tenant int, token bytea, origin text, lasting interval, proof text)
    RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO person_session (token_sha256, person_id, tenant_id, address, expires_at)
    SELECT token, m.person_id, m.tenant_id, origin, now() + lasting
    FROM membership m JOIN person p ON p.id = m.person_id
    WHERE m.person_id = who AND m.tenant_id = tenant AND p.disabled_at IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE person SET last_login_at = now() WHERE id = who;
    INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details)
    SELECT tenant, 'personne ' || p.id, 'login', 'session', p.id::text,
           jsonb_build_object('person', p.id, 'name', p.name, 'address', origin, 'proof', proof)
    FROM person p WHERE p.id = who;
    RETURN true;
END
$$;

-- What was withdrawn since, the role or the account, closes the session with the next request.
CREATE FUNCTION find_session(token bytea)
    RETURNS TABLE (person_id int, person_name text, email text, tenant_id int, tenant_slug text, role text,
                   extra_rights text[], expires_at timestamptz, proved_at timestamptz, has_totp boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT p.id, p.name, p.email, t.id, t.slug, m.role, m.extra_rights, s.expires_at, s.proved_at,
           p.totp_confirmed_at IS NOT NULL
    FROM person_session s JOIN person p ON p.id = s.person_id
    JOIN membership m ON m.person_id = s.person_id AND m.tenant_id = s.tenant_id
    JOIN tenant t ON t.id = s.tenant_id
    WHERE s.token_sha256 = token AND s.expires_at > now() AND p.disabled_at IS NULL
$$;

CREATE FUNCTION switch_session(token bytea, slug text) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE person_session s SET tenant_id = m.tenant_id
    FROM membership m JOIN tenant t ON t.id = m.tenant_id
    WHERE s.token_sha256 = token AND m.person_id = s.person_id AND t.slug = switch_session.slug
    RETURNING true
$$;

CREATE FUNCTION prove_session(token bytea) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE person_session SET proved_at = now() WHERE token_sha256 = token RETURNING true
$$;

CREATE FUNCTION close_session(token bytea) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM person_session WHERE token_sha256 = token RETURNING true
$$;

-- Of a person everywhere, but for the session `kept`.
CREATE FUNCTION close_sessions(who int, kept bytea) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH closed AS (
        DELETE FROM person_session WHERE person_id = who AND token_sha256 IS DISTINCT FROM kept RETURNING 1)
    SELECT count(*) FROM closed
$$;

-- Of a person in this tenant alone.
CREATE FUNCTION close_sessions_here(who int) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH closed AS (
        DELETE FROM person_session WHERE person_id = who AND tenant_id = current_tenant() RETURNING 1)
    SELECT count(*) FROM closed
$$;

-- Accounts.

CREATE FUNCTION find_invitation(token bytea)
    RETURNS TABLE (id int, tenant_id int, tenant_slug text, tenant_name text, email text, name text, role text,
                   expires_at timestamptz, accepted_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT i.id, t.id, t.slug, t.name, i.email, i.name, i.role, i.expires_at, i.accepted_at
    FROM invitation i JOIN tenant t ON t.id = i.tenant_id WHERE i.token_sha256 = token
$$;

-- With a hash an account is made; without, the address has one, and that its owner accepts is the caller's to check
-- before. NULL: it was accepted, is over, or the account is not as was thought.
CREATE FUNCTION accept_invitation(token bytea, person_name text, hash text, origin text) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    invited invitation;
    accepting int;
BEGIN
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
    INSERT INTO membership (person_id, tenant_id, role) VALUES (accepting, invited.tenant_id, invited.role)
    ON CONFLICT (person_id, tenant_id) DO UPDATE SET role = excluded.role;
    INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details)
    VALUES (invited.tenant_id, 'personne ' || accepting, 'accept', 'invitation', invited.id::text,
            jsonb_build_object('person', accepting, 'email', invited.email, 'address', origin, 'role', invited.role));
    RETURN accepting;
END
$$;

CREATE FUNCTION set_password(who int, hash text, kept bytea) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE person SET password_hash = hash WHERE id = who;
    UPDATE password_reset SET used_at = now() WHERE person_id = who AND used_at IS NULL;
    DELETE FROM person_session WHERE person_id = who AND token_sha256 IS DISTINCT FROM kept
$$;

-- Who works for other tenants, too, is not theirs to take over: false.
CREATE FUNCTION start_reset_of_member(who int, token bytea, lasting interval) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO password_reset (token_sha256, person_id, expires_at)
    SELECT token, who, now() + lasting
    WHERE EXISTS (SELECT FROM membership m WHERE m.person_id = who AND m.tenant_id = current_tenant())
      AND NOT EXISTS (SELECT FROM membership m WHERE m.person_id = who AND m.tenant_id <> current_tenant())
    RETURNING true
$$;

CREATE FUNCTION start_reset(login text, token bytea, lasting interval) RETURNS int
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO password_reset (token_sha256, person_id, expires_at)
    SELECT token, p.id, now() + lasting FROM person p WHERE p.email = login AND p.disabled_at IS NULL
    RETURNING person_id
$$;

CREATE FUNCTION find_reset(token bytea) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT p.email FROM password_reset r JOIN person p ON p.id = r.person_id
    WHERE r.token_sha256 = token AND r.used_at IS NULL AND r.expires_at > now() AND p.disabled_at IS NULL
$$;

CREATE FUNCTION finish_reset(token bytea, hash text, origin text) RETURNS int
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
               jsonb_build_object('person', who, 'address', origin)
        FROM membership m WHERE m.person_id = who;
    END IF;
    RETURN who;
END
$$;

CREATE FUNCTION set_totp(who int, wrapped bytea, kek text) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE person SET totp_wrapped = wrapped, kek_id = kek, totp_last_step = 0
    WHERE id = who AND totp_confirmed_at IS NULL RETURNING true
$$;

CREATE FUNCTION confirm_totp(who int, codes bytea[]) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE person p SET totp_confirmed_at = now()
    WHERE p.id = who AND p.totp_wrapped IS NOT NULL AND p.totp_confirmed_at IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM recovery_code c WHERE c.person_id = who;
    INSERT INTO recovery_code (person_id, code_sha256) SELECT who, unnest(codes);
    RETURN true;
END
$$;

CREATE FUNCTION drop_totp(who int) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM recovery_code WHERE person_id = who;
    UPDATE person SET totp_wrapped = NULL, kek_id = NULL, totp_confirmed_at = NULL WHERE id = who RETURNING true
$$;

-- Everywhere: the operator's.
CREATE FUNCTION set_person_enabled(who int, enabled boolean) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM person_session WHERE person_id = who AND NOT enabled;
    UPDATE person SET disabled_at = CASE WHEN enabled THEN NULL ELSE coalesce(disabled_at, now()) END
    WHERE id = who RETURNING true
$$;

DO $$
DECLARE
    made regprocedure;
BEGIN
    FOREACH made IN ARRAY ARRAY[
        'find_login(text)', 'find_secrets(int)', 'login_locked_until(text, text)',
        'record_login_failure(text, text)', 'clear_login_failures(text, text)', 'use_totp_step(int, bigint)',
        'use_recovery_code(int, bytea)', 'memberships_of(int)',
        'open_session(int, int, bytea, text, interval, text)', 'find_session(bytea)', 'switch_session(bytea, text)',
        'prove_session(bytea)', 'close_session(bytea)', 'close_sessions(int, bytea)', 'close_sessions_here(int)',
        'find_invitation(bytea)', 'accept_invitation(bytea, text, text, text)', 'set_password(int, text, bytea)',
        'start_reset_of_member(int, bytea, interval)', 'start_reset(text, bytea, interval)',
        'find_reset(bytea)', 'finish_reset(bytea, text, text)', 'set_totp(int, bytea, text)', 'confirm_totp(int, bytea[])', 'drop_totp(int)',
        'set_person_enabled(int, boolean)']::regprocedure[] LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', made);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', made);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO territoire_api', made);
    END LOOP;
END
$$;
