-- locks: tenant SHARE ROW EXCLUSIVE instant

-- Who pays what of a shared network: contributors, cost items, a ledger of use that only grows, and statements as
-- they were issued. Of a statement a member reads its own lines (docs/indicateurs.md, "Coûts").

CREATE TABLE cost_contributor (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    member_id int REFERENCES tenant,  -- The tenant that it is, where it is one; it reads its lines.
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, member_id),
    UNIQUE (id, tenant_id)
);
CREATE INDEX cost_contributor_of_member ON cost_contributor (member_id);

CREATE TABLE cost_period (
    contributor_id int NOT NULL,
    tenant_id int NOT NULL,
    during daterange NOT NULL CHECK (NOT isempty(during) AND NOT lower_inf(during)),
    inhabitants int NOT NULL CHECK (inhabitants >= 0),
    FOREIGN KEY (contributor_id, tenant_id) REFERENCES cost_contributor (id, tenant_id) ON DELETE CASCADE,
    EXCLUDE USING gist (contributor_id WITH =, during WITH &&)
);
CREATE INDEX cost_period_of_tenant ON cost_period (tenant_id);

CREATE TABLE cost_item (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    first_year int NOT NULL CHECK (first_year BETWEEN 2000 AND 2199),
    last_year int CHECK (last_year BETWEEN first_year AND 2199),
    method text NOT NULL CHECK (method IN ('key', 'rate', 'pro_rata')),
    amount_cents bigint NOT NULL CHECK (amount_cents >= 0),
    shares jsonb NOT NULL,
    counted text NOT NULL CHECK (counted IN ('average', 'year_end', 'added')),
    per int NOT NULL CHECK (per > 0),
    flat_below int NOT NULL CHECK (flat_below >= 0),
    flat_cents bigint NOT NULL CHECK (flat_cents >= 0),
    subsidy_percent int NOT NULL CHECK (subsidy_percent BETWEEN 0 AND 100),
    created_at timestamptz NOT NULL DEFAULT now(),
    -- What an item costs changes from a year on: the next one of its name.
    EXCLUDE USING gist (tenant_id WITH =, name WITH =, int4range(first_year, last_year, '[]') WITH &&)
);

CREATE TABLE cost_entry (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    contributor_id int NOT NULL,
    basis text NOT NULL CHECK (basis IN ('parts', 'assets', 'gateways', 'uplinks', 'air_time_ms', 'exports')),
    day date NOT NULL,
    quantity bigint NOT NULL,
    origin text NOT NULL CHECK (origin IN ('stated', 'measured')),
    corrects bigint,
    reason text NOT NULL DEFAULT '' CHECK (length(reason) <= 1000),
    made_at timestamptz NOT NULL DEFAULT now(),
    made_by text NOT NULL,
    UNIQUE (id, tenant_id, contributor_id, basis),
    CHECK (corrects IS NULL OR reason <> ''),
    FOREIGN KEY (contributor_id, tenant_id) REFERENCES cost_contributor (id, tenant_id),
    -- What corrects an entry is of the same contributor and basis.
    FOREIGN KEY (corrects, tenant_id, contributor_id, basis)
        REFERENCES cost_entry (id, tenant_id, contributor_id, basis)
);
CREATE INDEX cost_entry_of_tenant ON cost_entry (tenant_id, id);
CREATE INDEX cost_entry_of_contributor ON cost_entry (contributor_id, basis, day);
CREATE INDEX cost_entry_correcting ON cost_entry (corrects) WHERE corrects IS NOT NULL;

CREATE TABLE cost_statement (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    issuer text NOT NULL,  -- The tenant's name then: its members do not see the tenant.
    year int NOT NULL,
    version int NOT NULL CHECK (version > 0),
    total_cents bigint NOT NULL,
    remark text NOT NULL DEFAULT '' CHECK (length(remark) <= 1000),
    issued_at timestamptz NOT NULL DEFAULT now(),
    issued_by text NOT NULL,
    UNIQUE (tenant_id, year, version),
    UNIQUE (id, tenant_id)
);

-- Names and quantities as they were: a statement stays what it was whatever becomes of what it was made of.
CREATE TABLE cost_statement_line (
    statement_id int NOT NULL,
    tenant_id int NOT NULL,
    item_id int NOT NULL,
    contributor_id int NOT NULL,
    item text NOT NULL,
    item_cents bigint NOT NULL,
    contributor text NOT NULL,
    member_id int REFERENCES tenant,
    cents bigint NOT NULL CHECK (cents >= 0),
    formula text NOT NULL,
    PRIMARY KEY (statement_id, item_id, contributor_id),
    FOREIGN KEY (statement_id, tenant_id) REFERENCES cost_statement (id, tenant_id)
);
CREATE INDEX cost_statement_line_of_member ON cost_statement_line (member_id, statement_id);
CREATE INDEX cost_statement_line_of_tenant ON cost_statement_line (tenant_id);

