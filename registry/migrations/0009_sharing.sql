-- Who may see what is another's: a syndicat its communes, an adviser what was granted, a former owner its history.
-- Everybody writes their own rows only; what is added here is reading.

ALTER TABLE asset ADD COLUMN tags text[] NOT NULL DEFAULT '{}';

-- A syndicat sees its communes, and theirs; a commune sees itself.
ALTER TABLE tenant ADD COLUMN member_of int REFERENCES tenant CHECK (member_of <> id);
CREATE INDEX tenant_by_member_of ON tenant (member_of) WHERE member_of IS NOT NULL;

CREATE FUNCTION refuse_circle_of_tenants() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- One at a time: two that are changed at once could close a circle that neither sees.
    PERFORM pg_advisory_xact_lock(hashtext('tenant.member_of'));
    IF EXISTS (
        WITH RECURSIVE above (id) AS (
            SELECT NEW.member_of
            UNION
            SELECT t.member_of FROM tenant t JOIN above ON above.id = t.id WHERE t.member_of IS NOT NULL
        )
        SELECT FROM above WHERE id = NEW.id
    ) THEN
        RAISE EXCEPTION 'tenant % would be a member of itself', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'tenant_member_of_circle';
    END IF;
    RETURN NEW;
END
$$;
ALTER FUNCTION refuse_circle_of_tenants SECURITY DEFINER SET search_path = public;
ALTER FUNCTION refuse_circle_of_tenants OWNER TO territoire_service;
CREATE TRIGGER tenant_in_no_circle BEFORE INSERT OR UPDATE OF member_of ON tenant
    FOR EACH ROW WHEN (NEW.member_of IS NOT NULL) EXECUTE FUNCTION refuse_circle_of_tenants();

