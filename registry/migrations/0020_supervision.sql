-- Refused frames that an operator can look up, and what is known of every gateway's work.

-- Frames and joins that were refused: one row for what they name, the reason and the device, however often.
CREATE TABLE frame_refusal (
    subject bytea NOT NULL CHECK (octet_length(subject) IN (4, 8)),  -- A DevAddr, or the DevEUI of a join-request.
    reason text NOT NULL,
    device_id int REFERENCES device ON DELETE CASCADE,  -- NULL: nobody's whom we know.
    gateway_id bytea NOT NULL,  -- One that heard the last.
    times bigint NOT NULL DEFAULT 1,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    UNIQUE NULLS NOT DISTINCT (subject, reason, device_id)
);
CREATE INDEX frame_refusal_of_device ON frame_refusal (device_id) WHERE device_id IS NOT NULL;
CREATE INDEX frame_refusal_by_last ON frame_refusal (last_at DESC);

-- A gateway that spoke from another address: taken over, or refused while the former one still spoke.
CREATE TABLE gateway_address_change (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    gateway_id int NOT NULL REFERENCES gateway ON DELETE CASCADE,
    frontend text NOT NULL,
    former text NOT NULL,
    address text NOT NULL,
    refused boolean NOT NULL,
    times bigint NOT NULL DEFAULT 1,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    UNIQUE (gateway_id, frontend, former, address, refused)
);

-- What each gateway did in an hour, added up by every replica of the bridge.
CREATE TABLE gateway_hour (
    gateway_id int NOT NULL REFERENCES gateway ON DELETE CASCADE,
    hour timestamptz NOT NULL,
    uplinks bigint NOT NULL DEFAULT 0,
    duplicates bigint NOT NULL DEFAULT 0,
    crc_errors bigint NOT NULL DEFAULT 0,
    rejected bigint NOT NULL DEFAULT 0,
    limited bigint NOT NULL DEFAULT 0,
    round_trip_ms real,  -- The last that was measured.
    PRIMARY KEY (gateway_id, hour)
);

DO $$
DECLARE
    kept regclass;
BEGIN
    FOREACH kept IN ARRAY ARRAY['frame_refusal', 'gateway_address_change', 'gateway_hour', 'transmission']::regclass[]
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', kept);
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', kept);
        EXECUTE format('CREATE POLICY of_services ON %s TO territoire_service USING (true) WITH CHECK (true)', kept);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO territoire_service', kept);
        EXECUTE format('GRANT SELECT ON %s TO territoire_api', kept);
    END LOOP;
END
$$;
-- A tenant's own, also from before the device was registered; the operator of the network sees nobody's.
CREATE POLICY of_tenant ON frame_refusal USING (EXISTS (
    SELECT FROM device d WHERE d.tenant_id = current_tenant()
       AND (d.id = frame_refusal.device_id OR frame_refusal.device_id IS NULL AND d.dev_eui = frame_refusal.subject)));
CREATE POLICY of_operator ON frame_refusal FOR SELECT TO territoire_api
    USING (device_id IS NULL AND current_setting('app.operator', true) = 'on');
CREATE POLICY of_tenant ON gateway_address_change
    USING (EXISTS (SELECT FROM gateway g WHERE g.id = gateway_address_change.gateway_id));
CREATE POLICY of_tenant ON gateway_hour USING (EXISTS (SELECT FROM gateway g WHERE g.id = gateway_hour.gateway_id));
CREATE POLICY of_tenant ON transmission
    USING (EXISTS (SELECT FROM gateway g WHERE g.gateway_id = transmission.gateway_id));
