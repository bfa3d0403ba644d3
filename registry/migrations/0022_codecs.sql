-- Codecs that are data: vendors' scripts and declarative tables, in versions that nobody changes (DESIGN D6). A device
-- profile points to one; a tenant may let its own devices of a profile that is offered to all use another.

CREATE TABLE codec (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int REFERENCES tenant,  -- NULL: offered to every tenant.
    name text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
    vendor text NOT NULL DEFAULT '',
    model text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (tenant_id, name)
);

CREATE TABLE codec_version (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int REFERENCES tenant,  -- That of its codec.
    codec_id int NOT NULL REFERENCES codec,
    version int NOT NULL CHECK (version > 0),  -- 1, 2, 3... of its codec.
    language text NOT NULL CHECK (language IN ('javascript', 'declarative')),
    source text NOT NULL CHECK (octet_length(source) BETWEEN 1 AND 524288),
    sha256 bytea NOT NULL CHECK (octet_length(sha256) = 32),  -- Of the source in UTF-8.
    form text CHECK (form IN ('decodeUplink', 'Decoder', 'Decode')),  -- NULL: found by the resolution order.
    examples jsonb NOT NULL DEFAULT '[]',
    author text NOT NULL,
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Set while nobody may run it: its frames wait to be decoded again.
    quarantined_at timestamptz,
    quarantine_reason text,
    released_at timestamptz,
    released_by text,
    UNIQUE (codec_id, version),
    CHECK ((quarantined_at IS NULL) = (quarantine_reason IS NULL)),
    CHECK ((released_at IS NULL) = (released_by IS NULL))
);
CREATE INDEX codec_version_by_sha256 ON codec_version (sha256);

CALL scope_to_tenant('codec');
CALL scope_to_tenant('codec_version');
REVOKE DELETE ON codec_version FROM territoire_service;
CREATE POLICY shared ON codec FOR SELECT USING (tenant_id IS NULL);
CREATE POLICY shared ON codec_version FOR SELECT USING (tenant_id IS NULL);
GRANT SELECT, INSERT, DELETE ON codec TO territoire_api;
GRANT UPDATE (vendor, model) ON codec TO territoire_api;
GRANT SELECT, INSERT ON codec_version TO territoire_api;
GRANT UPDATE (quarantined_at, quarantine_reason, released_at, released_by) ON codec_version TO territoire_api;
-- What is offered to all, the operator of the network writes.
CREATE POLICY of_operator ON codec TO territoire_api
    USING (tenant_id IS NULL AND current_setting('app.operator', true) = 'on')
    WITH CHECK (tenant_id IS NULL AND current_setting('app.operator', true) = 'on');
CREATE POLICY of_operator ON codec_version TO territoire_api
    USING (tenant_id IS NULL AND current_setting('app.operator', true) = 'on')
    WITH CHECK (tenant_id IS NULL AND current_setting('app.operator', true) = 'on');
CREATE POLICY of_operator ON device_profile TO territoire_api
    USING (tenant_id IS NULL AND current_setting('app.operator', true) = 'on')
    WITH CHECK (tenant_id IS NULL AND current_setting('app.operator', true) = 'on');

-- A version belongs to whom its codec belongs, and to a codec that its author sees.
CREATE FUNCTION own_codec_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT c.tenant_id INTO NEW.tenant_id FROM codec c WHERE c.id = NEW.codec_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'codec % does not exist', NEW.codec_id USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER codec_version_owned BEFORE INSERT ON codec_version
    FOR EACH ROW EXECUTE FUNCTION own_codec_version();

CREATE FUNCTION keep_codec_version() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changing text[] := '{quarantined_at,quarantine_reason,released_at,released_by}';
BEGIN
    IF to_jsonb(NEW) - changing IS DISTINCT FROM to_jsonb(OLD) - changing THEN
        RAISE EXCEPTION 'codec version % is immutable', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'codec_version_immutable';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER codec_version_kept BEFORE UPDATE ON codec_version
    FOR EACH ROW EXECUTE FUNCTION keep_codec_version();
CREATE TRIGGER codec_version_changed AFTER UPDATE ON codec_version
    FOR EACH ROW EXECUTE FUNCTION note_registry_change('codec_version', 'id');

