-- locks: alert_request ACCESS EXCLUSIVE scan
-- locks: alert_rule ACCESS EXCLUSIVE scan
-- locks: export_job SHARE ROW EXCLUSIVE instant
-- locks: tenant SHARE ROW EXCLUSIVE instant

-- Scheduled drops: an export is written again and again, and its file put down in a folder or with an SFTP server
-- (docs/decisions/0105). A drop is one run of a schedule over one period, and its receipt.

CREATE TABLE export_schedule (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id int NOT NULL REFERENCES tenant,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    format text NOT NULL CHECK (format IN ('csv', 'ndjson', 'parquet')),
    spreadsheet boolean NOT NULL DEFAULT false,
    selection jsonb NOT NULL DEFAULT '{}',  -- As an export has it.
    -- When: at an hour of the local clock (each day, a day of the week, a day of the month), or every so many hours.
    frequency text NOT NULL CHECK (frequency IN ('hours', 'day', 'week', 'month')),
    every_hours smallint CHECK (every_hours BETWEEN 1 AND 12),
    at_hour smallint NOT NULL DEFAULT 0 CHECK (at_hour BETWEEN 0 AND 23),
    on_day smallint NOT NULL DEFAULT 1 CHECK (on_day BETWEEN 1 AND 28),
    covers text NOT NULL CHECK (covers IN ('previous', 'since_last')),
    file_name text NOT NULL CHECK (length(file_name) BETWEEN 1 AND 120 AND file_name !~ '[/\\]'),
    checksum_file boolean NOT NULL DEFAULT false,
    target text NOT NULL CHECK (target IN ('folder', 'sftp')),
    directory text NOT NULL DEFAULT '',  -- Below the tenant's own folder, or on the server.
    host text,
    port int CHECK (port BETWEEN 1 AND 65535),
    username text,
    authentication text CHECK (authentication IN ('password', 'private_key')),
    secret_wrapped bytea,
    kek_id text,
    sealed_for uuid NOT NULL DEFAULT gen_random_uuid(),
    host_key text,       -- The only one that is accepted, as OpenSSH writes it; none yet: nothing is sent.
    seen_host_key text,  -- That of the last test.
    enabled boolean NOT NULL DEFAULT true,
    stopped_reason text,  -- Why it was stopped by itself, in French.
    requested_by text NOT NULL,
    -- Whose rights hold at each run: a key's, or a person's.
    key_id text,
    person_id int,
    created_at timestamptz NOT NULL DEFAULT now(),
    next_at timestamptz NOT NULL,
    covered_until timestamptz NOT NULL DEFAULT now(),  -- Until when what was dropped reaches.
    test_wanted boolean NOT NULL DEFAULT true,
    tested_at timestamptz,
    test_reason text,  -- Why the last test failed.
    failing_since timestamptz,  -- Since when the tenant has an alert of it.
    UNIQUE (id, tenant_id),
    UNIQUE (tenant_id, name),
    CHECK ((frequency = 'hours') = (every_hours IS NOT NULL)),
    CHECK (CASE target WHEN 'sftp' THEN num_nulls(host, port, username, authentication, secret_wrapped, kek_id) = 0
           ELSE num_nonnulls(host, port, username, authentication, secret_wrapped, kek_id, host_key) = 0 END)
);
CREATE INDEX export_schedule_due ON export_schedule (next_at) WHERE enabled;
CREATE INDEX export_schedule_to_test ON export_schedule (id) WHERE test_wanted;

CREATE TABLE export_drop (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id int NOT NULL,
    schedule_id int NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL CHECK (since < until),
    file_name text NOT NULL,
    -- waiting: for its export to be asked for; writing: for its end; sending: to be put down.
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'writing', 'sending', 'done', 'failed')),
    attempts int NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT now(),
    export_id int REFERENCES export_job ON DELETE SET NULL,
    placed boolean DEFAULT false,  -- Whether its file is there: it alone may be replaced. NULL: it may be.
    reason text,  -- Why the last attempt failed, in French.
    streams int NOT NULL DEFAULT 0,
    readings bigint NOT NULL DEFAULT 0,
    octets bigint NOT NULL DEFAULT 0,
    digest bytea,  -- SHA-256 of the file.
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    taken_by text,
    taken_until timestamptz,
    UNIQUE (schedule_id, since, until),
    FOREIGN KEY (schedule_id, tenant_id) REFERENCES export_schedule (id, tenant_id) ON DELETE CASCADE
);
CREATE INDEX export_drop_of_tenant ON export_drop (tenant_id, id);
CREATE INDEX export_drop_open ON export_drop (next_at) WHERE state IN ('waiting', 'writing', 'sending');
CREATE INDEX export_drop_of_export ON export_drop (export_id) WHERE export_id IS NOT NULL;

CALL scope_to_tenant('export_schedule');
CALL scope_to_tenant('export_drop');
GRANT SELECT, DELETE, INSERT (tenant_id, name, format, spreadsheet, selection, frequency, every_hours, at_hour, on_day,
              covers, file_name, checksum_file, target, directory, host, port, username, authentication,
              secret_wrapped, kek_id, sealed_for, host_key, requested_by, key_id, person_id, next_at),
      UPDATE (enabled, stopped_reason, requested_by, key_id, person_id, next_at, covered_until, test_wanted, host_key,
              secret_wrapped, kek_id, failing_since) ON export_schedule TO territoire_api;
GRANT SELECT, INSERT (tenant_id, schedule_id, since, until, file_name),
      UPDATE (state, attempts, next_at, reason, ended_at, export_id) ON export_drop TO territoire_api;

