"""Gateways: read by services, managed by the API, with what the bridge last recorded of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core.model.entities import Gateway
from core.runtime.postgres import Connection, Pool
from registry.gateway_supervision import AddressSeen, save_address_changes
from registry.listing import Ask, Key, Listing, Part, rows_in_order
from registry.places import ANYWHERE, Place, distance, within
from registry.rows import Written, arrays, columns_of, entity, fetch_all, fetch_one
from registry.station_updates import JOINED, SHOWN_STATION

SEEN = "gateway_id, frontend, address, last_seen_at"
READ_GATEWAYS = f"SELECT {columns_of(Gateway)} FROM gateway"
SAVE_STATES = """
INSERT INTO gateway_state AS known (gateway_id, frontend, address, last_seen_at, stats)
SELECT g.id, s.frontend, s.address, s.last_seen_at, s.stats
FROM unnest($1::bytea[], $2::text[], $3::text[], $4::timestamptz[], $5::jsonb[])
     AS s (gateway_id, frontend, address, last_seen_at, stats)
JOIN gateway g ON g.gateway_id = s.gateway_id
ORDER BY g.id
ON CONFLICT (gateway_id) DO UPDATE
SET frontend = excluded.frontend, address = excluded.address, last_seen_at = excluded.last_seen_at,
    stats = known.stats || excluded.stats
WHERE known.last_seen_at <= excluded.last_seen_at
"""
# Held until they are written: what another replica wrote in between would be written over, and its move missed.
READ_MOVES = """
WITH held AS MATERIALIZED (
    SELECT s.gateway_id, s.frontend, known.address AS former, s.address, s.last_seen_at AS at,
           known.last_seen_at AS before
    FROM unnest($1::bytea[], $2::text[], $3::text[], $4::timestamptz[])
         AS s (gateway_id, frontend, address, last_seen_at)
    JOIN gateway g ON g.gateway_id = s.gateway_id
    JOIN gateway_state known ON known.gateway_id = g.id
    ORDER BY g.id
    FOR UPDATE OF known
)
SELECT gateway_id, frontend, former, address, at FROM held WHERE former <> address AND before <= at
"""
SAVE_UNKNOWN = """
INSERT INTO unknown_gateway AS known (gateway_id, frontend, address, first_seen_at, last_seen_at)
SELECT gateway_id, frontend, address, last_seen_at, last_seen_at
FROM unnest($1::bytea[], $2::text[], $3::text[], $4::timestamptz[])
     AS s (gateway_id, frontend, address, last_seen_at)
ORDER BY gateway_id
ON CONFLICT (gateway_id) DO UPDATE
SET frontend = excluded.frontend, address = excluded.address, last_seen_at = excluded.last_seen_at
"""
READ_LAST_SEEN = """
SELECT g.gateway_id, s.last_seen_at FROM gateway_state s JOIN gateway g ON g.id = s.gateway_id
"""
READ_OWNERS = """
SELECT g.gateway_id, s.frontend, s.address FROM gateway_state s JOIN gateway g ON g.id = s.gateway_id
WHERE s.last_seen_at > now() - make_interval(secs => $1)
"""
COLUMNS = f"""g.id, g.tenant_id, g.gateway_id, g.name, g.region, g.latitude, g.longitude, g.antenna_gain,
g.boards, g.gain_subtracted_by, g.max_eirp, g.unproved_until, g.created_at, s.frontend, s.address,
s.last_seen_at, s.stats, g.site, g.backhaul, g.sim, g.purchase_cost_eur, g.yearly_cost_eur,
{SHOWN_STATION} AS cups"""
STATE = f"LEFT JOIN gateway_state s ON s.gateway_id = g.id {JOINED}"
WRITTEN = Written(
    "name, latitude, longitude, antenna_gain, boards, gain_subtracted_by, max_eirp, site, backhaul, sim, "
    "purchase_cost_eur, yearly_cost_eur"
)
CREATE = f"""
INSERT INTO gateway (tenant_id, gateway_id, {WRITTEN.columns}) VALUES ($1, $2, {WRITTEN.parameters(3)})
"""
READ = f"SELECT {COLUMNS} FROM gateway g {STATE} WHERE g.gateway_id = $1"
READ_THESE = f"SELECT {COLUMNS} FROM gateway g {STATE} WHERE g.id = ANY($1)"
# A gateway has no commune of its own: it stands in an outline, in one of its polygons and in no hole of it, as the
# function `commune_at` has it for assets.
IN_COMMUNE = """
(:commune::text IS NULL OR EXISTS (
    SELECT FROM commune_outline o
    WHERE :commune IN (o.name, o.insee)
      AND g.longitude BETWEEN o.west AND o.east AND g.latitude BETWEEN o.south AND o.north
      AND EXISTS (SELECT FROM unnest(o.borders, o.border_parts) AS of (ring, part)
                  WHERE of.ring @> point(g.longitude * 1e6, g.latitude * 1e6)
                  GROUP BY abs(of.part) HAVING bool_or(of.part > 0) AND NOT bool_or(of.part < 0))))
