-- Unknown acts that were missed, and names that an erasure left.

-- The circuits that a device switches now or will, and since when: a cabinet's, or the cabinet where it has none.
DROP FUNCTION lighting_circuits_of(int);
CREATE FUNCTION lighting_circuits_of(device int) RETURNS TABLE (id int, tenant_id int, since timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 2 AS $$
    SELECT DISTINCT coalesce(c.id, a.id), a.tenant_id, greatest(lower(g.during), now())
    FROM assignment g
    JOIN asset a ON a.id = g.asset_id AND a.kind IN ('lighting_cabinet', 'lighting_circuit', 'light_point')
    LEFT JOIN asset c ON c.parent_id = a.id AND a.kind = 'lighting_cabinet' AND c.kind = 'lighting_circuit'
                     AND c.archived_at IS NULL
    WHERE g.device_id = device AND (upper_inf(g.during) OR upper(g.during) > now())
$$;
ALTER FUNCTION lighting_circuits_of(int) OWNER TO territoire_service;
REVOKE EXECUTE ON FUNCTION lighting_circuits_of(int) FROM PUBLIC;

-- Half an hour before twelve hours are over, so that the frame still has time. What is sent before a device serves a
-- circuit counts from when it does.
CREATE OR REPLACE FUNCTION note_unknown_act(device int, downlink bigint, message bigint) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO lighting_unknown_act (tenant_id, asset_id, device_id, downlink_id, multicast_message_id, due_at)
    SELECT c.tenant_id, c.id, device, downlink, message, c.since + interval '11 hours 30 minutes'
    FROM lighting_circuits_of(device) AS c
$$;

-- A device that begins to serve a circuit may have been spoken to before, alone or with its groups, or put out what it
-- served until now. As in 0078; and what its groups were sent.
CREATE OR REPLACE FUNCTION note_acts_before() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM downlink d WHERE d.device_id = NEW.device_id AND NOT d.by_lighting
               AND d.state <> 'cancelled'
               UNION ALL
               SELECT FROM multicast_message m JOIN multicast_member b ON b.group_id = m.group_id
               WHERE b.device_id = NEW.device_id AND m.state IN ('sent', 'failed')
               UNION ALL
               SELECT FROM lighting_command c WHERE c.device_id = NEW.device_id AND c.action = 'off'
               AND c.asset_id <> NEW.asset_id AND c.off_until > now() - interval '1 day')
       AND NOT EXISTS (SELECT FROM lighting_unknown_act u WHERE u.device_id = NEW.device_id
                       AND u.asset_id = NEW.asset_id AND u.settled_at IS NULL) THEN
        PERFORM note_unknown_act(NEW.device_id, (
            SELECT max(d.id) FROM downlink d WHERE d.device_id = NEW.device_id AND NOT d.by_lighting
            AND d.state IN ('queued', 'sending')), NULL);
    END IF;
    PERFORM note_unknown_act(NEW.device_id, NULL, m.id)
    FROM multicast_message m JOIN multicast_member b ON b.group_id = m.group_id
    WHERE b.device_id = NEW.device_id AND m.state IN ('queued', 'sending');
    RETURN NULL;
END
$$;

-- Who joins a group hears what still waits for it.
CREATE FUNCTION note_acts_of_group() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM note_unknown_act(NEW.device_id, NULL, m.id) FROM multicast_message m
    WHERE m.group_id = NEW.group_id AND m.state IN ('queued', 'sending');
    RETURN NULL;
END
$$;
ALTER FUNCTION note_acts_of_group() OWNER TO territoire_service;
REVOKE EXECUTE ON FUNCTION note_acts_of_group() FROM PUBLIC;
CREATE TRIGGER unknown_act AFTER INSERT ON multicast_member FOR EACH ROW EXECUTE FUNCTION note_acts_of_group();

-- What waits at this moment for a device that serves a circuit later, or that joined its group since.
SELECT note_unknown_act(d.device_id, d.id, NULL) FROM downlink d
WHERE d.state IN ('queued', 'sending') AND NOT d.by_lighting
  AND NOT EXISTS (SELECT FROM lighting_unknown_act u WHERE u.downlink_id = d.id);
SELECT note_unknown_act(m.device_id, NULL, g.id) FROM multicast_message g
JOIN multicast_member m ON m.group_id = g.group_id
WHERE g.state IN ('queued', 'sending')
  AND NOT EXISTS (SELECT FROM lighting_unknown_act u
                  WHERE u.multicast_message_id = g.id AND u.device_id = m.device_id);

-- Under what names somebody was known: what they did then bears them, and goes with them.
ALTER TABLE person ADD COLUMN former_names text[] NOT NULL DEFAULT '{}';
ALTER TABLE contact ADD COLUMN former_names text[] NOT NULL DEFAULT '{}';
CREATE FUNCTION keep_former_name() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    NEW.former_names := array_append(array_remove(OLD.former_names, OLD.name), OLD.name);
    RETURN NEW;
END
$$;
CREATE TRIGGER keep_former_name BEFORE UPDATE OF name ON person
    FOR EACH ROW WHEN (NEW.name <> OLD.name) EXECUTE FUNCTION keep_former_name();
CREATE TRIGGER keep_former_name BEFORE UPDATE OF name ON contact
    FOR EACH ROW WHEN (NEW.name <> OLD.name) EXECUTE FUNCTION keep_former_name();
-- When `begin_erasure` has fixed of whom.
CREATE FUNCTION add_former_names() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    NEW.names := NEW.names || ARRAY(
        SELECT unnest(p.former_names) FROM person p WHERE p.id = ANY(NEW.person_ids)
        UNION SELECT unnest(c.former_names) FROM contact c WHERE c.id = ANY(NEW.contact_ids));
    RETURN NEW;
END
$$;
ALTER FUNCTION add_former_names() OWNER TO territoire_service;
REVOKE EXECUTE ON FUNCTION add_former_names() FROM PUBLIC;
CREATE TRIGGER add_former_names BEFORE UPDATE OF names ON erasure
    FOR EACH ROW WHEN (OLD.started_at IS NULL AND NEW.started_at IS NOT NULL) EXECUTE FUNCTION add_former_names();
-- Of a campaign it is known for good whose it is.
UPDATE erasure_step SET statement = $$
WITH named AS (UPDATE lighting_campaign SET author = 'personne effacée' WHERE ($1).kind IN ('person', 'contact')
AND (author = ANY(($1).names) OR author_id = ANY(SELECT 'personne ' || p FROM unnest(($1).person_ids) p))
AND author <> 'personne effacée' RETURNING 1) SELECT count(*) FROM named $$
WHERE place = 148;
UPDATE erasure_step SET statement = $$
WITH named AS (UPDATE lighting_campaign SET approved_by = 'personne effacée' WHERE ($1).kind IN ('person', 'contact')
AND (approved_by = ANY(($1).names) OR approver_id = ANY(SELECT 'personne ' || p FROM unnest(($1).person_ids) p))
AND approved_by <> 'personne effacée' RETURNING 1) SELECT count(*) FROM named $$
WHERE place = 149;
