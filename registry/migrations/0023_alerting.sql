-- Rules that say more, alerts with a whole life, teams that are told, silences, and what each alert's history was.

-- A lamp hangs on a circuit, a circuit on a cabinet, a flat's meter behind a building's. Of the same tenant, else it
-- counts for nothing.
ALTER TABLE asset ADD COLUMN parent_id int REFERENCES asset ON DELETE SET NULL CHECK (parent_id <> id);
CREATE INDEX asset_by_parent ON asset (parent_id) WHERE parent_id IS NOT NULL;

-- Who is told. Quiet hours are local; they may run over midnight.
CREATE TABLE team (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    quiet_from time,   -- NULL, both: never quiet.
    quiet_until time,
    quiet_on_days_off boolean NOT NULL DEFAULT false,  -- Saturdays, Sundays and public holidays, the whole day.
    digest_at time NOT NULL DEFAULT '07:30',
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name),
    CHECK ((quiet_from IS NULL) = (quiet_until IS NULL))
);
-- Rung 0 is told at once, the next one when nobody has acknowledged for so long.
CREATE TABLE contact (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    team_id int NOT NULL REFERENCES team ON DELETE CASCADE,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    rung smallint NOT NULL DEFAULT 0 CHECK (rung BETWEEN 0 AND 9),
    after_seconds int NOT NULL DEFAULT 1800 CHECK (after_seconds BETWEEN 60 AND 604800),
    email text CHECK (length(email) BETWEEN 3 AND 320),
    webhook_endpoint_id int REFERENCES webhook_endpoint ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nonnulls(email, webhook_endpoint_id) = 1)
);
CREATE INDEX contact_of_team ON contact (team_id, rung);
CREATE INDEX contact_of_endpoint ON contact (webhook_endpoint_id) WHERE webhook_endpoint_id IS NOT NULL;

-- When a place is open: hours by weekday, and the days on which it is closed all the same.
CREATE TABLE alert_calendar (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    weekly jsonb NOT NULL,  -- Seven lists, from Monday, of ["HH:MM", "HH:MM"].
    school_zone char(1) CHECK (school_zone IN ('A', 'B', 'C')),  -- Closed in the school holidays of this zone.
    closed_on_holidays boolean NOT NULL DEFAULT true,
    closures daterange[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name)
);

ALTER TABLE alert_rule DROP CONSTRAINT alert_rule_kind_check, DROP CONSTRAINT alert_rule_check,
                       DROP CONSTRAINT alert_rule_for_readings_check;
ALTER TABLE alert_rule
    ADD CONSTRAINT alert_rule_kind_check
        CHECK (kind IN ('threshold', 'range', 'rate', 'boolean', 'flat', 'silence', 'gateway', 'loss')),
    ADD COLUMN asset_kinds text[] CHECK (cardinality(asset_kinds) > 0),  -- NULL: assets of every kind.
    ADD COLUMN tags text[] NOT NULL DEFAULT '{}',  -- One of them is enough; empty: whatever the tags.
    -- What is compared: a series computed from the quantity. NULL: the values themselves.
    ADD COLUMN series text CHECK (series IN ('night_minimum_flow', 'power_ratio')),
    -- One alert for the asset, whichever of its datastreams it was, or one for each.
    ADD COLUMN scope text NOT NULL DEFAULT 'datastream' CHECK (scope IN ('datastream', 'asset')),
    ADD COLUMN fire_upper double precision,   -- With fire_value, the range outside which it fires.
    ADD COLUMN clear_upper double precision,
    ADD COLUMN of_readings smallint,          -- for_readings of so many; NULL: in a row.
    ADD COLUMN keep_firing_seconds int NOT NULL DEFAULT 0 CHECK (keep_firing_seconds BETWEEN 0 AND 604800),
    -- Rungs above `severity`: {"severity", "op", "value"} or {"severity", "within_hours", "limit"}, in rising order.
    ADD COLUMN ladder jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN schedule text NOT NULL DEFAULT 'always'
        CHECK (schedule IN ('always', 'open', 'closed', 'night', 'lit', 'unlit')),
    ADD COLUMN calendar_id int REFERENCES alert_calendar,
    ADD COLUMN team_id int REFERENCES team ON DELETE SET NULL,  -- NULL: every endpoint of the tenant.
    ADD COLUMN inhibits boolean NOT NULL DEFAULT false,  -- While it is open, what hangs on its asset tells nobody.
    ADD COLUMN cadence text NOT NULL DEFAULT 'now' CHECK (cadence IN ('now', 'weekly')),
    ADD COLUMN reopen_after_seconds int NOT NULL DEFAULT 14400 CHECK (reopen_after_seconds BETWEEN 300 AND 2592000);
