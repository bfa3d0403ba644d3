"""SQL of the days of bins, as whoever asks may see them."""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from core.runtime.postgres import Connection
from indicators.waste.days_above import Bin, KnownMonth
from indicators.waste.emptyings import Emptying
from registry.rows import fetch_all

EMPTYING = ("at", "not_before", "before", "after", "suspect")
# $1: datastreams; $2: kind; $3: commune, by name or code; $4: how many.
BINS = """
SELECT d.id AS datastream_id, a.id AS asset_id, a.name, a.commune, coalesce(a.insee, '') AS insee,
       (a.archived_at AT TIME ZONE (SELECT timezone FROM deployment))::date AS gone_on
FROM datastream d JOIN asset a ON a.id = d.asset_id
WHERE d.quantity = 'fill_level' AND d.privacy_class < 2
  AND ($1::int[] IS NULL OR d.id = ANY($1)) AND ($2::text IS NULL OR a.kind = $2)
  AND ($3::text IS NULL OR a.commune = $3 OR a.insee = $3)
ORDER BY a.commune, a.name, d.id LIMIT $4
"""
# $1: datastreams; $2, $3: from which day on, and until which; $4: whole percent. What is sorted is narrow.
KNOWN_MONTHS = """
WITH part AS MATERIALIZED (
    SELECT datastream_id, date_trunc('month', day::timestamp)::date AS month, known::float8 / seconds AS known,
           at_or_above[$4::int]::float8 / seconds AS above
    FROM fill_day WHERE datastream_id = ANY($1::int[]) AND day >= $2 AND day < $3
)
SELECT datastream_id, month, sum(known) AS known, sum(above) AS above FROM part GROUP BY 1, 2
"""
FIRST_DAYS = """
SELECT datastream_id, min(day) AS day FROM fill_day WHERE datastream_id = ANY($1::int[]) GROUP BY datastream_id
"""
# $1: datastreams; $2, $3: local days, from one until another; $4: how many.
EMPTYINGS = """
SELECT e.datastream_id, e.at, e.not_before, e.before, e.after, e.suspect
FROM emptying e CROSS JOIN deployment t
WHERE e.datastream_id = ANY($1::int[]) AND e.at >= $2::date::timestamp AT TIME ZONE t.timezone
  AND e.at < $3::date::timestamp AT TIME ZONE t.timezone
ORDER BY e.at DESC, e.datastream_id LIMIT $4
"""
# $1: datastreams; $2, $3: from which local day on, and until which.
COUNT_EMPTYINGS = """
SELECT e.datastream_id, date_trunc('month', e.at AT TIME ZONE t.timezone)::date AS month,
       count(*)::int AS emptyings, count(*) FILTER (WHERE e.suspect)::int AS suspect
FROM emptying e CROSS JOIN deployment t
WHERE e.datastream_id = ANY($1::int[]) AND e.at >= $2::date::timestamp AT TIME ZONE t.timezone
  AND e.at < $3::date::timestamp AT TIME ZONE t.timezone
GROUP BY 1, 2
"""
TODAY = "SELECT (now() AT TIME ZONE timezone)::date FROM deployment"


async def select_bins(
    connection: Connection,
    datastreams: Sequence[int] | None,
    *,
    kind: str | None = None,
    commune: str | None = None,
    most: int,
) -> list[Bin]:
    """Levels of bins that are visible, by commune and name."""
    return await fetch_all(connection, Bin, BINS, datastreams, kind, commune, most)


async def read_known_months(
    connection: Connection, datastreams: Sequence[int], period: tuple[date, date], percentage: int
) -> list[KnownMonth]:
    """Of days that are over: how much of each month is known, and how much at or above this percentage."""
    return [KnownMonth(*row) for row in await connection.fetch(KNOWN_MONTHS, datastreams, *period, percentage)]


async def read_first_days(connection: Connection, datastreams: Sequence[int]) -> dict[int, date]:
    """Since which day each is measured; without one that never was."""
    rows = await connection.fetch(FIRST_DAYS, datastreams)
    return {row["datastream_id"]: row["day"] for row in rows}


async def read_emptyings(
    connection: Connection, datastreams: Sequence[int], period: tuple[date, date], most: int
) -> list[tuple[int, Emptying]]:
    """When these were emptied, the last one first, by datastream; found in days that are over."""
    rows = await connection.fetch(EMPTYINGS, datastreams, *period, most)
    return [(row["datastream_id"], Emptying(*(row[name] for name in EMPTYING))) for row in rows]


class EmptyingCount(NamedTuple):
    """How often a bin was emptied in a month, and of how many of these nobody is sure."""

    datastream_id: int
    month: date
    emptyings: int
    suspect: int


async def count_emptyings(
    connection: Connection, datastreams: Sequence[int], period: tuple[date, date]
) -> list[EmptyingCount]:
    """By bin and month, of days that are over; without months in which it was not emptied."""
    rows = await connection.fetch(COUNT_EMPTYINGS, datastreams, *period)
    return [EmptyingCount(*row) for row in rows]


async def read_today(connection: Connection) -> date:
    """The local day that goes on."""
    return await connection.fetchval(TODAY)
