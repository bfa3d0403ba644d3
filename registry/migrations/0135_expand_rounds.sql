-- locks: asset SHARE ROW EXCLUSIVE instant
-- locks: tenant SHARE ROW EXCLUSIVE instant

-- Rounds that empty bins: as they were planned, and what became of each stop (docs/indicateurs.md, "Tournées").

CREATE TABLE waste_round (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    name text NOT NULL DEFAULT '' CHECK (length(name) <= 200),
    state text NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'cancelled')),
    planned_for date NOT NULL,
    -- Which bins were looked at, and what makes one of them a stop.
    kind text NOT NULL,
    commune text,
    threshold int NOT NULL CHECK (threshold BETWEEN 1 AND 100),
    forecast_threshold int NOT NULL CHECK (forecast_threshold BETWEEN 1 AND 100),
    forecast_part text NOT NULL CHECK (forecast_part IN ('p10', 'p50', 'p90')),
    next_round_on date NOT NULL CHECK (next_round_on > planned_for),
    -- The trucks, and between which local hours they are out.
    trucks int NOT NULL CHECK (trucks BETWEEN 1 AND 20),
    truck_volume_l int NOT NULL CHECK (truck_volume_l > 0),
    truck_weight_kg int NOT NULL CHECK (truck_weight_kg > 0),
    opens_at time NOT NULL,
    closes_at time NOT NULL CHECK (closes_at > opens_at),
    service_s int NOT NULL CHECK (service_s >= 0),
    unloading_s int NOT NULL CHECK (unloading_s >= 0),
    speed_kmh double precision NOT NULL CHECK (speed_kmh > 0),
    depot_latitude double precision NOT NULL CHECK (depot_latitude BETWEEN -90 AND 90),
    depot_longitude double precision NOT NULL CHECK (depot_longitude BETWEEN -180 AND 180),
    outlet_latitude double precision NOT NULL CHECK (outlet_latitude BETWEEN -90 AND 90),
    outlet_longitude double precision NOT NULL CHECK (outlet_longitude BETWEEN -180 AND 180),
    -- How it was made.
    distance_source text NOT NULL CHECK (distance_source IN ('matrix', 'osrm', 'great_circle')),
    distance_note text NOT NULL DEFAULT '',  -- Why it is not from where it was to be.
    seed int NOT NULL,
    iterations int NOT NULL CHECK (iterations > 0),
    solver text NOT NULL,
    -- Of the same trucks over every bin that was looked at; NULL: they cannot carry it all.
    metres_before int CHECK (metres_before >= 0),
    bins_before int NOT NULL CHECK (bins_before >= 0),
    metres_after int NOT NULL CHECK (metres_after >= 0),
    trips jsonb NOT NULL,  -- Of each trip: truck, number, when it leaves, unloads and is back, metres, litres, kg.
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    cancelled_at timestamptz,
    cancelled_by text,
    cancel_reason text NOT NULL DEFAULT '' CHECK (length(cancel_reason) <= 1000),
    UNIQUE (id, tenant_id),
    CHECK ((state = 'cancelled') = (cancelled_at IS NOT NULL))
);
CREATE INDEX waste_round_of_tenant ON waste_round (tenant_id, id DESC);

-- Each bin that was to be emptied: where it stands in the round, or why it is in none of its trips.
CREATE TABLE waste_round_stop (
    round_id int NOT NULL,
    tenant_id int NOT NULL REFERENCES tenant,
    asset_id int NOT NULL REFERENCES asset ON DELETE CASCADE,
    chosen_by text NOT NULL CHECK (chosen_by IN ('threshold', 'forecast', 'forced', 'unknown')),
    truck int CHECK (truck >= 1),
    trip int CHECK (trip >= 1),
    position int CHECK (position >= 1),  -- From 1 over all trips of a truck.
    arrival timestamptz,
    left_reason text CHECK (left_reason IN (
        'unknown_level', 'never_measured', 'no_position', 'no_volume', 'too_large', 'no_room')),
    level double precision CHECK (level BETWEEN 0 AND 100),  -- NULL: nobody knows.
    level_at timestamptz,
    full_at timestamptz,  -- When it is forecast to reach the threshold of forecasts.
    volume_l double precision CHECK (volume_l >= 0),
    weight_kg double precision CHECK (weight_kg >= 0),
    PRIMARY KEY (round_id, asset_id),
    UNIQUE (round_id, truck, position),
    FOREIGN KEY (round_id, tenant_id) REFERENCES waste_round (id, tenant_id) ON DELETE CASCADE,
    CHECK (num_nonnulls(truck, trip, position, arrival) IN (0, 4)),
    CHECK ((position IS NULL) = (left_reason IS NOT NULL)),
    CHECK (position IS NULL OR num_nonnulls(volume_l, weight_kg) = 2)
);
CREATE INDEX waste_round_stop_of_asset ON waste_round_stop (asset_id);
CREATE INDEX waste_round_stop_of_tenant ON waste_round_stop (tenant_id);