-- Nobody changes or removes what has been written; an erasure takes a person's name out of it.
CREATE FUNCTION only_grows() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF to_jsonb(NEW) - TG_ARGV[0] = to_jsonb(OLD) - TG_ARGV[0]
           AND to_jsonb(NEW) ->> TG_ARGV[0] = 'personne effacée' THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION '% only grows: a correction is a new row', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE ON cost_entry
    FOR EACH ROW EXECUTE FUNCTION only_grows('made_by');
CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE ON cost_statement
    FOR EACH ROW EXECUTE FUNCTION only_grows('issued_by');
CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE ON cost_statement_line
    FOR EACH ROW EXECUTE FUNCTION only_grows('');
CREATE TRIGGER is_never_emptied BEFORE TRUNCATE ON cost_entry EXECUTE FUNCTION only_grows();
CREATE TRIGGER is_never_emptied BEFORE TRUNCATE ON cost_statement EXECUTE FUNCTION only_grows();
CREATE TRIGGER is_never_emptied BEFORE TRUNCATE ON cost_statement_line EXECUTE FUNCTION only_grows();

-- The lines of an item are its amount, and all of them are the statement's, whenever lines come and at the end of
-- the transaction that makes the statement.
CREATE FUNCTION adds_up(statement int) RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM cost_statement_line l WHERE l.statement_id = statement
               GROUP BY l.item_id HAVING sum(l.cents) <> min(l.item_cents) OR min(l.item_cents) <> max(l.item_cents))
       OR EXISTS (SELECT FROM cost_statement s WHERE s.id = statement AND s.total_cents <> coalesce(
           (SELECT sum(l.cents) FROM cost_statement_line l WHERE l.statement_id = s.id), 0))
    THEN
        RAISE EXCEPTION 'statement % does not add up', statement USING ERRCODE = 'check_violation';
    END IF;
END
$$;
CREATE FUNCTION statement_adds_up() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM adds_up(NEW.id);
    RETURN NULL;
END
$$;
CREATE FUNCTION lines_add_up() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM adds_up(statement_id) FROM (SELECT DISTINCT statement_id FROM new_lines) AS n;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER adds_up AFTER INSERT ON cost_statement DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION statement_adds_up();
CREATE TRIGGER add_up AFTER INSERT ON cost_statement_line REFERENCING NEW TABLE AS new_lines
    FOR EACH STATEMENT EXECUTE FUNCTION lines_add_up();

CALL scope_to_tenant('cost_contributor');
CALL scope_to_tenant('cost_period');
CALL scope_to_tenant('cost_item');
CALL scope_to_tenant('cost_entry');
CALL scope_to_tenant('cost_statement');
CALL scope_to_tenant('cost_statement_line');
GRANT SELECT, INSERT, DELETE, UPDATE (name, member_id) ON cost_contributor TO territoire_api;
GRANT SELECT, INSERT, DELETE ON cost_period, cost_item TO territoire_api;
GRANT SELECT, INSERT ON cost_entry, cost_statement, cost_statement_line TO territoire_api;
-- A member reads what it pays, and which statement that is of. Nobody names a tenant that is not one's member.
CREATE POLICY of_member ON cost_statement_line FOR SELECT TO territoire_api USING (member_id = current_tenant());
CREATE POLICY of_member ON cost_statement FOR SELECT TO territoire_api USING (EXISTS (
    SELECT FROM cost_statement_line l WHERE l.statement_id = cost_statement.id AND l.member_id = current_tenant()));
CREATE POLICY names_members ON cost_contributor AS RESTRICTIVE FOR ALL TO territoire_api USING (true)
    WITH CHECK (member_id IS NULL OR member_id = ANY((SELECT visible_tenants())::int[]));
CREATE POLICY names_members ON cost_statement_line AS RESTRICTIVE FOR INSERT TO territoire_api
    WITH CHECK (member_id IS NULL OR member_id = ANY((SELECT visible_tenants())::int[]));

INSERT INTO erasure_step VALUES
(171, 'cost_entry', $$
WITH named AS (UPDATE cost_entry SET made_by = 'personne effacée' WHERE ($1).kind IN ('person', 'contact')
AND made_by = ANY(($1).names) RETURNING 1) SELECT count(*) FROM named $$),
(172, 'cost_statement', $$
WITH named AS (UPDATE cost_statement SET issued_by = 'personne effacée' WHERE ($1).kind IN ('person', 'contact')
AND issued_by = ANY(($1).names) RETURNING 1) SELECT count(*) FROM named $$);
