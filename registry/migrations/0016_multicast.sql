-- Groups of class C devices that are told one thing at once: one address, one pair of keys, one counter.

CREATE TABLE multicast_group (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    name text NOT NULL,
    slot smallint NOT NULL GENERATED ALWAYS AS (id & 15) STORED,  -- Its shard's owner in network has the counter.
    dev_addr bytea NOT NULL CHECK (octet_length(dev_addr) = 4),
    nwk_s_key_wrapped bytea NOT NULL,  -- AES key wrap (RFC 3394) under kek_id; never read by the API.
    app_s_key_wrapped bytea NOT NULL,
    kek_id text NOT NULL,
    data_rate smallint NOT NULL DEFAULT 3 CHECK (data_rate BETWEEN 0 AND 5),
    frequency int NOT NULL DEFAULT 869525000,
    repeats smallint NOT NULL DEFAULT 2 CHECK (repeats BETWEEN 1 AND 5),  -- How often each gateway says it.
    f_cnt bigint NOT NULL DEFAULT 0 CHECK (f_cnt BETWEEN 0 AND 4294967296),  -- The next one; never given back.
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name)
);
CREATE TABLE multicast_member (
    group_id int NOT NULL REFERENCES multicast_group ON DELETE CASCADE,
    device_id int NOT NULL REFERENCES device ON DELETE CASCADE,
    tenant_id int NOT NULL REFERENCES tenant,
    PRIMARY KEY (group_id, device_id)
);
CREATE INDEX multicast_member_of_device ON multicast_member (device_id);

CREATE TABLE multicast_message (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    group_id int NOT NULL REFERENCES multicast_group ON DELETE CASCADE,
    slot smallint NOT NULL,
    f_port smallint NOT NULL CHECK (f_port BETWEEN 1 AND 223),
    payload bytea NOT NULL CHECK (octet_length(payload) <= 242),
    priority smallint NOT NULL DEFAULT 1,  -- lorawan.airtime.Priority
    not_after timestamptz NOT NULL,
    state downlink_state NOT NULL DEFAULT 'queued',
    reason text,
    f_cnt bigint,
    emissions jsonb NOT NULL DEFAULT '[]',  -- By gateway and repeat: what became of it.
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX multicast_message_open ON multicast_message (slot, group_id) WHERE state IN ('queued', 'sending');
CREATE INDEX multicast_message_of_group ON multicast_message (group_id, id DESC);

CALL scope_to_tenant('multicast_group');
CALL scope_to_tenant('multicast_member');
CALL scope_to_tenant('multicast_message');
GRANT SELECT (id, tenant_id, name, slot, dev_addr, kek_id, data_rate, frequency, repeats, f_cnt, created_at)
    ON multicast_group TO territoire_api;
GRANT INSERT, DELETE ON multicast_group TO territoire_api;
GRANT SELECT, INSERT, DELETE ON multicast_member TO territoire_api;
GRANT SELECT, INSERT ON multicast_message TO territoire_api;
GRANT UPDATE (state, reason, updated_at) ON multicast_message TO territoire_api;
