-- outside a transaction

-- What there is already; whoever writes meanwhile has the triggers of 0122.
-- step: until nothing changes
UPDATE observation.latest l SET tenant_id = d.tenant_id FROM datastream d
WHERE d.id = l.datastream_id AND l.datastream_id = ANY(ARRAY(
    SELECT p.datastream_id FROM observation.latest p JOIN datastream q ON q.id = p.datastream_id
    WHERE p.tenant_id IS NULL LIMIT 10000));

-- step
CREATE INDEX CONCURRENTLY IF NOT EXISTS latest_by_tenant ON observation.latest (tenant_id);

-- By id, of one tenant: a page reads as far as it goes, and not over everybody else's rows to begin with.
-- step
CREATE INDEX CONCURRENTLY IF NOT EXISTS datastream_by_tenant_id ON datastream (tenant_id, id);

-- What serves now, of whom.
-- step
CREATE INDEX CONCURRENTLY IF NOT EXISTS assignment_of_tenant_in_force ON assignment (tenant_id)
WHERE upper_inf(during);
