-- locks: asset SHARE ROW EXCLUSIVE instant
-- locks: tenant SHARE ROW EXCLUSIVE instant

-- What a building took before works, frozen: savings are measured against it (IPMVP, option C).

CREATE TABLE energy_baseline (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    asset_id int NOT NULL,
    energy_use text NOT NULL CHECK (energy_use IN ('electricity', 'gas', 'heat', 'water')),
    depends_on_weather boolean NOT NULL,
    method text CHECK (method IN ('meteo', 'energy_professionals')),
    station text,
    since date NOT NULL,  -- The first day of its first month.
    until date NOT NULL,  -- The first day after its last one.
    works_since date NOT NULL,
    works_until date NOT NULL,
    -- The regression of consumption a day by degree days a day, or the mean.
    n int NOT NULL CHECK (n >= 12),
    intercept double precision NOT NULL,
    slope double precision NOT NULL,
    r2 double precision,
    cv_rmse double precision NOT NULL,
    residual_s double precision NOT NULL,
    x_mean double precision NOT NULL,
    x_spread double precision NOT NULL,
    dof int NOT NULL,
    months jsonb NOT NULL,  -- What it was made of: month, days, amount, degree days.
    label text NOT NULL DEFAULT '' CHECK (length(label) <= 200),
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    retired_at timestamptz,
    -- Whoever gets the building gets what it is measured against.
    FOREIGN KEY (asset_id, tenant_id) REFERENCES asset (id, tenant_id) ON UPDATE CASCADE ON DELETE CASCADE,
    CHECK (since < until AND until <= works_since AND works_since <= works_until),
    CHECK (depends_on_weather = (method IS NOT NULL AND station IS NOT NULL))
);
CREATE INDEX energy_baseline_of_tenant ON energy_baseline (tenant_id, id);
CREATE INDEX energy_baseline_of_asset ON energy_baseline (asset_id);
CALL scope_to_tenant('energy_baseline');
CREATE POLICY of_kinds ON energy_baseline AS RESTRICTIVE TO territoire_api
    USING ((SELECT proved_kinds()) IS NULL OR asset_id IN (SELECT assets_of_kinds()));
GRANT SELECT, INSERT, UPDATE (retired_at) ON energy_baseline TO territoire_api;

INSERT INTO erasure_step VALUES
(73, 'energy_baseline', $$
WITH gone AS (DELETE FROM energy_baseline WHERE asset_id = ANY(($1).asset_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
(173, 'energy_baseline', $$
WITH named AS (UPDATE energy_baseline SET created_by = 'personne effacée' WHERE ($1).kind IN ('person', 'contact')
AND created_by = ANY(($1).names) RETURNING 1) SELECT count(*) FROM named $$);
