-- What lamps should do: programs with versions that nobody changes, which asset follows which version, and between
-- which bounds a member of a syndicat decides alone.

CREATE TABLE lighting_program (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id int NOT NULL REFERENCES tenant,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL DEFAULT now(),
    archived_at timestamptz,
    UNIQUE (id, tenant_id)
);
CREATE UNIQUE INDEX lighting_program_named ON lighting_program (tenant_id, name) WHERE archived_at IS NULL;

CREATE TABLE lighting_program_version (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id int NOT NULL REFERENCES tenant,
    program_id int NOT NULL,
    version int NOT NULL CHECK (version > 0),
    program jsonb NOT NULL CHECK (jsonb_typeof(program) = 'object'),  -- core/model/lighting_programs.py reads it.
    remark text NOT NULL DEFAULT '' CHECK (length(remark) <= 1000),
    author text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (program_id, version),
    UNIQUE (id, tenant_id),
    FOREIGN KEY (program_id, tenant_id) REFERENCES lighting_program (id, tenant_id)
);
CREATE INDEX lighting_program_version_of_tenant ON lighting_program_version (tenant_id);

-- Which version an asset follows, and which it followed. An asset without a row of its own follows what the nearest
-- asset above it does.
CREATE TABLE lighting_assignment (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id int NOT NULL REFERENCES tenant,
    asset_id int NOT NULL REFERENCES asset ON DELETE CASCADE,
    version_id int NOT NULL,
    assigned_by text NOT NULL,
    assigned_at timestamptz NOT NULL DEFAULT now(),
    ended_by text,
    ended_at timestamptz,
    FOREIGN KEY (version_id, tenant_id) REFERENCES lighting_program_version (id, tenant_id),
    CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);
CREATE UNIQUE INDEX lighting_assignment_in_force ON lighting_assignment (asset_id) WHERE ended_at IS NULL;
CREATE INDEX lighting_assignment_of_asset ON lighting_assignment (asset_id, id DESC);
CREATE INDEX lighting_assignment_of_version ON lighting_assignment (version_id);
CREATE INDEX lighting_assignment_of_tenant ON lighting_assignment (tenant_id);

-- What `tenant_id`, a syndicat, lets a member decide. Minutes of the day; NULL: no such bound.
CREATE TABLE lighting_bounds (
    tenant_id int NOT NULL REFERENCES tenant,
    member_id int NOT NULL REFERENCES tenant ON DELETE CASCADE,
    earliest_cut smallint CHECK (earliest_cut BETWEEN 0 AND 1439),
    latest_return smallint CHECK (latest_return BETWEEN 0 AND 1439),
    least_level smallint CHECK (least_level BETWEEN 1 AND 100),
    protected_tags text[] NOT NULL DEFAULT '{}' CHECK (cardinality(protected_tags) <= 50),
    set_by text NOT NULL,
    set_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, member_id),
    CHECK (tenant_id <> member_id)
);
CREATE INDEX lighting_bounds_of_member ON lighting_bounds (member_id);

-- What was decided stays as it was decided; only a person's name goes, when the person is erased.
CREATE FUNCTION keep_program_version() RETURNS trigger
    LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'versions of lighting programs are not changed' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER kept BEFORE UPDATE OF id, tenant_id, program_id, version, program, remark, created_at
    ON lighting_program_version FOR EACH ROW EXECUTE FUNCTION keep_program_version();
CREATE TRIGGER kept BEFORE UPDATE OF id, tenant_id, asset_id, version_id, assigned_at
    ON lighting_assignment FOR EACH ROW EXECUTE FUNCTION keep_program_version();

-- Caches hear of the tenant: what an asset follows, those below it follow.
CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON lighting_assignment
    FOR EACH ROW EXECUTE FUNCTION note_registry_change('lighting', 'tenant_id');
CREATE TRIGGER note_lighting_made AFTER INSERT ON asset
    FOR EACH ROW WHEN (NEW.kind = 'lighting_circuit')
    EXECUTE FUNCTION note_registry_change('lighting', 'tenant_id');
