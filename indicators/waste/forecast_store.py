"""SQL of what forecasts are made from, as whoever asks may see it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from core.messages.measurements import SOUND
from core.runtime.postgres import Connection
from indicators.waste.forecast import LONGEST_OUTAGE, MOST_WEEKS, WEEK, DayEnd
from indicators.waste.neighbours import PlacedBin
from registry.rows import fetch_all

HISTORY = timedelta(days=MOST_WEEKS * WEEK + LONGEST_OUTAGE + 1)

# $1: how many.
BINS = """
SELECT d.id AS datastream_id, a.id AS asset_id, a.name, a.kind, a.commune, a.latitude, a.longitude
FROM datastream d JOIN asset a ON a.id = d.asset_id
WHERE d.quantity = 'fill_level' AND d.privacy_class < 2 AND a.archived_at IS NULL
ORDER BY a.commune, a.name, d.id LIMIT $1
"""
# $1: datastreams; $2: how long ago at most.
DAY_ENDS = """
SELECT r.datastream_id, (r.bucket AT TIME ZONE t.timezone)::date AS day, r.last
FROM rollup_day r CROSS JOIN deployment t
WHERE r.datastream_id = ANY($1::int[]) AND r.bucket >= now() - $2::interval AND r.n > 0
ORDER BY r.datastream_id, r.bucket
"""
EMPTIED = """
SELECT e.datastream_id, (e.at AT TIME ZONE t.timezone)::date AS day, sum(e.before - e.after) AS points
FROM emptying e CROSS JOIN deployment t
WHERE e.datastream_id = ANY($1::int[]) AND e.at >= now() - $2::interval
GROUP BY 1, 2
"""
LEVELS = f"""
SELECT l.datastream_id, l.value AS level, l.time AS at, (l.time AT TIME ZONE t.timezone)::date AS day
FROM latest l CROSS JOIN deployment t
WHERE l.datastream_id = ANY($1::int[]) AND l.time >= now() - $2::interval AND l.{SOUND}
"""


@dataclass(frozen=True, slots=True)
class LevelNow:
    """What was read last, on which local day."""

    datastream_id: int
    level: float
    at: datetime
    day: date


async def select_placed_bins(connection: Connection, most: int) -> list[PlacedBin]:
    """Every level of a bin that is visible, by commune and name."""
    return await fetch_all(connection, PlacedBin, BINS, most)


async def read_day_ends(connection: Connection, datastreams: Sequence[int]) -> dict[int, list[DayEnd]]:
    """The ends of the days of half a year, of each that has any."""
    emptied = {
        (row["datastream_id"], row["day"]): row["points"]
        for row in await connection.fetch(EMPTIED, datastreams, HISTORY)
    }
    ends: dict[int, list[DayEnd]] = {}
    for id_, day, level in await connection.fetch(DAY_ENDS, datastreams, HISTORY):
        ends.setdefault(id_, []).append(DayEnd(day, level, emptied.get((id_, day), 0.0)))
    return ends


async def read_levels_now(connection: Connection, datastreams: Sequence[int]) -> dict[int, LevelNow]:
    """The last level of each, where it was read within a week."""
    rows = await fetch_all(connection, LevelNow, LEVELS, datastreams, timedelta(days=LONGEST_OUTAGE))
    return {one.datastream_id: one for one in rows}
