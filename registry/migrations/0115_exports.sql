-- Exports of measurements: asked for, written in the background by maintenance, and kept for a day in parts of a
-- megabyte, which any replica of the API serves in ranges (docs/decisions/0098).

CREATE TABLE export_job (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id int NOT NULL REFERENCES tenant,
    format text NOT NULL CHECK (format IN ('csv', 'ndjson', 'parquet')),
    spreadsheet boolean NOT NULL DEFAULT false,  -- CSV as French spreadsheets read it.
    since timestamptz NOT NULL,
    until timestamptz NOT NULL CHECK (since < until),
    selection jsonb NOT NULL DEFAULT '{}',  -- What was chosen, as it was asked for.
    requested_by text NOT NULL,
    -- Whose rights hold when it runs: a key's, or a person's.
    key_id text,
    person_id int,
    created_at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
    reason text,  -- Why it failed, in French.
    started_at timestamptz,
    ended_at timestamptz,
    streams int NOT NULL,
    reached int NOT NULL DEFAULT 0,  -- Streams that are done.
    readings bigint NOT NULL DEFAULT 0,
    octets bigint NOT NULL DEFAULT 0,
    digest bytea,  -- SHA-256 of the whole file.
    taken_by text,
    taken_until timestamptz,
    UNIQUE (id, tenant_id)
);
-- What the key that asks is limited to is what it has proved, and nothing that anybody states.
ALTER TABLE export_job ADD COLUMN asset_kinds text[] NOT NULL DEFAULT coalesce(proved_kinds(), '{}');
CREATE INDEX export_job_of_tenant ON export_job (tenant_id, id);
CREATE INDEX export_job_next ON export_job (id) WHERE state IN ('waiting', 'running');

-- What it is about, in the order of the file; `periods`: what could be read of it when it was written. Without a
-- reference: of a stream that is gone the file still tells, and nobody may read it any more.
CREATE TABLE export_stream (
    job_id int NOT NULL,
    tenant_id int NOT NULL,
    place int NOT NULL,
    datastream_id int NOT NULL,
    periods tstzmultirange,
    PRIMARY KEY (job_id, place),
    FOREIGN KEY (job_id, tenant_id) REFERENCES export_job (id, tenant_id) ON DELETE CASCADE
);
CREATE INDEX export_stream_of_datastream ON export_stream (datastream_id);

CREATE TABLE export_part (
    job_id int NOT NULL,
    tenant_id int NOT NULL,
    number int NOT NULL CHECK (number >= 0),
    octets int NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (job_id, number),
    FOREIGN KEY (job_id, tenant_id) REFERENCES export_job (id, tenant_id) ON DELETE CASCADE
);
-- CSV is sent as it is, Parquet is compressed already.
ALTER TABLE export_part ALTER COLUMN content SET STORAGE EXTERNAL;

CALL scope_to_tenant('export_job');
CALL scope_to_tenant('export_stream');
CALL scope_to_tenant('export_part');
GRANT SELECT, INSERT (tenant_id, format, spreadsheet, since, until, selection, requested_by, key_id, person_id, streams),
      UPDATE (state, ended_at) ON export_job TO territoire_api;
GRANT SELECT, INSERT (job_id, tenant_id, place, datastream_id) ON export_stream TO territoire_api;
GRANT SELECT, DELETE ON export_part TO territoire_api;
-- A key that is limited to kinds of assets sees what keys with no other kinds have asked for.
CREATE POLICY of_kinds ON export_job AS RESTRICTIVE TO territoire_api
    USING ((SELECT proved_kinds()) IS NULL OR (asset_kinds <> '{}' AND asset_kinds <@ (SELECT proved_kinds())));
CREATE POLICY of_kinds ON export_stream AS RESTRICTIVE TO territoire_api
    USING ((SELECT proved_kinds()) IS NULL OR EXISTS (SELECT FROM export_job j WHERE j.id = job_id));
CREATE POLICY of_kinds ON export_part AS RESTRICTIVE TO territoire_api
    USING ((SELECT proved_kinds()) IS NULL OR EXISTS (SELECT FROM export_job j WHERE j.id = job_id));

INSERT INTO quota_default (kind, most, counted, condition) VALUES
    ('exports', 20, 'export_job', 'state IN (''waiting'', ''running'')');
CREATE TRIGGER quota_of_new AFTER INSERT ON export_job FOR EACH ROW
    WHEN (session_user = 'territoire_api') EXECUTE FUNCTION keep_quota();
CREATE TRIGGER quota_of_taken_over AFTER UPDATE OF tenant_id ON export_job FOR EACH ROW
    WHEN (session_user = 'territoire_api' AND NEW.tenant_id IS DISTINCT FROM OLD.tenant_id)
    EXECUTE FUNCTION keep_quota();

