-- locks: import_job ACCESS EXCLUSIVE scan
-- locks: tenant SHARE ROW EXCLUSIVE instant
-- locks: waste_round SHARE ROW EXCLUSIVE instant

-- What a weighbridge said of a load, imported or entered; tonnages are calibrated by it.

CREATE TABLE weighing (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant_id int NOT NULL REFERENCES tenant,
    ticket text NOT NULL CHECK (length(ticket) BETWEEN 1 AND 100),
    stream text NOT NULL CHECK (stream ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),  -- A kind of container without its end.
    weighed_at timestamptz NOT NULL,
    net_kg double precision NOT NULL CHECK (net_kg > 0 AND net_kg <= 60000),
    round_id int,  -- Null: of all that was emptied of this stream on the local day.
    entered_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, ticket),
    FOREIGN KEY (round_id, tenant_id) REFERENCES waste_round (id, tenant_id)
);
CREATE INDEX weighing_by_time ON weighing (tenant_id, weighed_at);
CREATE INDEX weighing_of_round ON weighing (round_id, tenant_id);
CALL scope_to_tenant('weighing');
GRANT SELECT, INSERT, DELETE ON weighing TO territoire_api;

ALTER TABLE import_job DROP CONSTRAINT import_job_kind_check;
ALTER TABLE import_job ADD CONSTRAINT import_job_kind_check CHECK (kind IN (
    'cabinets', 'circuits', 'light-points', 'devices', 'assets', 'gateways', 'contacts', 'rules', 'commune-outlines',
    'weather-days', 'weighings'));
