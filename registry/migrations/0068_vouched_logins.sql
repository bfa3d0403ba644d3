-- What logs people in, and what changes who logs in and how, answers the API's own process and not whatever SQL runs
-- as its role. The process presents a proof that it derives from the password of its login, which no SQL of this role
-- can read; its digest is here (set at the end of migrations that know the password). It counts for one transaction.

-- NULL: nothing is demanded yet. Until no process of a former version is left, which presents nothing.
ALTER TABLE seal_secret ADD COLUMN api_sha256 bytea CHECK (octet_length(api_sha256) = 32);

CREATE FUNCTION seal_of_vouching(secret bytea) RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN encode(sha256(secret || sha256(secret || convert_to(concat_ws('|', 'vouched', pg_backend_pid(),
        extract(epoch FROM transaction_timestamp())), 'UTF8'))), 'hex');
END
$$;

-- False: the proof is not that of the process. Who may act as the owner of these functions presents none.
CREATE FUNCTION vouch(proof bytea) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    kept public.seal_secret;
BEGIN
    SELECT * INTO STRICT kept FROM public.seal_secret;
    IF kept.api_sha256 <> sha256(proof) AND NOT pg_has_role(session_user, 'territoire_service', 'MEMBER') THEN
        RETURN false;
    END IF;
    PERFORM set_config('app.vouched', public.seal_of_vouching(kept.secret), true);
    RETURN true;
END
$$;

CREATE FUNCTION require_vouched() RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    kept public.seal_secret;
BEGIN
    SELECT * INTO STRICT kept FROM public.seal_secret;
    IF kept.api_sha256 IS NOT NULL AND NOT pg_has_role(session_user, 'territoire_service', 'MEMBER')
       AND current_setting('app.vouched', true) IS DISTINCT FROM public.seal_of_vouching(kept.secret) THEN
        RAISE EXCEPTION 'only the process of the API may ask this' USING ERRCODE = 'insufficient_privilege';
    END IF;
END
$$;

DO $$
DECLARE
    made regprocedure;
BEGIN
    FOREACH made IN ARRAY ARRAY['seal_of_vouching(bytea)', 'vouch(bytea)', 'require_vouched()']::regprocedure[] LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', made);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', made);
    END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION vouch(bytea) TO territoire_api;

-- As they were (0060, 0062, 0063), with this demand first. What takes the digest of a token that nobody can read
-- (find_session, close_session, switch_session, find_invitation, find_reset) has its proof in that.

CREATE OR REPLACE FUNCTION find_login(login text)
    RETURNS TABLE (person_id int, password_hash text, totp_wrapped bytea, kek_id text, has_totp boolean)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM require_vouched();
    RETURN QUERY SELECT p.id, p.password_hash, p.totp_wrapped, p.kek_id, p.totp_confirmed_at IS NOT NULL
    FROM person p WHERE p.email = login AND p.disabled_at IS NULL;
END
$$;

CREATE OR REPLACE FUNCTION find_secrets(who int)
    RETURNS TABLE (person_id int, password_hash text, totp_wrapped bytea, kek_id text, has_totp boolean)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM require_vouched();
    RETURN QUERY SELECT p.id, p.password_hash, p.totp_wrapped, p.kek_id, p.totp_confirmed_at IS NOT NULL
    FROM person p WHERE p.id = who AND p.disabled_at IS NULL;
END
$$;

CREATE OR REPLACE FUNCTION login_locked_until(login text, origin text) RETURNS timestamptz
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM require_vouched();
    RETURN (SELECT max(f.locked_until) FROM login_failure f
            WHERE f.locked_until > now()
              AND (f.account, f.address) IN ((login, origin), ('', origin), (login, '')));
END
$$;