UPDATE alert_rule SET asset_kinds = ARRAY[asset_kind] WHERE asset_kind IS NOT NULL;
UPDATE alert_rule SET for_readings = 60 WHERE for_readings > 60;
ALTER TABLE alert_rule
    DROP COLUMN asset_kind,
    ADD CHECK (for_readings BETWEEN 1 AND 60),
    ADD CHECK (of_readings BETWEEN for_readings AND 60),
    ADD CHECK (CASE
        WHEN kind IN ('silence', 'gateway') THEN true
        WHEN kind = 'loss' THEN fire_value IS NOT NULL AND clear_value IS NOT NULL
        WHEN kind IN ('flat', 'boolean') THEN quantity IS NOT NULL AND fire_value IS NOT NULL
        WHEN kind = 'range' THEN quantity IS NOT NULL
             AND num_nonnulls(fire_value, fire_upper, clear_value, clear_upper) = 4 AND fire_value <= clear_value AND clear_value <= clear_upper AND clear_upper <= fire_upper
        ELSE quantity IS NOT NULL AND num_nonnulls(fire_op, fire_value, clear_op, clear_value) = 4 END);

-- An alert's work: on its way, taken up, done, and put away.
DROP INDEX alert_open;
ALTER TABLE alert DROP CONSTRAINT alert_check, ALTER COLUMN workflow DROP DEFAULT;
ALTER TYPE alert_workflow RENAME TO alert_workflow_before;
CREATE TYPE alert_workflow AS ENUM ('open', 'acknowledged', 'in_progress', 'resolved', 'closed');
ALTER TABLE alert
    ALTER COLUMN workflow TYPE alert_workflow USING workflow::text::alert_workflow,
    ALTER COLUMN workflow SET DEFAULT 'open',
    ADD COLUMN gateway_id int REFERENCES gateway ON DELETE CASCADE,
    ADD COLUMN team_id int REFERENCES team ON DELETE SET NULL,
    ADD COLUMN slot smallint NOT NULL DEFAULT 0 CHECK (slot BETWEEN 0 AND 15),  -- Whose owner sees to `due_at`.
    ADD COLUMN fired_at timestamptz,          -- Since when, this time.
    ADD COLUMN assignee text,
    ADD COLUMN resolved_by text,              -- NULL: by itself.
    ADD COLUMN closed_at timestamptz,
    ADD COLUMN closed_by text,
    ADD COLUMN closed_reason text,
    ADD COLUMN reopen_at timestamptz,         -- Ended by a person while it fires: looked at again then.
    ADD COLUMN told boolean NOT NULL DEFAULT true,  -- Somebody was told that it is open.
    ADD COLUMN muted_by text,                 -- Why nobody was.
    ADD COLUMN muted_until timestamptz,       -- When that is looked at again.
    ADD COLUMN transitions timestamptz[] NOT NULL DEFAULT '{}',  -- Of the last six hours.
    ADD COLUMN is_flapping boolean NOT NULL DEFAULT false,
    ADD COLUMN untold_transitions int NOT NULL DEFAULT 0,  -- While flapping, since the last digest.
    ADD COLUMN digest_at timestamptz,
    ADD COLUMN due_at timestamptz;            -- The first of reopen_at, muted_until and digest_at.
DROP TYPE alert_workflow_before;
UPDATE alert SET fired_at = opened_at;
ALTER TABLE alert
    ALTER COLUMN fired_at SET NOT NULL,
    ALTER COLUMN fired_at SET DEFAULT now(),
    ADD CHECK ((workflow IN ('resolved', 'closed')) = (resolved_at IS NOT NULL)),
    ADD CHECK ((workflow = 'closed') = (closed_at IS NOT NULL));
CREATE UNIQUE INDEX alert_open ON alert (tenant_id, rule_id, asset_id, datastream_id, device_id, gateway_id)
    NULLS NOT DISTINCT WHERE workflow NOT IN ('resolved', 'closed');
-- The last of a fingerprint: fired again within a day, it is opened again.
CREATE INDEX alert_of_fingerprint ON alert (rule_id, asset_id, datastream_id, device_id, gateway_id, id DESC);
CREATE INDEX alert_due ON alert (due_at) WHERE due_at IS NOT NULL;

ALTER TABLE rule_state DROP CONSTRAINT rule_state_check;
DROP INDEX rule_state_of;
ALTER TABLE rule_state RENAME COLUMN readings TO recent;
ALTER TABLE rule_state
    -- Of the last readings, the newest in the lowest bit: whether the rule's condition held.
    ALTER COLUMN recent TYPE bigint USING (1::bigint << least(recent, 60)) - 1,
    ADD COLUMN gateway_id int REFERENCES gateway ON DELETE CASCADE,
    ADD COLUMN slot smallint NOT NULL DEFAULT 0 CHECK (slot BETWEEN 0 AND 15),
    ADD COLUMN rung smallint NOT NULL DEFAULT 0,       -- Of the ladder that the open alert has reached.
    ADD COLUMN due_at timestamptz,                     -- When it is judged without a new value.
    ADD COLUMN memo bytea NOT NULL DEFAULT '',         -- What a computed series or a forecast has to remember.
    ADD CHECK (num_nonnulls(datastream_id, device_id, gateway_id) = 1);
