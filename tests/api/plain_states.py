"""How assets are, as it is asked without anything that is stored for it: the statement of before, row by row."""

from typing import Any

from api.asset_state_store import EVERYTHING, OPEN, STATES
from core.model.unknown_time import UNKNOWN_AFTER_INTERVALS
from core.runtime.postgres import Connection

PLAIN = f"""
WITH alarmed AS (
    SELECT asset_id, max(severity) AS severity, count(*)::int AS alerts FROM alert
    WHERE {OPEN} AND asset_id IS NOT NULL GROUP BY asset_id
), seen AS (
    SELECT asset_id, max(time) AS last_seen_at FROM latest
    WHERE flags & 4 = 0 AND asset_id IS NOT NULL GROUP BY asset_id
), serving AS (
    SELECT g.asset_id, max(p.expected_interval) AS expected_interval
    FROM assignment g JOIN device v ON v.id = g.device_id JOIN device_profile p ON p.id = v.device_profile_id
    WHERE upper_inf(g.during) AND v.enabled GROUP BY g.asset_id
), commanded AS (
    SELECT DISTINCT asset_id FROM lighting_command WHERE state IN ('queued', 'sent', 'acknowledged')
)
SELECT a.id, a.tenant_id, a.kind, a.name, a.commune, a.street, a.latitude, a.longitude,
       CASE WHEN alarmed.severity IS NOT NULL THEN alarmed.severity::text
            WHEN commanded.asset_id IS NOT NULL THEN 'command'
            WHEN serving.asset_id IS NULL OR seen.last_seen_at IS NULL THEN 'unknown'
            WHEN seen.last_seen_at < now() - {UNKNOWN_AFTER_INTERVALS} * serving.expected_interval THEN 'silent'
            ELSE 'ok' END AS state,
       seen.last_seen_at, coalesce(alarmed.alerts, 0) AS alerts
FROM asset a
LEFT JOIN alarmed ON alarmed.asset_id = a.id
LEFT JOIN seen ON seen.asset_id = a.id
LEFT JOIN serving ON serving.asset_id = a.id
LEFT JOIN commanded ON commanded.asset_id = a.id
WHERE a.archived_at IS NULL
"""
DIFFERENCES = f"""
WITH plain AS ({PLAIN}), stored AS ({STATES}),
differing AS (
    (SELECT * FROM plain EXCEPT ALL SELECT * FROM stored) UNION ALL
    (SELECT * FROM stored EXCEPT ALL SELECT * FROM plain)
)
SELECT (SELECT json_agg(d)::text FROM differing d) AS differing,
       (SELECT array_agg(DISTINCT state ORDER BY state) FROM plain) AS states,
       (SELECT count(*) FROM plain) AS count
"""


async def same_states(connection: Connection) -> dict[str, Any]:
    """Which states there are for who has entered, and of how many assets; what is stored says the same of each."""
    tenants = await connection.fetchval("SELECT reachable_tenants()")
    row = await connection.fetchrow(DIFFERENCES, *EVERYTHING.values(), tenants)
    assert row is not None
    assert row["differing"] is None, row["differing"]
    return dict(row)
