"""SQL of when bins were emptied, as sensors show and as drivers say, for whoever asks."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from core.runtime.postgres import Connection
from indicators.waste import days_above_store
from indicators.waste.rounds.execution import (
    SAME_WITHIN,
    KnownEmptying,
    RoundEmptying,
    SensorEmptying,
    joined_emptyings,
)
from registry.rows import fetch_all

# What is said last of a stop counts. $1: bins, or NULL; $2, $3: local days, from one until another; $4: kind;
# $5: commune, by name or code. What a driver saw stands for what was expected.
EMPTIED = """
WITH last AS (
    SELECT DISTINCT ON (o.round_id, o.asset_id) o.round_id, o.asset_id, o.outcome, o.at, o.level_seen
    FROM waste_round_outcome o JOIN asset a ON a.id = o.asset_id
    WHERE ($1::int[] IS NULL OR o.asset_id = ANY($1)) AND ($4::text IS NULL OR a.kind = $4)
      AND ($5::text IS NULL OR a.commune = $5 OR a.insee = $5)
    ORDER BY o.round_id, o.asset_id, o.id DESC
)
SELECT l.asset_id, a.name, a.commune, l.round_id, l.at, coalesce(l.level_seen, s.level) AS level,
       CASE WHEN l.level_seen IS NULL OR coalesce(s.level, 100) = 0 THEN s.volume_l
            ELSE s.volume_l * l.level_seen / coalesce(s.level, 100) END AS volume_l,
       CASE WHEN l.level_seen IS NULL OR coalesce(s.level, 100) = 0 THEN s.weight_kg
            ELSE s.weight_kg * l.level_seen / coalesce(s.level, 100) END AS weight_kg
FROM last l JOIN waste_round_stop s USING (round_id, asset_id) JOIN asset a ON a.id = l.asset_id
CROSS JOIN deployment t
WHERE l.outcome = 'emptied' AND l.at >= $2::date::timestamp AT TIME ZONE t.timezone
  AND l.at < $3::date::timestamp AT TIME ZONE t.timezone
ORDER BY l.at, l.asset_id
"""
ZONE = "SELECT timezone FROM deployment"
# Half a day apart may be another local day.
AROUND = timedelta(days=1)


async def read_round_emptyings(
    connection: Connection,
    period: tuple[date, date],
    assets: Sequence[int] | None = None,
    *,
    kind: str | None = None,
    commune: str | None = None,
) -> list[RoundEmptying]:
    """What rounds emptied in these local days, of these bins or of all, in order of time."""
    return await fetch_all(connection, RoundEmptying, EMPTIED, assets, *period, kind, commune)


async def read_known_emptyings(
    connection: Connection,
    bin_of: Mapping[int, int],
    period: tuple[date, date],
    assets: Sequence[int] | None = None,
    *,
    kind: str | None = None,
    commune: str | None = None,
    most: int,
) -> list[KnownEmptying]:
    """When bins were emptied as sensors show or drivers say, each once, in order of time: the last ones.

    `bin_of` has the bin of each level; `assets` are the bins of rounds, None: all. What is one emptying is decided
    with the days around, so that it is the same in every period.
    """
    since, until = period
    around = since - AROUND, until + AROUND
    shown = await days_above_store.read_emptyings(connection, list(bin_of), around, most)
    said = await read_round_emptyings(connection, around, assets, kind=kind, commune=commune)
    if len(shown) == most:
        earliest = shown[-1][1].at + SAME_WITHIN
        said = [one for one in said if one.at >= earliest]
    zone = ZoneInfo(await connection.fetchval(ZONE))
    found = joined_emptyings([SensorEmptying(id_, bin_of[id_], one) for id_, one in reversed(shown)], said)
    return [one for one in found if since <= one.at.astimezone(zone).date() < until]
