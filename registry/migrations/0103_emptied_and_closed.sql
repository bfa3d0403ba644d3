-- What is given is written, NULL too; what is not given stays.
DROP FUNCTION complete_meter_change(int, float8, float8, text);
CREATE FUNCTION complete_meter_change(change int, final float8, initial float8, noted text, given text[])
    RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE observation.meter_change c
    SET final_index = CASE WHEN 'final_index' = ANY(given) THEN final ELSE c.final_index END,
        initial_index = CASE WHEN 'initial_index' = ANY(given) THEN initial ELSE c.initial_index END,
        note = CASE WHEN 'note' = ANY(given) THEN noted ELSE c.note END
    FROM datastream d
    WHERE c.id = change AND d.id = c.datastream_id AND d.tenant_id = current_tenant()
    RETURNING true
$$;

-- A tenant that is closed: nobody enters it, nothing is sent to its devices, and what they send is kept.
ALTER TABLE tenant ADD COLUMN closed_at timestamptz;

-- By the operator of the network, for any tenant but its own: so one always remains that can open it again.
CREATE FUNCTION close_tenant(wanted int, closing boolean) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT is_operator() OR wanted = split_part(current_setting('app.proved'), '|', 1)::int THEN
        RETURN false;
    END IF;
    UPDATE tenant SET closed_at = CASE WHEN closing THEN coalesce(closed_at, now()) END WHERE id = wanted;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF closing THEN
        UPDATE downlink l SET state = 'cancelled', reason = 'WITHDRAWN', detail = NULL, updated_at = now()
        FROM device d WHERE d.id = l.device_id AND d.tenant_id = wanted AND l.state = 'queued';
    END IF;
    RETURN true;
END
$$;

CREATE FUNCTION cancel_downlink_of_closed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM device d JOIN tenant t ON t.id = d.tenant_id
               WHERE d.id = NEW.device_id AND t.closed_at IS NOT NULL) THEN
        NEW.state := 'cancelled';
        NEW.reason := 'WITHDRAWN';
    END IF;
    RETURN NEW;
END
$$;
ALTER FUNCTION cancel_downlink_of_closed() OWNER TO territoire_service;
CREATE TRIGGER of_closed_tenant BEFORE INSERT ON downlink
    FOR EACH ROW WHEN (NEW.device_id IS NOT NULL AND NEW.state = 'queued')
    EXECUTE FUNCTION cancel_downlink_of_closed();

