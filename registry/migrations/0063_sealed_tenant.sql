-- Any role may set app.tenant and app.operator: policies believe them only under a seal, a keyed hash over both, what
-- else was proved, this backend and this transaction, that functions of territoire_service alone can make. Each of
-- these doors lets in for a proof: an API key, a signed event. Another way to enter (a session, a job, a public page)
-- is another door: a SECURITY DEFINER function that checks its proof, then ends with seal_transaction().

CREATE TABLE seal_secret (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    secret bytea NOT NULL CHECK (octet_length(secret) = 32),
    -- Until no process of a former version is left, which sets app.tenant without a seal.
    is_enforced boolean NOT NULL DEFAULT false
);
INSERT INTO seal_secret (secret)
SELECT sha256(string_agg(uuid_send(gen_random_uuid()), '')) FROM generate_series(1, 4);
GRANT SELECT ON seal_secret TO territoire_service;

-- The seal of what is set at this instant. An instant in text would depend on the session's own time zone. In
-- plpgsql, which keeps its plans: of SQL each call would plan anew.
CREATE FUNCTION seal_of_settings(secret bytea) RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN encode(sha256(secret || sha256(secret || convert_to(concat_ws('|',
        pg_backend_pid(), extract(epoch FROM transaction_timestamp()), current_setting('app.tenant', true),
        current_setting('app.operator', true), current_setting('app.proved', true)), 'UTF8'))), 'hex');
END
$$;

