-- Dwellings: class 2 for what is new there, its purpose, basis, consent and terms; who else than the owner reads what.
-- Nothing that exists changes its class here: its owner confirms it, having read what its terms will delete.

-- What a new asset is by its kind. Kinds are free words: these are the ones that say that somebody lives there.
CREATE FUNCTION is_dwelling(kind text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN lower(kind) IN ('dwelling', 'apartment', 'flat', 'house', 'logement', 'appartement', 'maison');
-- A meter is a household's unless what it hangs on, or its owner, says otherwise.
CREATE FUNCTION is_meter(kind text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN lower(kind) ~ '(^|[_ -])(meter|linky|compteur|heat_cost_allocator|repartiteur)($|[_ -])';
-- Of a device that serves nothing yet, its codec and its quantities say so.
CREATE FUNCTION is_household_codec(codec text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN codec IN ('linky.tic', 'adeunis.tic', 'watteco.tic', 'fludia.fm432', 'axioma.w1', 'oms.wmbus', 'diehl.oms',
                     'elvaco.cmi41xx', 'kamstrup.wmbus', 'lobaro.wmbus_bridge');
CREATE FUNCTION is_household_quantity(quantity text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN quantity IN ('water_volume', 'gas_volume', 'thermal_energy', 'cooling_energy', 'heat_cost_units',
                        'active_energy_import', 'active_energy_export', 'apparent_power', 'apparent_power_maximum',
                        'subscribed_power', 'subscribed_current', 'cutoff_power');

-- NULL: nobody has confirmed the class of what was there before. What is new has a class from the start.
-- `class_is_stated`: its owner has said so, it does not follow from what the asset is and hangs on.
ALTER TABLE asset
    ADD COLUMN class_confirmed_at timestamptz,
    ADD COLUMN class_is_stated boolean NOT NULL DEFAULT false,
    ALTER COLUMN privacy_class DROP DEFAULT;
UPDATE asset SET class_confirmed_at = now() WHERE privacy_class = 2;
-- `stated_class` is the datastream's own. The others follow from it and from its asset, by `refresh_privacy` below:
-- what is finer than a day is seen and kept until `fine_until` (NULL: for its term); terms shorter than those of class 2.
ALTER TABLE datastream
    ADD COLUMN stated_class smallint NOT NULL DEFAULT 0 CHECK (stated_class BETWEEN 0 AND 2),
    ADD COLUMN class_confirmed_at timestamptz,
    ADD COLUMN privacy_class smallint NOT NULL DEFAULT 0 CHECK (privacy_class BETWEEN 0 AND 2),
    ADD COLUMN fine_until timestamptz,
    ADD COLUMN keep_hours_months int,
    ADD COLUMN keep_days_months int;
UPDATE datastream d SET privacy_class = a.privacy_class, class_confirmed_at = a.class_confirmed_at
FROM asset a WHERE a.id = d.asset_id AND a.privacy_class > 0;
-- It serves or has served what is of class 2, or measures it itself: its uplinks tell the same.
ALTER TABLE device ADD COLUMN is_personal boolean NOT NULL DEFAULT false, ADD COLUMN fine_until timestamptz;
UPDATE device d SET is_personal = true
WHERE EXISTS (SELECT FROM assignment s JOIN asset a ON a.id = s.asset_id
              WHERE s.device_id = d.id AND a.privacy_class = 2)
   OR EXISTS (SELECT FROM datastream s WHERE s.device_id = d.id AND s.privacy_class = 2);
CREATE INDEX personal_datastream ON datastream (id) WHERE privacy_class = 2;
GRANT SELECT (class_confirmed_at) ON asset TO territoire_api;
GRANT SELECT (stated_class, class_confirmed_at, privacy_class, fine_until, keep_hours_months, keep_days_months)
    ON datastream TO territoire_api;
GRANT SELECT (is_personal, fine_until) ON device TO territoire_api;
GRANT SELECT (is_personal, fine_until) ON device TO territoire_views;

-- What an asset or a datastream is processed for: the line of the register of processing (article 30). Of an asset
-- it holds for what hangs on it, unless that has its own. Another owner states its own.
CREATE TABLE processing (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    asset_id int REFERENCES asset ON DELETE CASCADE,
    datastream_id int REFERENCES datastream ON DELETE CASCADE,
    purpose text NOT NULL CHECK (purpose <> ''),
    basis text NOT NULL CHECK (basis IN ('consent', 'contract', 'legal_obligation', 'vital_interests', 'public_task',
                                         'legitimate_interests')),
    keep_hours_months int CHECK (keep_hours_months BETWEEN 1 AND 1200),
    keep_days_months int CHECK (keep_days_months BETWEEN 1 AND 1200),
    stated_by text NOT NULL,
    stated_at timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nonnulls(asset_id, datastream_id) = 1)
);
CREATE UNIQUE INDEX processing_of_asset ON processing (asset_id, tenant_id) WHERE asset_id IS NOT NULL;
CREATE UNIQUE INDEX processing_of_datastream ON processing (datastream_id, tenant_id) WHERE datastream_id IS NOT NULL;

-- A consent: whose, when, by which document; until when, if that was said; ended when, and by whom it was noted.
CREATE TABLE consent (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    asset_id int REFERENCES asset ON DELETE CASCADE,
    datastream_id int REFERENCES datastream ON DELETE CASCADE,
    given_by text NOT NULL CHECK (given_by <> ''),
    given_at timestamptz NOT NULL,
    document text NOT NULL CHECK (document <> ''),
    until timestamptz CHECK (until > given_at),
    ended_at timestamptz CHECK (ended_at >= given_at),
    ended_by text,
    noted_by text NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nonnulls(asset_id, datastream_id) = 1),
    CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);
CREATE INDEX consent_of_asset ON consent (asset_id) WHERE asset_id IS NOT NULL;
CREATE INDEX consent_of_datastream ON consent (datastream_id) WHERE datastream_id IS NOT NULL;
CALL scope_to_tenant('processing');
CALL scope_to_tenant('consent');
GRANT SELECT, INSERT, UPDATE (purpose, basis, keep_hours_months, keep_days_months, stated_by, stated_at)
    ON processing TO territoire_api;
GRANT SELECT, INSERT, UPDATE (ended_at, ended_by) ON consent TO territoire_api;

-- Of what is one's own: what others note of it would hide it from its owner.
CREATE PROCEDURE note_of_own(noted regclass) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE POLICY of_own ON %s AS RESTRICTIVE FOR INSERT TO territoire_api WITH CHECK ('
        'EXISTS (SELECT FROM asset a WHERE a.id = asset_id AND a.tenant_id = (SELECT current_tenant())) '
        'OR EXISTS (SELECT FROM datastream d WHERE d.id = datastream_id '
        'AND d.tenant_id = (SELECT current_tenant())))', noted);
END
$$;
CALL note_of_own('processing');
CALL note_of_own('consent');
DROP PROCEDURE note_of_own;

-- The terms of class 2 in force, in months, 0 for ever: maintenance writes what its settings say, people read it.
CREATE TABLE personal_term (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    measurements int NOT NULL DEFAULT 12,
    hours int NOT NULL DEFAULT 13,
    days int NOT NULL DEFAULT 36,
    uplinks int NOT NULL DEFAULT 12
);
INSERT INTO personal_term DEFAULT VALUES;
GRANT SELECT ON personal_term TO territoire_api;

-- The class of what is new.

-- What an asset hangs on, itself first.
CREATE FUNCTION assets_above(asset int) RETURNS TABLE (id int, depth int)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 2 AS $$
    WITH RECURSIVE above (id, parent_id, depth) AS (
        SELECT a.id, a.parent_id, 0 FROM asset a WHERE a.id = assets_above.asset
        UNION ALL
        SELECT p.id, p.parent_id, above.depth + 1 FROM asset p JOIN above ON p.id = above.parent_id
        WHERE above.depth < 16
    )
    SELECT above.id, above.depth FROM above
$$;

-- What class a new asset of this kind has there when nobody says; NULL: what its owner says, 0 unless they do.
CREATE FUNCTION usual_class(kind text, parent int) RETURNS smallint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT CASE
        WHEN is_dwelling(kind) OR EXISTS (SELECT FROM assets_above(parent) u JOIN asset a USING (id)
                                          WHERE is_dwelling(a.kind) OR a.privacy_class = 2) THEN 2
        WHEN is_meter(kind) THEN coalesce((SELECT a.privacy_class FROM asset a WHERE a.id = parent), 2)
    END::smallint
$$;
CREATE FUNCTION must_be_personal(kind text, parent int) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT is_dwelling(kind) OR EXISTS (SELECT FROM assets_above(parent) u JOIN asset a USING (id)
                                        WHERE is_dwelling(a.kind))
$$;

-- Not SECURITY DEFINER: a transfer, which is, keeps a memory of an asset in the class that it had.
CREATE FUNCTION classify_asset() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    must boolean := must_be_personal(NEW.kind, NEW.parent_id);
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF current_user = 'territoire_service' THEN
            NEW.privacy_class := coalesce(NEW.privacy_class, 0);
            RETURN NEW;
        END IF;
        NEW.class_is_stated := NEW.privacy_class IS NOT NULL;
        NEW.privacy_class := CASE WHEN must THEN 2
                                  ELSE coalesce(NEW.privacy_class, usual_class(NEW.kind, NEW.parent_id), 0) END;
        NEW.class_confirmed_at := now();
        RETURN NEW;
    END IF;
    IF NEW.privacy_class <> OLD.privacy_class THEN
        IF must AND NEW.privacy_class < 2 THEN
            RAISE EXCEPTION 'asset % is a dwelling''s', NEW.id
                USING ERRCODE = 'check_violation', CONSTRAINT = 'asset_of_dwelling_is_personal';
        END IF;
        NEW.class_is_stated := true;
        NEW.class_confirmed_at := now();
    ELSIF NEW.privacy_class < 2 AND must AND (NEW.kind, NEW.parent_id) IS DISTINCT FROM (OLD.kind, OLD.parent_id)
          AND NOT must_be_personal(OLD.kind, OLD.parent_id) THEN
        IF has_data(NEW.id) THEN
            RAISE EXCEPTION 'the class of asset % is to be confirmed first', NEW.id
                USING ERRCODE = 'check_violation', CONSTRAINT = 'asset_class_is_confirmed_first';
        END IF;
        NEW.privacy_class := 2;
        NEW.class_confirmed_at := now();
    ELSIF NEW.privacy_class = 2 AND is_meter(NEW.kind) AND NOT NEW.class_is_stated AND NOT has_data(NEW.id) THEN
        -- A new meter that is hung on a public building.
        NEW.privacy_class := usual_class(NEW.kind, NEW.parent_id);
    END IF;
    RETURN NEW;
END
$$;
-- Whether anything was measured of it or of what hangs on it.
CREATE FUNCTION has_data(asset int) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH RECURSIVE below (id) AS (
        SELECT has_data.asset UNION SELECT a.id FROM asset a JOIN below ON a.parent_id = below.id
    )
    SELECT EXISTS (SELECT FROM below JOIN datastream d ON d.asset_id = below.id)
$$;
CREATE TRIGGER asset_has_its_class BEFORE INSERT OR UPDATE OF kind, parent_id, privacy_class ON asset
    FOR EACH ROW EXECUTE FUNCTION classify_asset();

-- A datastream is of its asset's class. Of a device that serves nothing, a meter's is a household's, unless it
-- measured such a quantity before and nobody has confirmed that one.
CREATE FUNCTION classify_datastream() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NEW.asset_id IS NOT NULL THEN
        SELECT a.privacy_class, a.class_confirmed_at INTO NEW.privacy_class, NEW.class_confirmed_at
        FROM asset a WHERE a.id = NEW.asset_id;
        NEW.privacy_class := greatest(NEW.privacy_class, NEW.stated_class);
        RETURN NEW;
    END IF;
    IF TG_OP = 'INSERT' AND NOT EXISTS (
        SELECT FROM datastream d WHERE d.device_id = NEW.device_id AND d.asset_id IS NULL
        AND d.class_confirmed_at IS NULL
    ) THEN
        NEW.class_confirmed_at := now();
        IF is_household_quantity(NEW.quantity) OR EXISTS (
            SELECT FROM device v JOIN device_profile p ON p.id = v.device_profile_id
            WHERE v.id = NEW.device_id AND is_household_codec(p.codec)
        ) THEN
            NEW.stated_class := 2;
        END IF;
    END IF;
    NEW.privacy_class := NEW.stated_class;
    RETURN NEW;
END
$$;
-- By its name after `datastream_of_owner`.
CREATE TRIGGER datastream_of_the_class BEFORE INSERT OR UPDATE OF asset_id, stated_class ON datastream
    FOR EACH ROW EXECUTE FUNCTION classify_datastream();

-- What follows from it.

-- The processing that was stated nearest to a datastream by its owner, and until when finer data than days is had.
CREATE FUNCTION privacy_of(stream int)
    RETURNS TABLE (keep_hours_months int, keep_days_months int, fine_until timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1 AS $$
    WITH mine AS (
        SELECT d.tenant_id, NULL::int AS asset_id, -1 AS depth FROM datastream d WHERE d.id = stream
        UNION ALL
        SELECT d.tenant_id, u.id, u.depth FROM datastream d CROSS JOIN LATERAL assets_above(d.asset_id) u
        WHERE d.id = stream
    ), stated AS (
        SELECT p.* FROM mine m JOIN processing p ON p.tenant_id = m.tenant_id
            AND CASE WHEN m.asset_id IS NULL THEN p.datastream_id = stream ELSE p.asset_id = m.asset_id END
        ORDER BY m.depth LIMIT 1
    ), consented AS (
        SELECT c.tenant_id = m.tenant_id AS is_own, c.given_at, least(c.until, c.ended_at) AS ends_at, m.depth,
               min(m.depth) OVER () AS nearest
        FROM mine m JOIN consent c
            ON CASE WHEN m.asset_id IS NULL THEN c.datastream_id = stream ELSE c.asset_id = m.asset_id END
    )
    SELECT s.keep_hours_months, s.keep_days_months,
           CASE WHEN s.basis <> 'consent' THEN NULL
                WHEN NOT EXISTS (SELECT FROM consented)
                THEN CASE WHEN s.basis = 'consent' THEN '-infinity'::timestamptz END
                ELSE (SELECT nullif(coalesce(max(coalesce(c.ends_at, 'infinity')), '-infinity'), 'infinity')
                      FROM consented c WHERE c.is_own AND c.depth = c.nearest)
           END
    FROM (SELECT 1) AS one LEFT JOIN stated s ON true
$$;

CREATE FUNCTION refresh_devices(devices int[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE device d SET is_personal = w.is_personal, fine_until = w.fine_until
    FROM (
        SELECT v.id,
               EXISTS (SELECT FROM assignment s JOIN asset a ON a.id = s.asset_id
                       WHERE s.device_id = v.id AND a.privacy_class = 2)
               OR EXISTS (SELECT FROM datastream s WHERE s.device_id = v.id AND s.privacy_class = 2)
               OR (v.is_personal AND NOT EXISTS (SELECT FROM assignment s WHERE s.device_id = v.id)
                   AND NOT EXISTS (SELECT FROM datastream s WHERE s.device_id = v.id)) AS is_personal,
               (SELECT min(s.fine_until) FROM datastream s WHERE s.device_id = v.id) AS fine_until
        FROM device v WHERE v.id = ANY(devices)
    ) AS w
    WHERE d.id = w.id AND (d.is_personal, d.fine_until) IS DISTINCT FROM (w.is_personal, w.fine_until)
$$;

-- What follows for these assets, all that hangs on them, and these datastreams.
CREATE FUNCTION refresh_privacy(assets int[], streams int[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    touched int[];
    beneath int[];
BEGIN
    beneath := ARRAY(
        WITH RECURSIVE below (id) AS (
            SELECT unnest(assets) UNION SELECT a.id FROM asset a JOIN below ON a.parent_id = below.id
        )
        SELECT id FROM below
    );
    touched := ARRAY(SELECT d.id FROM datastream d WHERE d.asset_id = ANY(beneath) OR d.id = ANY(streams));
    UPDATE datastream d
    SET privacy_class = w.class, keep_hours_months = w.hours, keep_days_months = w.days, fine_until = w.fine_until
    FROM (
        SELECT s.id, c.class, CASE WHEN c.class = 2 THEN p.keep_hours_months END AS hours,
               CASE WHEN c.class = 2 THEN p.keep_days_months END AS days,
               CASE WHEN c.class = 2 THEN p.fine_until END AS fine_until
        FROM datastream s LEFT JOIN asset a ON a.id = s.asset_id
        CROSS JOIN LATERAL (SELECT greatest(s.stated_class, a.privacy_class) AS class) AS c
        CROSS JOIN LATERAL privacy_of(s.id) AS p
        WHERE s.id = ANY(touched)
    ) AS w
    WHERE d.id = w.id AND (d.privacy_class, d.keep_hours_months, d.keep_days_months, d.fine_until)
                          IS DISTINCT FROM (w.class, w.hours, w.days, w.fine_until);
    PERFORM refresh_devices(ARRAY(
        SELECT d.device_id FROM datastream d WHERE d.id = ANY(touched)
        UNION SELECT s.device_id FROM assignment s WHERE s.asset_id = ANY(beneath)));
END
$$;

CREATE FUNCTION privacy_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    is_gone boolean := TG_OP = 'DELETE';
BEGIN
    IF TG_TABLE_NAME = 'asset' THEN
        PERFORM refresh_privacy(ARRAY[NEW.id], '{}');
    ELSIF TG_TABLE_NAME = 'datastream' THEN
        IF NEW.privacy_class = 2 OR TG_OP = 'UPDATE' THEN
            PERFORM refresh_privacy('{}', ARRAY[NEW.id]);
        END IF;
    ELSIF TG_TABLE_NAME = 'assignment' THEN
        PERFORM refresh_devices(ARRAY[CASE WHEN is_gone THEN OLD.device_id ELSE NEW.device_id END]);
    ELSIF is_gone THEN
        PERFORM refresh_privacy(array_remove(ARRAY[OLD.asset_id], NULL), array_remove(ARRAY[OLD.datastream_id], NULL));
    ELSE
        PERFORM refresh_privacy(array_remove(ARRAY[NEW.asset_id], NULL), array_remove(ARRAY[NEW.datastream_id], NULL));
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER asset_changed_class AFTER UPDATE OF privacy_class, parent_id, tenant_id ON asset
    FOR EACH ROW WHEN ((OLD.privacy_class, OLD.parent_id, OLD.tenant_id)
                       IS DISTINCT FROM (NEW.privacy_class, NEW.parent_id, NEW.tenant_id))
    EXECUTE FUNCTION privacy_changed();
CREATE TRIGGER datastream_has_class AFTER INSERT OR UPDATE OF asset_id, tenant_id, device_id, stated_class ON datastream
    FOR EACH ROW EXECUTE FUNCTION privacy_changed();
CREATE TRIGGER assignment_has_class AFTER INSERT OR UPDATE OR DELETE ON assignment
    FOR EACH ROW EXECUTE FUNCTION privacy_changed();
CREATE TRIGGER processing_changed AFTER INSERT OR UPDATE OR DELETE ON processing
    FOR EACH ROW EXECUTE FUNCTION privacy_changed();
CREATE TRIGGER consent_changed AFTER INSERT OR UPDATE OR DELETE ON consent
    FOR EACH ROW EXECUTE FUNCTION privacy_changed();

-- A class that rises takes along what hangs on the asset: nothing below a dwelling is less than it.
CREATE FUNCTION class_goes_down() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE asset SET privacy_class = 2 WHERE parent_id = NEW.id AND privacy_class < 2;
    RETURN NULL;
END
$$;
CREATE TRIGGER asset_class_goes_down AFTER UPDATE OF privacy_class ON asset
    FOR EACH ROW WHEN (NEW.privacy_class = 2 AND OLD.privacy_class < 2) EXECUTE FUNCTION class_goes_down();

-- A new meter that serves nothing yet is a household's: its frames are, before anything of them is understood.
CREATE FUNCTION classify_device() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    NEW.is_personal := EXISTS (SELECT FROM device_profile p
                               WHERE p.id = NEW.device_profile_id AND is_household_codec(p.codec));
    RETURN NEW;
END
$$;
CREATE TRIGGER device_has_class BEFORE INSERT ON device FOR EACH ROW EXECUTE FUNCTION classify_device();

-- The memory of a transferred asset keeps what its former owner had stated of it.
CREATE FUNCTION privacy_is_remembered() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    moved int := (NEW.attributes -> 'transferred' ->> 'asset_id')::int;
BEGIN
    INSERT INTO processing (tenant_id, asset_id, purpose, basis, keep_hours_months, keep_days_months, stated_by,
                            stated_at)
    SELECT p.tenant_id, NEW.id, p.purpose, p.basis, p.keep_hours_months, p.keep_days_months, p.stated_by, p.stated_at
    FROM processing p WHERE p.asset_id = moved AND p.tenant_id = NEW.tenant_id;
    INSERT INTO consent (tenant_id, asset_id, given_by, given_at, document, until, ended_at, ended_by, noted_by,
                         noted_at)
    SELECT c.tenant_id, NEW.id, c.given_by, c.given_at, c.document, c.until, c.ended_at, c.ended_by, c.noted_by,
           c.noted_at
    FROM consent c WHERE c.asset_id = moved AND c.tenant_id = NEW.tenant_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER asset_is_remembered AFTER INSERT ON asset
    FOR EACH ROW WHEN (current_user = 'territoire_service' AND NEW.attributes ? 'transferred')
    EXECUTE FUNCTION privacy_is_remembered();

-- Who reads what. Of class 2: its owner, and a grant of that very asset. No syndicat, no wider grant.

-- As granted_asset(), with what was granted by name apart.
CREATE FUNCTION opened_asset() RETURNS TABLE (asset_id int, data tstzmultirange, by_name tstzmultirange)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 100 AS $$
#variable_conflict use_column
DECLARE
    me int := current_tenant();
BEGIN
    IF NOT EXISTS (SELECT FROM access_grant g
                   WHERE g.grantee_id = me AND g.revoked_at IS NULL AND g.valid @> now()) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT granted.id, range_agg(granted.data), range_agg(granted.data) FILTER (WHERE granted.is_named) FROM (
        SELECT a.id, g.data, true AS is_named FROM access_grant g
        JOIN asset a ON a.id = g.asset_id AND a.tenant_id = g.tenant_id
        WHERE g.grantee_id = me AND g.revoked_at IS NULL AND g.valid @> now()
        UNION ALL
        SELECT a.id, g.data, false FROM access_grant g JOIN asset a ON a.tenant_id = g.tenant_id
            AND (g.everything OR a.kind = g.asset_kind OR g.tag = ANY(a.tags))
        WHERE g.grantee_id = me AND g.revoked_at IS NULL AND g.valid @> now() AND g.asset_id IS NULL
          AND a.privacy_class < 2
    ) AS granted GROUP BY granted.id;
END
$$;

-- What a syndicat does not see of its members: their dwellings, what tells of them, and what is of class 2 elsewhere.
-- Once per statement; empty at once for who has no members.
CREATE FUNCTION hidden_asset() RETURNS SETOF int
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 100 AS $$
    SELECT a.id FROM asset a
    WHERE a.privacy_class = 2 AND a.tenant_id = ANY(array_remove(visible_tenants(), current_tenant()))
$$;
CREATE FUNCTION hidden_device() RETURNS SETOF int
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 100 AS $$
    SELECT d.id FROM device d
    WHERE d.is_personal AND d.tenant_id = ANY(array_remove(visible_tenants(), current_tenant()))
$$;
CREATE FUNCTION hidden_datastream() RETURNS SETOF int
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 100 AS $$
    SELECT d.id FROM datastream d
    WHERE d.privacy_class = 2 AND d.tenant_id = ANY(array_remove(visible_tenants(), current_tenant()))
$$;

-- As in 0009; where one of the asset's datastreams is of class 2 and the asset is not, by name only.
CREATE OR REPLACE FUNCTION granted_assignment() RETURNS TABLE (assignment_id int, device_id int, data tstzmultirange)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 100 AS $$
    SELECT s.id, s.device_id, c.data * tstzmultirange(s.during)
    FROM opened_asset() g JOIN assignment s ON s.asset_id = g.asset_id
    CROSS JOIN LATERAL (SELECT CASE WHEN EXISTS (
        SELECT FROM datastream d WHERE d.asset_id = s.asset_id AND d.device_id = s.device_id AND d.privacy_class = 2
    ) THEN g.by_name ELSE g.data END AS data) AS c
    WHERE c.data && s.during
$$;
CREATE OR REPLACE FUNCTION granted_alert() RETURNS SETOF bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 100 AS $$
    SELECT a.id FROM opened_asset() g JOIN alert a ON a.asset_id = g.asset_id
    JOIN asset s ON s.id = a.asset_id AND s.tenant_id = a.tenant_id
    LEFT JOIN datastream d ON d.id = a.datastream_id
    WHERE CASE WHEN d.privacy_class = 2 THEN g.by_name ELSE g.data END @> a.opened_at
$$;
-- As in 0009; of a device that tells of a dwelling, a former owner reads its time, and its syndicat does not.
CREATE OR REPLACE FUNCTION shared_device() RETURNS TABLE (device_id int, data tstzmultirange)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 100 AS $$
    SELECT shared.device_id, range_agg(shared.data) FROM (
        SELECT g.device_id, g.data FROM granted_assignment() g
        UNION ALL
        SELECT s.device_id, '{}'::tstzmultirange FROM opened_asset() g JOIN datastream s ON s.asset_id = g.asset_id
        WHERE s.privacy_class < 2 OR g.by_name IS NOT NULL
        UNION ALL
        SELECT t.device_id, t.during FROM device_tenure t JOIN device d ON d.id = t.device_id
        WHERE t.tenant_id = current_tenant() OR (t.tenant_id = ANY(visible_tenants()) AND NOT d.is_personal)
    ) AS shared GROUP BY shared.device_id
$$;

-- Of one's members all but what is `hidden`, and what is granted.
CREATE PROCEDURE share_reading_but(shared regclass, hidden text, also text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP POLICY seen ON %s', shared);
    EXECUTE format(
        'CREATE POLICY seen ON %s FOR SELECT USING (tenant_id = ANY((SELECT reachable_tenants())::int[]) '
        'AND ((tenant_id = ANY((SELECT visible_tenants())::int[]) AND NOT (%s)) OR %s))', shared, hidden, also);
END
$$;
CALL share_reading_but('asset', 'privacy_class = 2', 'id IN (SELECT asset_id FROM granted_asset())');
CALL share_reading_but('datastream', 'privacy_class = 2',
    '(privacy_class < 2 AND asset_id IN (SELECT asset_id FROM opened_asset())) '
    'OR asset_id IN (SELECT asset_id FROM opened_asset() WHERE by_name IS NOT NULL)');
CALL share_reading_but('device', 'is_personal', 'id IN (SELECT device_id FROM shared_device())');
CALL share_reading_but('assignment',
    'asset_id IN (SELECT hidden_asset()) OR device_id IN (SELECT hidden_device())',
    'id IN (SELECT assignment_id FROM granted_assignment())');
CALL share_reading_but('alert',
    'coalesce(asset_id, 0) IN (SELECT hidden_asset()) OR coalesce(datastream_id, 0) IN (SELECT hidden_datastream()) '
    'OR (asset_id IS NULL AND coalesce(device_id, 0) IN (SELECT hidden_device()))',
    'id IN (SELECT granted_alert())');
CALL share_reading_but('alert_event', 'NOT EXISTS (SELECT FROM alert a WHERE a.id = alert_id)',
    'alert_id IN (SELECT granted_alert())');
CALL share_reading_but('lighting_command', 'asset_id IN (SELECT hidden_asset())',
    'id IN (SELECT granted_lighting_command())');
CALL share_reading_but('downlink', 'device_id IN (SELECT hidden_device())', 'false');
DROP PROCEDURE share_reading_but;

-- The views. What is finer than a day is shown until `fine_until` to nobody's exception, a day when it is over.

CREATE OR REPLACE VIEW measurement AS
    SELECT m.datastream_id, m.time, m.value, m.flags
    FROM observation.measurement m JOIN datastream d ON d.id = m.datastream_id
    LEFT JOIN opened_asset() g ON g.asset_id = d.asset_id
    WHERE (CASE WHEN d.privacy_class < 2 THEN d.tenant_id = ANY((SELECT visible_tenants())::int[])
                ELSE d.tenant_id = (SELECT current_tenant()) END
           OR CASE WHEN d.privacy_class < 2 THEN g.data ELSE g.by_name END @> m.time)
      AND (d.fine_until IS NULL OR d.fine_until > now());

CREATE OR REPLACE VIEW latest AS
    SELECT l.datastream_id, l.time, l.value, l.flags
    FROM observation.latest l JOIN datastream d ON d.id = l.datastream_id
    LEFT JOIN opened_asset() g ON g.asset_id = d.asset_id
    WHERE (CASE WHEN d.privacy_class < 2 THEN d.tenant_id = ANY((SELECT visible_tenants())::int[])
                ELSE d.tenant_id = (SELECT current_tenant()) END
           OR CASE WHEN d.privacy_class < 2 THEN g.data ELSE g.by_name END @> l.time)
      AND (d.fine_until IS NULL OR d.fine_until > now());

CREATE OR REPLACE VIEW correction AS
    SELECT c.datastream_id, c.time, c.value, c.flags, c.source_id, c.received_at,
           m.value IS NOT DISTINCT FROM c.value AS in_force
    FROM observation.correction c JOIN datastream d ON d.id = c.datastream_id
    LEFT JOIN observation.measurement m ON m.datastream_id = c.datastream_id AND m.time = c.time
    LEFT JOIN opened_asset() g ON g.asset_id = d.asset_id
    WHERE (CASE WHEN d.privacy_class < 2 THEN d.tenant_id = ANY((SELECT visible_tenants())::int[])
                ELSE d.tenant_id = (SELECT current_tenant()) END
           OR CASE WHEN d.privacy_class < 2 THEN g.data ELSE g.by_name END @> c.time)
      AND (d.fine_until IS NULL OR d.fine_until > now());

CREATE OR REPLACE VIEW meter_change AS
    SELECT c.id, c.datastream_id, c.at, c.final_index, c.initial_index, c.cause, c.note, c.created_at
    FROM observation.meter_change c JOIN datastream d ON d.id = c.datastream_id
    LEFT JOIN opened_asset() g ON g.asset_id = d.asset_id
    WHERE CASE WHEN d.privacy_class < 2 THEN d.tenant_id = ANY((SELECT visible_tenants())::int[])
               ELSE d.tenant_id = (SELECT current_tenant()) END
       OR CASE WHEN d.privacy_class < 2 THEN g.data ELSE g.by_name END @> c.at;

CREATE OR REPLACE VIEW rollup_hour AS
    SELECT r.* FROM observation.rollup_hour r JOIN datastream d ON d.id = r.datastream_id
    LEFT JOIN opened_asset() g ON g.asset_id = d.asset_id
    WHERE (CASE WHEN d.privacy_class < 2 THEN d.tenant_id = ANY((SELECT visible_tenants())::int[])
                ELSE d.tenant_id = (SELECT current_tenant()) END
           OR CASE WHEN d.privacy_class < 2 THEN g.data ELSE g.by_name END
              @> bucket_range(d.quantity, r.bucket, r.bucket + interval '1 hour'))
      AND (d.fine_until IS NULL OR d.fine_until > now());

CREATE OR REPLACE VIEW rollup_day AS
    SELECT r.* FROM observation.rollup_day r JOIN datastream d ON d.id = r.datastream_id
    LEFT JOIN opened_asset() g ON g.asset_id = d.asset_id
    WHERE (CASE WHEN d.privacy_class < 2 THEN d.tenant_id = ANY((SELECT visible_tenants())::int[])
                ELSE d.tenant_id = (SELECT current_tenant()) END
           OR CASE WHEN d.privacy_class < 2 THEN g.data ELSE g.by_name END
              @> bucket_range(d.quantity, r.bucket,
                              date_add(r.bucket, interval '1 day', (SELECT timezone FROM deployment))))
      AND (d.fine_until IS NULL OR d.fine_until > now()
           OR date_add(r.bucket, interval '1 day', (SELECT timezone FROM deployment)) <= now());

CREATE OR REPLACE VIEW unrolled AS
    SELECT u.datastream_id, y.hour
    FROM observation.dirty y
    CROSS JOIN LATERAL unnest(y.datastream_ids) AS u (datastream_id)
    JOIN datastream d ON d.id = u.datastream_id
    LEFT JOIN opened_asset() g ON g.asset_id = d.asset_id
    WHERE NOT EXISTS (
        SELECT FROM observation.forgotten f
        WHERE f.hypertable = 'measurement' AND f.id IN (0, u.datastream_id) AND y.hour < f.before
    ) AND (CASE WHEN d.privacy_class < 2 THEN d.tenant_id = ANY((SELECT visible_tenants())::int[])
                ELSE d.tenant_id = (SELECT current_tenant()) END
           OR CASE WHEN d.privacy_class < 2 THEN g.data ELSE g.by_name END
              @> tstzrange(y.hour, y.hour + interval '1 hour'))
      AND (d.fine_until IS NULL OR d.fine_until > now());

CREATE OR REPLACE VIEW uplink AS
    SELECT u.* FROM observation.uplink u JOIN device d ON d.id = u.device_id
    LEFT JOIN shared_device() g ON g.device_id = d.id
    WHERE (((d.tenant_id = (SELECT current_tenant())
             OR (NOT d.is_personal AND d.tenant_id = ANY((SELECT visible_tenants())::int[])))
            AND u.time >= d.owned_since) OR g.data @> u.time)
      AND (d.fine_until IS NULL OR d.fine_until > now());

CREATE OR REPLACE VIEW reception AS
    SELECT r.* FROM observation.reception r JOIN device d ON d.id = r.device_id
    LEFT JOIN shared_device() g ON g.device_id = d.id
    WHERE ((d.tenant_id = (SELECT current_tenant())
            OR (NOT d.is_personal AND d.tenant_id = ANY((SELECT visible_tenants())::int[])))
           AND r.time >= d.owned_since) OR g.data @> r.time;

-- Of what the radio shows: which of these devices tell of somebody else's dwelling.
CREATE FUNCTION personal_of_others(dev_euis bytea[]) RETURNS SETOF bytea
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT d.dev_eui FROM device d
    WHERE d.dev_eui = ANY(dev_euis) AND d.is_personal AND d.tenant_id IS DISTINCT FROM current_tenant()
$$;

-- Of 0025 and 0019: of a member's device, too, unless it tells of a dwelling.
CREATE FUNCTION sees_device(device int) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM device d WHERE d.id = sees_device.device
                   AND (d.tenant_id = current_tenant()
                        OR (NOT d.is_personal AND d.tenant_id = ANY(visible_tenants()))))
$$;
CREATE OR REPLACE FUNCTION join_diagnosis(device int)
    RETURNS TABLE (mac_version text, dev_nonces int, highest_dev_nonce int, joined_at timestamptz,
                   heard_at timestamptz, reason text, dev_nonce int, times int, refused_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT p.mac_version, n.dev_nonces, n.highest, n.joined_at, s.heard_at, r.reason, r.dev_nonce, r.times, r.last_at
    FROM device d
    JOIN device_profile p ON p.id = d.device_profile_id
    LEFT JOIN LATERAL (SELECT count(*)::int AS dev_nonces, max(u.dev_nonce) AS highest, max(u.used_at) AS joined_at
                       FROM dev_nonce u WHERE u.device_id = d.id) n ON true
    LEFT JOIN LATERAL (SELECT max(o.last_uplink_at) AS heard_at FROM session o
                       WHERE o.device_id = d.id AND o.closed_at IS NULL) s ON true
    LEFT JOIN LATERAL (
        SELECT f.reason, f.dev_nonce, least(f.times - f.forgiven, 2147483647)::int AS times, f.last_at
        FROM frame_refusal f
        WHERE f.subject = d.dev_eui AND f.device_id = d.id AND f.dev_nonce IS NOT NULL AND f.times > f.forgiven
        ORDER BY f.last_at - CASE f.reason WHEN 'mic' THEN interval '1 hour' ELSE interval '0' END DESC LIMIT 1) r
        ON true
    WHERE d.id = join_diagnosis.device AND d.activation = 'OTAA' AND sees_device(d.id)
$$;
CREATE OR REPLACE FUNCTION downlink_preflight(device int)
    RETURNS TABLE (device_class char(1), activation text, enabled boolean, has_session boolean, heard_at timestamptz,
                   rx1_delay smallint, gateways int, gateways_online int)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT p.device_class, d.activation, d.enabled,
           EXISTS (SELECT FROM session o WHERE o.device_id = d.id AND o.closed_at IS NULL),
           s.last_uplink_at, s.rx1_delay, coalesce(g.gateways, 0), coalesce(g.online, 0)
    FROM device d
    JOIN device_profile p ON p.id = d.device_profile_id
    LEFT JOIN LATERAL (SELECT * FROM session o WHERE o.device_id = d.id AND o.closed_at IS NULL
                       AND o.last_uplink_at IS NOT NULL ORDER BY o.id DESC LIMIT 1) s ON true
    LEFT JOIN LATERAL (
        SELECT count(DISTINCT heard.gateway_id)::int AS gateways,
               count(DISTINCT heard.gateway_id) FILTER (WHERE t.last_seen_at > now() - interval '90 seconds')::int
                   AS online
        FROM (SELECT decode(copy ->> 0, 'base64') AS gateway_id FROM jsonb_array_elements(s.last_heard_by) AS copy)
             AS heard
        LEFT JOIN gateway w ON w.gateway_id = heard.gateway_id
        LEFT JOIN gateway_state t ON t.gateway_id = w.id) g ON true
    WHERE d.id = downlink_preflight.device AND sees_device(d.id)
$$;

-- For everybody else: days, of ten dwellings at least.

-- A group is a commune of an owner, whole, whoever asks: two groups never overlap, so no difference of two is a
-- dwelling's. A day is made once, days after its end, and never made anew: no difference in time is one either. A row
-- of fewer than ten cannot be written.
CREATE TABLE observation.dwelling_day (
    tenant_id int NOT NULL REFERENCES public.tenant,
    commune text NOT NULL,
    quantity text NOT NULL,
    day date NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    dwellings int NOT NULL CHECK (dwellings >= 10),
    mean double precision NOT NULL,
    PRIMARY KEY (tenant_id, commune, quantity, day)
);
-- Until which local day they were made; no row: made from the first day on.
CREATE TABLE observation.dwelling_days_made (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    until date NOT NULL
);
GRANT SELECT ON observation.dwelling_day TO territoire_views;

-- A grant of everything, or of dwellings, opens days of ten of them, within its data.
CREATE FUNCTION granted_dwelling_days() RETURNS TABLE (tenant_id int, data tstzmultirange)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 10 AS $$
    SELECT g.tenant_id, range_agg(g.data) FROM access_grant g
    WHERE g.grantee_id = current_tenant() AND g.revoked_at IS NULL AND g.valid @> now()
      AND (g.everything OR is_dwelling(g.asset_kind))
    GROUP BY g.tenant_id
$$;
CREATE VIEW dwelling_day AS
    SELECT y.tenant_id, y.commune, y.quantity, y.day, y.dwellings, y.mean
    FROM observation.dwelling_day y LEFT JOIN granted_dwelling_days() g ON g.tenant_id = y.tenant_id
    WHERE y.tenant_id = ANY((SELECT visible_tenants())::int[]) OR g.data @> tstzrange(y.since, y.until);

-- Late readings of a bucket whose neighbours are gone do not make it anew: up to when that is of hours.
ALTER TABLE observation.forgotten DROP CONSTRAINT forgotten_hypertable_check,
    ADD CONSTRAINT forgotten_hypertable_check
        CHECK (hypertable IN ('measurement', 'uplink', 'reception', 'rollup_hour'));

GRANT CREATE ON SCHEMA public TO territoire_views;
ALTER VIEW dwelling_day OWNER TO territoire_views;
REVOKE CREATE ON SCHEMA public FROM territoire_views;
GRANT SELECT ON dwelling_day TO territoire_api;

-- What is there and would be of class 2 if it were new; nobody has said otherwise.
CREATE FUNCTION class_proposals() RETURNS TABLE (asset_id int, datastream_id int)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT a.id, NULL::int FROM asset a
    WHERE a.tenant_id = current_tenant() AND a.privacy_class < 2 AND a.class_confirmed_at IS NULL
      AND usual_class(a.kind, a.parent_id) = 2
    UNION ALL
    SELECT NULL, d.id FROM datastream d JOIN device v ON v.id = d.device_id
    JOIN device_profile p ON p.id = v.device_profile_id
    WHERE d.tenant_id = current_tenant() AND d.asset_id IS NULL AND d.privacy_class < 2
      AND d.class_confirmed_at IS NULL AND (is_household_quantity(d.quantity) OR is_household_codec(p.codec))
$$;

-- The owner has read what will be deleted. An asset takes along what hangs on it. Returns whether it was theirs, and
-- may have that class.
CREATE FUNCTION confirm_class(asset int, stream int, class smallint) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    is_theirs boolean;
BEGIN
    IF asset IS NOT NULL THEN
        UPDATE asset a SET privacy_class = class, class_confirmed_at = now()
        WHERE a.id = asset AND a.tenant_id = current_tenant();
    ELSE
        UPDATE datastream d SET stated_class = class, class_confirmed_at = now()
        WHERE d.id = stream AND d.tenant_id = current_tenant();
    END IF;
    is_theirs := FOUND;
    IF is_theirs AND class = 2 THEN
        DELETE FROM observation.dwelling_days_made;
    END IF;
    RETURN is_theirs;
END
$$;

DO $$
DECLARE
    door text;
BEGIN
    FOREACH door IN ARRAY ARRAY['assets_above(int)', 'usual_class(text, int)', 'must_be_personal(text, int)',
                                'has_data(int)', 'classify_datastream()', 'classify_device()', 'privacy_of(int)',
                                'refresh_devices(int[])', 'refresh_privacy(int[], int[])', 'privacy_changed()',
                                'class_goes_down()', 'privacy_is_remembered()', 'opened_asset()', 'hidden_asset()',
                                'hidden_device()', 'hidden_datastream()', 'sees_device(int)', 'personal_of_others(bytea[])',
                                'granted_dwelling_days()', 'class_proposals()',
                                'confirm_class(int, int, smallint)'] LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
    END LOOP;
    FOREACH door IN ARRAY ARRAY['opened_asset()', 'hidden_asset()', 'hidden_device()', 'hidden_datastream()',
                                'granted_dwelling_days()', 'usual_class(text, int)', 'must_be_personal(text, int)',
                                'has_data(int)'] LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO territoire_api, territoire_views', door);
    END LOOP;
    EXECUTE 'GRANT EXECUTE ON FUNCTION class_proposals(), confirm_class(int, int, smallint), '
            'personal_of_others(bytea[]) '
            'TO territoire_api';
END
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON observation.dwelling_day, observation.dwelling_days_made, personal_term
    TO territoire_service;
