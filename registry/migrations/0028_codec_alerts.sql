-- A codec version that keeps timing out is suspended: an alert of whoever has it, uses it, or runs the network. Who
-- suspends it writes the alert in the same transaction; the engine tells it, and a person ends it.
ALTER TABLE alert_rule
    DROP CONSTRAINT alert_rule_kind_check,
    ADD CONSTRAINT alert_rule_kind_check CHECK (kind IN (
        'threshold', 'range', 'rate', 'boolean', 'flat', 'silence', 'gateway', 'loss', 'gateway_address', 'codec')),
    DROP CONSTRAINT alert_rule_limits_check,
    ADD CONSTRAINT alert_rule_limits_check CHECK (CASE
        WHEN kind IN ('silence', 'gateway', 'gateway_address', 'codec') THEN true
        WHEN kind = 'loss' THEN fire_value IS NOT NULL AND clear_value IS NOT NULL
        WHEN kind IN ('flat', 'boolean') THEN quantity IS NOT NULL AND fire_value IS NOT NULL
        WHEN kind = 'range' THEN quantity IS NOT NULL
             AND num_nonnulls(fire_value, fire_upper, clear_value, clear_upper) = 4 AND fire_value <= clear_value AND clear_value <= clear_upper AND clear_upper <= fire_upper
        ELSE quantity IS NOT NULL AND num_nonnulls(fire_op, fire_value, clear_op, clear_value) = 4 END);
