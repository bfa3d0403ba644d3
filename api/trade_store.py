"""Assets of a trade with their last values, in the order in which somebody looks at them: two statements."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from core.messages.measurements import SOUND
from core.model.quantities import QUANTITIES, Kind
from core.model.unknown_time import UNKNOWN_AFTER_INTERVALS
from core.runtime.postgres import Connection
from registry.listing import planned_for_tenants
from registry.rows import fetch_all

INDEXES = tuple(name for name, quantity in QUANTITIES.items() if quantity.kind is Kind.COUNTER)


@dataclass(frozen=True, slots=True)
class Trade:
    """Assets whose kinds match a pattern, and what is measured there; the first quantity ranks them."""

    kinds: str
    quantities: tuple[str, ...]


WASTE = Trade("_container$", ("fill_level",))
ROOMS = Trade("room$", ("co2", "temperature", "relative_humidity"))
METERS = Trade("_meter$", INDEXES)
LIGHTING = Trade("^lighting_cabinet$", ("switch_state", "active_power"))

# A value is known while it is sound and no older than its device may be silent; what a person entered, or what no
# device serves any more, is no value of now.
_SERVING = """(
    SELECT g.asset_id, max(p.expected_interval) AS expected_interval
    FROM assignment g JOIN device v ON v.id = g.device_id JOIN device_profile p ON p.id = v.device_profile_id
    WHERE upper_inf(g.during) AND v.enabled AND g.asset_id = ANY({}) GROUP BY g.asset_id
)"""
_IS_KNOWN = f"(l.{SOUND} AND l.time >= now() - {UNKNOWN_AFTER_INTERVALS} * {{}}.expected_interval) IS TRUE"
# $1: pattern of kinds; $2, $3: kind and commune, null for any; $4: the quantity that ranks; $5: whose they can
# be; $6, $7: which page.
_CHOSEN = """
chosen AS MATERIALIZED (
    SELECT a.id, a.tenant_id, a.kind, a.name, a.commune, a.street FROM asset a
    WHERE a.kind ~ $1 AND ($2::text IS NULL OR a.kind = $2) AND ($3::text IS NULL OR a.commune = $3)
      AND a.archived_at IS NULL AND a.tenant_id = ANY($5::int[])
)"""
# By grouping: nothing says how many there are, and a join of the two is planned as a loop in a loop.
_BOTH = """
FROM (SELECT id, tenant_id, kind, name, commune, street, NULL::float8 AS value FROM chosen
      UNION ALL SELECT id, NULL, NULL, NULL, NULL, NULL, value FROM ranked) AS both_of_them
GROUP BY id
"""
_IDS = "ARRAY(SELECT id FROM chosen)"
# By a window, for the same reason: last values and devices that serve, side by side.
_RANKED = f"""
WITH {_CHOSEN}, ranked AS (
    SELECT id, max(l.value) AS value FROM (
        SELECT id, value, time, flags, max(expected_interval) OVER (PARTITION BY id) AS expected_interval FROM (
            SELECT d.asset_id AS id, l.value, l.time, l.flags, NULL::interval AS expected_interval
            FROM datastream d JOIN latest l ON l.datastream_id = d.id
            WHERE d.quantity = $4::text AND d.asset_id = ANY({_IDS})
            UNION ALL SELECT asset_id, NULL, NULL, NULL, expected_interval FROM {_SERVING.format(_IDS)} AS s
        ) AS side_by_side
    ) AS l WHERE {_IS_KNOWN.format("l")} GROUP BY id
)
SELECT id, max(tenant_id), max(kind), max(name), max(commune), max(street) {_BOTH}
"""
HIGHEST_FIRST = f"{_RANKED} ORDER BY max(value) DESC NULLS LAST, id OFFSET $6 LIMIT $7"
# What nobody knows is looked at first, then what is off.
LOWEST_FIRST = f"{_RANKED} ORDER BY max(value) NULLS FIRST, max(name), id OFFSET $6 LIMIT $7"
# By how far the index went in the last days that are over: an order, not a figure. $4: indexes.
BUSIEST_FIRST = f"""
WITH {_CHOSEN}, ranked AS (
    SELECT d.asset_id AS id, max(r.last - r.first) AS value
    FROM datastream d JOIN (
        SELECT datastream_id, max(last) AS last, min(first) AS first FROM rollup_day
        WHERE bucket >= now() - interval '9 days' AND bucket < now()
          AND datastream_id = ANY(ARRAY(SELECT id FROM datastream
                                        WHERE asset_id = ANY({_IDS}) AND quantity = ANY($4::text[])))
        GROUP BY datastream_id
    ) AS r ON r.datastream_id = d.id
    GROUP BY d.asset_id
)
SELECT id, max(tenant_id), max(kind), max(name), max(commune), max(street) {_BOTH}
ORDER BY max(kind), max(value) DESC NULLS LAST, id OFFSET $6 LIMIT $7
"""
# One value of each quantity and channel: the last one, whichever device has measured it.
VALUES = f"""
SELECT DISTINCT ON (d.asset_id, d.quantity, d.channel) d.asset_id, d.id AS datastream_id, d.quantity, d.channel,
       d.unit, l.value, l.time, {_IS_KNOWN.format("s")} AS known
