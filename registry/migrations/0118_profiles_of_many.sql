-- As counter_profiles, of many datastreams at once: called for each of 2,000, that one took 60 ms. The caller has found
-- them first, under row security; outside of any tenant there is nothing to ask.
CREATE FUNCTION datastream_profiles(streams int[])
    RETURNS TABLE (datastream_id int, since timestamptz, modulus float8, expected_interval interval)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    SET plan_cache_mode = force_custom_plan ROWS 1000 AS $$
BEGIN
    IF current_tenant() IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT d.id, coalesce(lower(s.during), '-infinity'), (p.moduli ->> d.quantity)::float8, p.expected_interval
    FROM datastream d
    LEFT JOIN assignment s ON s.asset_id = d.asset_id AND s.position = d.position
    JOIN device v ON v.id = coalesce(s.device_id, d.device_id)
    JOIN device_profile p ON p.id = v.device_profile_id
    WHERE d.id = ANY(streams);
END
$$;
REVOKE EXECUTE ON FUNCTION datastream_profiles(int[]) FROM PUBLIC;
ALTER FUNCTION datastream_profiles(int[]) OWNER TO territoire_service;
GRANT EXECUTE ON FUNCTION datastream_profiles(int[]) TO territoire_api;
