"""Gateways as the services read them, and what the bridge last knew of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.model.entities import Gateway
from core.registry.rows import entity
from core.runtime.postgres import Connection, Pool

READ_GATEWAYS = """
SELECT id, tenant_id, gateway_id, name, region, latitude, longitude, antenna_gain FROM gateway
"""
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
SAVE_UNKNOWN = """
INSERT INTO unknown_gateway AS known (gateway_id, frontend, address, first_seen_at, last_seen_at)
SELECT gateway_id, frontend, address, last_seen_at, last_seen_at
FROM unnest($1::bytea[], $2::text[], $3::text[], $4::timestamptz[])
     AS s (gateway_id, frontend, address, last_seen_at)
ORDER BY gateway_id
ON CONFLICT (gateway_id) DO UPDATE
SET frontend = excluded.frontend, address = excluded.address, last_seen_at = excluded.last_seen_at
"""


@dataclass(frozen=True, slots=True)
class GatewaySeen:
    """A sign of life of a gateway; `stats` is merged over what was known."""

    gateway_id: bytes
    frontend: str  # semtech_udp, chirpstack_mqtt
    address: str
    last_seen_at: datetime
    stats: dict[str, Any]


async def read_gateways(connection: Connection | Pool) -> dict[bytes, Gateway]:
    """Every registered gateway by EUI."""
    return {row["gateway_id"]: entity(Gateway, row) for row in await connection.fetch(READ_GATEWAYS)}


async def save_gateway_states(connection: Connection | Pool, seen: Sequence[GatewaySeen]) -> None:
    """Note signs of life of registered gateways; one entry per gateway."""
    await connection.execute(
        SAVE_STATES,
        [entry.gateway_id for entry in seen],
        [entry.frontend for entry in seen],
        [entry.address for entry in seen],
        [entry.last_seen_at for entry in seen],
        [entry.stats for entry in seen],
    )


async def save_unknown_gateways(connection: Connection | Pool, seen: Sequence[GatewaySeen]) -> None:
    """Note gateways that talk to us without being registered; one entry per gateway."""
    await connection.execute(
        SAVE_UNKNOWN,
        [entry.gateway_id for entry in seen],
        [entry.frontend for entry in seen],
        [entry.address for entry in seen],
        [entry.last_seen_at for entry in seen],
    )
