-- What was seen, so that an uplink is stored once whichever way it came; which hours changed, and what they sum up to.

-- The uplinks of the last days by what the device itself says of them; in the transaction that stores the uplink.
CREATE TABLE observation.uplink_seen (
    device_id int NOT NULL,
    f_cnt bigint NOT NULL,
    digest bigint NOT NULL,  -- The first 8 octets of SHA-256 over FPort and payload.
    time timestamptz NOT NULL,
    uplink_id uuid NOT NULL,
    session_id bigint,       -- NULL: it came from a bearer or a network server without sessions of ours.
    PRIMARY KEY (device_id, f_cnt, digest)
);
CREATE INDEX uplink_seen_by_time ON observation.uplink_seen USING brin (time) WITH (autosummarize = on);

-- Hours whose rollups are to be made anew: appended by whoever writes measurements, in its own transaction.
CREATE TABLE observation.dirty (
    hour timestamptz NOT NULL,
    datastream_ids int[] NOT NULL
);
CREATE INDEX dirty_by_hour ON observation.dirty (hour);

-- Sound measurements summed up; suspects are counted and left out. An hour holds [start, end), that of a counter
-- (start, end], so that an index read at an edge ends the bucket before it. Days are those of the deployment's calendar.
CREATE TABLE observation.rollup_hour (
    datastream_id int NOT NULL,
    bucket timestamptz NOT NULL,
    n int NOT NULL,
    suspects int NOT NULL,
    sum double precision,
    min double precision,
    max double precision,
    first double precision,
    last double precision,
    PRIMARY KEY (datastream_id, bucket)
);
CREATE TABLE observation.rollup_day (LIKE observation.rollup_hour INCLUDING ALL);

ALTER TABLE deployment ADD COLUMN timezone text NOT NULL DEFAULT 'Europe/Paris';

-- A crash between the commit and the acknowledgement brings the same item again: it is kept once.
CREATE UNIQUE INDEX quarantine_once ON observation.quarantine (service, subject, sequence, md5(data));

GRANT SELECT, INSERT, UPDATE, DELETE
    ON observation.uplink_seen, observation.dirty, observation.rollup_hour, observation.rollup_day
    TO territoire_service;
GRANT SELECT ON observation.dirty, observation.rollup_hour, observation.rollup_day TO territoire_views;
