-- A kit that is not to be put anywhere any more: all versions of its name. What was commissioned of them stays.
ALTER TABLE kit_template ADD COLUMN retired_at timestamptz;
GRANT UPDATE (retired_at) ON kit_template TO territoire_api;

-- Which quarters there are, as the filters of lists offer them: from one to the next, as with communes (0097).
CREATE INDEX asset_by_tenant_quarter ON asset (tenant_id, quarter) WHERE archived_at IS NULL;
