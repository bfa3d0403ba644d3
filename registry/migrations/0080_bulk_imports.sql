-- The inventory of lighting and the bulk importer: what people call an asset elsewhere, and jobs that read files.

-- What an asset is called by its owner's other software, unique per kind; where it is, by INSEE's code.
ALTER TABLE asset ADD COLUMN external_reference text CHECK (external_reference ~ '^[^[:cntrl:]]{1,100}$'),
    ADD COLUMN insee text CHECK (insee ~ '^[0-9][0-9AB][0-9]{3}$');
CREATE UNIQUE INDEX asset_by_reference ON asset (tenant_id, kind, external_reference)
    WHERE external_reference IS NOT NULL;
-- Every cabinet has a « Départ 1 », every street a lamp 3: their reference tells them apart, names do not.
ALTER TABLE asset DROP CONSTRAINT asset_tenant_id_kind_name_key;
CREATE UNIQUE INDEX asset_tenant_id_kind_name_key ON asset (tenant_id, kind, name)
    WHERE kind NOT IN ('lighting_circuit', 'light_point');
-- A commune's list is read in the order of ids, whatever else there is.
CREATE INDEX asset_by_commune ON asset (commune, id);

-- Nobody holds a new asset in memory: a device that serves it is noted by itself.
DROP TRIGGER asset_changed ON asset;
CREATE TRIGGER asset_changed AFTER UPDATE OR DELETE ON asset
    FOR EACH ROW EXECUTE FUNCTION note_registry_change('asset', 'id');

-- As in 0071, in plpgsql, which keeps its plans: planned anew for each row, 90,000 lamps took five minutes.
CREATE OR REPLACE FUNCTION must_be_personal(kind text, parent int) RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    RETURN is_dwelling(kind) OR (parent IS NOT NULL AND EXISTS (
        WITH RECURSIVE above (kind, parent_id, depth) AS (
            SELECT a.kind, a.parent_id, 0 FROM asset a WHERE a.id = must_be_personal.parent
            UNION ALL
            SELECT p.kind, p.parent_id, above.depth + 1 FROM asset p JOIN above ON p.id = above.parent_id
            WHERE above.depth < 16
        )
        SELECT FROM above WHERE is_dwelling(above.kind)));
END
$$;
CREATE OR REPLACE FUNCTION usual_class(kind text, parent int) RETURNS smallint
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF is_dwelling(kind) OR (parent IS NOT NULL AND EXISTS (
        WITH RECURSIVE above (kind, parent_id, privacy_class, depth) AS (
            SELECT a.kind, a.parent_id, a.privacy_class, 0 FROM asset a WHERE a.id = usual_class.parent
            UNION ALL
            SELECT p.kind, p.parent_id, p.privacy_class, above.depth + 1
            FROM asset p JOIN above ON p.id = above.parent_id WHERE above.depth < 16
        )
        SELECT FROM above WHERE is_dwelling(above.kind) OR above.privacy_class = 2))
    THEN
        RETURN 2;
    ELSIF is_meter(kind) THEN
        RETURN coalesce((SELECT a.privacy_class FROM asset a WHERE a.id = usual_class.parent), 2);
    END IF;
    RETURN NULL;
END
$$;

-- The lamps of a syndicat.
UPDATE quota_default SET most = 200000 WHERE kind = 'assets' AND most = 50000;

-- A file that is read in the background: received in parts, then line by line, each batch in one transaction.
CREATE TABLE import_job (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id int NOT NULL REFERENCES tenant,
    kind text NOT NULL CHECK (kind IN ('cabinets', 'circuits', 'light-points', 'devices')),
    format text NOT NULL CHECK (format IN ('csv', 'geojson')),
    coordinates text NOT NULL CHECK (coordinates IN ('wgs84', 'lambert93')),
    dry_run boolean NOT NULL,
    file_name text NOT NULL DEFAULT '' CHECK (length(file_name) <= 200),
    requested_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'receiving'
        CHECK (state IN ('receiving', 'waiting', 'running', 'done', 'failed', 'cancelled')),
    reason text,  -- Why it failed, in French.
    started_at timestamptz,
    ended_at timestamptz,
    lines int,  -- Counted when it begins.
    reached int NOT NULL DEFAULT 0,  -- Lines that are done.
    created int NOT NULL DEFAULT 0,
    updated int NOT NULL DEFAULT 0,
    unchanged int NOT NULL DEFAULT 0,
    refused int NOT NULL DEFAULT 0,
    header text[] NOT NULL DEFAULT '{}',  -- The columns of the file.
    taken_by text,
    taken_until timestamptz,
    UNIQUE (id, tenant_id)
);
CREATE INDEX import_job_of_tenant ON import_job (tenant_id, id);
CREATE INDEX import_job_next ON import_job (id) WHERE state IN ('waiting', 'running');

