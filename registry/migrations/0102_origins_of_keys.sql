-- Pages of other origins that may call the API with a key: `https://carte.ville.example`. None: no page of others.
ALTER TABLE api_key ADD COLUMN origins text[] NOT NULL DEFAULT '{}' CHECK (cardinality(origins) <= 20);

GRANT SELECT (origins) ON api_key TO territoire_api;

-- As in 0073, and with the origins.
DROP FUNCTION authenticate_api_key(text, bytea);
CREATE FUNCTION authenticate_api_key(key_id text, digest bytea)
    RETURNS TABLE (tenant_id int, tenant_slug text, name text, roles text[], addresses text[],
                   requests_per_minute int, asset_kinds text[], origins text[], expires_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT k.tenant_id, t.slug, k.name, k.roles, k.addresses, k.requests_per_minute, k.asset_kinds, k.origins,
           k.expires_at
    FROM api_key k JOIN tenant t ON t.id = k.tenant_id
    WHERE k.id = key_id AND k.secret_sha256 = digest AND k.revoked_at IS NULL
      AND (k.expires_at IS NULL OR k.expires_at > now())
$$;

-- What a preflight, which carries no key, is answered for.
CREATE INDEX api_key_origins ON api_key (id) WHERE origins <> '{}';
CREATE FUNCTION origins_of_keys() RETURNS SETOF text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT DISTINCT unnest(k.origins) FROM api_key k
    WHERE k.origins <> '{}' AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
$$;

DO $$
BEGIN
    ALTER FUNCTION authenticate_api_key(text, bytea) OWNER TO territoire_service;
    REVOKE EXECUTE ON FUNCTION authenticate_api_key(text, bytea) FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION authenticate_api_key(text, bytea) TO territoire_api, territoire_service;
    ALTER FUNCTION origins_of_keys() OWNER TO territoire_service;
    REVOKE EXECUTE ON FUNCTION origins_of_keys() FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION origins_of_keys() TO territoire_api, territoire_service;
END
$$;
