-- Campaigns: one order to many circuits, approved by somebody else than its author, a few first.

CREATE TABLE lighting_campaign (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    action text NOT NULL CHECK (action IN ('on', 'off', 'dim')),
    level smallint CHECK (level BETWEEN 1 AND 100),
    off_until timestamptz,
    reason text NOT NULL CHECK (length(reason) <= 1000),
    is_emergency boolean NOT NULL DEFAULT false,
    state text NOT NULL DEFAULT 'draft' CHECK (state IN (
        'draft', 'approved', 'canary', 'running', 'paused', 'halted', 'ended', 'cancelled', 'expired')),
    halted_for text,  -- A code of lighting.campaigns.
    author text NOT NULL,
    author_id text NOT NULL,  -- For good: of a person or a key.
    approved_by text,
    approver_id text,
    approved_at timestamptz,
    not_after timestamptz NOT NULL,  -- No frame goes out later.
    neighbours jsonb NOT NULL DEFAULT '{}',  -- Of each gateway those that hear the same devices.
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    ended_at timestamptz,
    UNIQUE (id, tenant_id),
    CHECK ((action = 'dim') = (level IS NOT NULL)),
    CHECK ((action = 'off') = (off_until IS NOT NULL)),
    CHECK (NOT is_emergency OR action = 'on'),
    CHECK ((approved_by IS NULL) = (approved_at IS NULL)),
    -- Who wrote it does not approve it; all on, in an emergency, needs nobody.
    CHECK (is_emergency OR approver_id IS DISTINCT FROM author_id),
    CHECK (is_emergency OR approved_by IS NOT NULL OR state IN ('draft', 'cancelled', 'expired'))
);
CREATE INDEX lighting_campaign_going_on ON lighting_campaign (id) WHERE state IN ('approved', 'canary', 'running');
CREATE INDEX lighting_campaign_of_tenant ON lighting_campaign (tenant_id, id DESC);

CREATE TABLE lighting_campaign_target (
    campaign_id int NOT NULL,
    tenant_id int NOT NULL REFERENCES tenant,
    asset_id int NOT NULL REFERENCES asset ON DELETE CASCADE,
    gateway text NOT NULL,        -- By which it is reached: an EUI, or what stands for another network's server.
    airtime_us int NOT NULL CHECK (airtime_us > 0),
    is_canary boolean NOT NULL DEFAULT false,
    octets jsonb NOT NULL,        -- As a command keeps them (0078).
    rejected text,                -- Why no command was given, when its turn came.
    released_at timestamptz,      -- When its frame was to start.
    command_id bigint REFERENCES lighting_command ON DELETE SET NULL,
    PRIMARY KEY (campaign_id, asset_id),
    FOREIGN KEY (campaign_id, tenant_id) REFERENCES lighting_campaign (id, tenant_id) ON DELETE CASCADE
);
CREATE INDEX lighting_campaign_target_of_asset ON lighting_campaign_target (asset_id);
CREATE INDEX lighting_campaign_target_of_tenant ON lighting_campaign_target (tenant_id);
CREATE INDEX lighting_campaign_target_of_command ON lighting_campaign_target (command_id)
    WHERE command_id IS NOT NULL;
CREATE INDEX lighting_campaign_target_released ON lighting_campaign_target (released_at)
    WHERE released_at IS NOT NULL;

CALL scope_to_tenant('lighting_campaign');
CALL scope_to_tenant('lighting_campaign_target');
GRANT SELECT, INSERT, UPDATE ON lighting_campaign, lighting_campaign_target TO territoire_api;

-- By which gateways the device of each circuit was last heard, the best first, and where it listens; for preparing a
-- campaign, by those who see the device.
CREATE FUNCTION lighting_reached(assets int[])
    RETURNS TABLE (asset_id int, gateways text[], rx2_data_rate smallint, source_id int)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT s.id, coalesce(h.gateways, '{}'), o.rx2_data_rate, l.source_id
    FROM asset s
    JOIN LATERAL (
        SELECT a.device_id FROM assignment a
        JOIN device d ON d.id = a.device_id
        JOIN device_profile p ON p.id = d.device_profile_id
        WHERE a.during @> now()
          AND (a.asset_id = s.id OR (s.kind = 'lighting_circuit' AND a.asset_id = s.parent_id))
        ORDER BY 'switch' = ANY(p.capabilities) DESC, a.asset_id = s.id DESC, a.id LIMIT 1) v ON true
    LEFT JOIN LATERAL (
        SELECT n.rx2_data_rate, n.last_heard_by FROM session n
        WHERE n.device_id = v.device_id AND n.closed_at IS NULL AND n.last_uplink_at IS NOT NULL
        ORDER BY n.id DESC LIMIT 1) o ON true
    LEFT JOIN LATERAL (
        SELECT array_agg(encode(decode(copy ->> 0, 'base64'), 'hex') ORDER BY (copy ->> 7)::float8 DESC) AS gateways
        FROM jsonb_array_elements(o.last_heard_by) AS copy) h ON true
    LEFT JOIN LATERAL (
        SELECT r.source_id FROM lns_route r WHERE r.device_id = v.device_id ORDER BY r.seen_at DESC LIMIT 1) l ON true
    WHERE s.id = ANY(assets) AND sees_device(v.device_id)
$$;
ALTER FUNCTION lighting_reached(int[]) OWNER TO territoire_service;
REVOKE EXECUTE ON FUNCTION lighting_reached(int[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lighting_reached(int[]) TO territoire_api;

INSERT INTO erasure_step VALUES
(44, 'lighting_campaign_target', $$
WITH gone AS (DELETE FROM lighting_campaign_target WHERE asset_id = ANY(($1).asset_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
(148, 'lighting_campaign', $$
WITH named AS (UPDATE lighting_campaign SET author = 'personne effacée' WHERE ($1).kind IN ('person', 'contact')
AND author = ANY(($1).names) RETURNING 1) SELECT count(*) FROM named $$),
(149, 'lighting_campaign', $$
WITH named AS (UPDATE lighting_campaign SET approved_by = 'personne effacée' WHERE ($1).kind IN ('person', 'contact')
AND approved_by = ANY(($1).names) RETURNING 1) SELECT count(*) FROM named $$);
