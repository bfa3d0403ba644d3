-- locks: import_job ACCESS EXCLUSIVE scan
-- locks: tenant SHARE ROW EXCLUSIVE instant

-- The lowest and highest temperature of each day at a weather station, imported; degree days are computed from them.

CREATE TABLE weather_day (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    station text NOT NULL CHECK (length(station) BETWEEN 1 AND 100),
    day date NOT NULL,
    tn double precision NOT NULL CHECK (tn >= -90),  -- °C
    tx double precision NOT NULL CHECK (tx BETWEEN tn AND 60),
    source text NOT NULL DEFAULT '' CHECK (length(source) <= 200),
    imported_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, station, day)
);
CALL scope_to_tenant('weather_day');
GRANT SELECT ON weather_day TO territoire_api;

ALTER TABLE import_job DROP CONSTRAINT import_job_kind_check;
ALTER TABLE import_job ADD CONSTRAINT import_job_kind_check CHECK (kind IN (
    'cabinets', 'circuits', 'light-points', 'devices', 'assets', 'gateways', 'contacts', 'rules', 'commune-outlines',
    'weather-days'));
