-- The audit as a chain: lines that no role changes or removes, their details and salt apart, where they can be erased,
-- and a seal over each committed line. `audit` stays what is written and read.

ALTER TABLE audit RENAME TO audit_line;
ALTER TABLE audit_line ALTER COLUMN tenant_id DROP NOT NULL;  -- NULL: a login that was rejected is nobody's.
ALTER TABLE audit_line ADD COLUMN details_digest bytea;

CREATE TABLE audit_detail (
    line_id bigint PRIMARY KEY REFERENCES audit_line,
    tenant_id int REFERENCES tenant,
    salt bytea NOT NULL,
    details jsonb NOT NULL
);
-- Lines that no seal is over yet; a line of a transaction that is open is seen when that has ended.
CREATE TABLE audit_pending (line_id bigint PRIMARY KEY);
CREATE TABLE audit_seal (
    sequence bigint PRIMARY KEY,
    line_id bigint NOT NULL UNIQUE,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32)
);
-- Where the chain begins: after the last seal whose line was removed by its term.
CREATE TABLE audit_start (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    sequence bigint NOT NULL,
    digest bytea NOT NULL,
    moved_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO audit_start (sequence, digest) VALUES (0, sha256('territoire'));

INSERT INTO audit_detail (line_id, tenant_id, salt, details)
SELECT id, tenant_id, uuid_send(gen_random_uuid()), details FROM audit_line;
UPDATE audit_line l SET details_digest = sha256(d.salt || convert_to(d.details::text, 'UTF8'))
FROM audit_detail d WHERE d.line_id = l.id;
INSERT INTO audit_pending SELECT id FROM audit_line;
ALTER TABLE audit_line DROP COLUMN details;
ALTER TABLE audit_line ALTER COLUMN details_digest SET NOT NULL;
CREATE INDEX audit_line_by_tenant ON audit_line (tenant_id, id DESC);

CALL scope_to_tenant('audit_detail');
CREATE POLICY of_nobody ON audit_line FOR SELECT
    USING (tenant_id IS NULL AND current_setting('app.operator', true) = 'on');
CREATE POLICY of_nobody ON audit_detail FOR SELECT
    USING (tenant_id IS NULL AND current_setting('app.operator', true) = 'on');
REVOKE UPDATE, DELETE ON audit_detail FROM territoire_service;
GRANT SELECT, INSERT ON audit_detail TO territoire_api;
GRANT INSERT ON audit_pending TO territoire_api;
GRANT SELECT, INSERT, DELETE ON audit_pending TO territoire_service;
GRANT SELECT, INSERT ON audit_seal TO territoire_service;
GRANT SELECT ON audit_start TO territoire_service;

-- With the rights of who asks: row security of the tables under it is that of any other table.
CREATE VIEW audit WITH (security_invoker = true) AS
    SELECT l.id, l.tenant_id, l.at, l.actor, l.action, l.entity, l.entity_id, coalesce(d.details, '{}') AS details
    FROM audit_line l LEFT JOIN audit_detail d ON d.line_id = l.id;

CREATE FUNCTION write_audit_line() RETURNS trigger
    LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    salt bytea := uuid_send(gen_random_uuid());
    content jsonb := coalesce(NEW.details, '{}');
    line bigint;
BEGIN
    INSERT INTO audit_line (tenant_id, actor, action, entity, entity_id, details_digest)
    VALUES (NEW.tenant_id, NEW.actor, NEW.action, NEW.entity, NEW.entity_id,
            sha256(salt || convert_to(content::text, 'UTF8')))
    RETURNING id INTO line;
    INSERT INTO audit_detail (line_id, tenant_id, salt, details) VALUES (line, NEW.tenant_id, salt, content);
    INSERT INTO audit_pending VALUES (line);
    NEW.id := line;
    RETURN NEW;
END
$$;
CREATE TRIGGER written INSTEAD OF INSERT ON audit FOR EACH ROW EXECUTE FUNCTION write_audit_line();
GRANT SELECT, INSERT ON audit TO territoire_api, territoire_service;
GRANT CREATE ON SCHEMA public TO territoire_views;
ALTER VIEW audit OWNER TO territoire_views;
REVOKE CREATE ON SCHEMA public FROM territoire_views;

-- Whoever may write the tables by their role, by mistake or not, changes no line.
CREATE FUNCTION reject_audit_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF current_setting('app.audit_term', true) = 'on' AND TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'lines of the audit are not changed' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER kept BEFORE UPDATE OR DELETE ON audit_line FOR EACH ROW EXECUTE FUNCTION reject_audit_change();
CREATE TRIGGER kept BEFORE UPDATE OR DELETE ON audit_seal FOR EACH ROW EXECUTE FUNCTION reject_audit_change();
CREATE TRIGGER kept BEFORE UPDATE ON audit_detail FOR EACH ROW EXECUTE FUNCTION reject_audit_change();
CREATE TRIGGER kept_whole BEFORE TRUNCATE ON audit_line EXECUTE FUNCTION reject_audit_change();
CREATE TRIGGER kept_whole BEFORE TRUNCATE ON audit_seal EXECUTE FUNCTION reject_audit_change();
CREATE TRIGGER kept_whole BEFORE TRUNCATE ON audit_detail EXECUTE FUNCTION reject_audit_change();

-- A digest over each committed line and the digest before it; how many were sealed. One at a time.
CREATE FUNCTION seal_audit(most int) RETURNS int
    LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    place bigint;
    chained bytea;
    line audit_line;
    sealed int := 0;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7240156323) THEN
        RETURN 0;
    END IF;
    SELECT s.sequence, s.digest INTO place, chained FROM audit_seal s ORDER BY s.sequence DESC LIMIT 1;
    IF place IS NULL THEN
        SELECT s.sequence, s.digest INTO place, chained FROM audit_start s;
    END IF;
    FOR line IN
        WITH taken AS (
            DELETE FROM audit_pending WHERE line_id = ANY(ARRAY(
                SELECT p.line_id FROM audit_pending p ORDER BY p.line_id LIMIT most)) RETURNING line_id)
        SELECT l.* FROM audit_line l JOIN taken t ON t.line_id = l.id ORDER BY l.id
    LOOP
        place := place + 1;
        chained := sha256(chained || convert_to(jsonb_build_array(
            line.id, line.tenant_id, (extract(epoch FROM line.at) * 1000000)::bigint, line.actor, line.action,
            line.entity, line.entity_id, encode(line.details_digest, 'hex'))::text, 'UTF8'));
        INSERT INTO audit_seal VALUES (place, line.id, chained);
        sealed := sealed + 1;
    END LOOP;
    RETURN sealed;
