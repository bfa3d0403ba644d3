-- CUPS: what a LoRa Basics Station said that it has, what it shall have, and the programs that it can be given.

-- A program for stations, signed by a key whose public half they keep.
CREATE TABLE station_update (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id int NOT NULL REFERENCES tenant,
    name text NOT NULL,
    -- What a station reports that has it; one that reports this is not given it again.
    package text,
    station text,
    -- For stations of this model only; NULL: of any.
    model text,
    key_crc bigint NOT NULL CHECK (key_crc BETWEEN 0 AND 4294967295),
    signature bytea NOT NULL CHECK (octet_length(signature) BETWEEN 4 AND 128),
    content bytea NOT NULL CHECK (octet_length(content) BETWEEN 1 AND 8388608),
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (package IS NOT NULL OR station IS NOT NULL),
    UNIQUE (tenant_id, name)
);
ALTER TABLE station_update ALTER COLUMN content SET STORAGE EXTERNAL;
CALL scope_to_tenant('station_update');
GRANT SELECT (id, tenant_id, name, package, station, model, key_crc, created_at), INSERT, DELETE
    ON station_update TO territoire_api;

-- What the people of its tenant want a station to have. No secret waits here: a token is made when it is fetched.
CREATE TABLE station_order (
    gateway_id int PRIMARY KEY REFERENCES gateway ON DELETE CASCADE,
    cups_uri text,
    tc_uri text,
    -- Since when another token is wanted. The station replaces its authority's certificate with it: one file's worth
    -- of DER, kept for the next time.
    token_wanted_at timestamptz,
    trust bytea,
    update_id int REFERENCES station_update ON DELETE SET NULL,
    ordered_at timestamptz NOT NULL DEFAULT now(),
    CHECK (token_wanted_at IS NULL OR trust IS NOT NULL)
);
ALTER TABLE station_order ENABLE ROW LEVEL SECURITY;
ALTER TABLE station_order FORCE ROW LEVEL SECURITY;
CREATE POLICY of_services ON station_order TO territoire_service USING (true) WITH CHECK (true);
CREATE POLICY of_viewer ON station_order FOR SELECT
    USING (EXISTS (SELECT FROM gateway g WHERE g.id = station_order.gateway_id));
CREATE POLICY of_tenant ON station_order
    USING (EXISTS (SELECT FROM gateway g WHERE g.id = station_order.gateway_id
                   AND g.tenant_id = (SELECT current_tenant())));
GRANT SELECT, INSERT, UPDATE, DELETE ON station_order TO territoire_api, territoire_service;

-- What a station said when it asked last, and what it was given.
CREATE TABLE station_report (
    gateway_id int PRIMARY KEY REFERENCES gateway ON DELETE CASCADE,
    reported_at timestamptz NOT NULL DEFAULT now(),
    station text NOT NULL,
    model text NOT NULL,
    package text NOT NULL,
    cups_uri text NOT NULL,
    tc_uri text NOT NULL,
    cups_cred_crc bigint NOT NULL,
    tc_cred_crc bigint NOT NULL,
    keys bigint[] NOT NULL,
    -- The last credential it was given, the order that asked for it, and its CRC: reported again, it has arrived.
    token_id text,
    token_for timestamptz,
    token_crc bigint,
    token_sent_at timestamptz,
    update_id int,
    update_sent_at timestamptz
);
ALTER TABLE station_report ENABLE ROW LEVEL SECURITY;
ALTER TABLE station_report FORCE ROW LEVEL SECURITY;
CREATE POLICY of_services ON station_report TO territoire_service USING (true) WITH CHECK (true);
CREATE POLICY of_viewer ON station_report FOR SELECT
    USING (EXISTS (SELECT FROM gateway g WHERE g.id = station_report.gateway_id));
GRANT SELECT ON station_report TO territoire_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON station_report TO territoire_service;

-- A token that a station fetched: its first use ends those of before.
ALTER TABLE gateway_token ADD COLUMN ends_former boolean NOT NULL DEFAULT false;
