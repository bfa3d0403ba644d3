-- Logins for tools that speak SQL (Grafana, a spreadsheet): each bound to one tenant by its very name, and to the views
-- of the schema bi. A tool runs whatever SQL it is given, so nothing here may depend on what its transaction has set.

-- The tenant of a login of this kind; NULL of any other login, and of a tenant that is closed. Who may make a member of
-- territoire_bi may do anything: that is the proof.
CREATE FUNCTION bi_tenant() RETURNS int
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN (
        SELECT t.id FROM public.tenant t
        WHERE t.id::text = substring(session_user FROM '^territoire_bi_([0-9]{1,9})_') AND t.closed_at IS NULL
          AND EXISTS (SELECT FROM pg_auth_members m
                      JOIN pg_roles g ON g.oid = m.roleid AND g.rolname = 'territoire_bi'
                      JOIN pg_roles r ON r.oid = m.member AND r.rolname = session_user));
END
$$;
ALTER FUNCTION bi_tenant() OWNER TO territoire_service;
REVOKE EXECUTE ON FUNCTION bi_tenant() FROM PUBLIC;

-- As in 0063; what such a login sets is never believed, also while no seal is enforced.
CREATE OR REPLACE FUNCTION is_sealed() RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    kept public.seal_secret;
BEGIN
    IF starts_with(session_user, 'territoire_bi_') THEN
        RETURN false;
    END IF;
    SELECT * INTO STRICT kept FROM public.seal_secret;
    RETURN NOT kept.is_enforced OR current_setting('app.seal', true) = public.seal_of_settings(kept.secret);
END
$$;
CREATE OR REPLACE FUNCTION current_tenant() RETURNS int
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    entered text := nullif(current_setting('app.tenant', true), '');
BEGIN
    IF starts_with(session_user, 'territoire_bi_') THEN
        RETURN public.bi_tenant();
    END IF;
    IF entered IS NULL OR public.is_sealed() IS NOT TRUE THEN
        RETURN NULL;
    END IF;
    RETURN entered::int;
END
$$;

-- What these logins see: what the tenant sees, but for personal data, whose reading is audited and this is not. Behind
-- a barrier: no function of a reader's own sees a row before it is known to be theirs.
CREATE SCHEMA bi;
GRANT SELECT ON asset, alert TO territoire_views;
CREATE VIEW bi.asset WITH (security_barrier) AS
    SELECT a.id, a.kind, a.name, a.commune, a.insee, a.quarter, a.street, a.latitude, a.longitude, a.tags,
           a.external_reference, a.archived_at
    FROM public.asset a WHERE a.privacy_class < 2;
CREATE VIEW bi.datastream WITH (security_barrier) AS
    SELECT d.id, d.asset_id, a.name AS asset, a.kind AS asset_kind, a.commune, d.position, d.channel, d.quantity, d.unit
    FROM public.datastream d LEFT JOIN public.asset a ON a.id = d.asset_id WHERE d.privacy_class < 2;
CREATE VIEW bi.latest WITH (security_barrier) AS
    SELECT l.datastream_id, l.time, l.value, l.flags
    FROM public.latest l JOIN public.datastream d ON d.id = l.datastream_id WHERE d.privacy_class < 2;
CREATE VIEW bi.measurement WITH (security_barrier) AS
    SELECT m.datastream_id, m.time, m.value, m.flags
    FROM public.measurement m JOIN public.datastream d ON d.id = m.datastream_id WHERE d.privacy_class < 2;
CREATE VIEW bi.hour WITH (security_barrier) AS
    SELECT r.datastream_id, r.bucket AS time, r.n AS readings, r.suspects, r.min AS minimum, r.max AS maximum,
           r.sum / nullif(r.n, 0) AS mean, r.first, r.last
    FROM public.rollup_hour r JOIN public.datastream d ON d.id = r.datastream_id WHERE d.privacy_class < 2;
CREATE VIEW bi.day WITH (security_barrier) AS
    SELECT r.datastream_id, r.bucket AS time, r.n AS readings, r.suspects, r.min AS minimum, r.max AS maximum,
           r.sum / nullif(r.n, 0) AS mean, r.first, r.last
    FROM public.rollup_day r JOIN public.datastream d ON d.id = r.datastream_id WHERE d.privacy_class < 2;
CREATE VIEW bi.alert WITH (security_barrier) AS
    SELECT l.id, l.asset_id, a.name AS asset, a.commune, l.severity::text, l.condition::text, l.workflow::text, l.message,
           l.opened_at, l.resolved_at
    FROM public.alert l JOIN public.asset a ON a.id = l.asset_id WHERE a.privacy_class < 2;

GRANT USAGE, CREATE ON SCHEMA bi TO territoire_views;
ALTER VIEW bi.asset OWNER TO territoire_views;
ALTER VIEW bi.datastream OWNER TO territoire_views;
ALTER VIEW bi.latest OWNER TO territoire_views;
ALTER VIEW bi.measurement OWNER TO territoire_views;
ALTER VIEW bi.hour OWNER TO territoire_views;
ALTER VIEW bi.day OWNER TO territoire_views;
ALTER VIEW bi.alert OWNER TO territoire_views;
REVOKE CREATE ON SCHEMA bi FROM territoire_views;
