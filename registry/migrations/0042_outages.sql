-- When a gateway, the bridge or the platform itself was away: what a frame that was lost then says nothing about.
-- Written by registry/outages.py alone. `ended_at` NULL: it lasts.
CREATE TABLE outage (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    what text NOT NULL CHECK (what IN ('gateway', 'bridge', 'platform')),
    gateway_id int REFERENCES gateway ON DELETE CASCADE,
    began_at timestamptz NOT NULL,
    ended_at timestamptz CHECK (ended_at >= began_at),
    CHECK ((what = 'gateway') = (gateway_id IS NOT NULL))
);
CREATE INDEX outage_by_end ON outage (ended_at);
CREATE UNIQUE INDEX outage_that_lasts ON outage (what, coalesce(gateway_id, 0)) WHERE ended_at IS NULL;

-- The bridge's and the platform's last sign of life.
CREATE TABLE heartbeat (
    what text PRIMARY KEY CHECK (what IN ('bridge', 'platform')),
    at timestamptz NOT NULL
);

-- The first row: before this instant nobody knows what was away.
INSERT INTO outage (what, began_at, ended_at) VALUES ('platform', now(), now());

ALTER TABLE outage ENABLE ROW LEVEL SECURITY;
ALTER TABLE outage FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON outage FOR SELECT USING (
    CASE WHEN gateway_id IS NULL THEN current_tenant() IS NOT NULL
         ELSE EXISTS (SELECT FROM gateway g WHERE g.id = outage.gateway_id) END);
CREATE POLICY of_services ON outage TO territoire_service USING (true) WITH CHECK (true);
GRANT SELECT ON outage TO territoire_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON outage, heartbeat TO territoire_service;