-- app.proved: the tenant whose proof it was, and the rights that came with it, as 12|{manage,read}.
CREATE FUNCTION seal_transaction(tenant int, is_operator boolean, home int, rights text[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM set_config('app.tenant', coalesce(tenant::text, ''), true),
            set_config('app.operator', CASE WHEN is_operator THEN 'on' ELSE 'off' END, true),
            set_config('app.proved', format('%s|%s', home, rights), true);
    PERFORM set_config('app.seal', public.seal_of_settings(s.secret), true) FROM public.seal_secret s;
END
$$;

-- Whether what is set was sealed in this transaction.
CREATE FUNCTION is_sealed() RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    kept public.seal_secret;
BEGIN
    SELECT * INTO STRICT kept FROM public.seal_secret;
    RETURN NOT kept.is_enforced OR current_setting('app.seal', true) = public.seal_of_settings(kept.secret);
END
$$;

-- NULL unless a door sealed a tenant in this transaction: then no row is visible.
CREATE OR REPLACE FUNCTION current_tenant() RETURNS int
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    entered text := nullif(current_setting('app.tenant', true), '');
BEGIN
    IF entered IS NULL OR public.is_sealed() IS NOT TRUE THEN
        RETURN NULL;
    END IF;
    RETURN entered::int;
END
$$;

CREATE FUNCTION is_operator() RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN current_setting('app.operator', true) = 'on' AND public.is_sealed();
END
$$;

-- Whether the proof by which this transaction was entered came with this right.
CREATE FUNCTION has_proved(wanted text) RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN coalesce(wanted = ANY(split_part(current_setting('app.proved', true), '|', 2)::text[]), false)
       AND public.is_sealed();
END
$$;

-- The doors.

-- NULL: there is no such key, or it holds no more.
CREATE FUNCTION enter_by_key(key_id text, digest bytea) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    known record;
BEGIN
    SELECT k.tenant_id, k.roles INTO known FROM api_key k
    WHERE k.id = key_id AND k.secret_sha256 = digest AND k.revoked_at IS NULL
      AND (k.expires_at IS NULL OR k.expires_at > now());
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM seal_transaction(known.tenant_id, false, known.tenant_id, known.roles);
    RETURN known.tenant_id;
END
$$;

-- The digest of the secret with which an event was signed. A source of before this migration is known by that of its
-- first event from then on.
ALTER TABLE event_source ADD COLUMN signing_sha256 bytea, ADD COLUMN previous_signing_sha256 bytea;
CREATE FUNCTION enter_by_event_source(source int, digest bytea) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    known int;
BEGIN
    UPDATE event_source s SET signing_sha256 = digest WHERE s.id = source AND s.enabled AND s.signing_sha256 IS NULL;
    SELECT s.tenant_id INTO known FROM event_source s
    WHERE s.id = source AND s.enabled
      AND (s.signing_sha256 = digest OR (s.previous_signing_sha256 = digest AND s.previous_until > now()));
    IF known IS NOT NULL THEN
        PERFORM seal_transaction(known, false, known, '{}');
    END IF;
    RETURN known;
END
$$;
-- A session that was closed, or works for another tenant by now, admits no more.
CREATE FUNCTION enter_by_session(token bytea, tenant int) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    known record;
BEGIN
    SELECT s.tenant_id, s.role INTO known FROM find_session(token) s WHERE s.tenant_id = tenant;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM seal_transaction(known.tenant_id, false, known.tenant_id,
                             CASE known.role WHEN 'operator' THEN ARRAY['operate'] ELSE '{}' END);
    RETURN known.tenant_id;
END
$$;

-- A token of a provider of identities is verified by the caller, the database cannot: it admits to the tenants of a
-- person who has linked the identity, and never as an operator.
CREATE FUNCTION enter_by_identity(issuing text, named text, tenant int) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    known int;
BEGIN
    SELECT m.tenant_id INTO known FROM find_identity(issuing, named) i
    JOIN membership m ON m.person_id = i.person_id AND m.tenant_id = tenant;
    IF known IS NOT NULL THEN
        PERFORM seal_transaction(known, false, known, '{}');
    END IF;
    RETURN known;
END
$$;
CREATE FUNCTION sign_by(source int, digest bytea) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE event_source SET previous_signing_sha256 = signing_sha256, signing_sha256 = digest
    WHERE id = source AND tenant_id = current_tenant() RETURNING true
$$;

-- Within: from one's own tenant to where one may act besides.

CREATE FUNCTION act_as_operator() RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT has_proved('operate') THEN
        RETURN false;
    END IF;
    PERFORM seal_transaction(current_tenant(), true, split_part(current_setting('app.proved'), '|', 1)::int,
                             split_part(current_setting('app.proved'), '|', 2)::text[]);
    RETURN true;
END
$$;

-- The operator of the network, for what it does in another tenant.
CREATE FUNCTION enter_as_operator(tenant int) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT is_operator() THEN
        RETURN false;
    END IF;
    PERFORM seal_transaction(tenant, true, split_part(current_setting('app.proved'), '|', 1)::int,
                             split_part(current_setting('app.proved'), '|', 2)::text[]);
    RETURN true;
END
$$;

-- The owner of an asset, in whose name a grant of the role `operator` lets one act on it. NULL: there is none.
CREATE FUNCTION enter_owner_of(asset int) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    owner int := operated_for(asset);
BEGIN
    IF owner IS NOT NULL THEN
        PERFORM seal_transaction(owner, false, split_part(current_setting('app.proved'), '|', 1)::int,
                                 split_part(current_setting('app.proved'), '|', 2)::text[]);
    END IF;
    RETURN owner;
END
$$;

-- Back to the tenant whose proof it was.
CREATE FUNCTION enter_home() RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    home int := nullif(split_part(current_setting('app.proved', true), '|', 1), '')::int;
BEGIN
    IF home IS NULL OR is_sealed() IS NOT TRUE THEN
        RETURN NULL;
    END IF;
    PERFORM seal_transaction(home, false, home, split_part(current_setting('app.proved'), '|', 2)::text[]);
    RETURN home;
END
$$;

CREATE OR REPLACE FUNCTION set_member_of(member int, syndicat int) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF is_operator() IS NOT TRUE THEN
        RAISE EXCEPTION 'only the operator says who is a member' USING ERRCODE = 'insufficient_privilege';
    END IF;
    UPDATE tenant SET member_of = syndicat WHERE id = member;
    RETURN FOUND;
END
$$;

DO $$
DECLARE
    door text;
BEGIN
    FOREACH door IN ARRAY ARRAY['seal_of_settings(bytea)', 'seal_transaction(int, boolean, int, text[])',
                                'is_sealed()', 'current_tenant()', 'is_operator()', 'has_proved(text)',
                                'enter_by_key(text, bytea)', 'enter_by_event_source(int, bytea)',
                                'enter_by_session(bytea, int)', 'enter_by_identity(text, text, int)',
                                'sign_by(int, bytea)', 'act_as_operator()', 'enter_as_operator(int)',
                                'enter_owner_of(int)', 'enter_home()'] LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
        IF door NOT IN ('seal_of_settings(bytea)', 'seal_transaction(int, boolean, int, text[])', 'is_sealed()') THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO territoire_api', door);
        END IF;
    END LOOP;
END
$$;
-- Policies of every role ask these.
GRANT EXECUTE ON FUNCTION current_tenant(), is_operator(), has_proved(text) TO PUBLIC;

-- The hash of a key is presented, and never read; who may do less makes no key that may do more.
REVOKE SELECT ON api_key FROM territoire_api;
GRANT SELECT (id, tenant_id, name, roles, created_at, expires_at, revoked_at, addresses, requests_per_minute,
              last_used_at) ON api_key TO territoire_api;
CREATE POLICY of_operator ON api_key AS RESTRICTIVE FOR INSERT TO territoire_api
    WITH CHECK (NOT 'operate' = ANY(roles) OR (SELECT has_proved('operate')));
REVOKE UPDATE ON api_key FROM territoire_api;
GRANT UPDATE (name, expires_at, revoked_at) ON api_key TO territoire_api;
-- Nor does who may do less make an operator of a person.
CREATE POLICY of_operator ON membership AS RESTRICTIVE FOR UPDATE TO territoire_api USING (true)
    WITH CHECK (role <> 'operator' OR (SELECT has_proved('operate')));
CREATE POLICY of_operator ON invitation AS RESTRICTIVE FOR INSERT TO territoire_api
    WITH CHECK (role <> 'operator' OR (SELECT has_proved('operate')));