CREATE TRIGGER note_lighting_changed AFTER UPDATE ON asset
    FOR EACH ROW WHEN (NEW.kind LIKE 'lighting\_%' AND (NEW.parent_id, NEW.attributes, NEW.archived_at)
                       IS DISTINCT FROM (OLD.parent_id, OLD.attributes, OLD.archived_at))
    EXECUTE FUNCTION note_registry_change('lighting', 'tenant_id');

-- Watts that these attributes say; NULL where they say none that can be.
CREATE FUNCTION lighting_watts(attributes jsonb) RETURNS float8
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN jsonb_typeof(attributes -> 'rated_power_w') = 'number'
                     AND (attributes ->> 'rated_power_w')::numeric > 0
                     AND (attributes ->> 'rated_power_w')::numeric <= 1000000
                THEN (attributes ->> 'rated_power_w')::float8 END
$$;
-- Of an asset's lamps: what it says itself, else what all its circuits say together.
CREATE FUNCTION lighting_rated_power_w(asset int, attributes jsonb) RETURNS float8
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = public, pg_temp AS $$
    SELECT coalesce(lighting_watts(attributes), (
        SELECT CASE WHEN count(*) = count(c.watts) THEN sum(c.watts) END
        FROM (SELECT lighting_watts(a.attributes) AS watts FROM asset a
              WHERE a.parent_id = lighting_rated_power_w.asset AND a.kind = 'lighting_circuit'
                AND a.archived_at IS NULL) AS c))
$$;

