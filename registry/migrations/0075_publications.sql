-- What a tenant shows to everybody: some quantities of an asset, or of a building with what hangs on it, at an address of
-- its own. Nobody who reads it is known: its doors below enter no tenant, they give what is published and nothing else.

CREATE TABLE publication (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    asset_id int NOT NULL REFERENCES asset ON DELETE CASCADE,
    slug text NOT NULL CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name text NOT NULL CHECK (name <> ''),
    includes_below boolean NOT NULL DEFAULT false,
    quantities text[] NOT NULL CHECK (cardinality(quantities) BETWEEN 1 AND 50),
    -- What is younger is not shown.
    delay_seconds int NOT NULL DEFAULT 0 CHECK (delay_seconds BETWEEN 0 AND 31622400),
    -- Of what it shows, when that was last decided: never 2, and with 1 only after an approval.
    privacy_class smallint NOT NULL CHECK (privacy_class IN (0, 1)),
    may_embed boolean NOT NULL DEFAULT false,
    until timestamptz,
    published_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    approved_by text CHECK (approved_by <> ''),
    approved_at timestamptz,
    withdrawn_at timestamptz,
    withdrawn_by text,
    withdrawn_reason text CHECK (withdrawn_reason IN ('asked', 'class', 'archived', 'transferred')),
    CHECK ((approved_by IS NULL) = (approved_at IS NULL)),
    CHECK (num_nonnulls(withdrawn_at, withdrawn_by, withdrawn_reason) IN (0, 3))
);
-- One that was withdrawn leaves its address to a following one of the same tenant.
CREATE UNIQUE INDEX publication_slug ON publication (slug) WHERE withdrawn_at IS NULL;
CREATE INDEX publication_of_slug ON publication (slug, id);
CREATE INDEX publication_by_tenant ON publication (tenant_id);
CREATE INDEX publication_of_asset ON publication (asset_id);
CALL scope_to_tenant('publication');
GRANT SELECT,
      INSERT (tenant_id, asset_id, slug, name, includes_below, quantities, delay_seconds, may_embed, until, published_by),
      UPDATE (name, includes_below, quantities, delay_seconds, may_embed, until, approved_by, withdrawn_at, withdrawn_by,
              withdrawn_reason)
    ON publication TO territoire_api;

-- Which sites may show its public pages in their own: sources of CSP's frame-ancestors.
CREATE TABLE publication_host (
    tenant_id int NOT NULL REFERENCES tenant,
    host text NOT NULL CHECK (host ~ '^https://(\*\.)?[a-z0-9.-]{1,250}(:[0-9]{1,5})?$'),
    PRIMARY KEY (tenant_id, host)
);
CALL scope_to_tenant('publication_host');
GRANT SELECT, INSERT, DELETE ON publication_host TO territoire_api;

-- What an asset with all below it consists of: of its owner, and not archived.
CREATE FUNCTION assets_below(root int, goes_down boolean) RETURNS TABLE (id int, depth int)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 10 AS $$
    WITH RECURSIVE below (id, tenant_id, depth) AS (
        SELECT a.id, a.tenant_id, 0 FROM asset a WHERE a.id = root AND a.archived_at IS NULL
        UNION ALL
        SELECT a.id, a.tenant_id, b.depth + 1 FROM asset a JOIN below b ON a.parent_id = b.id
        WHERE goes_down AND a.tenant_id = b.tenant_id AND a.archived_at IS NULL AND b.depth < 16
    )
    SELECT below.id, min(below.depth) FROM below GROUP BY below.id
$$;

