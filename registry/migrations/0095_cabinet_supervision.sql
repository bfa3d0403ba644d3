-- Rules about cabinets of lamps: lamps that are missing, a lost phase, a contract exceeded, a breaker, a door.

ALTER TABLE alert_rule
    DROP CONSTRAINT alert_rule_series_check,
    ADD CONSTRAINT alert_rule_series_check CHECK (series IN (
        'night_minimum_flow', 'power_ratio', 'missing_lamps', 'contract_ratio', 'phase_voltage', 'phase_current'));

-- What the meter of a cabinet or circuit is judged by (alerting.rules.model.Cabinet): its channel and phases, what was
-- contracted, its lamps; and its circuits, where some go by another program than the version that it follows itself.
CREATE FUNCTION lighting_facts(stream int, asset int, followed int) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'channel', s.channel,
        'phases', CASE WHEN a.attributes -> 'phases' IN ('1', '3') THEN a.attributes -> 'phases'
                       WHEN (SELECT count(DISTINCT o.channel) FROM datastream o
                             WHERE o.asset_id = a.id AND o.quantity = s.quantity AND o.channel LIKE 'phase\_%') > 1
                       THEN '3' ELSE '1' END,
        'contract_power_kva', CASE WHEN jsonb_typeof(a.attributes -> 'contract_power_kva') = 'number'
                                   THEN a.attributes -> 'contract_power_kva' END,
        'lamp_w', l.least, 'lamps_w', l.total,
        'circuits', (
            SELECT jsonb_agg(jsonb_build_object('program', f.program, 'watts', lighting_watts(c.attributes)) ORDER BY c.id)
            FROM asset c LEFT JOIN lighting_program_in_force f ON f.asset_id = c.id
            WHERE c.parent_id = a.id AND c.kind = 'lighting_circuit' AND c.archived_at IS NULL
            HAVING bool_or(f.version_id IS DISTINCT FROM followed OR c.attributes -> 'protected' = 'true'))))
    FROM datastream s, asset a, LATERAL (
        SELECT min(p.watts) AS least, CASE WHEN count(*) = count(p.watts) THEN sum(p.watts) END AS total
        FROM (SELECT CASE WHEN jsonb_typeof(p.attributes -> 'power_w') = 'number'
                          THEN nullif((p.attributes ->> 'power_w')::float8, 0) END AS watts
              FROM asset p WHERE p.kind = 'light_point' AND p.archived_at IS NULL
                AND (p.parent_id = a.id OR p.parent_id IN (
                    SELECT c.id FROM asset c WHERE c.parent_id = a.id AND c.kind = 'lighting_circuit'))) AS p) AS l
    WHERE s.id = stream AND a.id = lighting_facts.asset
$$;

-- Whoever remembers what a cabinet's lamps take hears of them: once a statement, since they come by the thousand.
CREATE FUNCTION note_lamps_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO registry_change (entity, entity_id)
    SELECT DISTINCT 'lighting', c.tenant_id FROM changed c WHERE c.kind = 'light_point';
    RETURN NULL;
END
$$;
ALTER FUNCTION note_lamps_changed() OWNER TO territoire_service;
REVOKE EXECUTE ON FUNCTION note_lamps_changed() FROM PUBLIC;
CREATE TRIGGER note_lamps_made AFTER INSERT ON asset
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_lamps_changed();
CREATE TRIGGER note_lamps_changed AFTER UPDATE ON asset
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_lamps_changed();

-- Tenants that are there already get the rules that new ones start with; what they have made under such a name stays.
INSERT INTO alert_rule (tenant_id, name, kind, quantity, severity, message, asset_kinds, series, scope, fire_op,
                        fire_value, clear_op, clear_value, for_readings, for_seconds, keep_firing_seconds, schedule,
                        inhibits)
SELECT t.id, r.name, r.kind, r.quantity, r.severity::alert_severity, r.message, r.kinds, r.series, r.scope, r.fire_op,
       r.fire_value, r.clear_op, r.clear_value, r.for_readings, r.for_seconds, r.keep_firing_seconds, r.schedule,
       r.inhibits
FROM tenant t CROSS JOIN (VALUES
    ('under_power', 'threshold', 'active_power', 'warning',
     '{asset} ({place}) : {measured} au lieu de {expected} depuis {since} : il manque au moins une lampe ; faire le tour des points lumineux.',
     ARRAY['lighting_cabinet', 'lighting_circuit'], 'missing_lamps', 'asset', '>=', 0.8, '<', 0.5, 2, 1800, 0, 'lit', false),
    ('lost_phase', 'threshold', 'voltage', 'major',
     '{asset} ({place}) : phase {phase} perdue depuis {since}, {measured} au lieu de {expected} : vérifier son fusible, puis appeler le gestionnaire du réseau.',
     ARRAY['lighting_cabinet', 'lighting_circuit'], 'phase_voltage', 'datastream', '<', 65, '>', 85, 2, 1200, 0, 'lit', false),
    ('lost_phase_current', 'threshold', 'current', 'major',
     '{asset} ({place}) : plus de courant sur la phase {phase} depuis {since}, {value} de l''ordinaire : vérifier son fusible et son circuit.',
     ARRAY['lighting_cabinet', 'lighting_circuit'], 'phase_current', 'datastream', '<', 10, '>', 50, 2, 1200, 0, 'lit', false),
    ('contract_power', 'threshold', 'apparent_power', 'major',
     '{asset} ({place}) : {measured} pour {expected} souscrits depuis {since} : le compteur peut couper ; chercher un défaut, ou revoir le contrat.',
     ARRAY['lighting_cabinet'], 'contract_ratio', 'asset', '>', 100, '<', 95, 1, 300, 600, 'always', false),
    ('breaker', 'boolean', 'breaker_tripped', 'critical',
     '{asset} ({place}) : disjoncteur déclenché depuis {since} : chercher le défaut avant de réarmer.',
     ARRAY['lighting_cabinet', 'lighting_circuit'], NULL, 'asset', NULL, 1, NULL, NULL, 1, 0, 0, 'always', true),
    ('cabinet_door', 'boolean', 'open', 'warning',
     '{asset} ({place}) : porte ouverte depuis {since} : envoyer quelqu''un la fermer, ou déclarer les travaux.',
     ARRAY['lighting_cabinet', 'lighting_circuit'], NULL, 'asset', NULL, 1, NULL, NULL, 1, 0, 0, 'always', false)
) AS r (name, kind, quantity, severity, message, kinds, series, scope, fire_op, fire_value, clear_op, clear_value,
        for_readings, for_seconds, keep_firing_seconds, schedule, inhibits)
ON CONFLICT (tenant_id, name) DO NOTHING;
