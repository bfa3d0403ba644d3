-- When each asset was last heard, and how often it is expected to be, without a join of every datastream, assignment
-- and device, and without their policies: of 10,000 assets these were four fifths of the time.

-- The asset stands beside the last value. An update of a last value leaves it alone, so it stays a heap-only one.
ALTER TABLE observation.latest ADD COLUMN asset_id int;

-- How often somebody who serves an asset is expected to speak: the most rarely speaking one of the enabled devices
-- that serve it now. No interval: nothing serves it. `is_plain`: whoever sees all of the asset's tenant sees each of
-- these devices, their assignments and profiles, too. `is_personal`: one of them tells of a dwelling.
CREATE TABLE observation.expectation (
    asset_id int PRIMARY KEY REFERENCES public.asset ON DELETE CASCADE,
    expected_interval interval,
    is_plain boolean NOT NULL DEFAULT true,
    is_personal boolean NOT NULL DEFAULT false
);
CREATE INDEX expectation_not_plain ON observation.expectation (asset_id) WHERE NOT is_plain;
CREATE INDEX expectation_personal ON observation.expectation (asset_id) WHERE is_personal;
CREATE INDEX datastream_fine_until ON datastream (fine_until) WHERE fine_until IS NOT NULL;
GRANT SELECT, INSERT, UPDATE, DELETE ON observation.expectation TO territoire_service;
GRANT SELECT ON observation.expectation TO territoire_views;

-- Rows that were inserted just now, of which there are few: the first value of a datastream. The lock makes whoever
-- moves the datastream wait, or is waited for.
CREATE FUNCTION note_asset_of_latest() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    WITH measured AS (
        SELECT d.id, d.asset_id FROM inserted i JOIN datastream d ON d.id = i.datastream_id
        WHERE d.asset_id IS NOT NULL ORDER BY d.id FOR SHARE OF d
    )
    UPDATE observation.latest l SET asset_id = m.asset_id FROM measured m WHERE l.datastream_id = m.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER latest_has_asset AFTER INSERT ON observation.latest REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION note_asset_of_latest();

-- What an asset has measured goes to another one when it is transferred without its history.
CREATE FUNCTION move_latest() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE observation.latest SET asset_id = NEW.asset_id WHERE datastream_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER datastream_moves_latest AFTER UPDATE OF asset_id ON datastream
    FOR EACH ROW WHEN (OLD.asset_id IS DISTINCT FROM NEW.asset_id) EXECUTE FUNCTION move_latest();

