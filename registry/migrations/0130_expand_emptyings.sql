-- When bins were emptied, as their levels show it: kept by services/indicators with the days (docs/decisions/0108).

-- From `before` to `after` percent, between `not_before` and `at`. `suspect`: no reading has confirmed it, or the sensor
-- was silent before.
CREATE TABLE observation.emptying (
    datastream_id int NOT NULL,
    at timestamptz NOT NULL,
    not_before timestamptz NOT NULL CHECK (not_before < at),
    before double precision NOT NULL,
    after double precision NOT NULL CHECK (after < before),
    suspect boolean NOT NULL,
    PRIMARY KEY (datastream_id, at)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON observation.emptying TO territoire_service;
GRANT SELECT ON observation.emptying TO territoire_views;

-- As `fill_day`: of class 2 there are none.
CREATE VIEW emptying AS
    SELECT e.datastream_id, e.at, e.not_before, e.before, e.after, e.suspect
    FROM observation.emptying e JOIN datastream d ON d.id = e.datastream_id
    LEFT JOIN opened_asset() g ON g.asset_id = d.asset_id
    WHERE d.privacy_class < 2
      AND (d.tenant_id = ANY((SELECT visible_tenants())::int[]) OR g.data @> tstzrange(e.not_before, e.at, '[]'));
GRANT CREATE ON SCHEMA public TO territoire_views;
ALTER VIEW emptying OWNER TO territoire_views;
REVOKE CREATE ON SCHEMA public FROM territoire_views;
GRANT SELECT ON emptying TO territoire_api;

INSERT INTO erasure_step VALUES
(4, 'observation.emptying', $$
WITH gone AS (DELETE FROM observation.emptying e
WHERE e.datastream_id = ANY(($1).datastream_ids)
   OR EXISTS (SELECT FROM unnest(($1).span_datastream_ids, ($1).span_during) AS s (id, during)
              WHERE s.id = e.datastream_id AND tstzrange(e.not_before, e.at, '[]') && s.during) RETURNING 1)
SELECT count(*) FROM gone $$);
