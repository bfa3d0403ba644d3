"""How each asset is, at a glance, and the figures of a whole territory: one statement each."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import NamedTuple

import msgspec

from core.model.unknown_time import UNKNOWN_AFTER_INTERVALS
from core.runtime.postgres import Connection
from registry.listing import TENANTS, Ask, Key, Listing, Part, planned_for_tenants
from registry.places import Circle, Place, distance_from
from registry.rows import fetch_all, fetch_one

# Alerts that nobody has declared ended.
OPEN = "workflow IN ('open', 'acknowledged', 'in_progress')"
_WANTED = """
($1::text IS NULL OR a.kind = $1) AND ($2::text IS NULL OR a.commune = $2)
  AND ($3::text IS NULL OR strpos(folded(a.name), folded($3)) > 0 OR strpos(folded(a.street), folded($3)) > 0)
  AND ($4::float8 IS NULL OR (a.longitude BETWEEN $4 AND $6 AND a.latitude BETWEEN $5 AND $7))
  AND CASE WHEN $8::int[] IS NULL THEN a.archived_at IS NULL ELSE a.id = ANY($8) END
  AND (($9::text IS NULL AND $10::text IS NULL AND $11::float8 IS NULL AND $14::text IS NULL)
       OR a.id IN (SELECT t.id FROM asset t WHERE ($9::text IS NULL OR $9 = ANY(t.tags))
                   AND ($10::text IS NULL OR t.quarter = $10) AND ($11::float8 IS NULL OR {} <= $13::float8)
                   AND ($14::text IS NULL OR t.insee = $14)))
  AND ($4::float8 IS NOT NULL OR a.tenant_id = ANY($15::int[]))
""".format(distance_from("t", "$11", "$12"))
_OF_THESE = "($8::int[] IS NULL OR asset_id = ANY($8))"


# Every wanted asset, and how it is, in the order of the fields of `AssetState`. A sign of life is a reading that
# the device has sent (no manual reading); an asset without a device, or of whose device nothing was ever received,
# is unknown. Several devices: the one that speaks most rarely decides. Of what is seen in part the view says
# nothing.
STATES = f"""
WITH alarmed AS (
    SELECT asset_id, max(severity) AS severity, count(*)::int AS alerts FROM alert
    WHERE {OPEN} AND asset_id IS NOT NULL AND {_OF_THESE} GROUP BY asset_id
), commanded AS (
    SELECT DISTINCT asset_id FROM lighting_command
    WHERE state IN ('queued', 'sent', 'acknowledged') AND {_OF_THESE}
)
SELECT a.id, a.tenant_id, a.kind, a.name, a.commune, a.street, a.latitude, a.longitude,
       CASE WHEN alarmed.severity IS NOT NULL THEN alarmed.severity::text
            WHEN commanded.asset_id IS NOT NULL THEN 'command'
            WHEN a.expected_interval IS NULL OR a.last_seen_at IS NULL THEN 'unknown'
            WHEN a.last_seen_at < now() - {UNKNOWN_AFTER_INTERVALS} * a.expected_interval THEN 'silent'
            ELSE 'ok' END AS state,
       a.last_seen_at, coalesce(alarmed.alerts, 0) AS alerts
FROM (
    SELECT a.id, a.tenant_id, a.kind, a.name, a.commune, a.street, a.latitude, a.longitude,
           coalesce(p.last_seen_at, a.last_seen_at) AS last_seen_at,
           coalesce(p.expected_interval, a.expected_interval) AS expected_interval
    FROM asset_life a LEFT JOIN asset_life_in_part($8) p ON p.asset_id = a.id
    WHERE {_WANTED}
    OFFSET 0  -- Or each of them is found out anew wherever it is named.
) AS a
LEFT JOIN alarmed ON alarmed.asset_id = a.id
LEFT JOIN commanded ON commanded.asset_id = a.id
"""


# Its parameters, as lists that take it for a part of theirs name them.
OF_WANTED = tuple(
    f"states_{name}"
    for name in (
        "kind", "commune", "search", "west", "south", "east", "north", "ids", "tag", "quarter", "longitude",
        "latitude", "radius", "insee",
    )
)  # fmt: skip
OF_STATES = (*OF_WANTED, TENANTS)
LIST_STATES = f"SELECT * FROM ({STATES}) s WHERE id > $16 AND ($17::text[] IS NULL OR state = ANY($17))"
LIST_STATES_BY_ID = f"{LIST_STATES} ORDER BY id LIMIT $18"
# The worst first.
BY_STATE = Key(
    "array_position(ARRAY['critical', 'major', 'warning', 'info', 'silent', 'unknown', 'command', 'ok'], state)",
    "bigint",
)
SORTED = Listing(
    f"""
