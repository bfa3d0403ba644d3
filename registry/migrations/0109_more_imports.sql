-- Where a gateway stands, how it reaches us, and what it costs; and what else is imported in bulk.
ALTER TABLE gateway
    ADD COLUMN site text NOT NULL DEFAULT '' CHECK (length(site) <= 200),
    ADD COLUMN backhaul text CHECK (backhaul IN ('ethernet', 'fibre', 'dsl', '4g', '5g', 'wifi', 'satellite', 'other')),
    ADD COLUMN sim text NOT NULL DEFAULT '' CHECK (length(sim) <= 40),  -- ICCID, or a number of line.
    ADD COLUMN purchase_cost_eur double precision CHECK (purchase_cost_eur BETWEEN 0 AND 1000000),
    ADD COLUMN yearly_cost_eur double precision CHECK (yearly_cost_eur BETWEEN 0 AND 1000000);

ALTER TABLE import_job DROP CONSTRAINT import_job_kind_check;
ALTER TABLE import_job ADD CONSTRAINT import_job_kind_check CHECK (kind IN (
    'cabinets', 'circuits', 'light-points', 'devices', 'assets', 'gateways', 'contacts', 'rules', 'commune-outlines'));
