-- Frames that were stored are decoded again: a job over a device, a profile or a tenant's whole, and a period.

CREATE TABLE redecode (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    device_id int REFERENCES device ON DELETE CASCADE,
    device_profile_id int REFERENCES device_profile ON DELETE CASCADE,  -- Both NULL: every device of the tenant.
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    -- A native codec by name, or a published version; both NULL: as each device's profile says when it is its turn.
    codec text,
    codec_version_id int REFERENCES codec_version,
    only_failed boolean NOT NULL DEFAULT false,
    requested_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
    reason text,
    started_at timestamptz,
    ended_at timestamptz,
    -- Who is at it, and until when without a sign of life.
    taken_by text,
    taken_until timestamptz,
    -- Devices below, and of this one the frames before this instant, are done.
    reached_device_id int NOT NULL DEFAULT 0,
    reached_at timestamptz NOT NULL DEFAULT '2000-01-01Z',
    frames bigint,  -- In all, as counted at the start.
    frames_done bigint NOT NULL DEFAULT 0,
    frames_decoded bigint NOT NULL DEFAULT 0,
    frames_failed bigint NOT NULL DEFAULT 0,
    values_removed bigint NOT NULL DEFAULT 0,
    values_written bigint NOT NULL DEFAULT 0,
    CHECK (since < until),
    CHECK (num_nonnulls(device_id, device_profile_id) <= 1),
    CHECK (num_nonnulls(codec, codec_version_id) <= 1),
    -- One codec for whatever a tenant has would be a mistake.
    CHECK (num_nonnulls(codec, codec_version_id) = 0 OR num_nonnulls(device_id, device_profile_id) = 1)
);
CREATE INDEX redecode_open ON redecode (id) WHERE state IN ('waiting', 'running');
CREATE INDEX redecode_of_tenant ON redecode (tenant_id, id DESC);

CALL scope_to_tenant('redecode');
GRANT SELECT, INSERT ON redecode TO territoire_api;
GRANT UPDATE (state, ended_at) ON redecode TO territoire_api;
