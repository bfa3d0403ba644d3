-- What is given takes effect when its receiver accepts it, and an EUI that another tenant holds can be contested. Nobody
-- learns on the way which tenants there are and what is theirs: an offer to nobody looks like one without an answer, and
-- neither side of a contested EUI is told who the other one is.

-- A grant is offered to `offered_slug`; it has a grantee, and so opens anything, once that tenant has accepted it: every
-- function that policies ask looks for the grantee.
ALTER TABLE access_grant
    ALTER COLUMN grantee_id DROP NOT NULL,
    ADD COLUMN offered_slug text,
    ADD COLUMN offered_to int REFERENCES tenant,  -- NULL: nobody has that name; who offers does not read this column.
    ADD COLUMN offer_ends_at timestamptz NOT NULL DEFAULT now() + interval '30 days',
    ADD COLUMN accepted_at timestamptz,
    ADD COLUMN rejected_at timestamptz;
UPDATE access_grant g SET offered_slug = t.slug, offered_to = t.id, accepted_at = g.created_at
FROM tenant t WHERE t.id = g.grantee_id;
ALTER TABLE access_grant
    ALTER COLUMN offered_slug SET NOT NULL,
    ADD CHECK (num_nonnulls(grantee_id, accepted_at) IN (0, 2)),
    ADD CHECK (accepted_at IS NULL OR rejected_at IS NULL);
CREATE INDEX access_grant_offered ON access_grant (offered_to);

-- Also for a process of the former version, which names the grantee itself.
CREATE FUNCTION address_grant() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NEW.offered_slug IS NULL THEN
        SELECT slug INTO NEW.offered_slug FROM tenant WHERE id = NEW.grantee_id;
    END IF;
    NEW.offered_to := (SELECT id FROM tenant WHERE slug = NEW.offered_slug);
    NEW.grantee_id := NULL;
    NEW.accepted_at := NULL;
    RETURN NEW;
END
$$;
CREATE TRIGGER addressed BEFORE INSERT ON access_grant FOR EACH ROW EXECUTE FUNCTION address_grant();

DROP POLICY received ON access_grant;
CREATE POLICY received ON access_grant FOR SELECT USING (offered_to = (SELECT current_tenant()));
REVOKE SELECT ON access_grant FROM territoire_api;
GRANT SELECT (id, tenant_id, grantee_id, asset_id, tag, asset_kind, everything, role, valid, data, granted_by,
              created_at, revoked_at, revoked_by, offered_slug, offer_ends_at, accepted_at, rejected_at)
    ON access_grant TO territoire_api;

-- An asset that its owner offers to another tenant; it goes there when that one accepts.
CREATE TABLE asset_transfer (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    asset_id int REFERENCES asset ON DELETE SET NULL,
    asset_kind text NOT NULL,
    asset_name text NOT NULL,
    history text NOT NULL CHECK (history IN ('goes_along', 'stays')),
    offered_slug text NOT NULL,
    offered_to int REFERENCES tenant,  -- As in access_grant.
    offered_by text NOT NULL,
    noted jsonb NOT NULL DEFAULT '{}',  -- For the audit of who offered it.
    created_at timestamptz NOT NULL DEFAULT now(),
    offer_ends_at timestamptz NOT NULL DEFAULT now() + interval '30 days',
    accepted_at timestamptz,
    rejected_at timestamptz,
    withdrawn_at timestamptz,
    kept_as int,
    CHECK (num_nonnulls(accepted_at, rejected_at, withdrawn_at) <= 1)
);
CREATE INDEX asset_transfer_by_tenant ON asset_transfer (tenant_id);
CREATE INDEX asset_transfer_offered ON asset_transfer (offered_to);
CREATE INDEX asset_transfer_of_asset ON asset_transfer (asset_id);
-- Those of before were done at once, and are known from the audit.
INSERT INTO asset_transfer (tenant_id, asset_id, asset_kind, asset_name, history, offered_slug, offered_to, offered_by,
                            created_at, offer_ends_at, accepted_at, kept_as)