SELECT id, name, state, last_seen_at,
       CASE WHEN $13::float8 IS NOT NULL THEN {distance_from("s", "$11", "$12")} END AS distance
FROM ({STATES}) s WHERE :states::text[] IS NULL OR state = ANY(:states)
""",
    {
        "name": Key("name COLLATE french", "text"),
        "state": BY_STATE,
        "last_seen_at": Key("last_seen_at", "timestamptz"),
        "distance": Key("distance", "float8"),
    },
    OF_STATES,
)
# Of all tenants, as the last ANALYZE or VACUUM has counted them.
ABOUT_HOW_MANY = "SELECT reltuples FROM pg_class WHERE oid = 'asset'::regclass"
LIST_IDS = f"SELECT a.id FROM asset a WHERE {_WANTED} AND a.id > $16 ORDER BY a.id LIMIT $17"
# The digest differs when one of them is another, elsewhere, named otherwise, or in another state.
COUNT_STATES = f"""
SELECT kind, state, count(*)::int AS count,
       bit_xor(hashtextextended(concat_ws('|', id, kind, state, latitude, longitude, name), 0)) AS digest
FROM ({STATES}) s GROUP BY kind, state ORDER BY kind, state
"""


def _values_of(column: str) -> str:
    """From one to the next by an index, of one tenant after the other; policies say of which rows it may be."""
    return f"""
WITH RECURSIVE found AS (
    SELECT of_tenant, (SELECT {column} FROM asset WHERE tenant_id = of_tenant AND archived_at IS NULL
                       ORDER BY {column} LIMIT 1) AS {column}
    FROM unnest(reachable_tenants()) AS of_tenant
    UNION ALL
    SELECT of_tenant, (SELECT a.{column} FROM asset a WHERE a.tenant_id = of_tenant AND a.{column} > found.{column}
                       AND a.archived_at IS NULL ORDER BY a.{column} LIMIT 1)
    FROM found WHERE {column} IS NOT NULL
)
SELECT DISTINCT {column} FROM found WHERE {column} <> '' ORDER BY {column} LIMIT 1000
"""


LIST_KINDS, LIST_COMMUNES, LIST_QUARTERS = map(_values_of, ("kind", "commune", "quarter"))
# Each table once: its policies cost more than its rows.
OVERVIEW = f"""
SELECT alerts.*, stations.*,
       (SELECT count(*)::int FROM lighting_command WHERE state IN ('queued', 'sent', 'acknowledged')) AS commands,
       (SELECT count(*)::int FROM uplink WHERE time > now() - $2::interval) AS uplinks,
       now() AS at
FROM (SELECT (count(*) FILTER (WHERE severity = 'critical'))::int AS critical,
             (count(*) FILTER (WHERE severity = 'major'))::int AS major,
             (count(*) FILTER (WHERE severity = 'warning'))::int AS warning,
             (count(*) FILTER (WHERE severity = 'info'))::int AS info,
             (count(*) FILTER (WHERE workflow = 'open'))::int AS unacknowledged
      FROM alert WHERE {OPEN}) AS alerts,
     (SELECT count(*)::int AS gateways,
             (count(*) FILTER (WHERE s.last_seen_at > now() - $1::interval))::int AS gateways_online
      FROM gateway g LEFT JOIN gateway_state s ON s.gateway_id = g.id) AS stations
"""


# So few are found by their ids sooner than among what there is of all.
FEW = 1_001
# Where there are no more than so many times those that are wanted, all are read as they come and sorted here: ten
# thousand rows that are sorted first come 5 ms later, and until then nobody reads any of them.
SORTED_HERE = 2


class AssetState(msgspec.Struct, frozen=True, gc=False):
    """An asset and how it is: the severity of its worst open alert, or `command`, `unknown`, `silent`, `ok`.

    No dataclass: ten thousand of them are made in 2 ms and not in 27, and written as JSON in 7. The fields are in
    the order of the statement's columns.
    """

    id: int
    tenant_id: int
    kind: str
    name: str
    commune: str
    street: str
    latitude: float | None
    longitude: float | None
    state: str
    last_seen_at: datetime | None
    alerts: int


@dataclass(frozen=True, slots=True)
class StateCount:
    """How many assets of a kind are in a state."""

    kind: str
    state: str
    count: int
    digest: int
    """Of what a map shows of them."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a whole territory does now."""

    critical: int
    major: int
    warning: int
    info: int
    unacknowledged: int
    gateways: int
    gateways_online: int
    commands: int
    uplinks: int
    at: datetime