-- The row is locked first, in the order of ids, and what is expected is read by the statement after: of two who change
-- what serves one asset the second reads what the first has committed.
CREATE FUNCTION refresh_expectations(assets int[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO observation.expectation AS e (asset_id)
    SELECT a.id FROM asset a WHERE a.id = ANY(assets) ORDER BY a.id
    ON CONFLICT (asset_id) DO UPDATE SET asset_id = e.asset_id;
    UPDATE observation.expectation e
    SET expected_interval = w.expected_interval, is_plain = w.is_plain, is_personal = w.is_personal
    FROM (
        SELECT a.id, max(p.expected_interval) AS expected_interval,
               coalesce(bool_and(s.tenant_id = a.tenant_id AND v.tenant_id = a.tenant_id
                                 AND coalesce(p.tenant_id, a.tenant_id) = a.tenant_id), true) AS is_plain,
               coalesce(bool_or(v.is_personal), false) AS is_personal
        FROM asset a
        LEFT JOIN (assignment s JOIN device v ON v.id = s.device_id AND v.enabled
                   JOIN device_profile p ON p.id = v.device_profile_id)
            ON s.asset_id = a.id AND upper_inf(s.during)
        WHERE a.id = ANY(assets) GROUP BY a.id
    ) AS w
    WHERE e.asset_id = w.id AND (e.expected_interval, e.is_plain, e.is_personal)
                                IS DISTINCT FROM (w.expected_interval, w.is_plain, w.is_personal);
END
$$;
CREATE FUNCTION expectation_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    CASE TG_TABLE_NAME
        WHEN 'assignment' THEN
            PERFORM refresh_expectations(CASE TG_OP
                WHEN 'INSERT' THEN ARRAY[NEW.asset_id] WHEN 'DELETE' THEN ARRAY[OLD.asset_id]
                ELSE ARRAY[OLD.asset_id, NEW.asset_id] END);
        WHEN 'device' THEN
            PERFORM refresh_expectations(ARRAY(
                SELECT asset_id FROM assignment WHERE device_id = NEW.id AND upper_inf(during)));
        WHEN 'device_profile' THEN
            PERFORM refresh_expectations(ARRAY(
                SELECT s.asset_id FROM device v JOIN assignment s ON s.device_id = v.id AND upper_inf(s.during)
                WHERE v.device_profile_id = NEW.id));
        ELSE
            PERFORM refresh_expectations(ARRAY[NEW.id]);
    END CASE;
    RETURN NULL;
END
$$;
CREATE TRIGGER assignment_changes_expectation AFTER INSERT OR UPDATE OR DELETE ON assignment
    FOR EACH ROW EXECUTE FUNCTION expectation_changed();
CREATE TRIGGER device_changes_expectation
    AFTER UPDATE OF enabled, device_profile_id, tenant_id, is_personal ON device FOR EACH ROW
    WHEN ((OLD.enabled, OLD.device_profile_id, OLD.tenant_id, OLD.is_personal)
          IS DISTINCT FROM (NEW.enabled, NEW.device_profile_id, NEW.tenant_id, NEW.is_personal))
    EXECUTE FUNCTION expectation_changed();
CREATE TRIGGER profile_changes_expectation AFTER UPDATE OF expected_interval, tenant_id ON device_profile FOR EACH ROW
    WHEN ((OLD.expected_interval, OLD.tenant_id) IS DISTINCT FROM (NEW.expected_interval, NEW.tenant_id))
    EXECUTE FUNCTION expectation_changed();
CREATE TRIGGER asset_changes_expectation AFTER UPDATE OF tenant_id ON asset FOR EACH ROW
    WHEN (OLD.tenant_id <> NEW.tenant_id) EXECUTE FUNCTION expectation_changed();

-- What there is already. Whoever writes meanwhile waits for the locks of the triggers.
UPDATE observation.latest l SET asset_id = d.asset_id FROM datastream d
WHERE d.id = l.datastream_id AND d.asset_id IS NOT NULL;
CREATE INDEX latest_by_asset ON observation.latest (asset_id);
SELECT refresh_expectations(ARRAY(SELECT DISTINCT asset_id FROM assignment WHERE upper_inf(during)));

-- Assets of which this reader may not see everything that counts: what was granted, for its time; of members what tells
-- of a dwelling; what is kept no longer. For the others a policy of the asset says enough.
CREATE FUNCTION asset_seen_in_part() RETURNS SETOF int
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 100 AS $$
DECLARE
    members int[] := array_remove(visible_tenants(), current_tenant());
BEGIN
    RETURN QUERY
    SELECT e.asset_id FROM observation.expectation e WHERE NOT e.is_plain
    UNION
    SELECT g.asset_id FROM opened_asset() g
    UNION
    SELECT d.asset_id FROM datastream d WHERE d.fine_until <= now() AND d.asset_id IS NOT NULL;
    IF members <> '{}' THEN
        RETURN QUERY
        SELECT e.asset_id FROM observation.expectation e JOIN asset a ON a.id = e.asset_id
        WHERE e.is_personal AND a.tenant_id = ANY(members)
        UNION
        SELECT d.asset_id FROM datastream d
        WHERE d.privacy_class = 2 AND d.tenant_id = ANY(members) AND d.asset_id IS NOT NULL;
    END IF;
END
$$;

-- `last_seen_at` of all of them; `heard_at` is the same, one by one, for who wants a few. Of an asset that is seen in
-- part they are NULL, and asset_life_in_part() says it.
CREATE VIEW asset_life AS
    SELECT a.id, a.tenant_id, a.kind, a.name, a.commune, a.street, a.latitude, a.longitude, a.archived_at,
           CASE WHEN a.id IN (SELECT asset_seen_in_part()) THEN NULL ELSE e.expected_interval END AS expected_interval,
           CASE WHEN a.id IN (SELECT asset_seen_in_part()) THEN NULL ELSE seen.at END AS last_seen_at,
           CASE WHEN a.id IN (SELECT asset_seen_in_part()) THEN NULL
                ELSE (SELECT max(l.time) FROM observation.latest l WHERE l.asset_id = a.id AND l.flags & 4 <> 4) END
               AS heard_at
    FROM asset a
    LEFT JOIN observation.expectation e ON e.asset_id = a.id
    -- `<> 4` and not `= 0`: the planner takes that for nearly every row.
    LEFT JOIN (SELECT l.asset_id, max(l.time) AS at FROM observation.latest l
               WHERE l.flags & 4 <> 4 AND l.asset_id IS NOT NULL GROUP BY l.asset_id) AS seen
        ON seen.asset_id = a.id;
GRANT SELECT (id, tenant_id, kind, name, commune, street, latitude, longitude, archived_at) ON asset
    TO territoire_views;
-- The view's new owner must be able to create where it stands.
GRANT CREATE ON SCHEMA public TO territoire_views;
ALTER VIEW asset_life OWNER TO territoire_views;
REVOKE CREATE ON SCHEMA public FROM territoire_views;

-- With the rights of who asks, each row by its policies.
CREATE FUNCTION asset_life_in_part(wanted int[])
    RETURNS TABLE (asset_id int, expected_interval interval, last_seen_at timestamptz)
    LANGUAGE plpgsql STABLE SET search_path = public, pg_temp ROWS 100 AS $$
#variable_conflict use_column
DECLARE
    these int[] := ARRAY(SELECT DISTINCT p FROM asset_seen_in_part() p WHERE wanted IS NULL OR p = ANY(wanted));
BEGIN
    IF these = '{}' THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT t.id, serving.expected_interval, seen.at
    FROM unnest(these) AS t (id)
    LEFT JOIN (SELECT l.asset_id, max(l.time) AS at FROM latest l
               WHERE l.asset_id = ANY(these) AND l.flags & 4 <> 4 GROUP BY l.asset_id) AS seen ON seen.asset_id = t.id
    LEFT JOIN (SELECT s.asset_id, max(p.expected_interval) AS expected_interval
               FROM assignment s JOIN device v ON v.id = s.device_id
               JOIN device_profile p ON p.id = v.device_profile_id
               WHERE s.asset_id = ANY(these) AND upper_inf(s.during) AND v.enabled GROUP BY s.asset_id) AS serving
        ON serving.asset_id = t.id;
END
$$;

DO $$
DECLARE
    door text;
BEGIN
    FOREACH door IN ARRAY ARRAY['note_asset_of_latest()', 'move_latest()', 'refresh_expectations(int[])',
                                'expectation_changed()', 'asset_seen_in_part()'] LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION asset_life_in_part(int[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION asset_seen_in_part() TO territoire_api, territoire_views;
GRANT EXECUTE ON FUNCTION asset_life_in_part(int[]) TO territoire_api;
GRANT SELECT ON asset_life TO territoire_api;