CREATE UNIQUE INDEX rule_state_of ON rule_state (rule_id, datastream_id, device_id, gateway_id) NULLS NOT DISTINCT;
CREATE INDEX rule_state_due ON rule_state (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX rule_state_of_alert ON rule_state (alert_id) WHERE alert_id IS NOT NULL;

-- What happened to an alert, and what people said of it.
CREATE TABLE alert_event (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    alert_id bigint NOT NULL REFERENCES alert ON DELETE CASCADE,
    at timestamptz NOT NULL,
    actor text,  -- NULL: the engine.
    action text NOT NULL CHECK (action IN ('opened', 'reopened', 'raised', 'resolved', 'muted', 'flapping', 'settled',
                                           'acknowledged', 'assigned', 'commented', 'closed')),
    note text NOT NULL DEFAULT '' CHECK (length(note) <= 1000)
);
CREATE INDEX alert_event_of_alert ON alert_event (alert_id, id);

-- What a team is told, written by the transaction that changes the alert; who delivers it fans it out.
CREATE TABLE alert_notice (
    id uuid PRIMARY KEY,
    tenant_id int NOT NULL REFERENCES tenant,
    team_id int REFERENCES team ON DELETE SET NULL,  -- NULL: every endpoint of the tenant.
    alert_id bigint NOT NULL REFERENCES alert ON DELETE CASCADE,
    event text NOT NULL CHECK (event IN ('alert.opened', 'alert.reopened', 'alert.raised', 'alert.resolved',
                                         'alert.flapping', 'alert.digest')),
    severity alert_severity NOT NULL,
    cadence text NOT NULL CHECK (cadence IN ('now', 'weekly')),
    at timestamptz NOT NULL,
    message text NOT NULL,
    body bytea NOT NULL  -- The JSON of Standard Webhooks, the same for everybody.
);
CREATE INDEX alert_notice_of_alert ON alert_notice (alert_id);
CREATE INDEX alert_notice_by_tenant ON alert_notice (tenant_id, at DESC);

-- Nobody is told of what matches: all that is given must. An end before its time is written into `ends_at`.
CREATE TABLE silence (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    author text NOT NULL,
    reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    starts_at timestamptz NOT NULL DEFAULT now(),
    ends_at timestamptz NOT NULL,
    rule_id int REFERENCES alert_rule ON DELETE CASCADE,
    asset_id int REFERENCES asset ON DELETE CASCADE,
    asset_kind text,
    tag text,
    commune text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (ends_at > starts_at),
    CHECK (num_nonnulls(rule_id, asset_id, asset_kind, tag, commune) > 0)
);
CREATE INDEX silence_by_end ON silence (tenant_id, ends_at);

-- Work on an asset and all that hangs on it.
CREATE TABLE maintenance_window (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    asset_id int NOT NULL REFERENCES asset ON DELETE CASCADE,
    author text NOT NULL,
    reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL CHECK (ends_at > starts_at),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX maintenance_window_of_asset ON maintenance_window (asset_id, ends_at);

CREATE TRIGGER alert_calendar_changed AFTER INSERT OR UPDATE OR DELETE ON alert_calendar
    FOR EACH ROW EXECUTE FUNCTION note_registry_change('alert_calendar', 'id');

DO $$
DECLARE
    scoped regclass;
BEGIN
    FOREACH scoped IN ARRAY ARRAY['team', 'contact', 'alert_calendar', 'alert_event', 'alert_notice', 'silence',
                                  'maintenance_window']::regclass[] LOOP
        CALL scope_to_tenant(scoped);
    END LOOP;
END
$$;
-- What happened to an alert is seen by whoever sees the alert.
CALL share_reading('alert_event', 'alert_id IN (SELECT granted_alert())');

GRANT SELECT, INSERT, UPDATE, DELETE ON team, contact, alert_calendar TO territoire_api;
GRANT SELECT, INSERT, UPDATE (ends_at), DELETE ON silence, maintenance_window TO territoire_api;
GRANT SELECT, INSERT ON alert_event TO territoire_api;
GRANT SELECT ON alert_notice TO territoire_api;
GRANT UPDATE (assignee, resolved_at, resolved_by, resolved_cause, closed_at, closed_by, closed_reason, reopen_at,
              digest_at, muted_until, due_at) ON alert TO territoire_api;

-- As before (0009), and alerts that were put away go with the others.
CREATE OR REPLACE FUNCTION transfer_asset(moved int, receiver int, keeps_history boolean, actor text, noted jsonb) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    giver int := current_tenant();
    instant timestamptz := clock_timestamp();
    devices int[];
    memory int;
BEGIN
    PERFORM FROM asset WHERE id = moved AND tenant_id = giver FOR UPDATE;
    IF NOT FOUND OR receiver = giver THEN
        RAISE EXCEPTION 'asset % is not to be given', moved USING ERRCODE = 'no_data_found';
    END IF;
    devices := ARRAY(SELECT device_id FROM assignment WHERE asset_id = moved AND during @> instant ORDER BY device_id);
    PERFORM FROM device WHERE id = ANY(devices) ORDER BY id FOR UPDATE;
    IF EXISTS (SELECT FROM lighting_command WHERE asset_id = moved
               AND (state IN ('queued', 'sent') OR relight_at IS NOT NULL))
       OR EXISTS (SELECT FROM downlink WHERE device_id = ANY(devices) AND state IN ('queued', 'sending')) THEN
        RAISE EXCEPTION 'asset % is being commanded', moved USING ERRCODE = 'object_in_use';
    END IF;
    UPDATE asset SET tenant_id = receiver WHERE id = moved;
    PERFORM give_profiles(devices, receiver);
    IF keeps_history THEN
        INSERT INTO asset (tenant_id, kind, name, commune, street, latitude, longitude, attributes, privacy_class, tags)
        SELECT giver, kind, name, commune, street, latitude, longitude,
               attributes || jsonb_build_object('transferred', jsonb_build_object('asset_id', moved, 'at', instant)),
               privacy_class, tags
        FROM asset WHERE id = moved RETURNING id INTO memory;
        UPDATE access_grant SET asset_id = memory WHERE asset_id = moved AND tenant_id = giver;
        UPDATE alert SET asset_id = memory WHERE asset_id = moved AND workflow IN ('resolved', 'closed');
        UPDATE lighting_command SET asset_id = memory WHERE asset_id = moved;
        UPDATE datastream SET asset_id = memory WHERE asset_id = moved;
        -- What a device measured while it served nothing would be continued by its next owner.
        UPDATE datastream d SET asset_id = memory, position = encode(v.dev_eui, 'hex') FROM device v
        WHERE v.id = d.device_id AND d.asset_id IS NULL AND d.device_id = ANY(devices);
        UPDATE assignment SET asset_id = memory,
            during = CASE WHEN during @> instant THEN tstzrange(lower(during), instant) ELSE during END
        WHERE asset_id = moved;
        INSERT INTO assignment (tenant_id, asset_id, device_id, position, during)
        SELECT receiver, moved, device_id, position, tstzrange(instant, NULL)
        FROM assignment WHERE asset_id = memory AND upper(during) = instant;
        PERFORM keep_tenure(device_id, giver, tstzmultirange(tstzrange(v.owned_since, instant)), '{}')
        FROM unnest(devices) AS device_id JOIN device v ON v.id = device_id;
    ELSE
        UPDATE access_grant SET revoked_at = instant, revoked_by = actor
        WHERE asset_id = moved AND tenant_id = giver AND revoked_at IS NULL;
        DELETE FROM rule_state WHERE datastream_id IN (
            SELECT id FROM datastream WHERE asset_id = moved OR (asset_id IS NULL AND device_id = ANY(devices)));
        UPDATE datastream SET tenant_id = receiver
        WHERE asset_id = moved OR (asset_id IS NULL AND device_id = ANY(devices));
        -- The uplinks go with the times when a device served this asset; a device that stays remains readable, too.
        PERFORM keep_tenure(s.device_id, receiver, s.served, '{}'),
                keep_tenure(s.device_id, giver, CASE WHEN v.id = ANY(devices)
                    THEN tstzmultirange(tstzrange(v.owned_since, instant)) ELSE '{}' END, s.served)
        FROM (SELECT device_id, range_agg(during * tstzrange(NULL, instant)) AS served
              FROM assignment WHERE asset_id = moved GROUP BY device_id) AS s
        JOIN device v ON v.id = s.device_id;
        UPDATE assignment SET tenant_id = receiver WHERE asset_id = moved;
    END IF;
    DELETE FROM deadline WHERE device_id = ANY(devices) OR asset_id = moved;
    DELETE FROM rule_state WHERE device_id = ANY(devices);
    UPDATE device SET tenant_id = receiver, owned_since = instant WHERE id = ANY(devices);
    INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details) VALUES
        (giver, actor, 'transfer', 'asset', moved::text, noted || jsonb_build_object('to', receiver, 'kept_as', memory)),
        (receiver, actor, 'receive', 'asset', moved::text,
         jsonb_build_object('from', giver, 'history', CASE WHEN keeps_history THEN 'stays' ELSE 'goes_along' END));
    RETURN memory;
END
$$;
