-- What devices said. The API's role cannot enter this schema: it reads through plain views, whose owner is
-- subject to the row security of device and datastream.

CREATE SCHEMA observation;
GRANT USAGE ON SCHEMA observation TO territoire_service, territoire_views;

CREATE TABLE observation.uplink (
    device_id int NOT NULL,
    time timestamptz NOT NULL,
    uplink_id uuid NOT NULL,
    session_id bigint,
    f_cnt bigint,
    f_port smallint,
    payload bytea NOT NULL,
    received_at timestamptz NOT NULL,
    radio jsonb NOT NULL DEFAULT '{}',
    status text NOT NULL CHECK (status IN ('decoded', 'empty', 'undecodable')),
    reason text,
    decoded jsonb,
    codec text,
    codec_version int,
    PRIMARY KEY (device_id, time, uplink_id)
);
SELECT create_hypertable('observation.uplink', 'time', chunk_time_interval => interval '7 days',
                         create_default_indexes => false);
CREATE INDEX uplink_undecodable ON observation.uplink (time DESC) WHERE status = 'undecodable';

CREATE TABLE observation.reception (
    device_id int NOT NULL,
    time timestamptz NOT NULL,
    uplink_id uuid NOT NULL,
    gateway_id int NOT NULL,
    antenna smallint NOT NULL DEFAULT 0,
    rssi real NOT NULL,
    snr real NOT NULL,
    PRIMARY KEY (device_id, time, uplink_id, gateway_id, antenna)
);
SELECT create_hypertable('observation.reception', 'time', chunk_time_interval => interval '7 days',
                         create_default_indexes => false);

CREATE TABLE observation.measurement (
    datastream_id int NOT NULL,
    time timestamptz NOT NULL,
    value double precision NOT NULL,
    flags smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (datastream_id, time)
);
SELECT create_hypertable('observation.measurement', 'time', chunk_time_interval => interval '7 days',
                         create_default_indexes => false);

CREATE TABLE observation.latest (
    datastream_id int PRIMARY KEY,
    time timestamptz NOT NULL,
    value double precision NOT NULL,
    flags smallint NOT NULL DEFAULT 0
) WITH (fillfactor = 60);

-- Items of the bus that nobody can read, kept with the reason.
CREATE TABLE observation.quarantine (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL DEFAULT now(),
    service text NOT NULL,
    subject text NOT NULL,
    sequence bigint NOT NULL,
    reason text NOT NULL,
    data bytea NOT NULL
);

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA observation TO territoire_service;
GRANT SELECT ON observation.uplink, observation.reception, observation.measurement, observation.latest
    TO territoire_views;
GRANT SELECT (id, tenant_id) ON device TO territoire_views;
GRANT SELECT (id, tenant_id, gateway_id) ON gateway TO territoire_views;

CREATE VIEW measurement AS
    SELECT m.datastream_id, m.time, m.value, m.flags
    FROM observation.measurement m JOIN datastream d ON d.id = m.datastream_id;

CREATE VIEW latest AS
    SELECT l.datastream_id, l.time, l.value, l.flags
    FROM observation.latest l JOIN datastream d ON d.id = l.datastream_id;

CREATE VIEW uplink AS
    SELECT u.* FROM observation.uplink u JOIN device d ON d.id = u.device_id;

-- A reception shows the gateway's name only to its owner; the evidence belongs to the device's owner.
CREATE VIEW reception AS
    SELECT r.* FROM observation.reception r JOIN device d ON d.id = r.device_id;

GRANT CREATE ON SCHEMA public TO territoire_views;
ALTER VIEW measurement OWNER TO territoire_views;
ALTER VIEW latest OWNER TO territoire_views;
ALTER VIEW uplink OWNER TO territoire_views;
ALTER VIEW reception OWNER TO territoire_views;
REVOKE CREATE ON SCHEMA public FROM territoire_views;
GRANT SELECT ON measurement, latest, uplink, reception TO territoire_api;
