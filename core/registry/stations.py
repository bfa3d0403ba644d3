"""Gateways, written and listed for whoever manages them, with what the bridge last knew of each."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.registry.rows import entity
from core.runtime.postgres import Connection
from lorawan.identifiers import GatewayId

COLUMNS = """g.id, g.tenant_id, g.gateway_id, g.name, g.region, g.latitude, g.longitude, g.antenna_gain,
g.created_at, s.frontend, s.address, s.last_seen_at, s.stats"""
STATE = "LEFT JOIN gateway_state s ON s.gateway_id = g.id"
CREATE = """
INSERT INTO gateway (tenant_id, gateway_id, name, latitude, longitude, antenna_gain)
VALUES ($1, $2, $3, $4, $5, $6)
RETURNING id, region, created_at
"""
READ = f"SELECT {COLUMNS} FROM gateway g {STATE} WHERE g.gateway_id = $1"
LIST = f"SELECT {COLUMNS} FROM gateway g {STATE} WHERE g.id > $1 ORDER BY g.id LIMIT $2"
UPDATE = """
UPDATE gateway SET name = coalesce($2, name), latitude = coalesce($3, latitude),
    longitude = coalesce($4, longitude), antenna_gain = coalesce($5, antenna_gain)
WHERE gateway_id = $1
RETURNING true
"""
DELETE = "DELETE FROM gateway WHERE gateway_id = $1 RETURNING true"
LIST_UNKNOWN = """
SELECT gateway_id, frontend, address, first_seen_at, last_seen_at FROM unknown_gateway
ORDER BY last_seen_at DESC, gateway_id LIMIT $1
"""


@dataclass(frozen=True, slots=True)
class Station:
    """A gateway with its state; the latter's fields are None until it was seen."""

    id: int
    tenant_id: int
    gateway_id: bytes
    name: str
    region: str
    latitude: float | None
    longitude: float | None
    antenna_gain: float
    created_at: datetime
    frontend: str | None = None
    address: str | None = None
    last_seen_at: datetime | None = None
    stats: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class UnknownGateway:
    """A gateway that talks to us without being registered."""

    gateway_id: bytes
    frontend: str
    address: str
    first_seen_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True, slots=True)
class GatewayChange:
    """What to change of a gateway; None leaves a field as it is."""

    name: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    antenna_gain: float | None = None


async def create_gateway(
    connection: Connection,
    tenant_id: int,
    *,
    gateway_id: GatewayId,
    name: str,
    latitude: float | None,
    longitude: float | None,
    antenna_gain: float,
) -> Station:
    """A new gateway; raises UniqueViolationError when it is registered, in this tenant or in another."""
    row = await connection.fetchrow(CREATE, tenant_id, gateway_id, name, latitude, longitude, antenna_gain)
    assert row is not None  # noqa: S101 - RETURNING of an INSERT.
    return Station(
        row["id"], tenant_id, gateway_id, name, row["region"], latitude, longitude, antenna_gain, row["created_at"]
    )


async def read_station(connection: Connection, gateway_id: bytes) -> Station | None:
    """One gateway with its state."""
    row = await connection.fetchrow(READ, gateway_id)
    return None if row is None else entity(Station, row)


async def list_stations(connection: Connection, *, after: int = 0, most: int = 100) -> list[Station]:
    """Gateways by id, beyond `after`."""
    return [entity(Station, row) for row in await connection.fetch(LIST, after, most)]


async def update_gateway(connection: Connection, gateway_id: bytes, change: GatewayChange) -> bool:
    """Change a gateway; False when there is no such gateway."""
    changed = await connection.fetchval(
        UPDATE, gateway_id, change.name, change.latitude, change.longitude, change.antenna_gain
    )
    return changed is True


async def delete_gateway(connection: Connection, gateway_id: bytes) -> bool:
    """Remove a gateway; what it heard stays. False when there is no such gateway."""
    return await connection.fetchval(DELETE, gateway_id) is True


async def list_unknown_gateways(connection: Connection, most: int = 100) -> list[UnknownGateway]:
    """Gateways that are not registered, the latest heard first."""
    return [entity(UnknownGateway, row) for row in await connection.fetch(LIST_UNKNOWN, most)]
