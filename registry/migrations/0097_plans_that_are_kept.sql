-- What row security asks with every statement, and what every page asks, keeps its plans. A function in SQL that
-- bypasses row security is planned anew each time that it is called; one in plpgsql whose parameters are arrays too,
-- since a plan for the very values always looks cheaper than the plan for any. Planning was most of what they cost:
-- reachable_tenants() 0.4 ms instead of 0.1, and a page calls it for each table of each statement.

ALTER FUNCTION reachable_tenants() SET plan_cache_mode TO force_generic_plan;
ALTER FUNCTION opened_asset() SET plan_cache_mode TO force_generic_plan;

-- As in 0071; of a tenant without members nothing can be hidden.
CREATE OR REPLACE FUNCTION hidden_asset() RETURNS SETOF int
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 100 AS $$
DECLARE
    others int[] := array_remove(visible_tenants(), current_tenant());
BEGIN
    IF others <> '{}' THEN
        RETURN QUERY SELECT a.id FROM asset a WHERE a.privacy_class = 2 AND a.tenant_id = ANY(others);
    END IF;
END
$$;
CREATE OR REPLACE FUNCTION hidden_device() RETURNS SETOF int
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 100 AS $$
DECLARE
    others int[] := array_remove(visible_tenants(), current_tenant());
BEGIN
    IF others <> '{}' THEN
        RETURN QUERY SELECT d.id FROM device d WHERE d.is_personal AND d.tenant_id = ANY(others);
    END IF;
END
$$;
CREATE OR REPLACE FUNCTION hidden_datastream() RETURNS SETOF int
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 100 AS $$
DECLARE
    others int[] := array_remove(visible_tenants(), current_tenant());
BEGIN
    IF others <> '{}' THEN
        RETURN QUERY SELECT d.id FROM datastream d WHERE d.privacy_class = 2 AND d.tenant_id = ANY(others);
    END IF;
END
$$;

-- As in 0071, without looking for what is granted where nothing is.
CREATE OR REPLACE FUNCTION shared_device() RETURNS TABLE (device_id int, data tstzmultirange)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp SET plan_cache_mode = force_generic_plan
    ROWS 100 AS $$
#variable_conflict use_column
DECLARE
    me int := current_tenant();
    mine int[] := visible_tenants();
BEGIN
    IF NOT EXISTS (SELECT FROM access_grant g WHERE g.grantee_id = me AND g.revoked_at IS NULL AND g.valid @> now())
       AND NOT EXISTS (SELECT FROM device_tenure t WHERE t.tenant_id = ANY(mine)) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT shared.device_id, range_agg(shared.data) FROM (
        SELECT g.device_id, g.data FROM granted_assignment() g
        UNION ALL
        SELECT s.device_id, '{}'::tstzmultirange FROM opened_asset() g JOIN datastream s ON s.asset_id = g.asset_id
        WHERE s.privacy_class < 2 OR g.by_name IS NOT NULL
        UNION ALL
        SELECT t.device_id, t.during FROM device_tenure t JOIN device d ON d.id = t.device_id
        WHERE t.tenant_id = me OR (t.tenant_id = ANY(mine) AND NOT d.is_personal)
    ) AS shared GROUP BY shared.device_id;
END
$$;

-- As in 0072.
CREATE OR REPLACE FUNCTION find_session(token bytea)
    RETURNS TABLE (person_id int, person_name text, email text, tenant_id int, tenant_slug text, role text,
                   extra_rights text[], expires_at timestamptz, proved_at timestamptz, has_totp boolean, id int,
                   last_seen_at timestamptz)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT p.id, p.name, p.email, t.id, t.slug, m.role, m.extra_rights, s.expires_at, s.proved_at,
           p.totp_confirmed_at IS NOT NULL, s.id, s.last_seen_at
    FROM person_session s JOIN person p ON p.id = s.person_id
    JOIN membership m ON m.person_id = s.person_id AND m.tenant_id = s.tenant_id
    JOIN tenant t ON t.id = s.tenant_id
    WHERE s.token_sha256 = token AND s.expires_at > now() AND p.disabled_at IS NULL;
END
$$;

-- As in 0072; what is read is found by its ids, and the whole asset table is not looked through each time.
CREATE OR REPLACE FUNCTION audit_personal_reads(assets int[], streams int[], devices int[], reader text, given jsonb)
    RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    me int := current_tenant();
    my_slug text;
    personal int[] := ARRAY(
        SELECT a.id FROM asset a
        WHERE a.privacy_class >= 2 AND a.id = ANY(ARRAY(
            SELECT unnest(assets)
            UNION SELECT d.asset_id FROM datastream d WHERE d.id = ANY(streams)
            UNION SELECT s.asset_id FROM assignment s WHERE s.device_id = ANY(devices)))
        ORDER BY a.id);
    read record;
    written int := 0;
BEGIN
    IF personal = '{}' THEN
        RETURN 0;
    END IF;
    FOR read IN
        WITH first_today AS (
            INSERT INTO personal_read (asset_id, reader, day)
            SELECT p.id, me || ' ' || audit_personal_reads.reader, current_date
            FROM unnest(personal) AS p (id) ORDER BY p.id
            ON CONFLICT DO NOTHING RETURNING asset_id
        )
        SELECT a.id, a.tenant_id FROM asset a JOIN first_today f ON f.asset_id = a.id ORDER BY a.id
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

-- By which the menu finds the kinds of assets that there are, and a filter the communes, without reading them all.
CREATE INDEX asset_by_kind ON asset (tenant_id, kind) WHERE archived_at IS NULL;
CREATE INDEX asset_by_tenant_commune ON asset (tenant_id, commune) WHERE archived_at IS NULL;
-- The devices that serve now: what is asked of an assignment nearly always, and a GiST index finds at four times the cost.
CREATE INDEX assignment_in_force ON assignment (asset_id) WHERE upper_inf(during);
