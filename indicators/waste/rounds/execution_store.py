"""SQL of what drivers say that they emptied, as whoever asks may see it."""

from collections.abc import Sequence
from datetime import date

from core.runtime.postgres import Connection
from indicators.waste.rounds.execution import RoundEmptying
from registry.rows import fetch_all

# What is said last of a stop counts. $1: bins; $2, $3: local days, from one until another.
EMPTIED = """
WITH last AS (
    SELECT DISTINCT ON (o.round_id, o.asset_id) o.round_id, o.asset_id, o.outcome, o.at, o.level_seen
    FROM waste_round_outcome o WHERE o.asset_id = ANY($1::int[]) ORDER BY o.round_id, o.asset_id, o.id DESC
)
SELECT l.asset_id, l.round_id, l.at, coalesce(l.level_seen, s.level) AS level,
       CASE WHEN l.level_seen IS NULL OR s.level = 0 THEN s.volume_l
            ELSE s.volume_l * l.level_seen / s.level END AS volume_l,
       CASE WHEN l.level_seen IS NULL OR s.level = 0 THEN s.weight_kg
            ELSE s.weight_kg * l.level_seen / s.level END AS weight_kg
FROM last l JOIN waste_round_stop s USING (round_id, asset_id) CROSS JOIN deployment t
WHERE l.outcome = 'emptied' AND l.at >= $2::date::timestamp AT TIME ZONE t.timezone
  AND l.at < $3::date::timestamp AT TIME ZONE t.timezone
ORDER BY l.at, l.asset_id
"""


async def read_round_emptyings(
    connection: Connection, assets: Sequence[int], period: tuple[date, date]
) -> list[RoundEmptying]:
    """What rounds emptied of these bins, in order of time."""
    return await fetch_all(connection, RoundEmptying, EMPTIED, assets, *period)
