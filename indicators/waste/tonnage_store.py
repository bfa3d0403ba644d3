"""SQL of what was emptied and what was weighed, as the reader may see it."""

from datetime import date
from typing import NamedTuple
from zoneinfo import ZoneInfo

from core.runtime.postgres import Connection
from indicators.waste.emptyings import Emptying
from indicators.waste.rounds.execution import SensorEmptying, joined_emptyings
from indicators.waste.rounds.execution_store import AROUND, read_round_emptyings
from indicators.waste.tonnage import (
    CALIBRATED_OVER,
    Calibration,
    Container,
    EmptiedBin,
    Weighing,
    calibrations,
    emptied_bin,
)
from registry.rows import fetch_all

_NUMBER = "CASE WHEN jsonb_typeof(a.attributes -> '{0}') = 'number' THEN (a.attributes ->> '{0}')::float8 END"
# A stream is a kind of container without its end.
CONTAINERS = f"""
SELECT a.id AS asset_id, a.name, a.commune, coalesce(a.insee, '') AS insee,
       regexp_replace(a.kind, '_container$', '') AS stream, {_NUMBER.format("volume_l")} / 1000 AS cubic_metres,
       {_NUMBER.format("density_kg_m3")} / 1000 AS density, greatest(1, d.levels) AS levels,
       a.tenant_id = ANY((SELECT visible_tenants())::int[]) AS is_served
FROM asset a LEFT JOIN (
    SELECT asset_id, count(*)::int AS levels FROM datastream
    WHERE quantity = 'fill_level' AND privacy_class < 2 GROUP BY asset_id
) AS d ON d.asset_id = a.id
WHERE d.levels > 0 OR a.kind ~ '_container$'
ORDER BY a.id
"""
# $1, $2: local days, from one until another.
EMPTIED = """
SELECT d.id, d.asset_id, e.at, e.not_before, e.before, e.after, e.suspect
FROM emptying e JOIN datastream d ON d.id = e.datastream_id CROSS JOIN deployment t
WHERE e.at >= $1::date::timestamp AT TIME ZONE t.timezone AND e.at < $2::date::timestamp AT TIME ZONE t.timezone
  AND d.asset_id IS NOT NULL
ORDER BY e.at, d.asset_id
"""
# Whoever sees no container of a stream sees no ticket of it.
WEIGHED = """
SELECT w.stream, (w.weighed_at AT TIME ZONE t.timezone)::date AS day, w.net_kg / 1000 AS tonnes, w.round_id
FROM weighing w CROSS JOIN deployment t
WHERE w.weighed_at >= $1::date::timestamp AT TIME ZONE t.timezone
  AND w.weighed_at < $2::date::timestamp AT TIME ZONE t.timezone
  AND EXISTS (SELECT FROM asset a WHERE a.kind IN (w.stream || '_container', w.stream))
ORDER BY w.weighed_at, w.id
"""
ZONE = "SELECT timezone FROM deployment"


async def read_containers(connection: Connection) -> dict[int, Container]:
    """Bins that are visible, by their asset."""
    return {one.asset_id: one for one in await fetch_all(connection, Container, CONTAINERS)}


async def read_emptied(
    connection: Connection, containers: dict[int, Container], period: tuple[date, date]
) -> list[EmptiedBin]:
    """What was emptied of these on these local days, the first one first, by sensors and by rounds."""
    since, until = period
    around = since - AROUND, until + AROUND
    zone = ZoneInfo(await connection.fetchval(ZONE))
    rows = await connection.fetch(EMPTIED, *around)
    shown = [SensorEmptying(stream, asset_id, Emptying(*one)) for stream, asset_id, *one in rows]
    said = await read_round_emptyings(connection, around)
    found = [
        emptied_bin(containers[one.asset_id], one, zone)
        for one in joined_emptyings(shown, said)
        if one.asset_id in containers
    ]
    return [one for one in found if since <= one.day < until]


class Loads(NamedTuple):
    """What was emptied of which bins and what was weighed, and how the one calibrates the other."""

    containers: dict[int, Container]
    emptied: list[EmptiedBin]
    weighed: list[Weighing]
    calibrations: dict[str, Calibration]


async def read_loads(connection: Connection, period: tuple[date, date]) -> Loads:
    """Of these local days, and of the year before their end at least, by which they are calibrated."""
    since, until = period
    calibrating = min(since, until - CALIBRATED_OVER), until
    containers = await read_containers(connection)
    emptied = await read_emptied(connection, containers, calibrating)
    weighed = await read_weighed(connection, calibrating)
    return Loads(containers, emptied, weighed, calibrations(emptied, weighed))


async def read_weighed(connection: Connection, period: tuple[date, date]) -> list[Weighing]:
    """One's own tickets of these local days, the first one first."""
    return [Weighing(*row) for row in await connection.fetch(WEIGHED, *period)]