-- A file with something of it goes, and one that is being written is given up. Who asked stays but for the name.
INSERT INTO erasure_step VALUES
(5, 'export_job', $$
WITH ended AS (UPDATE export_job SET state = 'failed', ended_at = coalesce(ended_at, now()),
    reason = 'des données de cet export ont été effacées : demandez-le de nouveau'
WHERE state IN ('running', 'done') AND id IN (SELECT s.job_id FROM export_stream s
    WHERE s.datastream_id = ANY(($1).datastream_ids || ($1).span_datastream_ids)) RETURNING 1)
SELECT count(*) FROM ended $$),
(6, 'export_part', $$
WITH gone AS (DELETE FROM export_part WHERE job_id IN (SELECT s.job_id FROM export_stream s
    WHERE s.datastream_id = ANY(($1).datastream_ids || ($1).span_datastream_ids)) RETURNING 1)
SELECT count(*) FROM gone $$),
(7, 'export_stream', $$
WITH gone AS (DELETE FROM export_stream WHERE datastream_id = ANY(($1).datastream_ids) RETURNING 1)
SELECT count(*) FROM gone $$),
(8, 'export_job', $$
WITH named AS (UPDATE export_job SET requested_by = 'personne effacée' WHERE ($1).kind IN ('person', 'contact')
AND requested_by = ANY(($1).names) RETURNING 1) SELECT count(*) FROM named $$);

-- What this transaction may read of these datastreams, as the view `measurement` shows it: of each that is visible
-- the instants; one of which nothing is shown is left out.
CREATE FUNCTION readable_periods(streams int[]) RETURNS TABLE (datastream_id int, periods tstzmultirange)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT d.id, shown.periods FROM datastream d
    LEFT JOIN opened_asset() g ON g.asset_id = d.asset_id
    CROSS JOIN LATERAL (SELECT CASE
        WHEN CASE WHEN d.privacy_class < 2 THEN d.tenant_id = ANY((SELECT visible_tenants())::int[])
                  ELSE d.tenant_id = (SELECT current_tenant()) END THEN '{(,)}'::tstzmultirange
        WHEN d.privacy_class < 2 THEN g.data ELSE g.by_name END AS periods) AS shown
    WHERE d.id = ANY(streams) AND NOT isempty(shown.periods) AND (d.fine_until IS NULL OR d.fine_until > now())
$$;
GRANT CREATE ON SCHEMA public TO territoire_views;
ALTER FUNCTION readable_periods(int[]) OWNER TO territoire_views;
REVOKE CREATE ON SCHEMA public FROM territoire_views;

-- Whether what a file holds may still be read by who asks, stream by stream and instant by instant.
CREATE FUNCTION export_is_readable(job int) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT NOT EXISTS (
        SELECT FROM export_stream s
        LEFT JOIN readable_periods(ARRAY(SELECT w.datastream_id FROM export_stream w
                                         WHERE w.job_id = job AND w.periods IS NOT NULL)) r
            ON r.datastream_id = s.datastream_id
        WHERE s.job_id = job AND s.periods IS NOT NULL AND NOT coalesce(r.periods @> s.periods, false))
$$;

-- The door of the service that writes: it enters the tenant of a job that it has taken, with what who asked may see
-- now. `denied`: the key holds no more, or the person has gone; NULL: the job is not this process's any more.
CREATE FUNCTION enter_export(job int, runner text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    known export_job;
BEGIN
    SELECT j.* INTO known FROM export_job j WHERE j.id = job AND j.state = 'running' AND j.taken_by = runner;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF EXISTS (SELECT FROM tenant t WHERE t.id = known.tenant_id AND t.closed_at IS NOT NULL)
       OR known.key_id IS NOT NULL AND NOT EXISTS (
           SELECT FROM api_key k WHERE k.id = known.key_id AND k.tenant_id = known.tenant_id AND k.revoked_at IS NULL
             AND (k.expires_at IS NULL OR k.expires_at > now()))
       OR known.person_id IS NOT NULL AND NOT EXISTS (
           SELECT FROM membership m JOIN person p ON p.id = m.person_id
           WHERE m.person_id = known.person_id AND m.tenant_id = known.tenant_id AND p.disabled_at IS NULL)
    THEN
        RETURN 'denied';
    END IF;
    PERFORM set_config('app.proved', '', true);
    PERFORM seal_transaction(known.tenant_id, false, known.tenant_id, '{}');
    IF known.asset_kinds <> '{}' THEN
        PERFORM set_config('app.proved', current_setting('app.proved') || '|' || known.asset_kinds::text, true);
        PERFORM set_config('app.seal', seal_of_settings(s.secret), true) FROM seal_secret s;
    END IF;
    RETURN 'entered';
END
$$;
ALTER FUNCTION enter_export(int, text) OWNER TO territoire_service;
REVOKE EXECUTE ON FUNCTION enter_export(int, text), readable_periods(int[]), export_is_readable(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION readable_periods(int[]), export_is_readable(int) TO territoire_api;