CREATE OR REPLACE FUNCTION record_login_failure(login text, origin text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM require_vouched();
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
            THEN now() + interval '15 minutes' ELSE f.locked_until END;
END
$$;

CREATE OR REPLACE FUNCTION clear_login_failures(login text, origin text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM require_vouched();
    DELETE FROM login_failure WHERE account = login AND address = origin;
END
$$;

CREATE OR REPLACE FUNCTION use_totp_step(who int, step bigint) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM require_vouched();
    UPDATE person p SET totp_last_step = step
    WHERE p.id = who AND p.totp_wrapped IS NOT NULL AND p.totp_last_step < step;
    RETURN FOUND;
END
$$;

CREATE OR REPLACE FUNCTION use_recovery_code(who int, digest bytea) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM require_vouched();
    UPDATE recovery_code SET used_at = now() WHERE person_id = who AND code_sha256 = digest AND used_at IS NULL;
    RETURN FOUND;
END
$$;

CREATE OR REPLACE FUNCTION memberships_of(who int)
    RETURNS TABLE (tenant_id int, slug text, name text, role text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM require_vouched();
    RETURN QUERY SELECT t.id, t.slug, t.name, m.role FROM membership m JOIN tenant t ON t.id = m.tenant_id
    WHERE m.person_id = who ORDER BY t.slug;
END
$$;

CREATE OR REPLACE FUNCTION open_session(who int, tenant int, token bytea, origin text, lasting interval, proof text)
    RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM require_vouched();
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

CREATE OR REPLACE FUNCTION prove_session(token bytea) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM require_vouched();
    UPDATE person_session SET proved_at = now() WHERE token_sha256 = token;
    RETURN FOUND;
END
$$;

CREATE OR REPLACE FUNCTION close_sessions(who int, kept bytea) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    closed bigint;
BEGIN
    PERFORM require_vouched();
    DELETE FROM person_session WHERE person_id = who AND token_sha256 IS DISTINCT FROM kept;
    GET DIAGNOSTICS closed = ROW_COUNT;
    RETURN closed;
END
$$;

CREATE OR REPLACE FUNCTION accept_invitation(token bytea, person_name text, hash text, origin text) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    invited invitation;
    accepting int;
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
    INSERT INTO membership (person_id, tenant_id, role) VALUES (accepting, invited.tenant_id, invited.role)
    ON CONFLICT (person_id, tenant_id) DO UPDATE SET role = excluded.role;
    INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details)
    VALUES (invited.tenant_id, 'personne ' || accepting, 'accept', 'invitation', invited.id::text,
            jsonb_build_object('person', accepting, 'email', invited.email, 'address', origin, 'role', invited.role));
    RETURN accepting;
END
$$;

-- Also what finish_reset ends with.
CREATE OR REPLACE FUNCTION set_password(who int, hash text, kept bytea) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM require_vouched();
    UPDATE person SET password_hash = hash WHERE id = who;
    UPDATE password_reset SET used_at = now() WHERE person_id = who AND used_at IS NULL;
    DELETE FROM person_session WHERE person_id = who AND token_sha256 IS DISTINCT FROM kept;
END
$$;

CREATE OR REPLACE FUNCTION start_reset_of_member(who int, token bytea, lasting interval) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM require_vouched();
    INSERT INTO password_reset (token_sha256, person_id, expires_at)
    SELECT token, who, now() + lasting
    WHERE EXISTS (SELECT FROM membership m WHERE m.person_id = who AND m.tenant_id = current_tenant())
      AND NOT EXISTS (SELECT FROM membership m WHERE m.person_id = who AND m.tenant_id <> current_tenant());
    RETURN FOUND;
END
$$;

CREATE OR REPLACE FUNCTION start_reset(login text, token bytea, lasting interval) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    who int;
BEGIN
    PERFORM require_vouched();
    INSERT INTO password_reset (token_sha256, person_id, expires_at)
    SELECT token, p.id, now() + lasting FROM person p WHERE p.email = login AND p.disabled_at IS NULL
    RETURNING person_id INTO who;
    RETURN who;
END
$$;

CREATE OR REPLACE FUNCTION set_totp(who int, wrapped bytea, kek text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM require_vouched();
    UPDATE person SET totp_wrapped = wrapped, kek_id = kek, totp_last_step = 0
    WHERE id = who AND totp_confirmed_at IS NULL;
    RETURN FOUND;
END
$$;

CREATE OR REPLACE FUNCTION confirm_totp(who int, codes bytea[]) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM require_vouched();
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

CREATE OR REPLACE FUNCTION drop_totp(who int) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM require_vouched();
    DELETE FROM recovery_code WHERE person_id = who;
    UPDATE person SET totp_wrapped = NULL, kek_id = NULL, totp_confirmed_at = NULL WHERE id = who;
    RETURN FOUND;
END
$$;

CREATE OR REPLACE FUNCTION set_person_enabled(who int, enabled boolean) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM require_vouched();
    DELETE FROM person_session WHERE person_id = who AND NOT enabled;
    UPDATE person SET disabled_at = CASE WHEN enabled THEN NULL ELSE coalesce(disabled_at, now()) END
    WHERE id = who;
    RETURN FOUND;
END
$$;

CREATE OR REPLACE FUNCTION find_identity(issuing text, named text) RETURNS TABLE (person_id int, name text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM require_vouched();
    RETURN QUERY SELECT p.id, p.name FROM person_identity i JOIN person p ON p.id = i.person_id
    WHERE i.issuer = issuing AND i.subject = named AND p.disabled_at IS NULL;
END
$$;

CREATE OR REPLACE FUNCTION link_identity(who int, issuing text, named text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM require_vouched();
    INSERT INTO person_identity (issuer, subject, person_id) VALUES (issuing, named, who) ON CONFLICT DO NOTHING;
    RETURN FOUND;
END
$$;

-- The digest of a source of before is learnt from the process, which has checked the signature.
CREATE OR REPLACE FUNCTION enter_by_event_source(source int, digest bytea) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    known int;
BEGIN
    IF EXISTS (SELECT FROM event_source s WHERE s.id = source AND s.enabled AND s.signing_sha256 IS NULL) THEN
        PERFORM require_vouched();
        UPDATE event_source s SET signing_sha256 = digest
        WHERE s.id = source AND s.enabled AND s.signing_sha256 IS NULL;
    END IF;
    SELECT s.tenant_id INTO known FROM event_source s
    WHERE s.id = source AND s.enabled
      AND (s.signing_sha256 = digest OR (s.previous_signing_sha256 = digest AND s.previous_until > now()));
    IF known IS NOT NULL THEN
        PERFORM seal_transaction(known, false, known, '{}');
    END IF;
    RETURN known;
END
$$;

CREATE OR REPLACE FUNCTION partner_secrets(source int)
    RETURNS TABLE (tenant_id int, name text, team_id int, secrets_wrapped bytea[], sealed_for uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM require_vouched();
    RETURN QUERY SELECT s.tenant_id, s.name, s.team_id,
           CASE WHEN s.previous_until > now() THEN ARRAY[s.secret_wrapped, s.previous_secret_wrapped]
                ELSE ARRAY[s.secret_wrapped] END,
           s.sealed_for
    FROM event_source s WHERE s.id = source AND s.enabled;
END
$$;

-- An identity that a provider vouches for is checked by the process alone.
CREATE OR REPLACE FUNCTION enter_by_identity(issuing text, named text, tenant int) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    known int;
BEGIN
    PERFORM require_vouched();
    SELECT m.tenant_id INTO known FROM find_identity(issuing, named) i
    JOIN membership m ON m.person_id = i.person_id AND m.tenant_id = tenant;
    IF known IS NOT NULL THEN
        PERFORM seal_transaction(known, false, known, '{}');
    END IF;
    RETURN known;
END
$$;
