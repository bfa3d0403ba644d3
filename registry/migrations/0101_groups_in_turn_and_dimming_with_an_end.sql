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

-- A dimming may have an end, as an "off" does: the circuit is brought back to its program then.
ALTER TABLE lighting_command
    DROP CONSTRAINT lighting_command_check,
    ADD CONSTRAINT lighting_command_off_until_check
        CHECK (CASE action WHEN 'off' THEN off_until IS NOT NULL WHEN 'dim' THEN true ELSE off_until IS NULL END);
ALTER TABLE lighting_campaign
    DROP CONSTRAINT lighting_campaign_check1,
    ADD CONSTRAINT lighting_campaign_off_until_check
        CHECK (CASE action WHEN 'off' THEN off_until IS NOT NULL WHEN 'dim' THEN true ELSE off_until IS NULL END);
