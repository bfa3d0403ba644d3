-- Who states instants that are not credible, and how often: a source, or a device by a clock of its own. Written by
-- ingest with the measurements; what repeats it is alerted of.
CREATE TABLE clock_doubt (
    tenant_id int NOT NULL REFERENCES tenant,
    source_id int NOT NULL,  -- Of lns_source; 0: the device's own clock. No reference: a source may be gone by then.
    device_id int NOT NULL,  -- 0: the source's.
    times int NOT NULL,      -- With less than a day between them.
    last_at timestamptz NOT NULL,
    requested_at timestamptz, -- When an alert was last asked for.
    PRIMARY KEY (tenant_id, source_id, device_id),
    CHECK ((source_id = 0) <> (device_id = 0))
);
CALL scope_to_tenant('clock_doubt');

ALTER TABLE alert_request DROP CONSTRAINT alert_request_kind_check,
    ADD CONSTRAINT alert_request_kind_check CHECK (kind IN ('gateway_address', 'codec', 'clock'));

ALTER TABLE alert_rule
    DROP CONSTRAINT alert_rule_kind_check,
    ADD CONSTRAINT alert_rule_kind_check CHECK (kind IN (
        'threshold', 'range', 'rate', 'boolean', 'flat', 'silence', 'gateway', 'loss', 'gateway_address', 'codec',
        'clock', 'partner')),
    DROP CONSTRAINT alert_rule_limits_check,
    ADD CONSTRAINT alert_rule_limits_check CHECK (CASE
        WHEN kind IN ('silence', 'gateway', 'gateway_address', 'codec', 'clock', 'partner') THEN true
        WHEN kind = 'loss' THEN fire_value IS NOT NULL AND clear_value IS NOT NULL
        WHEN kind IN ('flat', 'boolean') THEN quantity IS NOT NULL AND fire_value IS NOT NULL
        WHEN kind = 'range' THEN quantity IS NOT NULL
             AND num_nonnulls(fire_value, fire_upper, clear_value, clear_upper) = 4 AND fire_value <= clear_value AND clear_value <= clear_upper AND clear_upper <= fire_upper
        ELSE quantity IS NOT NULL AND num_nonnulls(fire_op, fire_value, clear_op, clear_value) = 4 END);

-- Measurements whose instant is suspect count for no rollup from now on: their hours are made anew.
INSERT INTO observation.dirty (hour, datastream_ids)
SELECT date_trunc('hour', time, 'UTC'), array_agg(DISTINCT datastream_id) FROM observation.measurement
WHERE flags & 2 = 2 GROUP BY date_trunc('hour', time, 'UTC');

-- And are nobody's last value.
UPDATE observation.latest l SET time = m.time, value = m.value, flags = m.flags
FROM observation.latest s
CROSS JOIN LATERAL (SELECT time, value, flags FROM observation.measurement
                    WHERE datastream_id = s.datastream_id AND flags & 2 = 0 ORDER BY time DESC LIMIT 1) AS m
WHERE s.flags & 2 = 2 AND l.datastream_id = s.datastream_id;
DELETE FROM observation.latest WHERE flags & 2 = 2;
