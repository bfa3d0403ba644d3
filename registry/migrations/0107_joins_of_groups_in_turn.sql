-- Lighting reads who is in a group and sends to all of them in one transaction. Who joins meanwhile waits for its end, and
-- then finds the message that still waits, as in 0091; who was first is found by lighting.
CREATE OR REPLACE FUNCTION note_acts_of_group() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('multicast_group'), NEW.group_id);
    PERFORM note_unknown_act(NEW.device_id, NULL, m.id) FROM multicast_message m
    WHERE m.group_id = NEW.group_id AND m.state IN ('queued', 'sending');
    RETURN NULL;
END
$$;
