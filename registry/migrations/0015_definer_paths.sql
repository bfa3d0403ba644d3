-- A temporary table is found before any other unless the path says where. A function that acts with its owner's
-- rights would look into the one that its caller has made, and run the caller's triggers with these rights.
DO $$
DECLARE
    door record;
BEGIN
    FOR door IN
        SELECT p.oid::regprocedure AS name, substr(setting, length('search_path=') + 1) AS path
        FROM pg_proc p CROSS JOIN LATERAL unnest(p.proconfig) AS setting
        WHERE p.prosecdef AND p.pronamespace IN ('public'::regnamespace, 'observation'::regnamespace)
          AND starts_with(setting, 'search_path=') AND setting !~ 'pg_temp$'
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %s, pg_temp', door.name, door.path);
    END LOOP;
END
$$;