SELECT l.tenant_id, a.id, coalesce(a.kind, ''), coalesce(a.name, ''),
       CASE WHEN l.details ->> 'kept_as' IS NULL THEN 'goes_along' ELSE 'stays' END,
       t.slug, t.id, l.actor, l.at, l.at, l.at, (l.details ->> 'kept_as')::int
FROM audit l JOIN tenant t ON t.id = (l.details ->> 'to')::int LEFT JOIN asset a ON a.id = l.entity_id::int
WHERE l.action = 'transfer' AND l.entity = 'asset' ORDER BY l.id;

CREATE FUNCTION address_transfer() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    NEW.offered_to := (SELECT id FROM tenant WHERE slug = NEW.offered_slug);
    RETURN NEW;
END
$$;
CREATE TRIGGER addressed BEFORE INSERT ON asset_transfer FOR EACH ROW EXECUTE FUNCTION address_transfer();
CALL scope_to_tenant('asset_transfer');
CREATE POLICY received ON asset_transfer FOR SELECT USING (offered_to = (SELECT current_tenant()));
GRANT SELECT (id, tenant_id, asset_id, asset_kind, asset_name, history, offered_slug, offered_by, created_at,
              offer_ends_at, accepted_at, rejected_at, withdrawn_at, kept_as),
      INSERT (tenant_id, asset_id, asset_kind, asset_name, history, offered_slug, offered_by, noted),
      UPDATE (withdrawn_at) ON asset_transfer TO territoire_api;

-- Who knows of no tenant asks for none by its name any more.
REVOKE EXECUTE ON FUNCTION tenant_named(text) FROM territoire_api, territoire_views;
DROP FUNCTION tenant_named(text);

-- The names of those with whom something is or was shared, once both sides have agreed; who offers shows its own.
CREATE OR REPLACE FUNCTION sharing_tenant() RETURNS TABLE (id int, slug text, name text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT t.id, t.slug, t.name FROM tenant t
    WHERE t.id = ANY(visible_tenants()) OR EXISTS (
        SELECT FROM access_grant g
        WHERE (g.tenant_id = t.id AND g.offered_to = current_tenant())
           OR (g.grantee_id = t.id AND g.tenant_id = ANY(visible_tenants()))
    ) OR EXISTS (
        SELECT FROM asset_transfer o
        WHERE (o.tenant_id = t.id AND o.offered_to = current_tenant())
           OR (o.offered_to = t.id AND o.accepted_at IS NOT NULL AND o.tenant_id = current_tenant()))
$$;

-- The receiver's answer, which its giver reads in its audit; false: no such offer waits for this tenant.
CREATE FUNCTION answer_grant(offered int, accepts boolean) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    me int := current_tenant();
    answered access_grant;
BEGIN
    UPDATE access_grant SET grantee_id = CASE WHEN accepts THEN me END,
                            accepted_at = CASE WHEN accepts THEN now() END,
                            rejected_at = CASE WHEN accepts THEN NULL ELSE now() END
    WHERE id = offered AND offered_to = me AND tenant_id <> me AND offer_ends_at > now()
      AND num_nonnulls(accepted_at, rejected_at, revoked_at) = 0
    RETURNING * INTO answered;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details) VALUES
        (answered.tenant_id, 'collectivité ' || answered.offered_slug, CASE WHEN accepts THEN 'accept' ELSE 'reject' END,
         'grant', offered::text, '{}');
    RETURN true;
END
$$;

-- What the giver asked for is done in its name when the receiver accepts, by the transfer that writes both audits.
CREATE FUNCTION answer_transfer(offered int, accepts boolean) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    me int := current_tenant();
    was_operator boolean := is_operator();
    home int := split_part(current_setting('app.proved', true), '|', 1)::int;
    rights text[] := split_part(current_setting('app.proved', true), '|', 2)::text[];
    answered asset_transfer;
