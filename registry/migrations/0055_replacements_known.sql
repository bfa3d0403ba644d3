-- What is known of a datastream goes with the device that serves its place: who follows the registry learns, by the
-- asset, that another device was assigned, and that it has begun to measure.
CREATE TRIGGER assignment_changed_at_asset AFTER INSERT OR UPDATE OR DELETE ON assignment
    FOR EACH ROW EXECUTE FUNCTION note_registry_change('asset', 'asset_id');
CREATE TRIGGER datastream_changed_hands AFTER UPDATE OF device_id ON datastream
    FOR EACH ROW WHEN (OLD.device_id <> NEW.device_id AND NEW.asset_id IS NOT NULL)
    EXECUTE FUNCTION note_registry_change('asset', 'asset_id');
