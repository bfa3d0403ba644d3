-- locks: gateway SHARE ROW EXCLUSIVE instant

-- A day of each device and each gateway as the radio shows it, from which coverage is read: made anew by
-- indicators/network/store.py, day by day, since receptions are too many to be read for a month (docs/decisions/0113).

CREATE TABLE observation.network_day (
    device_id int NOT NULL,
    day date NOT NULL,
    asset_id int,  -- That it served at the end of the day.
    sent int NOT NULL CHECK (sent >= received),
    received int NOT NULL,
    with_receptions int NOT NULL,  -- Frames of which gateways are known.
    receptions int NOT NULL,
    margin_sum double precision NOT NULL,
    least_margin real,
    air_time_us bigint NOT NULL,
    -- By gateway: how many of these it received, and how many no other one did, with the sum of its margins.
    gateway_ids int[] NOT NULL,
    gateway_received int[] NOT NULL,
    gateway_alone int[] NOT NULL,
    gateway_margin_sums real[] NOT NULL,
    PRIMARY KEY (device_id, day)
);
CREATE INDEX network_day_by_day ON observation.network_day (day);

CREATE TABLE gateway_air_day (
    gateway_id int NOT NULL REFERENCES gateway ON DELETE CASCADE,
    day date NOT NULL,
    transmissions int NOT NULL,
    air_time_us bigint NOT NULL,
    busiest_percent real,  -- Of what the law allows in an hour, in the fullest sub-band.
    PRIMARY KEY (gateway_id, day)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON observation.network_day, gateway_air_day TO territoire_service;
GRANT SELECT ON observation.network_day TO territoire_views;
ALTER TABLE gateway_air_day ENABLE ROW LEVEL SECURITY;
ALTER TABLE gateway_air_day FORCE ROW LEVEL SECURITY;
CREATE POLICY of_services ON gateway_air_day TO territoire_service USING (true) WITH CHECK (true);
CREATE POLICY of_tenant ON gateway_air_day
    USING (EXISTS (SELECT FROM gateway g WHERE g.id = gateway_air_day.gateway_id));
GRANT SELECT ON gateway_air_day TO territoire_api;

-- As receptions: one's own devices and those of members that tell of no dwelling; days that began when they were
-- owned already, wherever on earth the day is.
CREATE VIEW network_day AS
    SELECT n.* FROM observation.network_day n JOIN device d ON d.id = n.device_id
    WHERE (d.tenant_id = (SELECT current_tenant())
           OR (NOT d.is_personal AND d.tenant_id = ANY((SELECT visible_tenants())::int[])))
      AND (n.day::timestamp AT TIME ZONE 'UTC') - interval '14 hours' >= d.owned_since;
GRANT CREATE ON SCHEMA public TO territoire_views;
ALTER VIEW network_day OWNER TO territoire_views;
REVOKE CREATE ON SCHEMA public FROM territoire_views;
GRANT SELECT ON network_day TO territoire_api;

-- Of a dwelling also what others' devices told while they served it.
INSERT INTO erasure_step VALUES
(174, 'observation.network_day', $$
WITH gone AS (DELETE FROM observation.network_day n WHERE n.device_id = ANY(($1).device_ids)
OR n.asset_id = ANY(($1).asset_ids)
OR EXISTS (SELECT FROM unnest(($1).span_device_ids, ($1).span_during) AS s (id, during)
           WHERE s.id = n.device_id
             AND tstzrange((n.day::timestamp AT TIME ZONE 'UTC') - interval '14 hours',
                           (n.day::timestamp AT TIME ZONE 'UTC') + interval '36 hours') && s.during)
RETURNING 1) SELECT count(*) FROM gone $$);
