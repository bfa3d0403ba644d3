-- Alerting: rules, alerts and their life, what the engine remembers, and where webhooks go.

CREATE TYPE alert_condition AS ENUM ('ok', 'pending', 'firing', 'recovering', 'unknown');
CREATE TYPE alert_workflow AS ENUM ('open', 'acknowledged', 'resolved');
CREATE TYPE alert_severity AS ENUM ('info', 'warning', 'major', 'critical');

CREATE TABLE alert_rule (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    name text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9_]{0,62}$'),
    kind text NOT NULL CHECK (kind IN ('threshold', 'silence')),
    asset_kind text,  -- NULL: assets of every kind.
    quantity text,
    fire_op text CHECK (fire_op IN ('>=', '>', '<=', '<')),
    fire_value double precision,
    clear_op text CHECK (clear_op IN ('>=', '>', '<=', '<')),
    clear_value double precision,
    -- The condition must hold on so many readings in a row and for so long, in the devices' own time.
    for_readings smallint NOT NULL DEFAULT 1 CHECK (for_readings BETWEEN 1 AND 100),
    for_seconds int NOT NULL DEFAULT 0 CHECK (for_seconds BETWEEN 0 AND 604800),
    clear_on_emptying boolean NOT NULL DEFAULT false,
    -- A device is silent after so many of its profile's expected intervals.
    silence_intervals real NOT NULL DEFAULT 3 CHECK (silence_intervals BETWEEN 1 AND 100),
    severity alert_severity NOT NULL,
    message text NOT NULL CHECK (length(message) BETWEEN 1 AND 1000),
    enabled boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name),
    CHECK (kind = 'silence'
           OR (quantity IS NOT NULL AND fire_op IS NOT NULL AND fire_value IS NOT NULL
               AND clear_op IS NOT NULL AND clear_value IS NOT NULL))
);

CREATE TABLE alert (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    rule_id int NOT NULL REFERENCES alert_rule ON DELETE CASCADE,
    asset_id int REFERENCES asset ON DELETE CASCADE,  -- NULL: a device that serves no asset.
    device_id int REFERENCES device ON DELETE CASCADE,  -- The silent one; NULL for other rules.
    datastream_id int REFERENCES datastream ON DELETE CASCADE,  -- NULL: the rule is about the asset as a whole.
    severity alert_severity NOT NULL,
    message text NOT NULL,
    condition alert_condition NOT NULL,
    workflow alert_workflow NOT NULL DEFAULT 'open',
    opened_at timestamptz NOT NULL,  -- The instant of the observation that opened it.
    acknowledged_at timestamptz,
    acknowledged_by text,
    resolved_at timestamptz,
    resolved_cause text,
    value double precision,  -- The last one that was evaluated.
    threshold double precision,
    occurrences int NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((workflow = 'resolved') = (resolved_at IS NOT NULL))
);
CREATE UNIQUE INDEX alert_open ON alert (tenant_id, rule_id, asset_id, datastream_id, device_id)
    NULLS NOT DISTINCT WHERE workflow <> 'resolved';
CREATE INDEX alert_by_tenant ON alert (tenant_id, id DESC);
CREATE INDEX alert_of_asset ON alert (asset_id, id DESC);

-- Where a rule stands with one datastream, or with one device. Read and written by the transaction that evaluates.
CREATE TABLE rule_state (
    tenant_id int NOT NULL REFERENCES tenant,
    rule_id int NOT NULL REFERENCES alert_rule ON DELETE CASCADE,
    datastream_id int REFERENCES datastream ON DELETE CASCADE,
    device_id int REFERENCES device ON DELETE CASCADE,
    condition alert_condition NOT NULL,
    since timestamptz NOT NULL,         -- Observed instant at which it entered `condition`.
    readings smallint NOT NULL,         -- In a row, for which the rule's condition holds.
    evaluated_until timestamptz NOT NULL,  -- Observations up to here are done with.
    value double precision,
    alert_id bigint REFERENCES alert ON DELETE SET NULL,
    CHECK ((datastream_id IS NULL) <> (device_id IS NULL))
);
CREATE UNIQUE INDEX rule_state_of ON rule_state (rule_id, datastream_id, device_id) NULLS NOT DISTINCT;
CREATE INDEX rule_state_of_datastream ON rule_state (datastream_id) WHERE datastream_id IS NOT NULL;