BEGIN
    SELECT * INTO answered FROM asset_transfer
    WHERE id = offered AND offered_to = me AND tenant_id <> me AND offer_ends_at > now()
      AND num_nonnulls(accepted_at, rejected_at, withdrawn_at) = 0 FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF accepts THEN
        PERFORM seal_transaction(answered.tenant_id, false, home, rights);
        answered.kept_as := transfer_asset(answered.asset_id, me, answered.history = 'stays', answered.offered_by,
                                           answered.noted || jsonb_build_object('transfer', offered));
        PERFORM seal_transaction(me, was_operator, home, rights);
        UPDATE asset_transfer SET accepted_at = now(), kept_as = answered.kept_as WHERE id = offered;
    ELSE
        UPDATE asset_transfer SET rejected_at = now() WHERE id = offered;
        INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details) VALUES
            (answered.tenant_id, 'collectivité ' || answered.offered_slug, 'reject', 'transfer', offered::text, '{}');
    END IF;
    RETURN true;
END
$$;

-- An EUI that another tenant holds is contested; the operator decides. `holder_id`: who held it then.
CREATE TABLE eui_claim (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    holder_id int NOT NULL REFERENCES tenant CHECK (holder_id <> tenant_id),
    kind text NOT NULL CHECK (kind IN ('gateway', 'device')),
    eui bytea NOT NULL CHECK (octet_length(eui) = 8),
    reason text NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    withdrawn_at timestamptz,
    decided_at timestamptz,
    moved boolean,
    CHECK ((decided_at IS NULL) = (moved IS NULL)),
    CHECK (num_nonnulls(withdrawn_at, decided_at) <= 1)
);
CREATE UNIQUE INDEX eui_claim_open ON eui_claim (tenant_id, kind, eui)
    WHERE withdrawn_at IS NULL AND decided_at IS NULL;
CREATE INDEX eui_claim_of_holder ON eui_claim (holder_id);
CREATE INDEX eui_claim_reserves ON eui_claim (kind, eui, decided_at) WHERE moved;
CALL scope_to_tenant('eui_claim');
CREATE POLICY of_holder ON eui_claim FOR SELECT USING (holder_id = (SELECT current_tenant()));
CREATE POLICY of_operator ON eui_claim FOR SELECT USING ((SELECT is_operator()));
GRANT SELECT, UPDATE (withdrawn_at) ON eui_claim TO territoire_api;

-- For whom the operator keeps an EUI: by its last decision; NULL: for nobody.
CREATE FUNCTION eui_reserved_for(of_kind text, wanted bytea) RETURNS int
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT tenant_id FROM eui_claim WHERE kind = of_kind AND eui = wanted AND moved
    ORDER BY decided_at DESC, id DESC LIMIT 1
$$;

CREATE FUNCTION eui_holder(of_kind text, wanted bytea) RETURNS int
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT coalesce(CASE of_kind WHEN 'gateway' THEN (SELECT tenant_id FROM gateway WHERE gateway_id = wanted)
                                 ELSE (SELECT tenant_id FROM device WHERE dev_eui = wanted) END,
                    eui_reserved_for(of_kind, wanted))
$$;

-- To anybody else an EUI that is reserved is one that is registered elsewhere.
CREATE FUNCTION reject_reserved_eui() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    wanted bytea;
BEGIN
    IF TG_TABLE_NAME = 'gateway' THEN
        wanted := NEW.gateway_id;
    ELSE
        wanted := NEW.dev_eui;
    END IF;
    IF eui_reserved_for(TG_TABLE_NAME, wanted) <> NEW.tenant_id THEN
        RAISE EXCEPTION 'EUI % is reserved', encode(wanted, 'hex') USING ERRCODE = 'unique_violation',
            CONSTRAINT = CASE TG_TABLE_NAME WHEN 'gateway' THEN 'gateway_gateway_id_key' ELSE 'device_dev_eui_key' END;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER eui_not_reserved BEFORE INSERT ON gateway FOR EACH ROW EXECUTE FUNCTION reject_reserved_eui();
CREATE TRIGGER eui_not_reserved BEFORE INSERT ON device FOR EACH ROW EXECUTE FUNCTION reject_reserved_eui();

-- NULL: no other tenant holds it.
CREATE FUNCTION contest_eui(of_kind text, wanted bytea, why text, who text) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    me int := current_tenant();
    holder int := eui_holder(of_kind, wanted);
    made int;
