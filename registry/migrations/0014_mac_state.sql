-- What the network knows of a device's MAC layer and has asked of it (lorawan.mac_state). NULL: nothing yet. It is the
-- last column and seldom written, so that the row that every uplink moves is the longer only by what is in it.
ALTER TABLE session ADD COLUMN mac_state jsonb;

-- What a device last said of itself (DevStatusAns); apart from the registry row, because it changes by itself.
CREATE TABLE device_status (
    device_id int PRIMARY KEY REFERENCES device ON DELETE CASCADE,
    battery smallint NOT NULL CHECK (battery BETWEEN 0 AND 255),  -- 0: external power; 255: it does not know.
    margin smallint NOT NULL CHECK (margin BETWEEN -32 AND 31),  -- dB, of the request as the device heard it.
    reported_at timestamptz NOT NULL
);
ALTER TABLE device_status ENABLE ROW LEVEL SECURITY;
ALTER TABLE device_status FORCE ROW LEVEL SECURITY;
-- Whoever sees the device sees this.
CREATE POLICY seen ON device_status FOR SELECT
    USING (EXISTS (SELECT FROM device d WHERE d.id = device_status.device_id));
CREATE POLICY of_services ON device_status TO territoire_service USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON device_status TO territoire_service;
GRANT SELECT ON device_status TO territoire_api;