"""
LIST = Listing(
    f"""
SELECT g.id, g.name, s.last_seen_at,
       CASE WHEN :near_radius::float8 IS NOT NULL THEN {distance("g")} END AS distance
FROM gateway g LEFT JOIN gateway_state s ON s.gateway_id = g.id
WHERE (:search::text IS NULL OR strpos(folded(g.name), folded(:search)) > 0
       OR strpos(encode(g.gateway_id, 'hex'), lower(:search)) > 0)
  AND (:online::boolean IS NULL
       OR coalesce(s.last_seen_at > now() - :online_within::interval, false) = :online)
  AND {IN_COMMUNE} AND {within("g")}
""",
    {
        "name": Key("name COLLATE french", "text"),
        "last_seen_at": Key("last_seen_at", "timestamptz"),
        "distance": Key("distance", "float8"),
    },
)
LIST_IDS = "SELECT gateway_id FROM gateway ORDER BY id LIMIT $1"
UPDATE = f"UPDATE gateway SET {WRITTEN.patched(2)} WHERE gateway_id = $1 RETURNING true"
DELETE = "DELETE FROM gateway WHERE gateway_id = $1 RETURNING true"
IS_UNKNOWN = "SELECT true FROM unknown_gateway WHERE gateway_id = $1"
LIST_UNKNOWN = """
SELECT gateway_id, frontend, address, first_seen_at, last_seen_at FROM unknown_gateway
ORDER BY last_seen_at DESC, gateway_id LIMIT $1
"""


@dataclass(frozen=True, slots=True)
class GatewaySeen:
    """A sign of life of a gateway; `stats` is merged over what was known."""

    gateway_id: bytes
    frontend: str  # semtech_udp, chirpstack_mqtt, basics_station
    address: str
    last_seen_at: datetime
    stats: dict[str, Any]


@dataclass(frozen=True, slots=True)
class GatewayWithState:
    """A gateway with its state; the latter's fields are None until it was seen."""

    id: int
    tenant_id: int
    gateway_id: bytes
    name: str
    region: str
    latitude: float | None
    longitude: float | None
    antenna_gain: float
    boards: int
    gain_subtracted_by: str | None
    max_eirp: int | None
    unproved_until: datetime | None
    created_at: datetime
    frontend: str | None
    address: str | None
    last_seen_at: datetime | None
    stats: dict[str, Any] | None
    cups: dict[str, Any] | None
    site: str
    backhaul: str | None
    sim: str
    purchase_cost_eur: float | None
    yearly_cost_eur: float | None


@dataclass(frozen=True, slots=True)
class UnknownGateway:
    """A gateway that sends to us without being registered."""

    gateway_id: bytes
    frontend: str
    address: str
    first_seen_at: datetime
    last_seen_at: datetime


async def read_gateways(connection: Connection | Pool) -> dict[bytes, Gateway]:
    """Every registered gateway by EUI."""
    return {row["gateway_id"]: entity(Gateway, row) for row in await connection.fetch(READ_GATEWAYS)}