-- With codec_version_id, `codec` is the name of its codec; without, of a native one.
ALTER TABLE device_profile
    ADD COLUMN codec_version_id int REFERENCES codec_version,
    ADD COLUMN shadow_version_id int REFERENCES codec_version,  -- Runs beside it, and stores nothing.
    ADD COLUMN mapping jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(mapping) = 'array'),
    ADD COLUMN firmware_from text NOT NULL DEFAULT '',  -- Both inclusive; '': open.
    ADD COLUMN firmware_until text NOT NULL DEFAULT '',
    ADD COLUMN commands jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(commands) = 'array'),
    ADD COLUMN regional_revision text NOT NULL DEFAULT '',
    ADD COLUMN supports_join boolean NOT NULL DEFAULT true,
    ADD COLUMN max_eirp smallint CHECK (max_eirp BETWEEN 0 AND 36);  -- dBm

CREATE TABLE device_profile_override (
    tenant_id int NOT NULL REFERENCES tenant,  -- Whose devices.
    device_profile_id int NOT NULL REFERENCES device_profile ON DELETE CASCADE,
    codec_version_id int NOT NULL REFERENCES codec_version,
    shadow_version_id int REFERENCES codec_version,
    mapping jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(mapping) = 'array'),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, device_profile_id)
);
CALL scope_to_tenant('device_profile_override');
GRANT SELECT, INSERT, UPDATE, DELETE ON device_profile_override TO territoire_api;
CREATE TRIGGER device_profile_override_changed AFTER INSERT OR UPDATE OR DELETE ON device_profile_override
    FOR EACH ROW EXECUTE FUNCTION note_registry_change('device_profile', 'device_profile_id');

-- Nobody points to another tenant's version, and what is offered to all points to what is offered to all.
CREATE FUNCTION check_codec_version() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM codec_version v
               WHERE v.id IN (NEW.codec_version_id, NEW.shadow_version_id)
                 AND v.tenant_id IS NOT NULL AND v.tenant_id IS DISTINCT FROM NEW.tenant_id) THEN
        RAISE EXCEPTION 'a codec version of another tenant'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'codec_version_of_another_tenant';
    END IF;
    RETURN NEW;
END
$$;
REVOKE EXECUTE ON FUNCTION check_codec_version FROM PUBLIC;
ALTER FUNCTION check_codec_version OWNER TO territoire_service;
CREATE TRIGGER device_profile_points
    BEFORE INSERT OR UPDATE OF tenant_id, codec_version_id, shadow_version_id ON device_profile
    FOR EACH ROW EXECUTE FUNCTION check_codec_version();
CREATE TRIGGER device_profile_override_points
    BEFORE INSERT OR UPDATE OF tenant_id, codec_version_id, shadow_version_id ON device_profile_override
    FOR EACH ROW EXECUTE FUNCTION check_codec_version();

-- How a shadow version compares with the live one, over the frames of a tenant's devices of a profile.
CREATE TABLE codec_shadow (
    tenant_id int NOT NULL REFERENCES tenant,
    device_profile_id int NOT NULL REFERENCES device_profile ON DELETE CASCADE,
    shadow_version_id int NOT NULL REFERENCES codec_version,
    compared bigint NOT NULL DEFAULT 0,
    different bigint NOT NULL DEFAULT 0,
    live_failed bigint NOT NULL DEFAULT 0,
    shadow_failed bigint NOT NULL DEFAULT 0,
    dropped bigint NOT NULL DEFAULT 0,  -- Not compared: too many at once.
    first_at timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, device_profile_id, shadow_version_id)
);
-- The last few that differ.
CREATE TABLE codec_difference (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    device_profile_id int NOT NULL REFERENCES device_profile ON DELETE CASCADE,
    shadow_version_id int NOT NULL REFERENCES codec_version,
    device_id int NOT NULL REFERENCES device ON DELETE CASCADE,
    uplink_id uuid NOT NULL,
    time timestamptz NOT NULL,
    f_port smallint NOT NULL,
    payload bytea NOT NULL,
    live jsonb NOT NULL,
    shadow jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (shadow_version_id, device_id, uplink_id)
);
CREATE INDEX codec_difference_by_shadow ON codec_difference (tenant_id, device_profile_id, shadow_version_id, id);
CALL scope_to_tenant('codec_shadow');
CALL scope_to_tenant('codec_difference');
GRANT SELECT, DELETE ON codec_shadow, codec_difference TO territoire_api;