BEGIN
    IF me IS NULL OR holder IS NULL OR holder = me THEN
        RETURN NULL;
    END IF;
    INSERT INTO eui_claim (tenant_id, holder_id, kind, eui, reason, created_by)
    VALUES (me, holder, of_kind, wanted, why, who) RETURNING id INTO made;
    INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details) VALUES
        (holder, 'exploitant du réseau', 'contested', of_kind, encode(wanted, 'hex'),
         jsonb_build_object('claim', made));
    RETURN made;
END
$$;

-- Its history stays where it was measured, under an EUI that no device has; keys and sessions are of the EUI, and go.
CREATE FUNCTION release_device(released int) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    instant timestamptz := clock_timestamp();
BEGIN
    PERFORM FROM device WHERE id = released FOR UPDATE;
    IF EXISTS (SELECT FROM lighting_command WHERE device_id = released
               AND (state IN ('queued', 'sent') OR relight_at IS NOT NULL))
       OR EXISTS (SELECT FROM downlink WHERE device_id = released AND state = 'sending') THEN
        RAISE EXCEPTION 'device % is being commanded', released USING ERRCODE = 'object_in_use';
    END IF;
    -- What is queued for it expires: it is switched off.
    DELETE FROM session WHERE device_id = released;
    DELETE FROM device_decoding_key WHERE device_id = released;
    DELETE FROM deadline WHERE device_id = released;
    DELETE FROM rule_state WHERE device_id = released;
    UPDATE assignment SET during = tstzrange(lower(during), instant) WHERE device_id = released AND upper_inf(during);
    UPDATE device SET dev_eui = decode('ffffffff' || lpad(to_hex(id), 8, '0'), 'hex'),
                      name = left(name, 160) || format(' (ancien EUI %s)', encode(dev_eui, 'hex')),
                      enabled = false, activation = 'EXTERNAL', lns_source_id = NULL,
                      app_key_wrapped = NULL, kek_id = NULL, app_key_fingerprint = NULL
    WHERE id = released;
END
$$;

-- False: no such claim waits. Moved, the EUI is free for who contested it and for nobody else.
CREATE FUNCTION decide_claim(claim int, moves boolean) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    decided eui_claim;
BEGIN
    IF is_operator() IS NOT TRUE THEN
        RAISE EXCEPTION 'only the operator decides' USING ERRCODE = 'insufficient_privilege';
    END IF;
    UPDATE eui_claim c SET decided_at = clock_timestamp(), moved = moves,
        holder_id = coalesce(nullif(eui_holder(c.kind, c.eui), c.tenant_id), c.holder_id)
    WHERE c.id = claim AND c.withdrawn_at IS NULL AND c.decided_at IS NULL RETURNING * INTO decided;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF moves THEN
        DELETE FROM gateway WHERE decided.kind = 'gateway' AND gateway_id = decided.eui
            AND tenant_id <> decided.tenant_id;
        PERFORM release_device(id) FROM device WHERE decided.kind = 'device' AND dev_eui = decided.eui
            AND tenant_id <> decided.tenant_id;
    END IF;
    INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details)
    SELECT side, 'exploitant du réseau', CASE WHEN moves THEN 'move' ELSE 'keep' END, decided.kind,
           encode(decided.eui, 'hex'), jsonb_build_object('claim', claim)
    FROM unnest(ARRAY[decided.tenant_id, decided.holder_id]) AS side;
    RETURN true;
END
$$;

DO $$
DECLARE
    door text;
BEGIN
    FOREACH door IN ARRAY ARRAY['address_grant()', 'address_transfer()', 'answer_grant(int, boolean)',
                                'answer_transfer(int, boolean)', 'eui_reserved_for(text, bytea)',
                                'eui_holder(text, bytea)', 'reject_reserved_eui()',
                                'contest_eui(text, bytea, text, text)', 'release_device(int)',
                                'decide_claim(int, boolean)'] LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
    END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION answer_grant(int, boolean), answer_transfer(int, boolean),
    contest_eui(text, bytea, text, text), decide_claim(int, boolean) TO territoire_api;
-- Nobody asks for a transfer at once: it is what accepting an offer does.
REVOKE EXECUTE ON FUNCTION transfer_asset(int, int, boolean, text, jsonb) FROM territoire_api;
