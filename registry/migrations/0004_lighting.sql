-- Lighting commands: what was asked of a cabinet, by whom, and what came of it.

CREATE TYPE lighting_command_state AS ENUM
    ('queued', 'sent', 'confirmed', 'failed', 'expired', 'superseded');

CREATE TABLE lighting_command (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    asset_id int NOT NULL REFERENCES asset,
    device_id int NOT NULL REFERENCES device,
    action text NOT NULL CHECK (action IN ('on', 'off')),
    -- An "off" always ends: at this instant the cabinet is lit again.
    off_until timestamptz CHECK ((action = 'off') = (off_until IS NOT NULL)),
    requested_by text NOT NULL,
    reason text NOT NULL DEFAULT '',
    state lighting_command_state NOT NULL DEFAULT 'queued',
    failure text,
    attempts smallint NOT NULL DEFAULT 1,
    downlink_id bigint NOT NULL REFERENCES downlink,
    read_back_downlink_id bigint REFERENCES downlink,
    not_after timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    confirmed_at timestamptz,
    relight_at timestamptz  -- When the cabinet must be lit again; NULL once that is settled.
);
CREATE INDEX lighting_command_open ON lighting_command (asset_id, id) WHERE state IN ('queued', 'sent');
CREATE INDEX lighting_command_of_asset ON lighting_command (asset_id, id DESC);
CREATE INDEX lighting_command_to_relight ON lighting_command (relight_at) WHERE relight_at IS NOT NULL;

CALL scope_to_tenant('lighting_command');
GRANT SELECT, INSERT, UPDATE ON lighting_command TO territoire_api;
