-- Whose lamps a campaign commands: those of others by a grant of the role `operator`; and what a member may not decide
-- alone, because its syndicat has set bounds, waits for the syndicat.

-- The lighting of others that one may command; decided as by operated_for() (0009).
CREATE FUNCTION operated_lighting() RETURNS SETOF int
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 100 AS $$
DECLARE
    me int := current_tenant();
BEGIN
    IF NOT EXISTS (SELECT FROM access_grant g WHERE g.grantee_id = me AND g.role = 'operator'
                     AND g.revoked_at IS NULL AND g.valid @> now()) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT DISTINCT a.id FROM access_grant g JOIN asset a ON a.tenant_id = g.tenant_id
    WHERE g.grantee_id = me AND g.role = 'operator' AND g.revoked_at IS NULL AND g.valid @> now()
      AND a.kind IN ('lighting_cabinet', 'lighting_circuit', 'light_point')
      AND (g.asset_id = a.id
           OR (a.privacy_class < 2 AND (g.everything OR g.asset_kind = a.kind OR g.tag = ANY(a.tags))));
END
$$;

-- As whom a tenant commands a circuit now: empty for its own, its short name where a grant for the circuit or its
-- cabinet lets it; NULL: it may not. Asked when the frame goes out, which may be hours after the campaign was approved.
CREATE FUNCTION lighting_acting_for(asset int, acting int) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT CASE WHEN a.tenant_id = acting THEN '' ELSE (
        SELECT t.slug FROM tenant t WHERE t.id = acting AND EXISTS (
            SELECT FROM asset o JOIN access_grant g ON g.tenant_id = o.tenant_id
            WHERE o.tenant_id = a.tenant_id AND (o.id = a.id OR a.kind = 'lighting_circuit' AND o.id = a.parent_id)
              AND g.grantee_id = acting AND g.role = 'operator' AND g.revoked_at IS NULL AND g.valid @> now()
              AND (g.asset_id = o.id OR (o.privacy_class < 2
                   AND (g.everything OR g.asset_kind = o.kind OR g.tag = ANY(o.tags)))))) END
    FROM asset a WHERE a.id = lighting_acting_for.asset AND a.archived_at IS NULL
$$;

-- As in 0079, with who has set them.
DROP FUNCTION lighting_bounds_of(int);
CREATE FUNCTION lighting_bounds_of(member int)
    RETURNS TABLE (set_by_id int, set_by_name text, earliest_cut smallint, latest_return smallint,
                   least_level smallint, protected_tags text[])
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH RECURSIVE above (id) AS (
        SELECT t.member_of FROM tenant t WHERE t.id = member AND t.id = ANY(visible_tenants())
        UNION
        SELECT t.member_of FROM tenant t JOIN above ON above.id = t.id
    )
    SELECT t.id, t.name, b.earliest_cut, b.latest_return, b.least_level, b.protected_tags
    FROM above JOIN lighting_bounds b ON b.tenant_id = above.id AND b.member_id = member
    JOIN tenant t ON t.id = b.tenant_id ORDER BY t.id
$$;

DO $$
DECLARE
    door regprocedure;
BEGIN
    FOREACH door IN ARRAY ARRAY['operated_lighting()', 'lighting_acting_for(int, int)',
                                'lighting_bounds_of(int)']::regprocedure[] LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
    END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION operated_lighting() TO territoire_api;
GRANT EXECUTE ON FUNCTION lighting_bounds_of(int) TO territoire_api, territoire_views;

-- A proposal is a draft that its author's tenant does not approve: it oversteps the bounds that `decided_by` has set.
ALTER TABLE lighting_campaign
    ADD decided_by int REFERENCES tenant,
    ADD proposed_by text NOT NULL DEFAULT '',  -- The tenant's short name, for those who decide.
    ADD outside text,                          -- Which bound, in French.
    ADD refused_for text CHECK (length(refused_for) <= 1000),
    ADD CHECK ((decided_by IS NULL) = (outside IS NULL)),
    ADD CHECK (decided_by IS DISTINCT FROM tenant_id),
    DROP CONSTRAINT lighting_campaign_state_check,
    ADD CONSTRAINT lighting_campaign_state_check CHECK (state IN (
        'draft', 'approved', 'canary', 'running', 'paused', 'halted', 'ended', 'cancelled', 'expired', 'refused')),
    DROP CONSTRAINT lighting_campaign_check5,
    ADD CONSTRAINT lighting_campaign_approved CHECK (
        is_emergency OR approved_by IS NOT NULL OR state IN ('draft', 'cancelled', 'expired', 'refused'));
CREATE INDEX lighting_campaign_to_decide ON lighting_campaign (decided_by) WHERE decided_by IS NOT NULL;

-- Who decides reads it, and leaves nothing but a decision.
CREATE POLICY proposed ON lighting_campaign FOR SELECT TO territoire_api
    USING (decided_by = (SELECT current_tenant()));
CREATE POLICY decided ON lighting_campaign FOR UPDATE TO territoire_api
    USING (decided_by = (SELECT current_tenant()))
    WITH CHECK (decided_by = (SELECT current_tenant()) AND state IN ('approved', 'refused'));
CREATE POLICY proposed ON lighting_campaign_target FOR SELECT TO territoire_api
    USING (campaign_id IN (SELECT c.id FROM lighting_campaign c WHERE c.decided_by = (SELECT current_tenant())));

-- What was proposed is what is decided, and not by the member itself.
CREATE FUNCTION keep_proposal() RETURNS trigger
    LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF (NEW.decided_by, NEW.outside, NEW.tenant_id, NEW.action, NEW.level, NEW.off_until, NEW.not_after, NEW.author_id)
       IS DISTINCT FROM
       (OLD.decided_by, OLD.outside, OLD.tenant_id, OLD.action, OLD.level, OLD.off_until, OLD.not_after, OLD.author_id)
       OR session_user = 'territoire_api'
          AND (CASE WHEN current_tenant() = OLD.decided_by THEN OLD.state <> 'draft'
               ELSE OLD.state = 'draft' AND NEW.state IN ('approved', 'refused') END) THEN
        RAISE EXCEPTION 'a proposal is decided by who has set the bounds' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER keep_proposal BEFORE UPDATE ON lighting_campaign
    FOR EACH ROW WHEN (OLD.decided_by IS NOT NULL) EXECUTE FUNCTION keep_proposal();