-- A schedule under which lamps burn from dusk to dawn: no cut, no night without light, no switching by the clock or
-- more than half an hour from the sun's.
CREATE FUNCTION lighting_schedule_uncut(schedule jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = public, pg_temp AS $$
    SELECT coalesce(jsonb_object_agg(s.key, s.value), '{}')
    FROM jsonb_each(CASE jsonb_typeof(schedule) WHEN 'object' THEN schedule ELSE '{}' END) AS s
    WHERE s.key = 'dimming'
       OR (s.key IN ('on', 'off') AND jsonb_typeof(s.value) = 'object'
           AND s.value ->> 'event' = CASE s.key WHEN 'on' THEN 'sunset' ELSE 'sunrise' END
           AND coalesce(abs((s.value ->> 'offset')::numeric), 0) <= 30)
$$;
CREATE FUNCTION lighting_program_uncut(program jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = public, pg_temp AS $$
    SELECT program || jsonb_build_object('default', lighting_schedule_uncut(program -> 'default'), 'rules', coalesce((
        SELECT jsonb_agg(r.rule || jsonb_build_object('schedule', lighting_schedule_uncut(r.rule -> 'schedule'))
                         ORDER BY r.place)
        FROM jsonb_array_elements(CASE jsonb_typeof(program -> 'rules') WHEN 'array' THEN program -> 'rules'
                                  ELSE '[]' END) WITH ORDINALITY AS r (rule, place)), '[]'))
$$;

-- The version that an asset follows, its own or that of the nearest one above. NULL: none. A number says nothing of
-- the version to who may not read it.
CREATE FUNCTION lighting_version_in_force(asset int) RETURNS int
    LANGUAGE sql STABLE STRICT SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT g.version_id FROM assets_above(asset) u
    JOIN lighting_assignment g ON g.asset_id = u.id AND g.ended_at IS NULL ORDER BY u.depth LIMIT 1
$$;

-- Protected circuits never go off, whatever program they follow.
CREATE VIEW lighting_program_in_force WITH (security_invoker = true) AS
    SELECT s.id AS asset_id, s.tenant_id, v.id AS version_id,
           CASE WHEN s.attributes -> 'protected' = 'true' THEN lighting_program_uncut(v.program)
                ELSE v.program END AS program,
           lighting_rated_power_w(s.id, s.attributes) AS rated_power_w
    FROM asset s
    LEFT JOIN lighting_assignment g ON g.asset_id = s.id AND g.ended_at IS NULL
    JOIN lighting_program_version v
        ON v.id = coalesce(g.version_id, lighting_version_in_force(s.parent_id));
GRANT CREATE ON SCHEMA public TO territoire_views;
ALTER VIEW lighting_program_in_force OWNER TO territoire_views;
REVOKE CREATE ON SCHEMA public FROM territoire_views;

-- An asset that goes to another tenant burns there as it burnt: its program goes along as a copy, whose history
-- stays with the giver.
CREATE FUNCTION give_lighting_program() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    followed record;
    kept int;
BEGIN
    SELECT v.program, p.name INTO followed FROM lighting_program_version v
    JOIN lighting_program p ON p.id = v.program_id WHERE v.id = lighting_version_in_force(NEW.id);
    UPDATE lighting_assignment SET ended_at = now(), ended_by = 'cession' WHERE asset_id = NEW.id AND ended_at IS NULL;
    IF followed IS NULL OR NEW.kind NOT LIKE 'lighting\_%' THEN
        RETURN NULL;
    END IF;
    SELECT v.id INTO kept FROM lighting_program_version v JOIN lighting_program p ON p.id = v.program_id
    WHERE v.tenant_id = NEW.tenant_id AND v.program = followed.program AND p.archived_at IS NULL
    ORDER BY v.id LIMIT 1;
    IF kept IS NULL THEN
        WITH made AS (
            INSERT INTO lighting_program (tenant_id, name)
            VALUES (NEW.tenant_id, left(followed.name, 160) || CASE WHEN EXISTS (
                SELECT FROM lighting_program p WHERE p.tenant_id = NEW.tenant_id AND p.archived_at IS NULL
                  AND p.name = followed.name) THEN ' (repris avec ' || NEW.id || ')' ELSE '' END)
            RETURNING id)
        INSERT INTO lighting_program_version (tenant_id, program_id, version, program, author)
        SELECT NEW.tenant_id, id, 1, followed.program, 'cession' FROM made RETURNING id INTO kept;
    END IF;
    INSERT INTO lighting_assignment (tenant_id, asset_id, version_id, assigned_by)
    VALUES (NEW.tenant_id, NEW.id, kept, 'cession');
    RETURN NULL;
END
$$;
CREATE TRIGGER give_lighting_program AFTER UPDATE OF tenant_id ON asset
    FOR EACH ROW WHEN (NEW.tenant_id IS DISTINCT FROM OLD.tenant_id) EXECUTE FUNCTION give_lighting_program();

-- Who sees them: the owner; those above it; programs and what follows them, those to whom lamps are shared.
CALL scope_to_tenant('lighting_program');
CALL scope_to_tenant('lighting_program_version');
CALL scope_to_tenant('lighting_assignment');
REVOKE UPDATE, DELETE ON lighting_program_version FROM territoire_service;
GRANT UPDATE (author) ON lighting_program_version TO territoire_service;
DO $$
DECLARE
    scoped text;
BEGIN
    FOREACH scoped IN ARRAY ARRAY['lighting_program', 'lighting_program_version'] LOOP
        CALL share_reading(scoped::regclass,
            'tenant_id IN (SELECT s.tenant_id FROM granted_asset() g JOIN asset s ON s.id = g.asset_id)');
    END LOOP;
    FOREACH scoped IN ARRAY ARRAY['lighting_program', 'lighting_program_version', 'lighting_assignment'] LOOP
        EXECUTE format('CREATE POLICY of_kinds ON %s AS RESTRICTIVE TO territoire_api '
            'USING ((SELECT proved_kinds()) IS NULL OR (SELECT proved_kinds()) && '
            'ARRAY[''lighting_cabinet'', ''lighting_circuit'', ''light_point''])', scoped);
    END LOOP;
END
$$;
CREATE POLICY seen ON lighting_assignment FOR SELECT USING (
    tenant_id = ANY((SELECT reachable_tenants())::int[])
    AND ((tenant_id = ANY((SELECT visible_tenants())::int[]) AND NOT asset_id IN (SELECT hidden_asset()))
         OR asset_id IN (SELECT asset_id FROM granted_asset())));

ALTER TABLE lighting_bounds ENABLE ROW LEVEL SECURITY;
ALTER TABLE lighting_bounds FORCE ROW LEVEL SECURITY;
CREATE POLICY of_services ON lighting_bounds TO territoire_service USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON lighting_bounds TO territoire_service;
-- A member reads its bounds, and whoever is above sets its own.
CREATE POLICY seen ON lighting_bounds FOR SELECT TO territoire_api
    USING (member_id = ANY((SELECT visible_tenants())::int[]));
CREATE POLICY of_syndicat ON lighting_bounds TO territoire_api
    USING (tenant_id = (SELECT current_tenant()) AND member_id = ANY((SELECT visible_tenants())::int[]))
    WITH CHECK (tenant_id = (SELECT current_tenant()) AND member_id = ANY((SELECT visible_tenants())::int[]));

GRANT SELECT, INSERT, UPDATE (name, archived_at) ON lighting_program TO territoire_api;
GRANT SELECT, INSERT ON lighting_program_version TO territoire_api;
GRANT SELECT, INSERT, UPDATE (ended_at, ended_by) ON lighting_assignment TO territoire_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON lighting_bounds TO territoire_api;
GRANT SELECT ON lighting_program_in_force TO territoire_api, territoire_service;

-- The bounds of the tenants that are above a member now, each with the name of who set them.
CREATE FUNCTION lighting_bounds_of(member int)
    RETURNS TABLE (set_by_name text, earliest_cut smallint, latest_return smallint, least_level smallint,
                   protected_tags text[])
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH RECURSIVE above (id) AS (
        SELECT t.member_of FROM tenant t WHERE t.id = member AND t.id = ANY(visible_tenants())
        UNION
        SELECT t.member_of FROM tenant t JOIN above ON above.id = t.id
    )
    SELECT t.name, b.earliest_cut, b.latest_return, b.least_level, b.protected_tags
    FROM above JOIN lighting_bounds b ON b.tenant_id = above.id AND b.member_id = member
    JOIN tenant t ON t.id = b.tenant_id ORDER BY t.id
$$;

DO $$
DECLARE
    door regprocedure;
BEGIN
    FOREACH door IN ARRAY ARRAY['lighting_version_in_force(int)', 'give_lighting_program()',
                                'lighting_bounds_of(int)']::regprocedure[] LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
    END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION lighting_version_in_force(int), lighting_bounds_of(int) TO territoire_api, territoire_views;

INSERT INTO erasure_step VALUES
(48, 'lighting_assignment', $$
WITH gone AS (DELETE FROM lighting_assignment WHERE asset_id = ANY(($1).asset_ids) RETURNING 1)
SELECT count(*) FROM gone $$);
INSERT INTO erasure_step SELECT place, relation, format(
    'WITH named AS (UPDATE %1$I SET %2$I = ''personne effacée'' WHERE ($1).kind IN (''person'', ''contact'') '
    'AND %2$I = ANY(($1).names) RETURNING 1) SELECT count(*) FROM named', relation, named)
FROM (VALUES (127, 'lighting_program_version', 'author'), (128, 'lighting_assignment', 'assigned_by'),
             (129, 'lighting_assignment', 'ended_by'), (136, 'lighting_bounds', 'set_by')) AS v (place, relation, named);

-- What assets said in their attribute `lighting` becomes programs: equal ones share one. Watts stay an attribute. What
-- nobody can read is kept under another name, which GET /v1/lighting-programs/unread lists.
CREATE FUNCTION minute_of_day(said jsonb) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    parts text[] := regexp_match(said #>> '{}', '^([0-9]{1,4}):([0-5][0-9])$');
    found int := parts[1]::int * 60 + parts[2]::int;
BEGIN
    RETURN CASE WHEN jsonb_typeof(said) = 'string' AND found <= 1440 THEN found % 1440 END;
END
$$;
-- NULL: it cannot be read.
CREATE FUNCTION schedule_of_attribute(said jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    given jsonb;
    step jsonb;
    minute int;
    known int[] := '{}';
BEGIN
    IF jsonb_typeof(said) = 'null' THEN
        RETURN '{}';
    END IF;
    IF jsonb_typeof(said) <> 'object' OR said - '{rated_power_w,night_cut,dimming}'::text[] <> '{}' THEN
        RETURN NULL;
    END IF;
    given := jsonb_strip_nulls(said);
    IF given ? 'rated_power_w' AND lighting_watts(given) IS NULL THEN
        RETURN NULL;
    END IF;
    IF given ? 'night_cut' THEN
        IF jsonb_typeof(given -> 'night_cut') <> 'array' OR jsonb_array_length(given -> 'night_cut') <> 2 THEN
            RETURN NULL;
        END IF;
        IF (minute_of_day(given -> 'night_cut' -> 0) <> minute_of_day(given -> 'night_cut' -> 1)) IS NOT TRUE THEN
            RETURN NULL;
        END IF;
    END IF;
    IF given ? 'dimming' THEN
        IF jsonb_typeof(given -> 'dimming') <> 'array' THEN
            RETURN NULL;
        END IF;
        FOR step IN SELECT jsonb_array_elements(given -> 'dimming') LOOP
            IF jsonb_typeof(step) <> 'array' OR jsonb_array_length(step) <> 2 THEN
                RETURN NULL;
            END IF;
            minute := minute_of_day(step -> 0);
            IF minute IS NULL OR minute = ANY(known) OR jsonb_typeof(step -> 1) <> 'number' THEN
                RETURN NULL;
            END IF;
            IF NOT ((step ->> 1)::numeric > 0 AND (step ->> 1)::numeric <= 100) THEN
                RETURN NULL;
            END IF;
            known := known || minute;
        END LOOP;
    END IF;
    RETURN given - 'rated_power_w';
END
$$;
CREATE FUNCTION program_name(schedule jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT left(concat_ws(', ', CASE WHEN schedule ? 'night_cut'
                                     THEN format('Coupure de %s à %s', schedule -> 'night_cut' ->> 0,
                                                 schedule -> 'night_cut' ->> 1)
                                     ELSE 'Du coucher au lever du soleil' END,
        (SELECT 'gradation ' || string_agg(format('%s %% dès %s', s ->> 1, s ->> 0), ', ')
         FROM jsonb_array_elements(schedule -> 'dimming') s)), 190)
$$;
CREATE TEMPORARY TABLE said_lighting ON COMMIT DROP AS
SELECT id AS asset_id, tenant_id, attributes -> 'lighting' AS said, schedule_of_attribute(attributes -> 'lighting') AS schedule
FROM asset WHERE attributes ? 'lighting';
WITH programs AS (
    SELECT tenant_id, schedule, program_name(schedule) || CASE row_number() OVER same
           WHEN 1 THEN '' ELSE format(' (%s)', row_number() OVER same) END AS name
    FROM (SELECT DISTINCT tenant_id, schedule FROM said_lighting WHERE schedule IS NOT NULL) AS s
    WINDOW same AS (PARTITION BY tenant_id, program_name(schedule) ORDER BY schedule)
), made AS (
    INSERT INTO lighting_program (tenant_id, name) SELECT tenant_id, name FROM programs RETURNING id, tenant_id, name
)
INSERT INTO lighting_program_version (tenant_id, program_id, version, program, remark, author)
SELECT m.tenant_id, m.id, 1, jsonb_build_object('default', p.schedule), 'Repris des attributs', 'mise à jour'
FROM made m JOIN programs p USING (tenant_id, name);
INSERT INTO lighting_assignment (tenant_id, asset_id, version_id, assigned_by)
SELECT s.tenant_id, s.asset_id, v.id, 'mise à jour' FROM said_lighting s
JOIN lighting_program_version v ON v.tenant_id = s.tenant_id AND v.program = jsonb_build_object('default', s.schedule);
INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details)
SELECT tenant_id, 'mise à jour', 'update', 'asset', asset_id::text, jsonb_build_object('lighting_unread', said)
FROM said_lighting WHERE schedule IS NULL;
UPDATE asset a SET attributes = a.attributes - 'lighting'
    || CASE WHEN lighting_watts(s.said) IS NULL THEN '{}' ELSE jsonb_build_object('rated_power_w', s.said -> 'rated_power_w') END
    || CASE WHEN s.schedule IS NULL THEN jsonb_build_object('lighting_unread', s.said) ELSE '{}' END
FROM said_lighting s WHERE a.id = s.asset_id;
DROP FUNCTION program_name(jsonb);
DROP FUNCTION schedule_of_attribute(jsonb);
DROP FUNCTION minute_of_day(jsonb);
