-- With whom lamps are shared reads the programs that these lamps follow, and no others of their owner: who is shown one
-- bin has no business with what is planned for the streets, nor with who planned it.
CREATE FUNCTION shared_lighting_version() RETURNS TABLE (version_id int, program_id int)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 10 AS $$
    WITH RECURSIVE above (id, parent_id) AS (
        SELECT a.id, a.parent_id FROM granted_asset() g JOIN asset a ON a.id = g.asset_id
        UNION
        SELECT p.id, p.parent_id FROM asset p JOIN above ON p.id = above.parent_id
    )
    SELECT DISTINCT v.id, v.program_id FROM above
    JOIN lighting_assignment l ON l.asset_id = above.id AND l.ended_at IS NULL
    JOIN lighting_program_version v ON v.id = l.version_id
$$;
ALTER FUNCTION shared_lighting_version() OWNER TO territoire_service;
DROP POLICY seen ON lighting_program;
CALL share_reading('lighting_program', 'id IN (SELECT program_id FROM shared_lighting_version())');
DROP POLICY seen ON lighting_program_version;
CALL share_reading('lighting_program_version', 'id IN (SELECT version_id FROM shared_lighting_version())');
