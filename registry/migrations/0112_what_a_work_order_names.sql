-- A webhook about a work order names where to go. The asset may be another tenant's: its name and its place are said
-- while that tenant shares it, as in the API, and no longer.

CREATE FUNCTION assets_shown_to(whom int, wanted int[]) RETURNS SETOF int
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1 AS $$
    WITH RECURSIVE seen (id) AS (
        SELECT whom UNION SELECT t.id FROM tenant t JOIN seen ON t.member_of = seen.id
    )
    SELECT a.id FROM asset a
    WHERE a.id = ANY(wanted) AND (
        a.tenant_id = whom OR (a.privacy_class < 2 AND a.tenant_id IN (SELECT id FROM seen))
        OR EXISTS (
            SELECT FROM access_grant g
            WHERE g.grantee_id = whom AND g.tenant_id = a.tenant_id AND g.revoked_at IS NULL AND g.valid @> now()
              AND (g.asset_id = a.id OR (g.asset_id IS NULL AND a.privacy_class < 2
                   AND (g.everything OR g.asset_kind = a.kind OR g.tag = ANY(a.tags))))))
$$;
ALTER FUNCTION assets_shown_to(int, int[]) OWNER TO territoire_service;
REVOKE EXECUTE ON FUNCTION assets_shown_to(int, int[]) FROM PUBLIC;
