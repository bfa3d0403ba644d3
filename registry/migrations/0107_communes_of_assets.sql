-- Every asset knows its commune: from its position, by the outlines of communes. What somebody has stated stays, and is
-- listed where the position contradicts it.

-- An outline as it was taken in, holes and islets included; `polygons` are those that maps draw. In millionths of a
-- degree: PostgreSQL compares coordinates, and products of them, to within 0.000001 of their unit. Of degrees, that calls
-- what is 100 m away on the border.
ALTER TABLE commune_outline
    ADD COLUMN borders polygon[],
    ADD COLUMN border_parts smallint[],  -- Of each ring its polygon, from 1; negative: a hole in it.
    ADD COLUMN borders_digest text,  -- Of what was taken in; NULL: `borders` are made of what maps draw.
    ADD COLUMN settled_at timestamptz;  -- When assets were compared with it; NULL: they have to be.
ALTER TABLE commune_outline ALTER COLUMN borders SET STORAGE EXTERNAL;
CREATE INDEX commune_outline_by_box ON commune_outline USING gist (box(point(west, south), point(east, north)));
CREATE INDEX commune_outline_unsettled ON commune_outline (id) WHERE settled_at IS NULL;

CREATE FUNCTION borders_of(polygons jsonb) RETURNS polygon[] LANGUAGE sql IMMUTABLE AS $$
    SELECT array_agg(ring ORDER BY part, place) FROM (
        SELECT part, place,
               ('(' || string_agg('(' || round((p ->> 0)::float8 * 1e6) || ',' || round((p ->> 1)::float8 * 1e6) || ')',
                                  ',' ORDER BY n) || ')')::polygon AS ring
        FROM jsonb_array_elements(polygons) WITH ORDINALITY AS one (rings, part),
             jsonb_array_elements(rings) WITH ORDINALITY AS of_one (points, place),
             jsonb_array_elements(points) WITH ORDINALITY AS of_ring (p, n)
        GROUP BY part, place) AS rings
$$;
CREATE FUNCTION border_parts_of(polygons jsonb) RETURNS smallint[] LANGUAGE sql IMMUTABLE AS $$
    SELECT array_agg((CASE WHEN place = 1 THEN part ELSE -part END)::smallint ORDER BY part, place)
    FROM jsonb_array_elements(polygons) WITH ORDINALITY AS one (rings, part),
         jsonb_array_elements(rings) WITH ORDINALITY AS of_one (points, place)
$$;

-- Also of a process of a former version, which knows only what maps draw.
CREATE FUNCTION unsettle_outline() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF NEW.borders IS NULL OR (TG_OP = 'UPDATE' AND NEW.polygons IS DISTINCT FROM OLD.polygons
                               AND NEW.borders_digest IS NOT DISTINCT FROM OLD.borders_digest) THEN
        NEW.borders := borders_of(NEW.polygons);
        NEW.border_parts := border_parts_of(NEW.polygons);
        NEW.borders_digest := NULL;
    END IF;
    NEW.settled_at := NULL;
    RETURN NEW;
END
$$;
CREATE TRIGGER outline_is_unsettled
    BEFORE INSERT OR UPDATE OF name, polygons, west, south, east, north, borders ON commune_outline
    FOR EACH ROW EXECUTE FUNCTION unsettle_outline();
UPDATE commune_outline SET name = name;
GRANT INSERT (borders, border_parts, borders_digest), UPDATE (borders, border_parts, borders_digest)
    ON commune_outline TO territoire_api;

ALTER TABLE asset
    -- The code of the commune in whose outline its position is; NULL: no position, or no outline there.
    ADD COLUMN position_insee text,
    -- Its commune is the one of its position, or of what it hangs on; false: somebody has stated it.
    ADD COLUMN commune_by_position boolean NOT NULL DEFAULT false;
UPDATE asset SET commune_by_position = true WHERE commune = '' AND insee IS NULL;
CREATE INDEX asset_of_contradicted_commune ON asset (id)
    WHERE position_insee IS NOT NULL AND NOT commune_by_position AND position_insee IS DISTINCT FROM insee;