-- A device that changes hands takes along how it is decoded: the receiver's own copy, unless it is everybody's.
CREATE FUNCTION give_codec_version(given int, receiver int) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    original record;
    theirs int;
    into_codec int;
BEGIN
    SELECT v.*, c.name, c.vendor, c.model INTO original
    FROM codec_version v JOIN codec c ON c.id = v.codec_id WHERE v.id = given;
    IF NOT FOUND OR original.tenant_id IS NULL OR original.tenant_id = receiver THEN
        RETURN given;
    END IF;
    SELECT v.id INTO theirs FROM codec_version v
    WHERE v.tenant_id = receiver AND v.sha256 = original.sha256 AND v.language = original.language
      AND v.form IS NOT DISTINCT FROM original.form ORDER BY v.id LIMIT 1;
    IF theirs IS NULL THEN
        INSERT INTO codec (tenant_id, name, vendor, model)
        VALUES (receiver, original.name, original.vendor, original.model)
        ON CONFLICT (tenant_id, name) DO NOTHING RETURNING id INTO into_codec;
        IF into_codec IS NULL THEN
            SELECT c.id INTO into_codec FROM codec c WHERE c.tenant_id = receiver AND c.name = original.name FOR UPDATE;
        END IF;
        INSERT INTO codec_version (codec_id, version, language, source, sha256, form, examples, author, note,
                                   quarantined_at, quarantine_reason)
        SELECT into_codec, coalesce((SELECT max(v.version) FROM codec_version v WHERE v.codec_id = into_codec), 0) + 1,
               original.language, original.source, original.sha256, original.form, original.examples, original.author,
               original.note, original.quarantined_at, original.quarantine_reason
        RETURNING id INTO theirs;
    END IF;
    RETURN theirs;
END
$$;
REVOKE EXECUTE ON FUNCTION give_codec_version FROM PUBLIC;
ALTER FUNCTION give_codec_version OWNER TO territoire_service;

CREATE OR REPLACE FUNCTION give_profiles(devices int[], receiver int) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    given record;
    version int;
    theirs int;
BEGIN
    FOR given IN SELECT DISTINCT p.id FROM device d JOIN device_profile p ON p.id = d.device_profile_id
                 WHERE d.id = ANY(devices) AND p.tenant_id IS NOT NULL AND p.tenant_id <> receiver LOOP
        SELECT give_codec_version(p.codec_version_id, receiver) INTO version FROM device_profile p WHERE p.id = given.id;
        SELECT t.id INTO theirs FROM device_profile t JOIN device_profile p ON p.id = given.id
        WHERE t.tenant_id = receiver
          AND (t.codec, t.codec_options, t.device_class, t.mac_version, t.region, t.expected_interval, t.capabilities,
               t.mapping, t.commands)
            = (p.codec, p.codec_options, p.device_class, p.mac_version, p.region, p.expected_interval, p.capabilities,
               p.mapping, p.commands)
          AND t.codec_version_id IS NOT DISTINCT FROM version ORDER BY t.id LIMIT 1;
        IF theirs IS NULL THEN
            INSERT INTO device_profile (tenant_id, name, vendor, model, codec, codec_options, device_class, mac_version,
                                        region, expected_interval, capabilities, codec_version_id, mapping,
                                        firmware_from, firmware_until, commands, regional_revision, supports_join,
                                        max_eirp)
            SELECT receiver, CASE WHEN EXISTS (SELECT FROM device_profile t
                                               WHERE t.tenant_id = receiver AND t.name = p.name)
                                  THEN format('%s (%s)', p.name, p.id) ELSE p.name END,
                   p.vendor, p.model, p.codec, p.codec_options, p.device_class, p.mac_version, p.region,
                   p.expected_interval, p.capabilities, version, p.mapping, p.firmware_from, p.firmware_until,
                   p.commands, p.regional_revision, p.supports_join, p.max_eirp
            FROM device_profile p WHERE p.id = given.id
            RETURNING id INTO theirs;
        END IF;
        UPDATE device SET device_profile_id = theirs WHERE id = ANY(devices) AND device_profile_id = given.id;
    END LOOP;
END
$$;
