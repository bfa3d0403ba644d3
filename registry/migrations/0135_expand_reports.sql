-- locks: tenant SHARE ROW EXCLUSIVE instant
-- locks: team SHARE ROW EXCLUSIVE instant

-- Monthly reports as they were made and sent, who receives them, and how they look (docs/indicateurs.md, "Rapports").

-- Figures and file: what was sent stays, late data makes the next version. `changes`: what differs from the one before.
CREATE TABLE report (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    commune text NOT NULL CHECK (length(commune) BETWEEN 1 AND 200),
    insee text,
    service text NOT NULL CHECK (service IN ('all', 'waste', 'buildings', 'lighting', 'network', 'cost')),
    month date NOT NULL CHECK (extract(day FROM month) = 1),
    version int NOT NULL CHECK (version > 0),
    title text NOT NULL,
    summary jsonb NOT NULL,  -- Sentences for a message, in the tenant's language.
    figures jsonb NOT NULL,
    changes jsonb NOT NULL DEFAULT '[]',
    pdf bytea NOT NULL CHECK (octet_length(pdf) BETWEEN 1 AND 8388608),
    made_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    UNIQUE (tenant_id, commune, service, month, version)
);
-- A PDF is compressed already.
ALTER TABLE report ALTER COLUMN pdf SET STORAGE EXTERNAL;
CREATE INDEX report_of_month ON report (tenant_id, month);

-- All reports of a tenant's month have been made: alerting sends them.
CREATE TABLE report_month (
    tenant_id int NOT NULL REFERENCES tenant,
    month date NOT NULL CHECK (extract(day FROM month) = 1),
    made_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, month)
);

CREATE TABLE report_recipient (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    team_id int NOT NULL REFERENCES team ON DELETE CASCADE,
    commune text CHECK (length(commune) BETWEEN 1 AND 200),  -- NULL: each of them.
    service text NOT NULL CHECK (service IN ('all', 'waste', 'buildings', 'lighting', 'network', 'cost')),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (team_id, commune, service)
);
CREATE INDEX report_recipient_of_tenant ON report_recipient (tenant_id, id);

-- Written with the messages: a month is sent once.
CREATE TABLE report_sending (
    recipient_id int NOT NULL REFERENCES report_recipient ON DELETE CASCADE,
    month date NOT NULL,
    tenant_id int NOT NULL REFERENCES tenant,
    report_ids int[] NOT NULL,
    sent_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (recipient_id, month)
);
CREATE INDEX report_sending_of_tenant ON report_sending (tenant_id);

CREATE TABLE report_identity (
    tenant_id int PRIMARY KEY REFERENCES tenant,
    name text NOT NULL CHECK (length(name) <= 200),  -- Empty: the tenant's.
    language text NOT NULL CHECK (language IN ('fr', 'en')),
    logo bytea CHECK (octet_length(logo) BETWEEN 1 AND 262144),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Nobody changes what was made; that it was sent is noted once.
CREATE FUNCTION report_stays() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.sent_at IS NULL AND NEW.sent_at IS NOT NULL THEN
        OLD.sent_at := NEW.sent_at;
        IF NEW IS NOT DISTINCT FROM OLD THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'a report stays as it was made' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER report_stays BEFORE UPDATE OR DELETE ON report FOR EACH ROW EXECUTE FUNCTION report_stays();
CREATE TRIGGER report_is_never_emptied BEFORE TRUNCATE ON report EXECUTE FUNCTION report_stays();

CALL scope_to_tenant('report');
CALL scope_to_tenant('report_month');
CALL scope_to_tenant('report_recipient');
CALL scope_to_tenant('report_sending');
CALL scope_to_tenant('report_identity');
GRANT SELECT, INSERT ON report TO territoire_api;
GRANT SELECT ON report_month, report_sending TO territoire_api;
GRANT SELECT, INSERT, DELETE ON report_recipient TO territoire_api;
GRANT SELECT, INSERT, UPDATE ON report_identity TO territoire_api;
-- A syndicat reads its members' reports, as it does their assets.
CREATE POLICY of_members ON report FOR SELECT TO territoire_api
    USING (tenant_id = ANY((SELECT visible_tenants())::int[]));
-- A report is of all kinds of assets: a key that is limited to some sees and makes none.
CREATE POLICY of_kinds ON report AS RESTRICTIVE TO territoire_api USING ((SELECT proved_kinds()) IS NULL);

-- The door of the service that makes reports: it reads what a tenant sees, and writes nothing in this transaction.
CREATE FUNCTION enter_report(tenant int) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM public.tenant t WHERE t.id = enter_report.tenant AND t.closed_at IS NULL) THEN
        RETURN false;
    END IF;
    PERFORM set_config('transaction_read_only', 'on', true);
    PERFORM set_config('app.proved', '', true);
    PERFORM seal_transaction(enter_report.tenant, false, enter_report.tenant, '{}');
    RETURN true;
END
$$;
ALTER FUNCTION enter_report(int) OWNER TO territoire_service;
REVOKE EXECUTE ON FUNCTION enter_report(int) FROM PUBLIC;
