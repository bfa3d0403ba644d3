-- The reason of quarantine is a code of a closed list (core.model.quarantine.QuarantineReason) for every service; what
-- was said of the item is beside it. Texts of before are translated, those that are none of ours are the detail.
ALTER TABLE observation.quarantine ADD COLUMN detail text NOT NULL DEFAULT '';

WITH known (service, code, pattern) AS (VALUES
    ('network', 'poison', '^in hand when the network server ended, (\d+) times on this batch$'),
    ('network', 'unreadable_batch', '^(version byte .*, expected .*)$'),
    ('network', 'unreadable_batch', '^((?:Expected|Input data|MessagePack|Invalid|Object|Array) .*)$'),
    ('network', 'defect', '^(\w+: .*)$'),
    ('ingest', 'poison', '^Écarté sans être lu : le service s''est arrêté (\d+) fois en le traitant$'),
    ('ingest', 'unreadable_batch', '^Lot illisible : (.*)$'),
    ('ingest', 'impossible_field', '^Champ impossible : (.*)$'),
    ('ingest', 'unknown_device', '^L''équipement n''existe plus dans le référentiel()$'),
    ('ingest', 'defect', '^Défaut du traitement : (.*)$'),
    ('ingest', 'refused_value', '^Refusé par la base : (.*)$'),
    ('intake', 'unreadable_message', '^(.*)$')
), translated AS (
    SELECT DISTINCT ON (q.id) q.id, k.code, substring(q.reason FROM k.pattern) AS detail
    FROM observation.quarantine q JOIN known k ON k.service = q.service AND q.reason ~ k.pattern
    ORDER BY q.id, k.code = 'defect'  -- The least particular of them.
)
UPDATE observation.quarantine q SET reason = coalesce(t.code, 'other'), detail = coalesce(t.detail, o.reason)
FROM observation.quarantine o LEFT JOIN translated t ON t.id = o.id
WHERE o.id = q.id;
