-- Why an uplink could not be decoded, or gave no measurement, is a code of a closed list
-- (core.model.uplink_reasons.UplinkReason); what the codec said itself is beside it. Texts of before are translated, those
-- that are none of ours are the detail. Only these rows are touched, and nobody waits for their locks but a redecode.
ALTER TABLE observation.uplink ADD COLUMN detail text;

-- As in 0009, with the detail.
CREATE OR REPLACE VIEW uplink AS
    SELECT u.* FROM observation.uplink u JOIN device d ON d.id = u.device_id
    LEFT JOIN shared_device() g ON g.device_id = d.id
    WHERE (d.tenant_id = ANY((SELECT visible_tenants())::int[]) AND u.time >= d.owned_since) OR g.data @> u.time;

WITH known (place, code, pattern) AS (VALUES
    (1, 'unknown_codec', '^Codec inconnu : .*\(profil d''équipement (\d+)\)$'),
    (2, 'codec_suspended', '^En attente : le codec .* est suspendu()$'),
    (3, 'no_workers', '^En attente : le moteur des codecs ne répond pas()$'),
    (4, 'unreadable', '^Trame illisible par .*? v\d+ : (.*)$'),
    (5, 'codec_failed', '^Erreur du décodeur .*? v\d+ : (.*)$'),
    (6, 'no_mapping', '^Lue par .*, mais aucune mesure : le profil n''a pas de correspondance()$'),
    (7, 'no_rule_applies', '^Lue par .*, mais aucune mesure : aucune règle de la correspondance ne s''y applique()$'),
    (8, 'to_confirm', '^Lue par .*, mais aucune mesure : ce que la correspondance y lit est à confirmer()$'),
    (9, 'no_usable_value', '^Lue par .*, mais aucune mesure : aucune valeur n''est utilisable()$'),
    (10, 'other', '^(.*)$')
)
UPDATE observation.uplink u
SET (reason, detail) = (
    SELECT k.code, nullif(substring(u.reason FROM k.pattern), '') FROM known k
    WHERE u.reason ~ k.pattern ORDER BY k.place LIMIT 1
)
WHERE u.reason IS NOT NULL;