-- Whoever writes a row decides neither its class nor that it is approved already.
CREATE FUNCTION judge_publication() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    own smallint;
    shown smallint;
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.withdrawn_at IS NOT NULL
       AND (NEW.withdrawn_at, NEW.name, NEW.quantities, NEW.includes_below, NEW.delay_seconds, NEW.may_embed, NEW.until)
           IS DISTINCT FROM (OLD.withdrawn_at, OLD.name, OLD.quantities, OLD.includes_below, OLD.delay_seconds,
                             OLD.may_embed, OLD.until) THEN
        RAISE EXCEPTION 'publication % is withdrawn', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'publication_is_withdrawn';
    END IF;
    IF NEW.withdrawn_at IS NOT NULL THEN
        RETURN NEW;
    END IF;
    IF EXISTS (SELECT FROM publication p WHERE p.slug = NEW.slug AND p.tenant_id <> NEW.tenant_id) THEN
        RAISE EXCEPTION 'address % was another tenant''s', NEW.slug
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'publication_slug';
    END IF;
    IF TG_OP = 'UPDATE' AND (NEW.asset_id, NEW.includes_below, NEW.quantities) = (OLD.asset_id, OLD.includes_below, OLD.quantities)
       AND NEW.delay_seconds >= OLD.delay_seconds THEN
        NEW.privacy_class := OLD.privacy_class;
        NEW.approved_at := CASE WHEN NEW.approved_by IS NOT NULL THEN coalesce(OLD.approved_at, now()) END;
        RETURN NEW;
    END IF;
    -- Who raises its class meanwhile waits for this transaction, or this one for theirs.
    SELECT a.privacy_class INTO own FROM asset a
    WHERE a.id = NEW.asset_id AND a.tenant_id = NEW.tenant_id AND a.archived_at IS NULL FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'asset % is not there', NEW.asset_id
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'publication_asset_id_fkey';
    END IF;
    own := greatest(own, (SELECT max(d.privacy_class) FROM datastream d
                          WHERE d.asset_id = NEW.asset_id AND d.quantity = ANY(NEW.quantities)));
    IF own = 2 THEN
        RAISE EXCEPTION 'asset % is of class 2', NEW.asset_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'publication_is_never_personal';
    END IF;
    -- What is personal below it is left out, and makes nothing of it.
    SELECT max(greatest(a.privacy_class, d.privacy_class)) INTO shown
    FROM assets_below(NEW.asset_id, NEW.includes_below) b JOIN asset a USING (id)
    LEFT JOIN datastream d ON d.asset_id = a.id AND d.quantity = ANY(NEW.quantities)
    WHERE greatest(a.privacy_class, d.privacy_class) < 2;
    NEW.privacy_class := greatest(own, shown);
    NEW.approved_by := NULL;
    NEW.approved_at := NULL;
    RETURN NEW;
END
$$;
CREATE TRIGGER publication_is_judged BEFORE INSERT OR UPDATE ON publication
    FOR EACH ROW EXECUTE FUNCTION judge_publication();

-- A class that is raised, an archived asset and one that goes to another tenant: withdrawn in the same transaction. The
-- lists of columns of these triggers would leave out what other triggers set.
CREATE FUNCTION withdraw_publications(asset int, of_quantity text, why text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    ended record;
BEGIN
    FOR ended IN
        UPDATE publication p SET withdrawn_at = now(), withdrawn_by = 'territoire', withdrawn_reason = why
        WHERE p.asset_id = asset AND p.withdrawn_at IS NULL AND (of_quantity IS NULL OR of_quantity = ANY(p.quantities))
        RETURNING p.id, p.tenant_id, p.slug
    LOOP
        INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details)
        VALUES (ended.tenant_id, 'territoire', 'withdraw', 'publication', ended.id::text,
                jsonb_build_object('slug', ended.slug, 'reason', why));
    END LOOP;
END
$$;
CREATE FUNCTION publication_loses_asset() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM withdraw_publications(NEW.id, NULL, CASE WHEN NEW.tenant_id <> OLD.tenant_id THEN 'transferred'
                                                     WHEN NEW.privacy_class > OLD.privacy_class THEN 'class'
                                                     ELSE 'archived' END);
    RETURN NULL;
