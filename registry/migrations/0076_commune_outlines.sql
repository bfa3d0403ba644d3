-- Where communes are: outlines, simplified when they are taken in, for maps that have no background. Of a tenant, or
-- (NULL) offered to every tenant by the operator of the network.

CREATE TABLE commune_outline (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int REFERENCES tenant,
    insee text NOT NULL CHECK (insee ~ '^[0-9][0-9AB][0-9]{3}$'),
    name text NOT NULL CHECK (name <> ''),
    polygons jsonb NOT NULL,  -- Coordinates of a GeoJSON MultiPolygon.
    west double precision NOT NULL,
    south double precision NOT NULL,
    east double precision NOT NULL,
    north double precision NOT NULL,
    is_generated boolean NOT NULL DEFAULT false,  -- Of a demonstration: it is nowhere.
    taken_in_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (tenant_id, insee),
    CHECK (west <= east AND south <= north)
);
CALL scope_to_tenant('commune_outline');
CREATE POLICY shared ON commune_outline FOR SELECT USING (tenant_id IS NULL);
CREATE POLICY of_operator ON commune_outline TO territoire_api
    USING (tenant_id IS NULL AND (SELECT is_operator())) WITH CHECK (tenant_id IS NULL AND (SELECT is_operator()));
GRANT SELECT, INSERT (tenant_id, insee, name, polygons, west, south, east, north, is_generated),
      UPDATE (name, polygons, west, south, east, north, is_generated, taken_in_at)
    ON commune_outline TO territoire_api;
