-- The history of an asset's lamps is read by who reads the asset: acts of which lighting knows nothing are shown, and what
-- bounds were before they were changed.

GRANT SELECT ON lighting_unknown_act TO territoire_api;
CREATE POLICY seen ON lighting_unknown_act FOR SELECT USING (
    tenant_id = ANY((SELECT reachable_tenants())::int[])
    AND ((tenant_id = ANY((SELECT visible_tenants())::int[]) AND NOT asset_id IN (SELECT hidden_asset()))
         OR asset_id IN (SELECT asset_id FROM granted_asset())));
CREATE POLICY of_kinds ON lighting_unknown_act AS RESTRICTIVE TO territoire_api
    USING ((SELECT proved_kinds()) IS NULL OR asset_id IN (SELECT assets_of_kinds()));

ALTER TABLE lighting_bounds ADD former jsonb;
CREATE FUNCTION keep_former_bounds() RETURNS trigger
    LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    NEW.former := to_jsonb(OLD) - 'former' - 'set_by';  -- Nobody's name: an erasure would miss it there.
    RETURN NEW;
END
$$;
CREATE TRIGGER keep_former BEFORE UPDATE OF earliest_cut, latest_return, least_level, protected_tags ON lighting_bounds
    FOR EACH ROW EXECUTE FUNCTION keep_former_bounds();
