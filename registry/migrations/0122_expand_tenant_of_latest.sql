-- locks: datastream ACCESS EXCLUSIVE instant
-- locks: observation.latest ACCESS EXCLUSIVE instant

-- Lists read the rows of the tenants that their reader reaches, and not everybody's: whose a last value is stands beside
-- it, where an index finds it (decision 102). An update of the value leaves both alone, so it stays a heap-only one.
ALTER TABLE observation.latest ADD COLUMN tenant_id int;

-- As in 0110; what serves no asset is somebody's, too.
CREATE OR REPLACE FUNCTION note_asset_of_latest() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    WITH measured AS (
        SELECT d.id, d.asset_id, d.tenant_id FROM inserted i JOIN datastream d ON d.id = i.datastream_id
        ORDER BY d.id FOR SHARE OF d
    )
    UPDATE observation.latest l SET asset_id = m.asset_id, tenant_id = m.tenant_id
    FROM measured m WHERE l.datastream_id = m.id;
    IF FOUND THEN
        PERFORM raise_last_seen(ARRAY(SELECT i.datastream_id FROM inserted i));
    END IF;
    RETURN NULL;
END
$$;
CREATE OR REPLACE FUNCTION move_latest() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE observation.latest SET asset_id = NEW.asset_id, tenant_id = NEW.tenant_id WHERE datastream_id = NEW.id;
    IF FOUND AND OLD.asset_id IS DISTINCT FROM NEW.asset_id THEN
        PERFORM recount_last_seen(array_remove(ARRAY[OLD.asset_id, NEW.asset_id], NULL));
    END IF;
    RETURN NULL;
END
$$;
DROP TRIGGER datastream_moves_latest ON datastream;
CREATE TRIGGER datastream_moves_latest AFTER UPDATE OF asset_id, tenant_id ON datastream
    FOR EACH ROW WHEN ((OLD.asset_id, OLD.tenant_id) IS DISTINCT FROM (NEW.asset_id, NEW.tenant_id))
    EXECUTE FUNCTION move_latest();