-- A tenant changes its own name and networks; whose member it is, only the operator of the network says.
REVOKE UPDATE ON tenant FROM territoire_api;
GRANT UPDATE (name, webhook_allow_list) ON tenant TO territoire_api;
CREATE FUNCTION set_member_of(member int, syndicat int) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    IF current_setting('app.operator', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'only the operator says who is a member' USING ERRCODE = 'insufficient_privilege';
    END IF;
    UPDATE tenant SET member_of = syndicat WHERE id = member;
    RETURN FOUND;
END
$$;

-- What `tenant_id` lets `grantee_id` see: one asset, or all that carry a tag, are of a kind, or all. `valid`: when
-- the grantee may look. `data`: which instants it may see. Personal data (privacy class 2) is shared by name only.
CREATE TABLE access_grant (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    grantee_id int NOT NULL REFERENCES tenant CHECK (grantee_id <> tenant_id),
    asset_id int REFERENCES asset ON DELETE CASCADE,
    tag text,
    asset_kind text,
    everything boolean NOT NULL DEFAULT false,
    role text NOT NULL CHECK (role IN ('reader', 'operator')),
    valid tstzrange NOT NULL CHECK (NOT isempty(valid)),
    data tstzrange NOT NULL DEFAULT '(,)' CHECK (NOT isempty(data)),
    granted_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    revoked_by text,
    CHECK (num_nonnulls(asset_id, tag, asset_kind) + everything::int = 1),
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
CREATE INDEX access_grant_of_grantee ON access_grant (grantee_id) WHERE revoked_at IS NULL;
CREATE INDEX access_grant_by_tenant ON access_grant (tenant_id);

-- When a device changes hands, so does the right to its uplinks from then on: `owned_since`. Who may still read which
-- earlier ones is written here, by the transfer.
ALTER TABLE device ADD COLUMN owned_since timestamptz NOT NULL DEFAULT '-infinity';
CREATE TABLE device_tenure (
    device_id int NOT NULL REFERENCES device ON DELETE CASCADE,
    tenant_id int NOT NULL REFERENCES tenant,
    during tstzmultirange NOT NULL,
    PRIMARY KEY (tenant_id, device_id)
);

-- The functions below answer for the tenant of the transaction, past row security, once per statement.

CREATE FUNCTION visible_tenants() RETURNS int[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public AS $$
DECLARE
    me int := current_tenant();
BEGIN
    IF me IS NULL THEN
        RETURN '{}';
    END IF;
    IF NOT EXISTS (SELECT FROM tenant WHERE member_of = me) THEN
        RETURN ARRAY[me];
    END IF;
    RETURN ARRAY(
        WITH RECURSIVE seen (id) AS (
            SELECT me UNION SELECT t.id FROM tenant t JOIN seen ON t.member_of = seen.id
        )
        SELECT id FROM seen
    );
END
$$;

-- Those whose rows may be visible at all: it lets a policy be answered by an index.
CREATE FUNCTION reachable_tenants() RETURNS int[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public AS $$
DECLARE
    mine int[] := visible_tenants();
BEGIN
    RETURN mine
        || ARRAY(SELECT DISTINCT g.tenant_id FROM access_grant g
                 WHERE g.grantee_id = current_tenant() AND g.revoked_at IS NULL AND g.valid @> now())
        || ARRAY(SELECT DISTINCT d.tenant_id FROM device_tenure t JOIN device d ON d.id = t.device_id
                 WHERE t.tenant_id = ANY(mine));
END
$$;

-- A grant holds for what its giver owns now: an asset that went to another tenant is no longer covered.
CREATE FUNCTION granted_asset() RETURNS TABLE (asset_id int, data tstzmultirange)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public ROWS 100 AS $$
#variable_conflict use_column
DECLARE
    me int := current_tenant();
BEGIN
    IF NOT EXISTS (SELECT FROM access_grant g
                   WHERE g.grantee_id = me AND g.revoked_at IS NULL AND g.valid @> now()) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT granted.id, range_agg(granted.data) FROM (
        SELECT a.id, g.data FROM access_grant g JOIN asset a ON a.id = g.asset_id AND a.tenant_id = g.tenant_id
        WHERE g.grantee_id = me AND g.revoked_at IS NULL AND g.valid @> now()
        UNION ALL
        SELECT a.id, g.data FROM access_grant g JOIN asset a ON a.tenant_id = g.tenant_id
            AND (g.everything OR a.kind = g.asset_kind OR g.tag = ANY(a.tags))
        WHERE g.grantee_id = me AND g.revoked_at IS NULL AND g.valid @> now() AND g.asset_id IS NULL
          AND a.privacy_class < 2
    ) AS granted GROUP BY granted.id;
END
$$;

CREATE FUNCTION granted_assignment() RETURNS TABLE (assignment_id int, device_id int, data tstzmultirange)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public ROWS 100 AS $$
    SELECT s.id, s.device_id, g.data * tstzmultirange(s.during)
    FROM granted_asset() g JOIN assignment s ON s.asset_id = g.asset_id
    WHERE g.data && s.during
$$;

-- Devices of others, and the instants of their uplinks: while they serve a granted asset, and formerly ours.
CREATE FUNCTION shared_device() RETURNS TABLE (device_id int, data tstzmultirange)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public ROWS 100 AS $$
    SELECT shared.device_id, range_agg(shared.data) FROM (
        SELECT g.device_id, g.data FROM granted_assignment() g
        UNION ALL
        SELECT s.device_id, '{}'::tstzmultirange FROM granted_asset() g JOIN datastream s ON s.asset_id = g.asset_id
        UNION ALL
        SELECT t.device_id, t.during FROM device_tenure t WHERE t.tenant_id = ANY(visible_tenants())
    ) AS shared GROUP BY shared.device_id
$$;

CREATE FUNCTION granted_alert() RETURNS SETOF bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public ROWS 100 AS $$
    SELECT a.id FROM granted_asset() g JOIN alert a ON a.asset_id = g.asset_id
    JOIN asset s ON s.id = a.asset_id AND s.tenant_id = a.tenant_id
    WHERE g.data @> a.opened_at
$$;

CREATE FUNCTION granted_lighting_command() RETURNS SETOF bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public ROWS 100 AS $$
    SELECT c.id FROM granted_asset() g JOIN lighting_command c ON c.asset_id = g.asset_id
    JOIN asset s ON s.id = c.asset_id AND s.tenant_id = c.tenant_id
    WHERE g.data @> c.created_at
$$;

-- The owner in whose name an operator acts on this asset; NULL: it may not.
CREATE FUNCTION operated_for(asset int) RETURNS int
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    SELECT a.tenant_id FROM asset a JOIN access_grant g ON g.tenant_id = a.tenant_id
    WHERE a.id = asset AND g.grantee_id = current_tenant() AND g.role = 'operator'
      AND g.revoked_at IS NULL AND g.valid @> now()
      AND (g.asset_id = a.id
           OR (a.privacy_class < 2 AND (g.everything OR g.asset_kind = a.kind OR g.tag = ANY(a.tags))))
    LIMIT 1
$$;

-- A tenant by its short name: who shares or hands over must know it.
CREATE FUNCTION tenant_named(wanted text) RETURNS int
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    SELECT id FROM tenant WHERE slug = wanted AND current_tenant() IS NOT NULL
$$;

-- The names of those with whom something is or was shared, and nothing else of them.
CREATE FUNCTION sharing_tenant() RETURNS TABLE (id int, slug text, name text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    SELECT t.id, t.slug, t.name FROM tenant t
    WHERE t.id = ANY(visible_tenants()) OR EXISTS (
        SELECT FROM access_grant g
        WHERE (g.tenant_id = t.id AND g.grantee_id = current_tenant())
           OR (g.grantee_id = t.id AND g.tenant_id = ANY(visible_tenants())))
$$;

-- Those who see what is ours because we are their member.
CREATE FUNCTION tenants_above() RETURNS TABLE (slug text, name text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    WITH RECURSIVE above (id) AS (
        SELECT member_of FROM tenant WHERE id = current_tenant()
        UNION
        SELECT t.member_of FROM tenant t JOIN above ON above.id = t.id
    )
    SELECT t.slug, t.name FROM above JOIN tenant t ON t.id = above.id ORDER BY t.id
$$;

DO $$
DECLARE
    door text;
BEGIN
    FOREACH door IN ARRAY ARRAY['set_member_of(int, int)', 'visible_tenants()', 'reachable_tenants()',
                                'granted_asset()', 'granted_assignment()', 'shared_device()', 'granted_alert()',
                                'granted_lighting_command()', 'operated_for(int)', 'tenant_named(text)',
                                'sharing_tenant()', 'tenants_above()'] LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO territoire_api, territoire_views', door);
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
    END LOOP;
END
$$;

-- The owner reads and writes as before; who else reads is said by `also`, for rows of tenants that are reachable. One's
-- own rows are found by the first policy alone: what follows it is not even evaluated, measured as fast as without.
CREATE PROCEDURE share_reading(shared regclass, also text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'CREATE POLICY seen ON %s FOR SELECT USING (tenant_id = ANY((SELECT reachable_tenants())::int[]) '
        'AND (tenant_id = ANY((SELECT visible_tenants())::int[]) OR %s))', shared, also);
END
$$;

CALL share_reading('asset', 'id IN (SELECT asset_id FROM granted_asset())');
CALL share_reading('datastream', 'asset_id IN (SELECT asset_id FROM granted_asset())');
CALL share_reading('assignment', 'id IN (SELECT assignment_id FROM granted_assignment())');
CALL share_reading('device', 'id IN (SELECT device_id FROM shared_device())');
CALL share_reading('alert', 'id IN (SELECT granted_alert())');
CALL share_reading('lighting_command', 'id IN (SELECT granted_lighting_command())');
-- A syndicat sees these too; nobody else does.
CALL share_reading('gateway', 'false');
CALL share_reading('device_profile', 'false');
CALL share_reading('downlink', 'false');
CALL share_reading('alert_rule', 'false');

CREATE POLICY seen ON tenant FOR SELECT USING (id = ANY((SELECT visible_tenants())::int[]));

CALL scope_to_tenant('access_grant');
CALL share_reading('access_grant', 'false');
CREATE POLICY received ON access_grant FOR SELECT USING (grantee_id = current_tenant());
GRANT SELECT, INSERT, UPDATE (revoked_at, revoked_by) ON access_grant TO territoire_api;

CALL scope_to_tenant('device_tenure');
CALL share_reading('device_tenure', 'false');

-- A datastream belongs to whom its asset (its device) belongs now, whatever a cache has not yet forgotten.
CREATE FUNCTION give_datastream_to_owner() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    NEW.tenant_id := coalesce((SELECT tenant_id FROM asset WHERE id = NEW.asset_id),
                              (SELECT tenant_id FROM device WHERE id = NEW.device_id AND NEW.asset_id IS NULL),
                              NEW.tenant_id);
    RETURN NEW;
END
$$;
ALTER FUNCTION give_datastream_to_owner OWNER TO territoire_service;
CREATE TRIGGER datastream_of_owner BEFORE INSERT ON datastream
    FOR EACH ROW EXECUTE FUNCTION give_datastream_to_owner();

-- The views: own rows as before, through a grant only the instants that it shows. A bucket shows when it lies within
-- them whole; that of an index holds the instant of its end, that of anything else the instant of its beginning.

CREATE FUNCTION counts_up(quantity text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN quantity IN ('water_volume', 'pulse_count', 'active_energy_import', 'active_energy_export',
                        'reactive_energy', 'reactive_energy_import', 'reactive_energy_export');

CREATE FUNCTION bucket_range(quantity text, starts_at timestamptz, ends_at timestamptz) RETURNS tstzrange
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN tstzrange(starts_at, ends_at, CASE WHEN counts_up(quantity) THEN '(]' ELSE '[)' END);

CREATE OR REPLACE VIEW measurement AS
    SELECT m.datastream_id, m.time, m.value, m.flags
    FROM observation.measurement m JOIN datastream d ON d.id = m.datastream_id
    LEFT JOIN granted_asset() g ON g.asset_id = d.asset_id
    WHERE d.tenant_id = ANY((SELECT visible_tenants())::int[]) OR g.data @> m.time;

CREATE OR REPLACE VIEW latest AS
    SELECT l.datastream_id, l.time, l.value, l.flags
    FROM observation.latest l JOIN datastream d ON d.id = l.datastream_id
    LEFT JOIN granted_asset() g ON g.asset_id = d.asset_id
    WHERE d.tenant_id = ANY((SELECT visible_tenants())::int[]) OR g.data @> l.time;

CREATE OR REPLACE VIEW uplink AS
    SELECT u.* FROM observation.uplink u JOIN device d ON d.id = u.device_id
    LEFT JOIN shared_device() g ON g.device_id = d.id
    WHERE (d.tenant_id = ANY((SELECT visible_tenants())::int[]) AND u.time >= d.owned_since) OR g.data @> u.time;

CREATE OR REPLACE VIEW reception AS
    SELECT r.* FROM observation.reception r JOIN device d ON d.id = r.device_id
    LEFT JOIN shared_device() g ON g.device_id = d.id
    WHERE (d.tenant_id = ANY((SELECT visible_tenants())::int[]) AND r.time >= d.owned_since) OR g.data @> r.time;

CREATE OR REPLACE VIEW rollup_hour AS
    SELECT r.* FROM observation.rollup_hour r JOIN datastream d ON d.id = r.datastream_id
    LEFT JOIN granted_asset() g ON g.asset_id = d.asset_id
    WHERE d.tenant_id = ANY((SELECT visible_tenants())::int[])
       OR g.data @> bucket_range(d.quantity, r.bucket, r.bucket + interval '1 hour');

CREATE OR REPLACE VIEW rollup_day AS
    SELECT r.* FROM observation.rollup_day r JOIN datastream d ON d.id = r.datastream_id
    LEFT JOIN granted_asset() g ON g.asset_id = d.asset_id
    WHERE d.tenant_id = ANY((SELECT visible_tenants())::int[])
       OR g.data @> bucket_range(d.quantity, r.bucket,
                                 date_add(r.bucket, interval '1 day', (SELECT timezone FROM deployment)));

CREATE OR REPLACE VIEW unrolled AS
    SELECT u.datastream_id, y.hour
    FROM observation.dirty y
    CROSS JOIN LATERAL unnest(y.datastream_ids) AS u (datastream_id)
    JOIN datastream d ON d.id = u.datastream_id
    LEFT JOIN granted_asset() g ON g.asset_id = d.asset_id
    WHERE NOT EXISTS (
        SELECT FROM observation.forgotten f
        WHERE f.hypertable = 'measurement' AND f.id IN (0, u.datastream_id) AND y.hour < f.before
    ) AND (d.tenant_id = ANY((SELECT visible_tenants())::int[])
           OR g.data @> tstzrange(y.hour, y.hour + interval '1 hour'));

GRANT SELECT ON deployment TO territoire_views;
GRANT SELECT (owned_since) ON device TO territoire_views;

-- An asset goes to another tenant with the devices that serve it. Its history goes along, or stays: then its owner
-- keeps a memory of the asset to which what was measured belongs, closed, and for the receiver all begins anew.
-- Returns the memory's id, or NULL. Refused (object_in_use) while a command or a downlink is under way.
CREATE FUNCTION transfer_asset(moved int, receiver int, keeps_history boolean, actor text, noted jsonb) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    giver int := current_tenant();
    instant timestamptz := clock_timestamp();
    devices int[];
    memory int;
BEGIN
    PERFORM FROM asset WHERE id = moved AND tenant_id = giver FOR UPDATE;
    IF NOT FOUND OR receiver = giver THEN
        RAISE EXCEPTION 'asset % is not to be given', moved USING ERRCODE = 'no_data_found';
    END IF;
    devices := ARRAY(SELECT device_id FROM assignment WHERE asset_id = moved AND during @> instant ORDER BY device_id);
    PERFORM FROM device WHERE id = ANY(devices) ORDER BY id FOR UPDATE;
    IF EXISTS (SELECT FROM lighting_command WHERE asset_id = moved
               AND (state IN ('queued', 'sent') OR relight_at IS NOT NULL))
       OR EXISTS (SELECT FROM downlink WHERE device_id = ANY(devices) AND state IN ('queued', 'sending')) THEN
        RAISE EXCEPTION 'asset % is being commanded', moved USING ERRCODE = 'object_in_use';
    END IF;
    UPDATE asset SET tenant_id = receiver WHERE id = moved;
    PERFORM give_profiles(devices, receiver);
    IF keeps_history THEN
        INSERT INTO asset (tenant_id, kind, name, commune, street, latitude, longitude, attributes, privacy_class, tags)
        SELECT giver, kind, name, commune, street, latitude, longitude,
               attributes || jsonb_build_object('transferred', jsonb_build_object('asset_id', moved, 'at', instant)),
               privacy_class, tags
        FROM asset WHERE id = moved RETURNING id INTO memory;
        UPDATE access_grant SET asset_id = memory WHERE asset_id = moved AND tenant_id = giver;
        UPDATE alert SET asset_id = memory WHERE asset_id = moved AND workflow = 'resolved';
        UPDATE lighting_command SET asset_id = memory WHERE asset_id = moved;
        UPDATE datastream SET asset_id = memory WHERE asset_id = moved;
        -- What a device measured while it served nothing would be continued by its next owner.
        UPDATE datastream d SET asset_id = memory, position = encode(v.dev_eui, 'hex') FROM device v
        WHERE v.id = d.device_id AND d.asset_id IS NULL AND d.device_id = ANY(devices);
        UPDATE assignment SET asset_id = memory,
            during = CASE WHEN during @> instant THEN tstzrange(lower(during), instant) ELSE during END
        WHERE asset_id = moved;
        INSERT INTO assignment (tenant_id, asset_id, device_id, position, during)
        SELECT receiver, moved, device_id, position, tstzrange(instant, NULL)
        FROM assignment WHERE asset_id = memory AND upper(during) = instant;
        PERFORM keep_tenure(device_id, giver, tstzmultirange(tstzrange(v.owned_since, instant)), '{}')
        FROM unnest(devices) AS device_id JOIN device v ON v.id = device_id;
    ELSE
        UPDATE access_grant SET revoked_at = instant, revoked_by = actor
        WHERE asset_id = moved AND tenant_id = giver AND revoked_at IS NULL;
        DELETE FROM rule_state WHERE datastream_id IN (
            SELECT id FROM datastream WHERE asset_id = moved OR (asset_id IS NULL AND device_id = ANY(devices)));
        UPDATE datastream SET tenant_id = receiver
        WHERE asset_id = moved OR (asset_id IS NULL AND device_id = ANY(devices));
        -- The uplinks go with the times when a device served this asset; a device that stays remains readable, too.
        PERFORM keep_tenure(s.device_id, receiver, s.served, '{}'),
                keep_tenure(s.device_id, giver, CASE WHEN v.id = ANY(devices)
                    THEN tstzmultirange(tstzrange(v.owned_since, instant)) ELSE '{}' END, s.served)
        FROM (SELECT device_id, range_agg(during * tstzrange(NULL, instant)) AS served
              FROM assignment WHERE asset_id = moved GROUP BY device_id) AS s
        JOIN device v ON v.id = s.device_id;
        UPDATE assignment SET tenant_id = receiver WHERE asset_id = moved;
    END IF;
    DELETE FROM deadline WHERE device_id = ANY(devices) OR asset_id = moved;
    DELETE FROM rule_state WHERE device_id = ANY(devices);
    UPDATE device SET tenant_id = receiver, owned_since = instant WHERE id = ANY(devices);
    INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details) VALUES
        (giver, actor, 'transfer', 'asset', moved::text, noted || jsonb_build_object('to', receiver, 'kept_as', memory)),
        (receiver, actor, 'receive', 'asset', moved::text,
         jsonb_build_object('from', giver, 'history', CASE WHEN keeps_history THEN 'stays' ELSE 'goes_along' END));
    RETURN memory;
END
$$;

-- A device keeps a profile that its owner has: the receiver's own copy, unless it is everybody's.
CREATE FUNCTION give_profiles(devices int[], receiver int) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    given record;
    theirs int;
BEGIN
    FOR given IN SELECT DISTINCT p.* FROM device d JOIN device_profile p ON p.id = d.device_profile_id
                 WHERE d.id = ANY(devices) AND p.tenant_id IS NOT NULL AND p.tenant_id <> receiver LOOP
        SELECT id INTO theirs FROM device_profile p WHERE p.tenant_id = receiver
            AND (p.codec, p.codec_options, p.device_class, p.mac_version, p.region, p.expected_interval,
                 p.capabilities)
              = (given.codec, given.codec_options, given.device_class, given.mac_version, given.region,
                 given.expected_interval, given.capabilities) ORDER BY id LIMIT 1;
        IF theirs IS NULL THEN
            INSERT INTO device_profile (tenant_id, name, vendor, model, codec, codec_options, device_class, mac_version,
                                        region, expected_interval, capabilities)
            SELECT receiver, CASE WHEN EXISTS (SELECT FROM device_profile p
                                               WHERE p.tenant_id = receiver AND p.name = given.name)
                                  THEN format('%s (%s)', given.name, given.id) ELSE given.name END,
                   given.vendor, given.model, given.codec, given.codec_options, given.device_class,
                   given.mac_version, given.region, given.expected_interval, given.capabilities
            RETURNING id INTO theirs;
        END IF;
        UPDATE device SET device_profile_id = theirs WHERE id = ANY(devices) AND device_profile_id = given.id;
    END LOOP;
END
$$;

CREATE FUNCTION keep_tenure(device int, tenant int, added tstzmultirange, removed tstzmultirange) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    INSERT INTO device_tenure AS known (device_id, tenant_id, during) VALUES (device, tenant, added - removed)
    ON CONFLICT (tenant_id, device_id) DO UPDATE SET during = known.during + added - removed;
    DELETE FROM device_tenure WHERE device_id = device AND tenant_id = tenant AND isempty(during);
END
$$;

DO $$
DECLARE
    door text;
BEGIN
    FOREACH door IN ARRAY ARRAY['transfer_asset(int, int, boolean, text, jsonb)', 'give_profiles(int[], int)',
                                'keep_tenure(int, int, tstzmultirange, tstzmultirange)'] LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
    END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION transfer_asset TO territoire_api;
