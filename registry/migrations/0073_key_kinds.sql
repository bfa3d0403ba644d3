-- A key of an application that sees, and acts on, assets of some kinds alone. The kinds are sealed with what else the
-- key has proved (its third part: 12|{read}|{room}), so that row security holds to them in every statement.

ALTER TABLE api_key ADD COLUMN asset_kinds text[] NOT NULL DEFAULT '{}';  -- None: every kind.
-- Whoever manages a tenant, or makes keys, would not be limited.
ALTER TABLE api_key ADD CONSTRAINT api_key_of_kinds
    CHECK (asset_kinds = '{}' OR roles <@ ARRAY['read', 'field', 'lighting']);
GRANT SELECT (asset_kinds) ON api_key TO territoire_api;

DROP FUNCTION authenticate_api_key(text, bytea);
CREATE FUNCTION authenticate_api_key(key_id text, digest bytea)
    RETURNS TABLE (tenant_id int, tenant_slug text, name text, roles text[], addresses text[],
                   requests_per_minute int, asset_kinds text[])
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT k.tenant_id, t.slug, k.name, k.roles, k.addresses, k.requests_per_minute, k.asset_kinds
    FROM api_key k JOIN tenant t ON t.id = k.tenant_id
    WHERE k.id = key_id AND k.secret_sha256 = digest AND k.revoked_at IS NULL
      AND (k.expires_at IS NULL OR k.expires_at > now())
$$;

-- Copied from 0063: who is limited stays so within the transaction, whichever tenant is entered.
CREATE OR REPLACE FUNCTION seal_transaction(tenant int, is_operator boolean, home int, rights text[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    kinds text := CASE WHEN public.is_sealed() IS TRUE
                       THEN nullif(split_part(current_setting('app.proved', true), '|', 3), '') END;
BEGIN
    PERFORM set_config('app.tenant', coalesce(tenant::text, ''), true),
            set_config('app.operator', CASE WHEN is_operator THEN 'on' ELSE 'off' END, true),
            set_config('app.proved', concat_ws('|', format('%s|%s', home, rights), kinds), true);
    PERFORM set_config('app.seal', public.seal_of_settings(s.secret), true) FROM public.seal_secret s;
END
$$;

-- Copied from 0063, and then the kinds.
CREATE OR REPLACE FUNCTION enter_by_key(key_id text, digest bytea) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    known record;
BEGIN
    SELECT k.tenant_id, k.roles, k.asset_kinds INTO known FROM api_key k
    WHERE k.id = key_id AND k.secret_sha256 = digest AND k.revoked_at IS NULL
      AND (k.expires_at IS NULL OR k.expires_at > now());
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM set_config('app.proved', '', true);
    PERFORM seal_transaction(known.tenant_id, false, known.tenant_id, known.roles);
    IF known.asset_kinds <> '{}' THEN
        PERFORM set_config('app.proved', current_setting('app.proved') || '|' || known.asset_kinds::text, true);
        PERFORM set_config('app.seal', seal_of_settings(s.secret), true) FROM seal_secret s;
    END IF;
    RETURN known.tenant_id;
END
$$;

-- NULL: every kind. Whoever changes the setting breaks its seal, and sees nothing.
CREATE FUNCTION proved_kinds() RETURNS text[]
    LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN nullif(split_part(current_setting('app.proved', true), '|', 3), '')::text[];
END
$$;
CREATE FUNCTION assets_of_kinds() RETURNS SETOF int
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1000 AS $$
    SELECT a.id FROM asset a
    WHERE a.kind = ANY(proved_kinds()) AND a.tenant_id = ANY((SELECT reachable_tenants())::int[])
$$;
-- Those that serve one now.
CREATE FUNCTION devices_of_kinds() RETURNS SETOF int
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1000 AS $$
    SELECT s.device_id FROM assets_of_kinds() AS a (id) JOIN assignment s ON s.asset_id = a.id
    WHERE s.during @> now()
$$;
ALTER FUNCTION assets_of_kinds() OWNER TO territoire_service;
ALTER FUNCTION devices_of_kinds() OWNER TO territoire_service;
REVOKE EXECUTE ON FUNCTION assets_of_kinds(), devices_of_kinds() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION assets_of_kinds(), devices_of_kinds() TO territoire_api, territoire_views;

CREATE POLICY of_kinds ON asset AS RESTRICTIVE TO territoire_api, territoire_views
    USING ((SELECT proved_kinds()) IS NULL OR kind = ANY((SELECT proved_kinds())::text[]));
DO $$
DECLARE
    about record;
BEGIN
    FOR about IN SELECT * FROM (VALUES
        ('datastream', 'asset_id IN (SELECT assets_of_kinds())'), ('assignment', 'asset_id IN (SELECT assets_of_kinds())'),
        ('alert', 'asset_id IN (SELECT assets_of_kinds())'), ('lighting_command', 'asset_id IN (SELECT assets_of_kinds())'),
        ('device', 'id IN (SELECT devices_of_kinds())'), ('downlink', 'device_id IN (SELECT devices_of_kinds())')
    ) AS a (scoped, limited) LOOP
        EXECUTE format('CREATE POLICY of_kinds ON %s AS RESTRICTIVE TO territoire_api, territoire_views '
                       'USING ((SELECT proved_kinds()) IS NULL OR %s)', about.scoped, about.limited);
    END LOOP;
END
$$;

DO $$
BEGIN
    ALTER FUNCTION authenticate_api_key(text, bytea) OWNER TO territoire_service;
    REVOKE EXECUTE ON FUNCTION authenticate_api_key(text, bytea) FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION authenticate_api_key(text, bytea) TO territoire_api, territoire_service;
END
$$;