-- What became of a stop, as it was said; the last row of a stop counts, and none is changed.
CREATE TABLE waste_round_outcome (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    round_id int NOT NULL,
    asset_id int NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('emptied', 'skipped')),
    reason text CHECK (reason IN (
        'inaccessible', 'not_full', 'damaged', 'wrong_content', 'truck_full', 'out_of_time', 'other')),
    at timestamptz NOT NULL,
    level_seen double precision CHECK (level_seen BETWEEN 0 AND 100),
    remark text NOT NULL DEFAULT '' CHECK (length(remark) <= 1000),
    recorded_at timestamptz NOT NULL DEFAULT now(),
    recorded_by text NOT NULL,
    FOREIGN KEY (round_id, asset_id) REFERENCES waste_round_stop (round_id, asset_id) ON DELETE CASCADE,
    CHECK ((outcome = 'skipped') = (reason IS NOT NULL)),
    CHECK (reason <> 'other' OR remark <> '')
);
CREATE INDEX waste_round_outcome_of_stop ON waste_round_outcome (round_id, asset_id, id DESC);
CREATE INDEX waste_round_outcome_of_asset ON waste_round_outcome (asset_id, at);
CREATE INDEX waste_round_outcome_of_tenant ON waste_round_outcome (tenant_id);

CALL scope_to_tenant('waste_round');
CALL scope_to_tenant('waste_round_stop');
CALL scope_to_tenant('waste_round_outcome');
GRANT SELECT, INSERT, UPDATE (state, cancelled_at, cancelled_by, cancel_reason) ON waste_round TO territoire_api;
GRANT SELECT, INSERT ON waste_round_stop TO territoire_api;
GRANT SELECT, INSERT (tenant_id, round_id, asset_id, outcome, reason, at, level_seen, remark, recorded_by)
    ON waste_round_outcome TO territoire_api;
-- A member reads what its syndicat planned for the member's own bins, and what became of it.
CREATE POLICY of_asset ON waste_round_stop FOR SELECT TO territoire_api USING (EXISTS (
    SELECT FROM asset a WHERE a.id = waste_round_stop.asset_id AND a.tenant_id = current_tenant()));
CREATE POLICY of_asset ON waste_round_outcome FOR SELECT TO territoire_api USING (EXISTS (
    SELECT FROM asset a WHERE a.id = waste_round_outcome.asset_id AND a.tenant_id = current_tenant()));
-- Nobody sends a truck to a bin that they do not see.
CREATE POLICY goes_to_visible ON waste_round_stop AS RESTRICTIVE FOR INSERT TO territoire_api
    WITH CHECK (EXISTS (SELECT FROM asset a WHERE a.id = waste_round_stop.asset_id));

INSERT INTO erasure_step VALUES
(210, 'waste_round', $$
WITH named AS (UPDATE waste_round SET created_by = 'personne effacée' WHERE ($1).kind IN ('person', 'contact')
AND created_by = ANY(($1).names) RETURNING 1) SELECT count(*) FROM named $$),
(211, 'waste_round', $$
WITH named AS (UPDATE waste_round SET cancelled_by = 'personne effacée' WHERE ($1).kind IN ('person', 'contact')
AND cancelled_by = ANY(($1).names) RETURNING 1) SELECT count(*) FROM named $$),
(212, 'waste_round_outcome', $$
WITH named AS (UPDATE waste_round_outcome SET recorded_by = 'personne effacée'
WHERE ($1).kind IN ('person', 'contact') AND recorded_by = ANY(($1).names) RETURNING 1)
SELECT count(*) FROM named $$);
