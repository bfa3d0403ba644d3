-- What the network server keeps: leases, joins, sessions, downlinks, transmissions.

-- Who owns which shard, on the database's clock (DESIGN 2). The epoch is part of the key, so that the
-- FOR KEY SHARE of an owner's transaction holds up a take-over and not a renewal.
CREATE TABLE shard_lease (
    service text NOT NULL,
    shard smallint NOT NULL,
    epoch bigint NOT NULL,
    owner text NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (service, shard, epoch),
    UNIQUE (service, shard)
);

CREATE TABLE dev_nonce (
    device_id int NOT NULL REFERENCES device ON DELETE CASCADE,
    dev_nonce int NOT NULL CHECK (dev_nonce BETWEEN 0 AND 65535),
    used_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (device_id, dev_nonce)
);

-- JoinNonce only rises, also when DevNonces are flushed.
CREATE TABLE join_nonce (
    device_id int PRIMARY KEY REFERENCES device ON DELETE CASCADE,
    last_join_nonce int NOT NULL CHECK (last_join_nonce BETWEEN 0 AND 16777215)
);

CREATE TABLE session (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    device_id int NOT NULL REFERENCES device ON DELETE CASCADE,
    dev_addr bytea NOT NULL CHECK (octet_length(dev_addr) = 4),
    nwk_s_key_wrapped bytea NOT NULL,
    app_s_key_wrapped bytea NOT NULL,
    kek_id text NOT NULL,
    f_cnt_up bigint NOT NULL DEFAULT 0,    -- The next one expected.
    f_cnt_down bigint NOT NULL DEFAULT 0,  -- The next one to use; it is never given back.
    rx1_delay smallint NOT NULL DEFAULT 1,
    rx1_dr_offset smallint NOT NULL DEFAULT 0,
    rx2_data_rate smallint NOT NULL DEFAULT 0,
    rx2_frequency int NOT NULL DEFAULT 869525000,
    -- The last uplink: to know its retransmissions and late copies, and where to answer.
    last_digest bytea,
    last_uplink_id uuid,
    last_uplink_at timestamptz,
    last_confirmed boolean NOT NULL DEFAULT false,
    last_heard_by jsonb NOT NULL DEFAULT '[]',
    activated_at timestamptz NOT NULL DEFAULT now(),
    first_uplink_at timestamptz,
    closed_at timestamptz
);
CREATE INDEX session_open_of_device ON session (device_id) WHERE closed_at IS NULL;
CREATE INDEX session_open_by_dev_addr ON session (dev_addr) WHERE closed_at IS NULL;

-- An ABP device brings its session along. The API's role opens it through this door, for the tenant of its
-- transaction, and can neither read nor change a session.
CREATE FUNCTION import_session(device int, addr bytea, nwk_s_key bytea, app_s_key bytea, kek text) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public AS $$
    INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id)
    SELECT d.id, addr, nwk_s_key, app_s_key, kek FROM device d
    WHERE d.id = device AND d.activation = 'ABP' AND d.tenant_id = current_tenant()
    RETURNING id
$$;
REVOKE EXECUTE ON FUNCTION import_session FROM PUBLIC;
GRANT EXECUTE ON FUNCTION import_session TO territoire_api;

CREATE TYPE downlink_state AS ENUM
    ('queued', 'sending', 'sent', 'acknowledged', 'failed', 'expired', 'cancelled');

CREATE TABLE downlink (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    device_id int NOT NULL REFERENCES device ON DELETE CASCADE,
    slot smallint NOT NULL,
    f_port smallint NOT NULL CHECK (f_port BETWEEN 1 AND 223),
    payload bytea NOT NULL CHECK (octet_length(payload) <= 242),
    confirmed boolean NOT NULL DEFAULT false,
    priority smallint NOT NULL DEFAULT 1,  -- lorawan.airtime.Priority
    not_after timestamptz NOT NULL,
    state downlink_state NOT NULL DEFAULT 'queued',
    reason text,
    attempts smallint NOT NULL DEFAULT 0,
    not_before timestamptz,  -- A refused transmission is tried again from then on.
    f_cnt_down bigint,
    gateway_id bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz
);
-- Read every second: what is sent and awaits no acknowledgement is not in it.
CREATE INDEX downlink_open ON downlink (slot, device_id, priority, id)
    WHERE state IN ('queued', 'sending') OR (state = 'sent' AND confirmed);
CREATE INDEX downlink_of_device ON downlink (device_id, id DESC);

-- What a gateway's radio was asked to emit; written before it is asked. The ledger of its duty cycle.
CREATE TABLE transmission (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    gateway_id bytea NOT NULL,
    starts_at timestamptz NOT NULL,
    frequency int NOT NULL,
    airtime_us int NOT NULL,
    priority smallint NOT NULL,
    downlink_id bigint,
    status text
);
CREATE INDEX transmission_of_gateway ON transmission (gateway_id, starts_at DESC);

CALL scope_to_tenant('downlink');
GRANT SELECT, INSERT, UPDATE ON downlink TO territoire_api;

GRANT SELECT, INSERT, UPDATE, DELETE ON shard_lease, dev_nonce, join_nonce, session, transmission
    TO territoire_service;
-- A function takes its owner's rights: only now, when the table's are granted.
ALTER FUNCTION import_session OWNER TO territoire_service;