class Wanted(NamedTuple):
    """Which assets; None: whatever they are, but for those that are archived, which only their ids find.

    A commune is a name, or its INSEE code.
    """

    kind: str | None = None
    commune: str | None = None
    search: str | None = None
    box: tuple[float, float, float, float] | None = None
    ids: list[int] | None = None
    tag: str | None = None
    quarter: str | None = None
    circle: Circle | None = None

    def values(self) -> tuple[object, ...]:
        """The first parameters of a statement; a circle is looked for in its box, too."""
        near = self.circle
        box = Place(self.box, near).box_of_both() or (None, None, None, None)
        around = (None, None, None) if near is None else (near.longitude, near.latitude, near.radius)
        is_code = self.commune is not None and INSEE.fullmatch(self.commune)
        name, code = (None, self.commune) if is_code else (self.commune, None)
        return (self.kind, name, self.search, *box, self.ids, self.tag, self.quarter, *around, code)


EVERYTHING = Wanted()
INSEE = re.compile(r"[0-9][0-9AB][0-9]{3}")
_ID = itemgetter(0)


async def list_states(
    connection: Connection, wanted: Wanted, states: list[str] | None = None, after: int = 0, most: int = 100
) -> list[AssetState]:
    """Visible assets by id, beyond `after`, with how they are."""
    is_few = wanted.ids is not None or (most <= FEW and states is None)
    async with planned_for_tenants(connection) as tenants:
        if wanted.ids is None and is_few:
            # What is not shown need not be asked how it is.
            rows = await connection.fetch(LIST_IDS, *wanted.values(), tenants, after, most)
            wanted = Wanted(ids=[row["id"] for row in rows])
        given = (*wanted.values(), tenants, after, states)
        if wanted.ids is None and await connection.fetchval(ABOUT_HOW_MANY) <= SORTED_HERE * most:
            rows = sorted(await connection.fetch(LIST_STATES, *given), key=_ID)[:most]
        else:
            rows = await connection.fetch(LIST_STATES_BY_ID, *given, most)
    return [AssetState(*row) for row in rows]


async def find_states(
    connection: Connection, ask: Ask, wanted: Wanted, states: list[str] | None = None
) -> tuple[list[AssetState], Part]:
    """A page of visible assets in any order, with how they are."""
    given = dict(zip(OF_WANTED, wanted.values(), strict=True))
    part = await SORTED.page(connection, ask, given | {"states": states})
    found = {one.id: one for one in await list_states(connection, Wanted(ids=part.ids), most=len(part.ids))}
    return [found[id_] for id_ in part.ids if id_ in found], part


async def count_states(connection: Connection, wanted: Wanted = EVERYTHING) -> list[StateCount]:
    """How many visible assets there are, by kind and state."""
    async with planned_for_tenants(connection) as tenants:
        return await fetch_all(connection, StateCount, COUNT_STATES, *wanted.values(), tenants)


async def list_communes(connection: Connection) -> list[str]:
    """The communes in which there is a visible asset."""
    return [row["commune"] for row in await connection.fetch(LIST_COMMUNES)]


async def list_quarters(connection: Connection) -> list[str]:
    """The quarters in which there is a visible asset."""
    return [row["quarter"] for row in await connection.fetch(LIST_QUARTERS)]


async def list_kinds(connection: Connection) -> list[str]:
    """Of which there is a visible asset."""
    return [row["kind"] for row in await connection.fetch(LIST_KINDS)]


async def read_figures(connection: Connection, online_within: timedelta, over: timedelta) -> Figures:
    """The figures of now; `uplinks` are those of the time `over` that has just passed."""
    figures = await fetch_one(connection, Figures, OVERVIEW, online_within, over)
    assert figures is not None  # noqa: S101 - Without a FROM there is one row.
    return figures
