-- As in 0079; the copy of a program gets a name that is free: an asset that goes to and fro brought one twice, or one whose
-- beginning was taken, and could not be received.
CREATE OR REPLACE FUNCTION give_lighting_program() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    followed record;
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
    INSERT INTO lighting_assignment (tenant_id, asset_id, version_id, assigned_by)
    VALUES (NEW.tenant_id, NEW.id, kept, 'cession');
    RETURN NULL;
END
$$;