INSERT INTO quota_default (kind, most, counted, condition) VALUES ('export_schedules', 20, 'export_schedule', 'true');
CREATE TRIGGER quota_of_new AFTER INSERT ON export_schedule FOR EACH ROW
    WHEN (session_user = 'territoire_api') EXECUTE FUNCTION keep_quota();
CREATE TRIGGER quota_of_taken_over AFTER UPDATE OF tenant_id ON export_schedule FOR EACH ROW
    WHEN (session_user = 'territoire_api' AND NEW.tenant_id IS DISTINCT FROM OLD.tenant_id)
    EXECUTE FUNCTION keep_quota();

INSERT INTO erasure_step VALUES
(9, 'export_schedule', $$
WITH named AS (UPDATE export_schedule SET requested_by = 'personne effacée' WHERE ($1).kind IN ('person', 'contact')
AND requested_by = ANY(($1).names) RETURNING 1) SELECT count(*) FROM named $$);

-- What this transaction may read, as a policy says it for the views.
CREATE FUNCTION readable_streams() RETURNS SETOF int
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 10000 AS $$
    SELECT d.id FROM datastream d
$$;
GRANT CREATE ON SCHEMA public TO territoire_views;
ALTER FUNCTION readable_streams() OWNER TO territoire_views;
REVOKE CREATE ON SCHEMA public FROM territoire_views;

-- The door of the service that drops: it enters the tenant of a schedule, with what who made it may see now. `roles`
-- are a key's, `role` is a person's; both NULL: the key holds no more, the person has gone, the tenant is closed.
CREATE FUNCTION enter_export_schedule(schedule int, OUT roles text[], OUT role text)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    known export_schedule;
BEGIN
    SELECT s.* INTO known FROM export_schedule s WHERE s.id = schedule;
    IF NOT FOUND OR EXISTS (SELECT FROM tenant t WHERE t.id = known.tenant_id AND t.closed_at IS NOT NULL) THEN
        RETURN;
    END IF;
    IF known.key_id IS NOT NULL THEN
        SELECT k.roles INTO roles FROM api_key k
        WHERE k.id = known.key_id AND k.tenant_id = known.tenant_id AND k.revoked_at IS NULL
          AND (k.expires_at IS NULL OR k.expires_at > now()) AND k.asset_kinds = '{}';
    ELSE
        SELECT m.role INTO role FROM membership m JOIN person p ON p.id = m.person_id
        WHERE m.person_id = known.person_id AND m.tenant_id = known.tenant_id AND p.disabled_at IS NULL;
    END IF;
    PERFORM set_config('app.proved', '', true);
    PERFORM seal_transaction(known.tenant_id, false, known.tenant_id, '{}');
END
$$;
ALTER FUNCTION enter_export_schedule(int) OWNER TO territoire_service;
REVOKE EXECUTE ON FUNCTION enter_export_schedule(int), readable_streams() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION readable_streams() TO territoire_api;

-- An alert of a schedule that fails is over with the file that is there again, and with the schedule.
ALTER TABLE alert_request DROP CONSTRAINT alert_request_kind_check,
    ADD CONSTRAINT alert_request_kind_check CHECK (kind IN (
        'gateway_address', 'codec', 'clock', 'relight_failed', 'program_mismatch', 'export_drop'));
ALTER TABLE alert_rule
    DROP CONSTRAINT alert_rule_kind_check,
    ADD CONSTRAINT alert_rule_kind_check CHECK (kind IN (
        'threshold', 'range', 'rate', 'boolean', 'flat', 'silence', 'gateway', 'loss', 'gateway_address', 'codec',
        'clock', 'relight_failed', 'program_mismatch', 'export_drop', 'partner')),
    DROP CONSTRAINT alert_rule_limits_check,
    ADD CONSTRAINT alert_rule_limits_check CHECK (CASE
        WHEN kind IN ('silence', 'gateway', 'gateway_address', 'codec', 'clock', 'relight_failed', 'program_mismatch',
                      'export_drop', 'partner') THEN true
        WHEN kind = 'loss' THEN fire_value IS NOT NULL AND clear_value IS NOT NULL
        WHEN kind IN ('flat', 'boolean') THEN quantity IS NOT NULL AND fire_value IS NOT NULL
        WHEN kind = 'range' THEN quantity IS NOT NULL
             AND num_nonnulls(fire_value, fire_upper, clear_value, clear_upper) = 4 AND fire_value <= clear_value AND clear_value <= clear_upper AND clear_upper <= fire_upper
        ELSE quantity IS NOT NULL AND num_nonnulls(fire_op, fire_value, clear_op, clear_value) = 4 END);
CREATE FUNCTION end_alert_of_export_schedule() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO alert_request (tenant_id, kind, facts, at)
    VALUES (OLD.tenant_id, 'export_drop', jsonb_build_object('schedule', OLD.name, 'reason', NULL), now());
    RETURN NULL;
END
$$;
ALTER FUNCTION end_alert_of_export_schedule() OWNER TO territoire_service;
REVOKE EXECUTE ON FUNCTION end_alert_of_export_schedule() FROM PUBLIC;
CREATE TRIGGER works_again AFTER UPDATE OF failing_since ON export_schedule FOR EACH ROW
    WHEN (OLD.failing_since IS NOT NULL AND NEW.failing_since IS NULL) EXECUTE FUNCTION end_alert_of_export_schedule();
CREATE TRIGGER works_no_more AFTER DELETE ON export_schedule FOR EACH ROW
    WHEN (OLD.failing_since IS NOT NULL) EXECUTE FUNCTION end_alert_of_export_schedule();
