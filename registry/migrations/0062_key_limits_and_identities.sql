-- Keys of applications have limits of their own, and people may come by a provider of identities.

ALTER TABLE api_key ADD COLUMN addresses text[] NOT NULL DEFAULT '{}';  -- Networks; none: from anywhere.
ALTER TABLE api_key ADD COLUMN requests_per_minute int CHECK (requests_per_minute BETWEEN 1 AND 100000);
ALTER TABLE api_key ADD COLUMN last_used_at timestamptz;

DROP FUNCTION authenticate_api_key(text, bytea);
CREATE FUNCTION authenticate_api_key(key_id text, digest bytea)
    RETURNS TABLE (tenant_id int, tenant_slug text, name text, roles text[], addresses text[],
                   requests_per_minute int)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT k.tenant_id, t.slug, k.name, k.roles, k.addresses, k.requests_per_minute
    FROM api_key k JOIN tenant t ON t.id = k.tenant_id
    WHERE k.id = key_id AND k.secret_sha256 = digest AND k.revoked_at IS NULL
      AND (k.expires_at IS NULL OR k.expires_at > now())
$$;
-- At most once a minute: who lists keys sees which are used no more.
CREATE FUNCTION record_key_use(key_id text) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE api_key SET last_used_at = now()
    WHERE id = key_id AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
$$;

-- An identity is an issuer and its subject, for ever; an e-mail address that a provider names is not one.
CREATE TABLE person_identity (
    issuer text NOT NULL,
    subject text NOT NULL,
    person_id int NOT NULL REFERENCES person ON DELETE CASCADE,
    linked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX person_identity_by_person ON person_identity (person_id);
GRANT SELECT, INSERT, UPDATE, DELETE ON person_identity TO territoire_service;

CREATE FUNCTION find_identity(issuing text, named text) RETURNS TABLE (person_id int, name text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT p.id, p.name FROM person_identity i JOIN person p ON p.id = i.person_id
    WHERE i.issuer = issuing AND i.subject = named AND p.disabled_at IS NULL
$$;

CREATE FUNCTION link_identity(who int, issuing text, named text) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO person_identity (issuer, subject, person_id) VALUES (issuing, named, who)
    ON CONFLICT DO NOTHING RETURNING true
$$;

-- By an identity that is nobody's yet. An address that has an account is not taken over: its owner logs in, and links
-- the identity. NULL: so, or the invitation was accepted or is over.
CREATE FUNCTION accept_invitation_by_identity(token bytea, issuing text, named text, origin text) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    accepting int;
BEGIN
    PERFORM FROM invitation i JOIN person p ON p.email = i.email WHERE i.token_sha256 = token;
    IF FOUND THEN
        RETURN NULL;
    END IF;
    SELECT accept_invitation(token, i.name, '', origin) INTO accepting FROM invitation i WHERE i.token_sha256 = token;
    IF accepting IS NOT NULL THEN
        UPDATE person SET password_hash = NULL WHERE id = accepting;
        PERFORM link_identity(accepting, issuing, named);
    END IF;
    RETURN accepting;
END
$$;

DO $$
DECLARE
    made regprocedure;
BEGIN
    FOREACH made IN ARRAY ARRAY[
        'authenticate_api_key(text, bytea)', 'record_key_use(text)', 'find_identity(text, text)',
        'link_identity(int, text, text)',
        'accept_invitation_by_identity(bytea, text, text, text)']::regprocedure[] LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', made);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', made);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO territoire_api, territoire_service', made);
    END LOOP;
END
$$;
