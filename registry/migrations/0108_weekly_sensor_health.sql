-- A team may be sent the health of its tenant's sensors once a week, with its weekly digest.
ALTER TABLE team ADD COLUMN sensor_health boolean NOT NULL DEFAULT false,
    -- The last time, or since when it is wanted: the next one goes on the Monday after. Written with the message.
    ADD COLUMN sensor_health_at timestamptz NOT NULL DEFAULT now();

CREATE FUNCTION begin_sensor_health() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    NEW.sensor_health_at := now();
    RETURN NEW;
END
$$;
CREATE TRIGGER sensor_health_begins BEFORE UPDATE OF sensor_health ON team
    FOR EACH ROW WHEN (NEW.sensor_health AND NOT OLD.sensor_health) EXECUTE FUNCTION begin_sensor_health();
