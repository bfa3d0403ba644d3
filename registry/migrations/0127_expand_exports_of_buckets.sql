-- locks: export_job ACCESS EXCLUSIVE scan
-- locks: export_schedule ACCESS EXCLUSIVE scan

-- Exports, and scheduled ones, of buckets: hours to years of the tenant's calendar, and not single readings.
ALTER TABLE export_job ADD COLUMN bucket text CHECK (bucket IN ('hour', 'day', 'week', 'month', 'year'));
ALTER TABLE export_schedule ADD COLUMN bucket text CHECK (bucket IN ('hour', 'day', 'week', 'month', 'year'));
GRANT INSERT (bucket) ON export_job, export_schedule TO territoire_api;