-- When a device will count as silent; NULL: it does, until it is heard again.
CREATE TABLE deadline (
    rule_id int NOT NULL REFERENCES alert_rule ON DELETE CASCADE,
    device_id int NOT NULL REFERENCES device ON DELETE CASCADE,
    tenant_id int NOT NULL REFERENCES tenant,
    asset_id int REFERENCES asset ON DELETE CASCADE,
    slot smallint NOT NULL CHECK (slot BETWEEN 0 AND 15),  -- Of the asset's measurements.
    heard_at timestamptz NOT NULL,
    due_at timestamptz,
    PRIMARY KEY (rule_id, device_id)
);
CREATE INDEX deadline_due ON deadline (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE webhook_endpoint (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    url text NOT NULL CHECK (length(url) <= 2000),
    description text NOT NULL DEFAULT '',
    -- What messages are signed with: AES key wrap (RFC 3394) under kek_id; never read by the API.
    secret_wrapped bytea NOT NULL,
    previous_secret_wrapped bytea,
    previous_until timestamptz,  -- Until then, messages are signed with both.
    kek_id text NOT NULL,
    state text NOT NULL DEFAULT 'enabled' CHECK (state IN ('enabled', 'disabled')),
    disabled_reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((state = 'disabled') = (disabled_reason IS NOT NULL))
);
CREATE INDEX webhook_endpoint_of_tenant ON webhook_endpoint (tenant_id);

-- Every attempt at delivering a message; the messages themselves wait in the queue of jobs.
CREATE TABLE webhook_attempt (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    endpoint_id int NOT NULL REFERENCES webhook_endpoint ON DELETE CASCADE,
    message_id text NOT NULL,
    alert_id bigint NOT NULL,
    attempt smallint NOT NULL,
    at timestamptz NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('delivered', 'failed', 'refused', 'gone')),
    status smallint,  -- Of the answer; NULL: there was none.
    duration_ms int NOT NULL,
    answer text NOT NULL DEFAULT '',  -- First kilobyte, or what went wrong.
    UNIQUE (endpoint_id, message_id, attempt)
);
CREATE INDEX webhook_attempt_of_endpoint ON webhook_attempt (endpoint_id, id DESC);

CREATE TRIGGER alert_rule_changed AFTER INSERT OR UPDATE OR DELETE ON alert_rule
    FOR EACH ROW EXECUTE FUNCTION note_registry_change('alert_rule', 'id');
CREATE TRIGGER webhook_endpoint_changed AFTER INSERT OR UPDATE OR DELETE ON webhook_endpoint
    FOR EACH ROW EXECUTE FUNCTION note_registry_change('webhook_endpoint', 'id');

CALL scope_to_tenant('alert_rule');
CALL scope_to_tenant('alert');
CALL scope_to_tenant('rule_state');
CALL scope_to_tenant('deadline');
CALL scope_to_tenant('webhook_endpoint');
CALL scope_to_tenant('webhook_attempt');

GRANT SELECT, INSERT, UPDATE, DELETE ON alert_rule TO territoire_api;
GRANT SELECT, UPDATE (workflow, acknowledged_at, acknowledged_by, updated_at) ON alert TO territoire_api;
GRANT SELECT ON webhook_attempt TO territoire_api;
-- The API's role writes the secrets and cannot read them.
GRANT SELECT (id, tenant_id, url, description, previous_until, kek_id, state, disabled_reason, created_at)
    ON webhook_endpoint TO territoire_api;
GRANT INSERT, UPDATE, DELETE ON webhook_endpoint TO territoire_api;
