-- One frame commands a whole multicast group: lighting's own message is no unknown act, and each member's part in it is
-- a downlink that is on air with the others.
ALTER TABLE multicast_message ADD by_lighting boolean NOT NULL DEFAULT false;
DROP TRIGGER unknown_act ON multicast_message;
CREATE TRIGGER unknown_act AFTER INSERT ON multicast_message
    FOR EACH ROW WHEN (NOT NEW.by_lighting) EXECUTE FUNCTION note_unknown_multicast();
ALTER TABLE downlink ADD multicast_message_id bigint REFERENCES multicast_message ON DELETE SET NULL;
CREATE INDEX downlink_of_multicast ON downlink (multicast_message_id) WHERE multicast_message_id IS NOT NULL;
