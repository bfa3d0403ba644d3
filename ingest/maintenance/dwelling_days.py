"""Makes the days of dwellings that others than their owner read: means of ten dwellings of a commune at least.

A group is one owner's dwellings of a commune, whole, and a day is made once, when what comes late has come:
neither the difference of two groups nor that of two answers is a dwelling's (docs/decisions/0062-dwellings.md).
"""

from datetime import date, datetime, timedelta

import structlog

from core.model.quantities import QUANTITIES, Kind
from core.runtime.postgres import Pool
from ingest.maintenance.leader import leading
from ingest.rollups import COUNTERS, STATES

FEWEST = 10
# Days after a day's end when it is made: gateways have replayed what they had kept.
DAYS_LATER = 3
MOST_DAYS = 31
GAUGES = sorted(name for name, quantity in QUANTITIES.items() if quantity.kind is Kind.GAUGE)
# From which day on to which; nothing is left to make where the first is not before the second.
DUE = """
SELECT coalesce(
           (SELECT until FROM observation.dwelling_days_made),
           (SELECT (min(r.bucket) AT TIME ZONE t.timezone)::date
            FROM datastream d JOIN observation.rollup_day r ON r.datastream_id = d.id
            WHERE d.privacy_class = 2)) AS since,
       ($1::timestamptz AT TIME ZONE t.timezone)::date - $2::int AS until
FROM deployment t
"""
# $1: the day; $2: counters, $3: states, $4: what is averaged; $5: how many dwellings at least. What an index has
# consumed is the difference of two days' last readings, where it did not fall and its meter was not changed.
MAKE_DAY = """
WITH RECURSIVE frame AS (
    SELECT $1::date::timestamp AT TIME ZONE timezone AS since,
           ($1::date + 1)::timestamp AT TIME ZONE timezone AS until,
           ($1::date - 1)::timestamp AT TIME ZONE timezone AS before
    FROM deployment
), stream AS (
    SELECT d.id, d.tenant_id, d.asset_id, d.quantity, v.value
    FROM frame f CROSS JOIN datastream d CROSS JOIN LATERAL (
        SELECT CASE WHEN d.quantity = ANY($2::text[]) THEN (
                   SELECT r.last - p.last FROM observation.rollup_day p
                   WHERE p.datastream_id = d.id AND p.bucket = f.before AND r.falls IS NULL AND r.last >= p.last
                     AND NOT EXISTS (SELECT FROM observation.meter_change c WHERE c.datastream_id = d.id
                                     AND c.at > f.before AND c.at <= f.until))
               WHEN d.quantity = ANY($3::text[]) THEN r.weighted / nullif(r.seconds, 0)
               WHEN d.quantity = ANY($4::text[]) THEN r.sum / nullif(r.n, 0) END AS value
        FROM observation.rollup_day r WHERE r.datastream_id = d.id AND r.bucket = f.since
    ) AS v
    WHERE d.privacy_class = 2 AND d.asset_id IS NOT NULL AND v.value IS NOT NULL
), above AS (
    SELECT a.id AS served, a.id, a.parent_id, a.kind, a.commune, 0 AS depth
    FROM asset a WHERE a.id IN (SELECT asset_id FROM stream)
    UNION ALL
    SELECT above.served, p.id, p.parent_id, p.kind, p.commune, above.depth + 1
    FROM above JOIN asset p ON p.id = above.parent_id
    WHERE p.privacy_class = 2 AND above.depth < 16 AND NOT is_dwelling(above.kind)
), home AS (
    SELECT DISTINCT ON (served) served, id, commune FROM above ORDER BY served, depth DESC
), dwelling AS (
    SELECT s.tenant_id, h.commune, s.quantity, h.id,
           CASE WHEN s.quantity = ANY($2) THEN sum(s.value) ELSE avg(s.value) END AS value
    FROM stream s JOIN home h ON h.served = s.asset_id
    GROUP BY s.tenant_id, h.commune, s.quantity, h.id
)
INSERT INTO observation.dwelling_day (tenant_id, commune, quantity, day, since, until, dwellings, mean)
SELECT d.tenant_id, d.commune, d.quantity, $1, f.since, f.until, count(*), avg(d.value)
FROM dwelling d, frame f
GROUP BY d.tenant_id, d.commune, d.quantity, f.since, f.until HAVING count(*) >= $5
ON CONFLICT DO NOTHING
"""
RECORD_MADE = """
INSERT INTO observation.dwelling_days_made (until) VALUES ($1)
ON CONFLICT (only_row) DO UPDATE SET until = greatest(dwelling_days_made.until, excluded.until)
"""

log = structlog.get_logger()


async def make_dwelling_days(pool: Pool, now: datetime) -> int:
    """Make the days that are due, a month of them at most; returns how many were.

    Raises:
        NotLeader: another replica runs these jobs.
    """
    made = 0
    while made < MOST_DAYS:
        async with leading(pool) as connection:
            due = await connection.fetchrow(DUE, now, DAYS_LATER)
            since: date | None = None if due is None else due["since"]
            if due is None or since is None or since >= due["until"]:
                break
            await connection.execute(MAKE_DAY, since, COUNTERS, STATES, GAUGES, FEWEST)
            await connection.execute(RECORD_MADE, since + timedelta(days=1))
            made += 1
    if made:
        log.info("dwelling_days_made", days=made)
    return made
