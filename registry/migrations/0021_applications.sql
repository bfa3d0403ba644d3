-- Applications of partners, told of a tenant's devices as ChirpStack v4 would tell them (decision 0021).

CREATE TABLE application (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    application_id uuid NOT NULL DEFAULT gen_random_uuid(),  -- In the topics; may be the one of a ChirpStack before.
    name text NOT NULL,
    mqtt_url text NOT NULL,  -- Without credentials.
    mqtt_user text,
    mqtt_client_id text NOT NULL DEFAULT 'territoire-' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 12),
    secret_wrapped bytea,  -- The password at their broker; AES key wrap under kek_id.
    kek_id text,
    all_devices boolean NOT NULL DEFAULT true,  -- Of the tenant; else those of application_device.
    takes_commands boolean NOT NULL DEFAULT true,
    enabled boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, application_id),
    UNIQUE (tenant_id, id)
);
CREATE TABLE application_device (
    application_id int NOT NULL,
    device_id int NOT NULL REFERENCES device ON DELETE CASCADE,
    tenant_id int NOT NULL REFERENCES tenant,
    PRIMARY KEY (application_id, device_id),
    FOREIGN KEY (tenant_id, application_id) REFERENCES application (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX application_device_of_device ON application_device (device_id);

-- How an application is doing; apart from its row, because it changes all the time.
CREATE TABLE application_state (
    application_id int PRIMARY KEY REFERENCES application ON DELETE CASCADE,
    tenant_id int NOT NULL REFERENCES tenant,
    last_published_at timestamptz,
    published bigint NOT NULL DEFAULT 0,
    dropped bigint NOT NULL DEFAULT 0,
    waiting bigint NOT NULL DEFAULT 0,
    commands bigint NOT NULL DEFAULT 0,
    commands_refused bigint NOT NULL DEFAULT 0,
    last_error text,
    last_error_at timestamptz
);

-- What an application called a downlink that it asked for: its second delivery is the same one.
CREATE TABLE application_downlink (
    downlink_id bigint PRIMARY KEY REFERENCES downlink ON DELETE CASCADE,
    application_id int NOT NULL REFERENCES application ON DELETE CASCADE,
    item text NOT NULL,
    UNIQUE (application_id, item)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON application_downlink TO territoire_service;

-- What is still to be published: written by the transaction of what happened, deleted once their broker has it.
-- Without foreign keys, which each uplink would pay for; whose application or device is gone, is deleted unpublished.
CREATE TABLE observation.application_event (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    application_id int NOT NULL,
    device_id int NOT NULL,
    kind text NOT NULL CHECK (kind IN ('up', 'join', 'ack', 'txack', 'status', 'log')),
    time timestamptz NOT NULL,
    uplink_id uuid CHECK ((kind = 'up') = (uplink_id IS NOT NULL)),
    what jsonb NOT NULL DEFAULT '{}',
    queued_at timestamptz NOT NULL DEFAULT now(),
    not_before timestamptz NOT NULL DEFAULT '-infinity'  -- What their broker refused is tried again from then on.
);
CREATE INDEX application_event_due ON observation.application_event (application_id, not_before, id);
GRANT SELECT, INSERT, UPDATE, DELETE ON observation.application_event TO territoire_service;

-- The values of an uplink are found by the device that measured them.
CREATE INDEX datastream_by_device ON datastream (device_id);

CALL scope_to_tenant('application');
CALL scope_to_tenant('application_device');
CALL scope_to_tenant('application_state');
-- A secret can be written by the API's role, not read.
GRANT SELECT (id, tenant_id, application_id, name, mqtt_url, mqtt_user, all_devices, takes_commands, enabled,
              created_at) ON application TO territoire_api;
GRANT INSERT, UPDATE, DELETE ON application TO territoire_api;
GRANT SELECT, INSERT, DELETE ON application_device TO territoire_api;
GRANT SELECT ON application_state TO territoire_api;

CREATE TRIGGER application_changed AFTER INSERT OR UPDATE OR DELETE ON application
    FOR EACH ROW EXECUTE FUNCTION note_registry_change('application', 'id');

-- Tells the applications of this device. Uplinks are queued by ingest, many at once.
CREATE FUNCTION queue_application_event(device int, of_kind text, of_what jsonb) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO observation.application_event (application_id, device_id, kind, time, what)
    SELECT a.id, d.id, of_kind, clock_timestamp(), of_what
    FROM device d JOIN application a ON a.tenant_id = d.tenant_id AND a.enabled
    WHERE d.id = device
      AND (a.all_devices
           OR EXISTS (SELECT FROM application_device l WHERE l.application_id = a.id AND l.device_id = d.id))
$$;

-- A join has used its DevNonce in the same transaction; a session that was imported has not.
CREATE FUNCTION tell_applications_of_joins() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM application WHERE enabled) THEN
        PERFORM queue_application_event(s.device_id, 'join', jsonb_build_object('dev_addr', encode(s.dev_addr, 'hex')))
        FROM opened s
        WHERE EXISTS (SELECT FROM dev_nonce n WHERE n.device_id = s.device_id AND n.used_at = now());
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER joins_are_told AFTER INSERT ON session REFERENCING NEW TABLE AS opened
    FOR EACH STATEMENT EXECUTE FUNCTION tell_applications_of_joins();

CREATE FUNCTION tell_applications_of_downlink() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    told text := CASE
        WHEN NEW.state = 'sent' THEN 'txack'
        WHEN NEW.state = 'acknowledged' OR (NEW.confirmed AND NEW.state = 'failed' AND NEW.f_cnt_down IS NOT NULL)
            THEN 'ack'
        ELSE 'log'
    END;
BEGIN
    PERFORM queue_application_event(NEW.device_id, told, jsonb_build_object(
        'downlink', NEW.id, 'f_cnt_down', NEW.f_cnt_down, 'gateway_id', encode(NEW.gateway_id, 'hex'),
        'state', NEW.state, 'reason', NEW.reason));
    RETURN NULL;
END
$$;
CREATE TRIGGER downlink_is_told AFTER UPDATE OF state ON downlink
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state
                       AND NEW.state IN ('sent', 'acknowledged', 'failed', 'expired'))
    EXECUTE FUNCTION tell_applications_of_downlink();

CREATE FUNCTION tell_applications_of_status() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM queue_application_event(NEW.device_id, 'status',
                                    jsonb_build_object('battery', NEW.battery, 'margin', NEW.margin));
    RETURN NULL;
END
$$;
CREATE TRIGGER status_is_told AFTER INSERT OR UPDATE ON device_status
    FOR EACH ROW EXECUTE FUNCTION tell_applications_of_status();

DO $$
DECLARE
    door text;
BEGIN
    FOREACH door IN ARRAY ARRAY['queue_application_event(int, text, jsonb)', 'tell_applications_of_joins()',
        'tell_applications_of_downlink()', 'tell_applications_of_status()'] LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
    END LOOP;
END
$$;