END
$$;
CREATE TRIGGER publication_loses_asset AFTER UPDATE ON asset
    FOR EACH ROW WHEN (NEW.privacy_class > OLD.privacy_class OR NEW.tenant_id <> OLD.tenant_id
                       OR (NEW.archived_at IS NOT NULL AND OLD.archived_at IS NULL))
    EXECUTE FUNCTION publication_loses_asset();
CREATE FUNCTION publication_loses_datastream() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM withdraw_publications(NEW.asset_id, NEW.quantity, 'class');
    RETURN NULL;
END
$$;
CREATE TRIGGER publication_loses_datastream AFTER UPDATE ON datastream
    FOR EACH ROW WHEN (NEW.privacy_class > OLD.privacy_class AND NEW.asset_id IS NOT NULL)
    EXECUTE FUNCTION publication_loses_datastream();

-- The doors. Nobody is known there: each gives what is published by this address, as it is at this instant, whatever
-- the row says: a class above that of the publication shows nothing, before any trigger.

-- The publication that answers at an address, or (`preview`) one of the tenant's own, before it is approved.
CREATE FUNCTION shown_publication(wanted text, preview int) RETURNS SETOF publication
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1 AS $$
    SELECT p.* FROM publication p JOIN asset a ON a.id = p.asset_id AND a.tenant_id = p.tenant_id
    WHERE p.withdrawn_at IS NULL AND a.archived_at IS NULL AND a.privacy_class <= p.privacy_class
      AND CASE WHEN preview IS NULL
               THEN p.slug = wanted AND (p.until IS NULL OR p.until > now())
                    AND (p.privacy_class = 0 OR p.approved_at IS NOT NULL)
               ELSE p.id = preview AND p.tenant_id = current_tenant() END