-- As in 0102, of tenants that are open.
CREATE OR REPLACE FUNCTION authenticate_api_key(key_id text, digest bytea)
    RETURNS TABLE (tenant_id int, tenant_slug text, name text, roles text[], addresses text[],
                   requests_per_minute int, asset_kinds text[], origins text[], expires_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT k.tenant_id, t.slug, k.name, k.roles, k.addresses, k.requests_per_minute, k.asset_kinds, k.origins,
           k.expires_at
    FROM api_key k JOIN tenant t ON t.id = k.tenant_id
    WHERE k.id = key_id AND k.secret_sha256 = digest AND k.revoked_at IS NULL
      AND (k.expires_at IS NULL OR k.expires_at > now()) AND t.closed_at IS NULL
$$;
CREATE OR REPLACE FUNCTION origins_of_keys() RETURNS SETOF text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT DISTINCT unnest(k.origins) FROM api_key k JOIN tenant t ON t.id = k.tenant_id
    WHERE k.origins <> '{}' AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
      AND t.closed_at IS NULL
$$;

-- As in 0073.
CREATE OR REPLACE FUNCTION enter_by_key(key_id text, digest bytea) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    known record;
BEGIN
    SELECT k.tenant_id, k.roles, k.asset_kinds INTO known FROM api_key k JOIN tenant t ON t.id = k.tenant_id
    WHERE k.id = key_id AND k.secret_sha256 = digest AND k.revoked_at IS NULL
      AND (k.expires_at IS NULL OR k.expires_at > now()) AND t.closed_at IS NULL;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM set_config('app.proved', '', true);
    PERFORM seal_transaction(known.tenant_id, false, known.tenant_id, known.roles);
    IF known.asset_kinds <> '{}' THEN
        PERFORM set_config('app.proved', current_setting('app.proved') || '|' || known.asset_kinds::text, true);
        PERFORM set_config('app.seal', seal_of_settings(s.secret), true) FROM seal_secret s;
    END IF;
    RETURN known.tenant_id;
END
$$;

-- As in 0097; `enter_by_session` asks it.
CREATE OR REPLACE FUNCTION find_session(token bytea)
    RETURNS TABLE (person_id int, person_name text, email text, tenant_id int, tenant_slug text, role text,
                   extra_rights text[], expires_at timestamptz, proved_at timestamptz, has_totp boolean, id int,
                   last_seen_at timestamptz)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT p.id, p.name, p.email, t.id, t.slug, m.role, m.extra_rights, s.expires_at, s.proved_at,
           p.totp_confirmed_at IS NOT NULL, s.id, s.last_seen_at
    FROM person_session s JOIN person p ON p.id = s.person_id
    JOIN membership m ON m.person_id = s.person_id AND m.tenant_id = s.tenant_id
    JOIN tenant t ON t.id = s.tenant_id
    WHERE s.token_sha256 = token AND s.expires_at > now() AND p.disabled_at IS NULL AND t.closed_at IS NULL;
END
$$;

-- As in 0068.
CREATE OR REPLACE FUNCTION memberships_of(who int)
    RETURNS TABLE (tenant_id int, slug text, name text, role text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM require_vouched();
    RETURN QUERY SELECT t.id, t.slug, t.name, m.role FROM membership m JOIN tenant t ON t.id = m.tenant_id
    WHERE m.person_id = who AND t.closed_at IS NULL ORDER BY t.slug;
END
$$;
CREATE OR REPLACE FUNCTION enter_by_event_source(source int, digest bytea) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    known int;
BEGIN
    IF EXISTS (SELECT FROM event_source s WHERE s.id = source AND s.enabled AND s.signing_sha256 IS NULL) THEN
        PERFORM require_vouched();
        UPDATE event_source s SET signing_sha256 = digest
        WHERE s.id = source AND s.enabled AND s.signing_sha256 IS NULL;
    END IF;
    SELECT s.tenant_id INTO known FROM event_source s JOIN tenant t ON t.id = s.tenant_id
    WHERE s.id = source AND s.enabled AND t.closed_at IS NULL
      AND (s.signing_sha256 = digest OR (s.previous_signing_sha256 = digest AND s.previous_until > now()));
    IF known IS NOT NULL THEN
        PERFORM seal_transaction(known, false, known, '{}');
    END IF;
    RETURN known;
END
$$;
CREATE OR REPLACE FUNCTION enter_by_identity(issuing text, named text, tenant int) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    known int;
BEGIN
    PERFORM require_vouched();
    SELECT m.tenant_id INTO known FROM find_identity(issuing, named) i
    JOIN membership m ON m.person_id = i.person_id AND m.tenant_id = tenant
    JOIN tenant t ON t.id = m.tenant_id AND t.closed_at IS NULL;
    IF known IS NOT NULL THEN
        PERFORM seal_transaction(known, false, known, '{}');
    END IF;
    RETURN known;
END
$$;

-- As in 0060.
CREATE OR REPLACE FUNCTION switch_session(token bytea, slug text) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE person_session s SET tenant_id = m.tenant_id
    FROM membership m JOIN tenant t ON t.id = m.tenant_id
    WHERE s.token_sha256 = token AND m.person_id = s.person_id AND t.slug = switch_session.slug
      AND t.closed_at IS NULL
    RETURNING true
$$;

DO $$
DECLARE
    door text;
BEGIN
    FOREACH door IN ARRAY ARRAY['complete_meter_change(int, float8, float8, text, text[])',
                                'close_tenant(int, boolean)'] LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO territoire_api', door);
    END LOOP;
END
$$;
