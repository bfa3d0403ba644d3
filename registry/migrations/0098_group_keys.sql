-- A clock is given the keys of its permanent multicast group once, by a message of its own. Its row names the group and
-- has no octets: network makes them of the group's sealed keys when it frames them. No foreign key: of a group that is
-- gone nothing is sent.
ALTER TABLE downlink ADD keys_of_group int;
CREATE INDEX downlink_with_group_keys ON downlink (keys_of_group, device_id) WHERE keys_of_group IS NOT NULL;
ALTER TABLE downlink ADD CHECK (keys_of_group IS NULL OR payload = '');
-- By lighting, for members that are clocks of the open profile; of others both stay NULL.
ALTER TABLE multicast_member ADD keys_given_at timestamptz, ADD keys_acknowledged_at timestamptz,
    ADD CHECK (keys_acknowledged_at IS NULL OR keys_given_at IS NOT NULL);
