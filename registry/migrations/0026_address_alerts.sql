-- Somebody speaks in a gateway's name from another address: an alert, beside the event (gateway_address_change).
-- Who keeps gateways writes it with that event; the engine tells whom it concerns, and a person ends it.

DO $$
DECLARE
    limits text;
BEGIN
    SELECT conname INTO STRICT limits FROM pg_constraint
    WHERE conrelid = 'alert_rule'::regclass AND contype = 'c' AND pg_get_constraintdef(oid) LIKE '%CASE%';
    EXECUTE format('ALTER TABLE alert_rule DROP CONSTRAINT %I', limits);
END
$$;
ALTER TABLE alert_rule
    DROP CONSTRAINT alert_rule_kind_check,
    ADD CONSTRAINT alert_rule_kind_check CHECK (kind IN (
        'threshold', 'range', 'rate', 'boolean', 'flat', 'silence', 'gateway', 'loss', 'gateway_address')),
    ADD CONSTRAINT alert_rule_limits_check CHECK (CASE
        WHEN kind IN ('silence', 'gateway', 'gateway_address') THEN true
        WHEN kind = 'loss' THEN fire_value IS NOT NULL AND clear_value IS NOT NULL
        WHEN kind IN ('flat', 'boolean') THEN quantity IS NOT NULL AND fire_value IS NOT NULL
        WHEN kind = 'range' THEN quantity IS NOT NULL
             AND num_nonnulls(fire_value, fire_upper, clear_value, clear_upper) = 4 AND fire_value <= clear_value AND clear_value <= clear_upper AND clear_upper <= fire_upper
        ELSE quantity IS NOT NULL AND num_nonnulls(fire_op, fire_value, clear_op, clear_value) = 4 END);