-- Its own outlines replace those that are offered to all. Inside one polygon and in no hole of it; a border belongs to
-- both sides, of which the lower code is taken.
CREATE FUNCTION commune_at(tenant int, longitude double precision, latitude double precision)
    RETURNS TABLE (insee text, name text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    at point := point(longitude, latitude);
    there point := point(longitude * 1e6, latitude * 1e6);
BEGIN
    RETURN QUERY
    SELECT o.insee, o.name FROM commune_outline o
    WHERE box(point(o.west, o.south), point(o.east, o.north)) @> box(at, at)
      AND (o.tenant_id = tenant OR (o.tenant_id IS NULL AND NOT EXISTS (
           SELECT FROM commune_outline own WHERE own.tenant_id = tenant AND own.insee = o.insee)))
      AND EXISTS (SELECT FROM unnest(o.borders, o.border_parts) AS of (ring, part) WHERE of.ring @> there
                  GROUP BY abs(of.part) HAVING bool_or(of.part > 0) AND NOT bool_or(of.part < 0))
    ORDER BY o.insee LIMIT 1;
END
$$;

CREATE FUNCTION set_commune() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    there record;
    official text;
BEGIN
    SELECT c.insee, c.name INTO there FROM commune_at(NEW.tenant_id, NEW.longitude, NEW.latitude) c;
    NEW.position_insee := there.insee;
    IF TG_OP = 'UPDATE' AND NEW.commune <> OLD.commune AND NEW.insee IS NOT DISTINCT FROM OLD.insee THEN
        NEW.insee := NULL;  -- The code of the former name.
    END IF;
    IF TG_OP = 'INSERT' OR NEW.commune <> OLD.commune OR NEW.insee IS DISTINCT FROM OLD.insee THEN
        NEW.commune_by_position := NEW.commune = '' AND NEW.insee IS NULL;
    END IF;
    IF NEW.commune_by_position THEN
        NEW.insee := there.insee;
        NEW.commune := coalesce(there.name, '');
        IF there.insee IS NULL AND NEW.parent_id IS NOT NULL THEN
            SELECT a.commune, a.insee INTO NEW.commune, NEW.insee FROM asset a WHERE a.id = NEW.parent_id;
            NEW.commune := coalesce(NEW.commune, '');
        END IF;
    ELSIF NEW.insee IS NOT NULL THEN
        IF NEW.commune = '' OR (TG_OP = 'UPDATE' AND NEW.insee IS DISTINCT FROM OLD.insee) THEN
            SELECT o.name INTO official FROM commune_outline o
            WHERE o.insee = NEW.insee AND (o.tenant_id = NEW.tenant_id OR o.tenant_id IS NULL)
            ORDER BY o.tenant_id NULLS LAST LIMIT 1;
            NEW.commune := coalesce(official, NEW.commune);
        END IF;
    ELSIF folded(NEW.commune) = folded(there.name) THEN
        NEW.insee := there.insee;
    ELSE  -- A name that one commune alone has.
        SELECT min(o.insee) INTO NEW.insee FROM commune_outline o
        WHERE folded(o.name) = folded(NEW.commune) AND (o.tenant_id = NEW.tenant_id OR o.tenant_id IS NULL)
        HAVING count(DISTINCT o.insee) = 1;
    END IF;
    RETURN NEW;
END
$$;
CREATE INDEX commune_outline_by_name ON commune_outline (folded(name));
CREATE TRIGGER asset_has_its_commune
    BEFORE INSERT OR UPDATE OF tenant_id, latitude, longitude, commune, insee, parent_id ON asset
    FOR EACH ROW EXECUTE FUNCTION set_commune();

-- Assets of these ids whose commune is not what the outlines say by now; how many they were.
CREATE FUNCTION settle_communes(after int, until int) RETURNS bigint
    LANGUAGE sql SET search_path = public, pg_temp AS $$
    WITH wrong AS (
        SELECT a.id FROM asset a LEFT JOIN LATERAL commune_at(a.tenant_id, a.longitude, a.latitude) c ON true
        WHERE a.id > after AND a.id <= until
          AND (a.position_insee IS DISTINCT FROM c.insee
               OR (a.commune_by_position AND c.insee IS NOT NULL AND a.commune <> c.name)
               OR (a.insee IS NULL AND a.commune <> '' AND EXISTS (
                   SELECT FROM commune_outline o WHERE o.settled_at IS NULL AND folded(o.name) = folded(a.commune))))
        ORDER BY a.id FOR UPDATE OF a
    ), settled AS (UPDATE asset a SET latitude = a.latitude FROM wrong w WHERE a.id = w.id RETURNING 1)
    SELECT count(*) FROM settled
$$;
DO $$
DECLARE
    door regprocedure;
BEGIN
    FOREACH door IN ARRAY ARRAY['commune_at(int, float8, float8)', 'set_commune()']::regprocedure[] LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION commune_at(int, float8, float8) FROM PUBLIC;
