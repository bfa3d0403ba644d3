-- What each cabinet's clock should hold, and what it has said that it holds; alerts where the two differ.

CREATE TABLE lighting_shadow (
    asset_id int PRIMARY KEY,
    tenant_id int NOT NULL,
    device_id int NOT NULL,  -- That serves it; the row follows within a minute.
    -- False: its device holds no program, and the platform switches it.
    holds_program boolean NOT NULL,
    desired_version_id int,  -- NULL: it follows no program, and burns from dusk to dawn.
    desired_hash bytea CHECK (octet_length(desired_hash) = 4),  -- NULL: nothing can be compared.
    desired_since timestamptz NOT NULL,
    losses text[] NOT NULL DEFAULT '{}',  -- In French: what of the program the device does not hold.
    exact_until date,
    reported_version_id int,  -- The desired one of the report that proved it.
    reported_hash bytea CHECK (octet_length(reported_hash) = 4),
    reported_at timestamptz,  -- NULL: its device has reported nothing yet.
    clock_valid boolean,
    clock_offset_s float8,
    drifts boolean NOT NULL GENERATED ALWAYS AS (
        holds_program AND desired_hash IS NOT NULL AND reported_at IS NOT NULL
        AND reported_hash IS DISTINCT FROM desired_hash) STORED,
    drifts_since timestamptz,
    alerted_at timestamptz,  -- When an alert about this drift was asked for.
    FOREIGN KEY (asset_id, tenant_id) REFERENCES asset (id, tenant_id) ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE INDEX lighting_shadow_of_tenant ON lighting_shadow (tenant_id);
CREATE INDEX lighting_shadow_of_device ON lighting_shadow (device_id);
CALL scope_to_tenant('lighting_shadow');
CREATE POLICY seen ON lighting_shadow FOR SELECT USING (
    tenant_id = ANY((SELECT reachable_tenants())::int[])
    AND ((tenant_id = ANY((SELECT visible_tenants())::int[]) AND NOT asset_id IN (SELECT hidden_asset()))
         OR asset_id IN (SELECT asset_id FROM granted_asset())));
CREATE POLICY of_kinds ON lighting_shadow AS RESTRICTIVE TO territoire_api
    USING ((SELECT proved_kinds()) IS NULL OR asset_id IN (SELECT assets_of_kinds()));
GRANT SELECT ON lighting_shadow TO territoire_api;

INSERT INTO erasure_step VALUES
(47, 'lighting_shadow', $$
WITH gone AS (DELETE FROM lighting_shadow
WHERE asset_id = ANY(($1).asset_ids) OR device_id = ANY(($1).device_ids) RETURNING 1) SELECT count(*) FROM gone $$);

ALTER TABLE alert_request DROP CONSTRAINT alert_request_kind_check,
    ADD CONSTRAINT alert_request_kind_check CHECK (kind IN (
        'gateway_address', 'codec', 'clock', 'relight_failed', 'program_mismatch'));
ALTER TABLE alert_rule
    DROP CONSTRAINT alert_rule_kind_check,
    ADD CONSTRAINT alert_rule_kind_check CHECK (kind IN (
        'threshold', 'range', 'rate', 'boolean', 'flat', 'silence', 'gateway', 'loss', 'gateway_address', 'codec',
        'clock', 'relight_failed', 'program_mismatch', 'partner')),
    DROP CONSTRAINT alert_rule_limits_check,
    ADD CONSTRAINT alert_rule_limits_check CHECK (CASE
        WHEN kind IN ('silence', 'gateway', 'gateway_address', 'codec', 'clock', 'relight_failed', 'program_mismatch',
                      'partner') THEN true
        WHEN kind = 'loss' THEN fire_value IS NOT NULL AND clear_value IS NOT NULL
        WHEN kind IN ('flat', 'boolean') THEN quantity IS NOT NULL AND fire_value IS NOT NULL
        WHEN kind = 'range' THEN quantity IS NOT NULL
             AND num_nonnulls(fire_value, fire_upper, clear_value, clear_upper) = 4 AND fire_value <= clear_value AND clear_value <= clear_upper AND clear_upper <= fire_upper
        ELSE quantity IS NOT NULL AND num_nonnulls(fire_op, fire_value, clear_op, clear_value) = 4 END);

-- Tenants that are there already get the rules about clocks that new ones start with.
INSERT INTO alert_rule (tenant_id, name, kind, quantity, severity, message, asset_kinds, fire_value, fire_upper,
                        clear_value, clear_upper, for_readings)
SELECT id, 'clock_offset', 'range', 'clock_offset', 'warning',
       '{asset} ({place}) : horloge décalée de {value} depuis {since} : ses allumages le sont aussi ; la remettre à l''heure.',
       ARRAY['lighting_cabinet'], -120, 120, -60, 60, 2
FROM tenant ON CONFLICT (tenant_id, name) DO NOTHING;
INSERT INTO alert_rule (tenant_id, name, kind, quantity, severity, message, asset_kinds, fire_value, for_seconds)
SELECT id, 'clock_lost', 'boolean', 'clock_valid', 'major',
       '{asset} ({place}) : horloge sans heure depuis {since} : elle allume sans suivre son programme ; vérifier son réseau et sa réserve de marche.',
       ARRAY['lighting_cabinet'], 0, 1800
FROM tenant ON CONFLICT (tenant_id, name) DO NOTHING;