$$;
CREATE FUNCTION shown_datastreams(wanted text, preview int)
    RETURNS TABLE (id int, asset_id int, depth int, quantity text, unit text, "position" text, channel text, up_to timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 20 AS $$
    SELECT d.id, a.id, b.depth, d.quantity, d.unit, d.position, d.channel, now() - make_interval(secs => p.delay_seconds)
    FROM shown_publication(wanted, preview) p
    CROSS JOIN LATERAL assets_below(p.asset_id, p.includes_below) b
    JOIN asset a ON a.id = b.id AND a.privacy_class <= p.privacy_class
    JOIN datastream d ON d.asset_id = a.id AND d.tenant_id = p.tenant_id AND d.quantity = ANY(p.quantities)
        AND d.privacy_class <= p.privacy_class
    ORDER BY b.depth, a.name, a.id, array_position(p.quantities, d.quantity), d.position, d.channel, d.id
    LIMIT 200
$$;

-- Of one that was: the address and its end alone. No row: there never was one that anybody could read.
CREATE FUNCTION public_page(wanted text, preview int DEFAULT NULL)
    RETURNS TABLE (slug text, ended_at timestamptz, name text, kind text, commune text, owner text, department text,
                   timezone text, delay_seconds int, published_at timestamptz, until timestamptz, hosts text[])
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1 AS $$
    SELECT p.slug, NULL::timestamptz, p.name, a.kind, a.commune, t.name, t.department,
           (SELECT timezone FROM deployment), p.delay_seconds, coalesce(p.approved_at, p.created_at), p.until,
           ARRAY(SELECT h.host FROM publication_host h WHERE h.tenant_id = p.tenant_id AND p.may_embed ORDER BY 1)
    FROM shown_publication(wanted, preview) p JOIN asset a ON a.id = p.asset_id JOIN tenant t ON t.id = p.tenant_id
    UNION ALL
    (SELECT p.slug, coalesce(p.withdrawn_at, p.until, now()), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
     FROM publication p
     WHERE preview IS NULL AND p.slug = wanted AND (p.privacy_class = 0 OR p.approved_at IS NOT NULL)
       AND NOT EXISTS (SELECT FROM shown_publication(wanted, NULL))
     ORDER BY p.id DESC LIMIT 1)
$$;

-- The last sound reading that is old enough; a value that nobody knows any more is not given, only since when.
CREATE FUNCTION public_values(wanted text, preview int DEFAULT NULL)
    RETURNS TABLE (id int, asset text, kind text, depth int, quantity text, unit text, "position" text, channel text,
                   measured_at timestamptz, value double precision)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 20 AS $$
    SELECT d.id, a.name, a.kind, d.depth, d.quantity, d.unit, d.position, d.channel,
           coalesce(m.time, (SELECT l.time FROM observation.latest l WHERE l.datastream_id = d.id AND l.time <= d.up_to)),
           CASE WHEN m.time > d.up_to - 2 * coalesce(
               (SELECT p.expected_interval FROM counter_profiles(d.id) p ORDER BY p.since DESC LIMIT 1), interval '1 hour')
                THEN m.value END
    FROM shown_datastreams(wanted, preview) WITH ORDINALITY d JOIN asset a ON a.id = d.asset_id
    LEFT JOIN LATERAL (
        SELECT o.time, o.value FROM observation.measurement o
        WHERE o.datastream_id = d.id AND o.time <= d.up_to AND o.time > d.up_to - interval '100 days' AND o.flags & 3 = 0
        ORDER BY o.time DESC LIMIT 1
    ) m ON true
    ORDER BY d.ordinality
$$;

-- The thirty local days that are over and old enough, and the one before them, from which an index went on.
CREATE FUNCTION public_days(wanted text, preview int DEFAULT NULL)
    RETURNS TABLE (id int, day date, n int, mean double precision, share double precision, last double precision,
                   is_broken boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 600 AS $$
    SELECT d.id, (r.bucket AT TIME ZONE l.timezone)::date, r.n, r.sum / nullif(r.n, 0),
           r.weighted / nullif(r.seconds, 0), r.last,
           r.falls IS NOT NULL OR EXISTS (
               SELECT FROM observation.meter_change c WHERE c.datastream_id = d.id AND c.at >= r.bucket
               AND c.at < date_add(r.bucket, interval '1 day', l.timezone))
    FROM deployment l CROSS JOIN shown_datastreams(wanted, preview) d
    JOIN observation.rollup_day r ON r.datastream_id = d.id
        AND r.bucket >= date_add(date_trunc('day', d.up_to, l.timezone), interval '-31 days', l.timezone)
        AND r.bucket < date_trunc('day', d.up_to, l.timezone)
    WHERE r.n > 0
    ORDER BY 1, 2
$$;

DO $$
DECLARE
    door text;
BEGIN
    FOREACH door IN ARRAY ARRAY['assets_below(int, boolean)', 'judge_publication()', 'publication_loses_asset()',
                                'publication_loses_datastream()', 'withdraw_publications(int, text, text)',
                                'shown_publication(text, int)', 'shown_datastreams(text, int)',
                                'public_page(text, int)', 'public_values(text, int)', 'public_days(text, int)'] LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
        IF door LIKE 'public\_%' THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO territoire_api', door);
        END IF;
    END LOOP;
END
$$;

-- They are named, and go with what they show.
INSERT INTO erasure_step VALUES
(74, 'publication', $$
WITH gone AS (DELETE FROM publication WHERE asset_id = ANY(($1).asset_ids) RETURNING 1) SELECT count(*) FROM gone $$);
DO $$
DECLARE
    named text;
    place int := 145;
BEGIN
    FOREACH named IN ARRAY ARRAY['published_by', 'approved_by', 'withdrawn_by'] LOOP
        INSERT INTO erasure_step VALUES (place, 'publication', format(
            'WITH named AS (UPDATE publication SET %1$I = ''personne effacée'' WHERE ($1).kind IN (''person'', ''contact'') '
            'AND %1$I = ANY(($1).names) RETURNING 1) SELECT count(*) FROM named', named));
        place := place + 1;
    END LOOP;
END
$$;