async def read_last_seen(connection: Connection | Pool) -> dict[bytes, datetime]:
    """When each registered gateway was last seen, by EUI; without those that never were."""
    return {row["gateway_id"]: row["last_seen_at"] for row in await connection.fetch(READ_LAST_SEEN)}


async def read_last_frontends(connection: Connection | Pool, within_s: float) -> list[tuple[bytes, str, str]]:
    """By which frontend and from where each gateway spoke that was seen within so many seconds."""
    rows = await connection.fetch(READ_OWNERS, within_s)
    return [(row["gateway_id"], row["frontend"], row["address"]) for row in rows]


async def save_gateway_states(connection: Connection, seen: Sequence[GatewaySeen]) -> list[AddressSeen]:
    """Record signs of life of registered gateways, in the caller's transaction; one entry per gateway.

    Returns:
        Those that sent from another address the last time, whichever replica received them; it is recorded.
    """
    rows = await connection.fetch(READ_MOVES, *arrays(seen, SEEN))
    moved = [AddressSeen(**row, refused=False, times=1) for row in rows]
    await save_address_changes(connection, moved)
    await connection.execute(SAVE_STATES, *arrays(seen, f"{SEEN}, stats"))
    return moved


async def save_unknown_gateways(connection: Connection | Pool, seen: Sequence[GatewaySeen]) -> None:
    """Record gateways that send to us without being registered; one entry per gateway."""
    await connection.execute(SAVE_UNKNOWN, *arrays(seen, SEEN))


async def create_gateway(
    connection: Connection, tenant_id: int, gateway_id: bytes, gateway: Mapping[str, Any]
) -> None:
    """A new gateway, of the columns in `WRITTEN`.

    Raises UniqueViolationError when it is registered, in this tenant or in another.
    """
    await connection.execute(CREATE, tenant_id, gateway_id, *WRITTEN.values(gateway))


async def read_gateway(connection: Connection, gateway_id: bytes) -> GatewayWithState | None:
    """One gateway with its state."""
    return await fetch_one(connection, GatewayWithState, READ, gateway_id)


async def list_gateways(
    connection: Connection,
    ask: Ask,
    *,
    search: str | None = None,
    online: bool | None = None,
    online_within: timedelta | None = None,
    place: Place = ANYWHERE,
) -> Part:
    """The ids of a page of gateways; `online`: seen within `online_within`, or not."""
    wanted = {"search": search, "online": online, "online_within": online_within} | place.values()
    return await LIST.page(connection, ask, wanted)


async def read_in_order(connection: Connection, ids: Sequence[int]) -> list[GatewayWithState]:
    """These gateways, in this order."""
    return await rows_in_order(connection, GatewayWithState, READ_THESE, ids)


async def list_gateway_ids(connection: Connection, most: int) -> list[bytes]:
    """The EUIs of the gateways that this transaction sees."""
    return [row["gateway_id"] for row in await connection.fetch(LIST_IDS, most)]


async def update_gateway(connection: Connection, gateway_id: bytes, change: Mapping[str, Any]) -> bool:
    """Change columns in `WRITTEN`; False when there is no such gateway."""
    return await connection.fetchval(UPDATE, gateway_id, *WRITTEN.changes(change)) is True


async def delete_gateway(connection: Connection, gateway_id: bytes) -> bool:
    """Remove a gateway; its receptions stay. False when there is no such gateway."""
    return await connection.fetchval(DELETE, gateway_id) is True


async def is_unknown_gateway(connection: Connection, gateway_id: bytes) -> bool:
    """Whether this gateway sends to us without being registered."""
    return await connection.fetchval(IS_UNKNOWN, gateway_id) is True


async def list_unknown_gateways(connection: Connection, most: int = 100) -> list[UnknownGateway]:
    """Gateways that are not registered, the latest received first."""
    return await fetch_all(connection, UnknownGateway, LIST_UNKNOWN, most)
