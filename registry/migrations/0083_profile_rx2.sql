-- Devices that always listen (class C) listen at this data rate; those that are far away need a lower one than others.
ALTER TABLE device_profile ADD COLUMN rx2_data_rate smallint CHECK (rx2_data_rate BETWEEN 0 AND 5);

-- As before (0050), and the data rate of RX2 goes with a profile.
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
               t.mapping, t.commands, t.moduli, t.sensor_ranges)
            = (p.codec, p.codec_options, p.device_class, p.mac_version, p.region, p.expected_interval, p.capabilities,
               p.mapping, p.commands, p.moduli, p.sensor_ranges)
          AND (t.rx1_delay, t.rx2_data_rate, t.adr, t.adr_min_data_rate, t.adr_max_data_rate, t.adr_min_tx_power,
               t.adr_max_tx_power)
              IS NOT DISTINCT FROM
              (p.rx1_delay, p.rx2_data_rate, p.adr, p.adr_min_data_rate, p.adr_max_data_rate, p.adr_min_tx_power,
               p.adr_max_tx_power)
          AND t.codec_version_id IS NOT DISTINCT FROM version ORDER BY t.id LIMIT 1;
        IF theirs IS NULL THEN
            INSERT INTO device_profile (tenant_id, name, vendor, model, codec, codec_options, device_class, mac_version,
                                        region, expected_interval, capabilities, codec_version_id, mapping,
                                        firmware_from, firmware_until, commands, regional_revision, supports_join,
                                        max_eirp, rx1_delay, adr, adr_min_data_rate, adr_max_data_rate,
                                        adr_min_tx_power, adr_max_tx_power, moduli, sensor_ranges, rx2_data_rate)
            SELECT receiver, CASE WHEN EXISTS (SELECT FROM device_profile t
                                               WHERE t.tenant_id = receiver AND t.name = p.name)
                                  THEN format('%s (%s)', p.name, p.id) ELSE p.name END,
                   p.vendor, p.model, p.codec, p.codec_options, p.device_class, p.mac_version, p.region,
                   p.expected_interval, p.capabilities, version, p.mapping, p.firmware_from, p.firmware_until,
                   p.commands, p.regional_revision, p.supports_join, p.max_eirp, p.rx1_delay, p.adr,
                   p.adr_min_data_rate, p.adr_max_data_rate, p.adr_min_tx_power, p.adr_max_tx_power, p.moduli,
                   p.sensor_ranges, p.rx2_data_rate
            FROM device_profile p WHERE p.id = given.id
            RETURNING id INTO theirs;
        END IF;
        UPDATE device SET device_profile_id = theirs WHERE id = ANY(devices) AND device_profile_id = given.id;
    END LOOP;
END
$$;
