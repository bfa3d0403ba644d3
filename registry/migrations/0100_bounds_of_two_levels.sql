-- A member's syndicat may be the member of another, and each sets bounds of its own for it. All of them hold: a proposal that
-- oversteps several goes to each who has set one, the nearest above the member first.
ALTER TABLE lighting_campaign
    ADD then_decided_by int[] NOT NULL DEFAULT '{}',  -- After who decides now, in this order.
    ADD then_outside text[] NOT NULL DEFAULT '{}',    -- The bound of each of them.
    ADD decided_before int[] NOT NULL DEFAULT '{}',   -- Who has agreed already.
    ADD CHECK (cardinality(then_decided_by) = cardinality(then_outside)),
    ADD CHECK (decided_by IS NOT NULL OR cardinality(then_decided_by) + cardinality(decided_before) = 0);
CREATE INDEX lighting_campaign_decided_before ON lighting_campaign USING gin (decided_before)
    WHERE decided_before <> '{}';

-- As in 0093, the nearest above first.
CREATE OR REPLACE FUNCTION lighting_bounds_of(member int)
    RETURNS TABLE (set_by_id int, set_by_name text, earliest_cut smallint, latest_return smallint,
                   least_level smallint, protected_tags text[])
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH RECURSIVE above (id, distance) AS (
        SELECT t.member_of, 1 FROM tenant t WHERE t.id = member AND t.id = ANY(visible_tenants())
        UNION ALL
        SELECT t.member_of, above.distance + 1 FROM tenant t JOIN above ON above.id = t.id
    )
    SELECT t.id, t.name, b.earliest_cut, b.latest_return, b.least_level, b.protected_tags
    FROM above JOIN lighting_bounds b ON b.tenant_id = above.id AND b.member_id = member
    JOIN tenant t ON t.id = b.tenant_id ORDER BY above.distance
$$;

-- Who has agreed reads it still, and hands it on to the next.
DROP POLICY proposed ON lighting_campaign;
CREATE POLICY proposed ON lighting_campaign FOR SELECT TO territoire_api
    USING (decided_by = (SELECT current_tenant()) OR decided_before @> ARRAY[(SELECT current_tenant())]);
DROP POLICY decided ON lighting_campaign;
CREATE POLICY decided ON lighting_campaign FOR UPDATE TO territoire_api
    USING (decided_by = (SELECT current_tenant()))
    WITH CHECK (decided_by = (SELECT current_tenant()) AND state IN ('approved', 'refused')
                OR state = 'draft' AND decided_before @> ARRAY[(SELECT current_tenant())]);
DROP POLICY proposed ON lighting_campaign_target;
CREATE POLICY proposed ON lighting_campaign_target FOR SELECT TO territoire_api
    USING (campaign_id IN (
        SELECT c.id FROM lighting_campaign c
        WHERE c.decided_by = (SELECT current_tenant()) OR c.decided_before @> ARRAY[(SELECT current_tenant())]));

-- As in 0093; and who decides hands on what another has to decide, too, instead of approving it.
CREATE OR REPLACE FUNCTION keep_proposal() RETURNS trigger
    LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    handed_on boolean := (NEW.decided_by, NEW.outside, NEW.then_decided_by, NEW.then_outside, NEW.decided_before, NEW.state)
        IS NOT DISTINCT FROM (OLD.then_decided_by[1], OLD.then_outside[1], OLD.then_decided_by[2:], OLD.then_outside[2:],
                              OLD.decided_before || OLD.decided_by, OLD.state)
        AND OLD.state = 'draft' AND OLD.then_decided_by <> '{}';
BEGIN
    IF (NEW.tenant_id, NEW.action, NEW.level, NEW.off_until, NEW.not_after, NEW.author_id)
       IS DISTINCT FROM (OLD.tenant_id, OLD.action, OLD.level, OLD.off_until, OLD.not_after, OLD.author_id)
       OR NOT handed_on
          AND ((NEW.decided_by, NEW.outside, NEW.then_decided_by, NEW.then_outside, NEW.decided_before)
               IS DISTINCT FROM
               (OLD.decided_by, OLD.outside, OLD.then_decided_by, OLD.then_outside, OLD.decided_before)
               OR NEW.state = 'approved' AND OLD.state = 'draft' AND OLD.then_decided_by <> '{}')
       OR session_user = 'territoire_api'
          AND (CASE WHEN current_tenant() = OLD.decided_by THEN OLD.state <> 'draft'
               ELSE handed_on OR OLD.state = 'draft' AND NEW.state IN ('approved', 'refused') END) THEN
        RAISE EXCEPTION 'a proposal is decided by who has set the bounds' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;