END
$$;
REVOKE EXECUTE ON FUNCTION seal_audit FROM PUBLIC;
GRANT EXECUTE ON FUNCTION seal_audit TO territoire_service;

-- The term: sealed lines from the first on that are older, and no line behind a younger one. It is the schema's owner
-- that removes them; no login may.
CREATE FUNCTION end_audit_lines(keep interval, most int) RETURNS int
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    final audit_seal;
    gone bigint[];
BEGIN
    IF keep < interval '30 days' THEN
        RAISE EXCEPTION 'an audit is kept for a month at least' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT array_agg(b.line_id) INTO gone FROM (
        SELECT s.line_id, bool_and(l.at < now() - keep) OVER (ORDER BY s.sequence) AS is_over
        FROM (SELECT * FROM audit_seal ORDER BY sequence LIMIT most) s JOIN audit_line l ON l.id = s.line_id) b
    WHERE b.is_over;
    IF gone IS NULL THEN
        RETURN 0;
    END IF;
    SELECT * INTO final FROM audit_seal WHERE line_id = ANY(gone) ORDER BY sequence DESC LIMIT 1;
    PERFORM set_config('app.audit_term', 'on', true);
    UPDATE audit_start SET sequence = final.sequence, digest = final.digest, moved_at = now();
    DELETE FROM audit_seal WHERE sequence <= final.sequence;
    DELETE FROM audit_detail WHERE line_id = ANY(gone);
    DELETE FROM audit_line WHERE id = ANY(gone);
    PERFORM set_config('app.audit_term', '', true);
    RETURN cardinality(gone);
END
$$;
REVOKE EXECUTE ON FUNCTION end_audit_lines FROM PUBLIC;
GRANT EXECUTE ON FUNCTION end_audit_lines TO territoire_service;

-- What a line says of a person, erased at their request: that something was done stays, and its seal holds.
CREATE FUNCTION erase_audit_details(lines bigint[]) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH erased AS (DELETE FROM audit_detail WHERE line_id = ANY(lines) RETURNING 1) SELECT count(*) FROM erased
$$;
REVOKE EXECUTE ON FUNCTION erase_audit_details FROM PUBLIC;
GRANT EXECUTE ON FUNCTION erase_audit_details TO territoire_service;

-- One row a minute and address of logins, and of requests without the right, that were rejected.
CREATE TABLE rejected_login (
    address text NOT NULL,
    minute timestamptz NOT NULL,
    tenant_id int NOT NULL,  -- 0: nobody's.
    PRIMARY KEY (address, minute, tenant_id)
);
GRANT SELECT, INSERT, DELETE ON rejected_login TO territoire_service;

CREATE FUNCTION record_rejected_login(origin text, tenant int, actor text, reason text, given jsonb) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO rejected_login VALUES (origin, date_trunc('minute', now()), coalesce(tenant, 0))
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details)
    VALUES (tenant, actor, 'reject', 'login', reason, given || jsonb_build_object('address', origin));
    RETURN true;
END
$$;
REVOKE EXECUTE ON FUNCTION record_rejected_login FROM PUBLIC;
ALTER FUNCTION record_rejected_login OWNER TO territoire_service;
GRANT EXECUTE ON FUNCTION record_rejected_login TO territoire_api;
