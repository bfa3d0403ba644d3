-- For how long of each local day a bin stood at or above each level, and for how long that is known: kept by
-- services/indicators from the feed (docs/decisions/0108).

-- A day of which nothing is known has no row. `at_or_above[k]`: seconds at k % or more, k from 1 to 100.
CREATE TABLE observation.fill_day (
    datastream_id int NOT NULL,
    day date NOT NULL,
    seconds int NOT NULL CHECK (seconds BETWEEN 79200 AND 93600),
    known int NOT NULL CHECK (known > 0 AND known <= seconds),
    at_or_above int[] NOT NULL CHECK (cardinality(at_or_above) = 100 AND at_or_above[1] <= known),
    PRIMARY KEY (datastream_id, day)
);
-- Days that are to be made anew, when they are over.
CREATE TABLE observation.fill_day_due (
    datastream_id int NOT NULL,
    day date NOT NULL,
    PRIMARY KEY (datastream_id, day)
);
CREATE INDEX fill_day_due_by_day ON observation.fill_day_due (day);
-- One row: from where in the feed of which database reading goes on. No epoch: all days are made first.
CREATE TABLE observation.fill_day_reader (
    epoch text NOT NULL DEFAULT '',
    xid xid8 NOT NULL DEFAULT '0',
    number bigint NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX one_fill_day_reader ON observation.fill_day_reader ((true));
INSERT INTO observation.fill_day_reader DEFAULT VALUES;
GRANT SELECT, INSERT, UPDATE, DELETE ON observation.fill_day, observation.fill_day_due, observation.fill_day_reader
    TO territoire_service;
GRANT SELECT ON observation.fill_day TO territoire_views;

-- As `rollup_day`; of class 2 there are none, nor are any shown that are to be deleted yet.
CREATE VIEW fill_day AS
    SELECT f.datastream_id, f.day, f.seconds, f.known, f.at_or_above
    FROM observation.fill_day f JOIN datastream d ON d.id = f.datastream_id
    LEFT JOIN opened_asset() g ON g.asset_id = d.asset_id
    WHERE d.privacy_class < 2
      AND (d.tenant_id = ANY((SELECT visible_tenants())::int[])
           OR g.data @> tstzrange(f.day::timestamp AT TIME ZONE (SELECT timezone FROM deployment),
                                  (f.day + 1)::timestamp AT TIME ZONE (SELECT timezone FROM deployment)));
GRANT CREATE ON SCHEMA public TO territoire_views;
ALTER VIEW fill_day OWNER TO territoire_views;
REVOKE CREATE ON SCHEMA public FROM territoire_views;
GRANT SELECT ON fill_day TO territoire_api;

-- A day of which a part is erased goes as a whole.
INSERT INTO erasure_step VALUES
(17, 'observation.fill_day', $$
WITH gone AS (DELETE FROM observation.fill_day f USING (
    SELECT datastream_id, day FROM observation.fill_day WHERE datastream_id = ANY(($1).datastream_ids)
    UNION ALL
    SELECT o.datastream_id, o.day FROM unnest(($1).span_datastream_ids, ($1).span_during) AS s (id, during)
    CROSS JOIN deployment t JOIN observation.fill_day o ON o.datastream_id = s.id
        AND tstzrange(o.day::timestamp AT TIME ZONE t.timezone, (o.day + 1)::timestamp AT TIME ZONE t.timezone) && s.during
    LIMIT $2) k
WHERE f.datastream_id = k.datastream_id AND f.day = k.day RETURNING 1) SELECT count(*) FROM gone $$);