-- Sealed: a file of devices has their keys. They go with the end of the job, those of a trial a day later.
CREATE TABLE import_part (
    job_id int NOT NULL,
    tenant_id int NOT NULL,
    number int NOT NULL CHECK (number BETWEEN 1 AND 100),
    octets int NOT NULL,
    content_wrapped bytea NOT NULL,
    kek_id text NOT NULL,
    PRIMARY KEY (job_id, number),
    FOREIGN KEY (job_id, tenant_id) REFERENCES import_job (id, tenant_id) ON DELETE CASCADE
);
ALTER TABLE import_part ALTER COLUMN content_wrapped SET STORAGE EXTERNAL;

-- Lines that did not go in; `cells` are those of the file, without keys.
CREATE TABLE import_rejection (
    job_id int NOT NULL,
    tenant_id int NOT NULL,
    line int NOT NULL,
    place int NOT NULL,  -- Several reasons of one line.
    "column" text NOT NULL,
    reason text NOT NULL,
    cells text[] NOT NULL,
    PRIMARY KEY (job_id, line, place),
    FOREIGN KEY (job_id, tenant_id) REFERENCES import_job (id, tenant_id) ON DELETE CASCADE
);

CALL scope_to_tenant('import_job');
CALL scope_to_tenant('import_part');
CALL scope_to_tenant('import_rejection');
GRANT SELECT, INSERT (tenant_id, kind, format, coordinates, dry_run, file_name, requested_by),
      UPDATE (state, dry_run, reason, started_at, ended_at, lines, reached, created, updated, unchanged, refused)
    ON import_job TO territoire_api;
GRANT SELECT (job_id, tenant_id, number, octets), INSERT, DELETE ON import_part TO territoire_api;
GRANT SELECT, DELETE ON import_rejection TO territoire_api;

INSERT INTO quota_default (kind, most, counted, condition) VALUES
    ('imports', 20, 'import_job', 'state IN (''receiving'', ''waiting'', ''running'')');
CREATE TRIGGER quota_of_new AFTER INSERT ON import_job FOR EACH ROW
    WHEN (session_user = 'territoire_api') EXECUTE FUNCTION keep_quota();
CREATE TRIGGER quota_of_taken_over AFTER UPDATE OF tenant_id ON import_job FOR EACH ROW
    WHEN (session_user = 'territoire_api' AND NEW.tenant_id IS DISTINCT FROM OLD.tenant_id)
    EXECUTE FUNCTION keep_quota();

-- Who asked stays to be read, but for the name. What was refused names devices, places and streets.
INSERT INTO erasure_step VALUES
(139, 'import_job', $$
WITH named AS (UPDATE import_job SET requested_by = 'personne effacée' WHERE ($1).kind IN ('person', 'contact')
AND requested_by = ANY(($1).names) RETURNING 1) SELECT count(*) FROM named $$),
(108, 'import_rejection', $$
WITH gone AS (DELETE FROM import_rejection WHERE ctid = ANY(ARRAY(
    SELECT r.ctid FROM import_rejection r WHERE EXISTS (
        SELECT FROM unnest(($1).needles) n, unnest(r.cells) c WHERE strpos(lower(c), n) > 0) LIMIT $2)) RETURNING 1)
SELECT count(*) FROM gone $$);

-- The door of the service that runs a job: it enters the tenant of one that runs, and that it has taken.
CREATE FUNCTION enter_import(job int, runner text) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    owner int;
BEGIN
    SELECT j.tenant_id INTO owner FROM import_job j
    WHERE j.id = job AND j.state = 'running' AND j.taken_by = runner FOR UPDATE;
    IF owner IS NOT NULL THEN
        PERFORM seal_transaction(owner, false, owner, '{}');
    END IF;
    RETURN owner;
END
$$;
-- How many more objects of this kind the tenant that was entered may have. Under the lock under which they are counted.
CREATE FUNCTION quota_room(named text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    tenant int := current_tenant();
    known quota_default;
    allowed int;
BEGIN
    SELECT d.* INTO STRICT known FROM quota_default d WHERE d.kind = named;
    PERFORM pg_advisory_xact_lock(hashtext('quota ' || named), tenant);
    SELECT coalesce((SELECT q.most FROM quota q WHERE q.tenant_id = tenant AND q.kind = named), known.most)
    INTO allowed;
    RETURN greatest(allowed - count_objects(tenant, known, 9223372036854775807), 0);
END
$$;
DO $$
DECLARE
    door regprocedure;
BEGIN
    FOREACH door IN ARRAY ARRAY['enter_import(int, text)', 'quota_room(text)']::regprocedure[] LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO territoire_service', door);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', door);
    END LOOP;
END
$$;