FROM datastream d JOIN latest l ON l.datastream_id = d.id
LEFT JOIN {_SERVING.format("$1::int[]")} s ON s.asset_id = d.asset_id
WHERE d.asset_id = ANY($1::int[]) AND d.quantity = ANY($2::text[])
ORDER BY d.asset_id, d.quantity, d.channel, l.time DESC
"""
# $1: datastreams; $2: since; $3: above which means, two of them.
HOURS_ABOVE = """
SELECT datastream_id, count(*)::int AS hours,
       ARRAY[(count(*) FILTER (WHERE sum > n * ($3::float8[])[1]))::int,
             (count(*) FILTER (WHERE sum > n * ($3::float8[])[2]))::int] AS above
FROM rollup_hour WHERE datastream_id = ANY($1::int[]) AND bucket >= $2 AND n > 0 GROUP BY datastream_id
"""


class Place(NamedTuple):
    """An asset of a trade."""

    id: int
    tenant_id: int
    kind: str
    name: str
    commune: str
    street: str


@dataclass(frozen=True, slots=True)
class LastValue:
    """What was measured there last; `known`: it still stands for how it is now."""

    asset_id: int
    datastream_id: int
    quantity: str
    channel: str
    unit: str
    value: float
    time: datetime
    known: bool


@dataclass(frozen=True, slots=True)
class HoursAbove:
    """How many hours were measured, and how many of them had a mean above each threshold, in order."""

    datastream_id: int
    hours: int
    above: list[int]


class Selection(NamedTuple):
    """Which assets of a trade, and which page of them."""

    kind: str | None
    commune: str | None
    offset: int
    most: int


async def list_places(connection: Connection, trade: Trade, selection: Selection) -> list[Place]:
    """Visible assets of the trade, those first that somebody looks at first."""
    kind, commune, offset, most = selection
    statement = {WASTE: HIGHEST_FIRST, ROOMS: HIGHEST_FIRST, METERS: BUSIEST_FIRST, LIGHTING: LOWEST_FIRST}[trade]
    rank = list(INDEXES) if trade is METERS else trade.quantities[0]
    async with planned_for_tenants(connection) as tenants:
        rows = await connection.fetch(statement, trade.kinds, kind, commune, rank, tenants, offset, most)
    return [Place(*row) for row in rows]


async def last_values(connection: Connection, trade: Trade, assets: Sequence[int]) -> dict[int, list[LastValue]]:
    """The trade's quantities at these assets."""
    found: dict[int, list[LastValue]] = {}
    for one in await fetch_all(connection, LastValue, VALUES, assets, list(trade.quantities)):
        found.setdefault(one.asset_id, []).append(one)
    return found


async def hours_above(
    connection: Connection, datastreams: Sequence[int], since: datetime, thresholds: tuple[float, float]
) -> dict[int, HoursAbove]:
    """Of whole hours since then, from rollups."""
    rows = await fetch_all(connection, HoursAbove, HOURS_ABOVE, datastreams, since, thresholds)
    return {one.datastream_id: one for one in rows}
