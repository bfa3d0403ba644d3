-- Who made a key, for good: `personne <id>` or `clé <id>`; empty: the installation, or nobody knows. Whoever writes a
-- campaign does not approve it by a key of their own making.
ALTER TABLE api_key ADD COLUMN made_by text NOT NULL DEFAULT '';
GRANT SELECT (made_by) ON api_key TO territoire_api;
UPDATE api_key k SET made_by = a.actor FROM audit a
WHERE a.entity = 'api_key' AND a.action = 'create' AND a.entity_id = k.id AND a.actor ~ '^personne [0-9]+$';
