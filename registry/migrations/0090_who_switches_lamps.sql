-- Who switches lamps is said by columns: names are free, and a key may be called `programme`.

-- The platform itself, by a program or to bring a circuit back; otherwise somebody asked for it.
ALTER TABLE lighting_command ADD COLUMN is_automatic boolean NOT NULL DEFAULT false;
UPDATE lighting_command SET is_automatic = true
WHERE requested_by = 'programme' AND reason IN ('allumage du programme', 'extinction du programme')
   OR requested_by = 'territoire' AND (reason LIKE 'fin de l''extinction demandée (commande %)'
                                       OR reason = 'message envoyé hors de l''éclairage : retour au programme');

-- Whether the platform switches the relays that follow it: what an upgrade made of attributes was no word about
-- switching, nor is it after the asset was given away.
ALTER TABLE lighting_assignment ADD COLUMN switches boolean NOT NULL DEFAULT true;
UPDATE lighting_assignment SET switches = false WHERE assigned_by = 'mise à jour' AND version_id IN (
    SELECT id FROM lighting_program_version WHERE author = 'mise à jour' AND remark = 'Repris des attributs');
UPDATE lighting_assignment g SET switches = false
WHERE g.assigned_by = 'cession' AND EXISTS (
    SELECT FROM lighting_assignment o
    WHERE o.asset_id = g.asset_id AND o.id < g.id AND NOT o.switches AND o.ended_at = g.assigned_at);

-- As `lighting_version_in_force` finds its version.
CREATE FUNCTION lighting_switches(asset int) RETURNS boolean
    LANGUAGE sql STABLE STRICT SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT coalesce((SELECT g.switches FROM assets_above(asset) u
                     JOIN lighting_assignment g ON g.asset_id = u.id AND g.ended_at IS NULL
                     ORDER BY u.depth LIMIT 1), false)
$$;
REVOKE EXECUTE ON FUNCTION lighting_switches(int) FROM PUBLIC;
ALTER FUNCTION lighting_switches(int) OWNER TO territoire_service;

-- As in 0087; whether it switches goes along.
CREATE OR REPLACE FUNCTION give_lighting_program() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    followed record;
    is_switched boolean := lighting_switches(NEW.id);
    kept int;
    free text;
    nth int := 0;
BEGIN
    SELECT v.program, p.name INTO followed FROM lighting_program_version v
    JOIN lighting_program p ON p.id = v.program_id WHERE v.id = lighting_version_in_force(NEW.id);
    UPDATE lighting_assignment SET ended_at = now(), ended_by = 'cession' WHERE asset_id = NEW.id AND ended_at IS NULL;
    IF followed IS NULL OR NEW.kind NOT LIKE 'lighting\_%' THEN
        RETURN NULL;
    END IF;
    SELECT v.id INTO kept FROM lighting_program_version v JOIN lighting_program p ON p.id = v.program_id
    WHERE v.tenant_id = NEW.tenant_id AND v.program = followed.program AND p.archived_at IS NULL
    ORDER BY v.id LIMIT 1;
    IF kept IS NULL THEN
        free := left(followed.name, 160);
        WHILE EXISTS (SELECT FROM lighting_program p WHERE p.tenant_id = NEW.tenant_id AND p.archived_at IS NULL
                        AND p.name = free) LOOP
            nth := nth + 1;
            free := left(followed.name, 160) || ' (repris avec ' || NEW.id
                || CASE WHEN nth > 1 THEN ', ' || nth ELSE '' END || ')';
        END LOOP;
        WITH made AS (
            INSERT INTO lighting_program (tenant_id, name) VALUES (NEW.tenant_id, free) RETURNING id)
        INSERT INTO lighting_program_version (tenant_id, program_id, version, program, author)
        SELECT NEW.tenant_id, id, 1, followed.program, 'cession' FROM made RETURNING id INTO kept;
    END IF;
    INSERT INTO lighting_assignment (tenant_id, asset_id, version_id, assigned_by, switches)
    VALUES (NEW.tenant_id, NEW.id, kept, 'cession', is_switched);
    RETURN NULL;
END
$$;

-- Why nothing may reach a device now, as far as one can see: `network` (no server has had its shard since the first
-- instant), `gateway` (none of those that heard it last has spoken since the second), `unheard` (it was never heard).
-- A device of another network's server is reached by that one.
CREATE FUNCTION lighting_unreached(devices int[], network_since timestamptz, gateway_since timestamptz)
    RETURNS TABLE (device_id int, why text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT d.id, CASE
        WHEN NOT EXISTS (SELECT FROM shard_lease l WHERE l.service = 'network' AND l.expires_at > network_since)
            THEN 'network'
        WHEN n.last_heard_by IS NULL THEN 'unheard'
        ELSE 'gateway' END
    FROM unnest(devices) AS d (id)
    LEFT JOIN LATERAL (
        SELECT s.last_heard_by FROM session s
        WHERE s.device_id = d.id AND s.closed_at IS NULL AND s.last_uplink_at IS NOT NULL
        ORDER BY s.id DESC LIMIT 1) n ON true
    WHERE NOT EXISTS (SELECT FROM lns_route r WHERE r.device_id = d.id)
      AND (NOT EXISTS (SELECT FROM shard_lease l WHERE l.service = 'network' AND l.expires_at > network_since)
           OR NOT EXISTS (
               SELECT FROM jsonb_array_elements(n.last_heard_by) AS copy
               JOIN gateway g ON g.gateway_id = decode(copy ->> 0, 'base64')
               JOIN gateway_state t ON t.gateway_id = g.id
               WHERE t.last_seen_at > gateway_since)
           AND NOT EXISTS (
               SELECT FROM jsonb_array_elements(n.last_heard_by) AS copy
               JOIN unknown_gateway t ON t.gateway_id = decode(copy ->> 0, 'base64')
               WHERE t.last_seen_at > gateway_since))
$$;
REVOKE EXECUTE ON FUNCTION lighting_unreached(int[], timestamptz, timestamptz) FROM PUBLIC;
ALTER FUNCTION lighting_unreached(int[], timestamptz, timestamptz) OWNER TO territoire_service;
