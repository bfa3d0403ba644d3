"""Supervision of gateways: hourly counts, transmissions, changes of address."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core.runtime.postgres import Connection, Pool
from registry.rows import arrays, columns_of, fetch_all

SAVE_HOURS = """
INSERT INTO gateway_hour AS known
       (gateway_id, hour, uplinks, duplicates, crc_errors, rejected, limited, round_trip_ms)
SELECT g.id, s.hour, s.uplinks, s.duplicates, s.crc_errors, s.rejected, s.limited, s.round_trip_ms
FROM unnest($1::bytea[], $2::timestamptz[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
            $8::real[])
     AS s (gateway_id, hour, uplinks, duplicates, crc_errors, rejected, limited, round_trip_ms)
JOIN gateway g ON g.gateway_id = s.gateway_id
ORDER BY g.id
ON CONFLICT (gateway_id, hour) DO UPDATE
SET uplinks = known.uplinks + excluded.uplinks, duplicates = known.duplicates + excluded.duplicates,
    crc_errors = known.crc_errors + excluded.crc_errors, rejected = known.rejected + excluded.rejected,
    limited = known.limited + excluded.limited,
    round_trip_ms = coalesce(excluded.round_trip_ms, known.round_trip_ms)
"""
SAVE_ADDRESS_CHANGES = """
INSERT INTO gateway_address_change AS known
       (gateway_id, frontend, former, address, refused, times, first_at, last_at)
SELECT g.id, s.frontend, s.former, s.address, s.refused, s.times, s.at, s.at
FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::bigint[], $7::timestamptz[])
     AS s (gateway_id, frontend, former, address, refused, times, at)
JOIN gateway g ON g.gateway_id = s.gateway_id
ORDER BY g.id, s.frontend, s.former, s.address, s.refused
ON CONFLICT (gateway_id, frontend, former, address, refused) DO UPDATE
SET times = known.times + excluded.times, last_at = greatest(known.last_at, excluded.last_at)
"""
READ_HOURS = """
SELECT g.gateway_id, h.hour, h.uplinks, h.duplicates, h.crc_errors, h.rejected, h.limited, h.round_trip_ms
FROM gateway_hour h JOIN gateway g ON g.id = h.gateway_id
WHERE g.gateway_id = $1 AND h.hour > $2 ORDER BY h.hour
"""
READ_ROUND_TRIPS = """
SELECT DISTINCT ON (h.gateway_id) g.gateway_id, h.round_trip_ms
FROM gateway_hour h JOIN gateway g ON g.id = h.gateway_id
WHERE h.hour > $1 AND h.round_trip_ms IS NOT NULL ORDER BY h.gateway_id, h.hour DESC
"""
# Without a status the radio may have transmitted: its bridge died, or the gateway did not answer.
READ_AIRTIME = """
SELECT t.frequency, sum(t.airtime_us)::bigint AS airtime_us FROM transmission t
WHERE t.gateway_id = $1 AND t.starts_at > $2 AND t.starts_at <= $3
  AND (t.status IS NULL OR t.status IN ('OK', 'NO_ACK'))
GROUP BY t.frequency
"""
READ_OUTCOMES = """
SELECT coalesce(t.status, 'UNKNOWN') AS status, count(*) AS times FROM transmission t
WHERE t.gateway_id = $1 AND t.starts_at > $2 GROUP BY 1
"""
LIST_ADDRESS_CHANGES = """
SELECT g.gateway_id, c.frontend, c.former, c.address, c.refused, c.times, c.first_at, c.last_at
FROM gateway_address_change c JOIN gateway g ON g.id = c.gateway_id
WHERE $1::bytea IS NULL OR g.gateway_id = $1 ORDER BY c.last_at DESC, c.id DESC LIMIT $2
"""


@dataclass(frozen=True, slots=True)
class HourOfGateway:
    """What a gateway did in an hour. Saving adds it; the round trip replaces the former one unless it is None."""

    gateway_id: bytes
    hour: datetime
    uplinks: int
    duplicates: int
    crc_errors: int
    rejected: int
    limited: int
    round_trip_ms: float | None


@dataclass(frozen=True, slots=True)
class AddressSeen:
    """A gateway sent from another address than before: it has moved, or was rejected."""

    gateway_id: bytes
    frontend: str
    former: str
    address: str
    refused: bool
    times: int
    at: datetime


@dataclass(frozen=True, slots=True)
class AddressChange:
    """A change of address, and how often it happened."""

    gateway_id: bytes
    frontend: str
    former: str
    address: str
    refused: bool
    times: int
    first_at: datetime
    last_at: datetime


async def save_hours(connection: Connection | Pool, hours: Sequence[HourOfGateway]) -> None:
    """Add to the hours of registered gateways; one entry per gateway. Not idempotent: statistics, not records."""
    await connection.execute(SAVE_HOURS, *arrays(hours, columns_of(HourOfGateway)))


async def save_address_changes(connection: Connection | Pool, changes: Sequence[AddressSeen]) -> None:
    """Record changes of address; one entry for each gateway, frontend, pair of addresses and verdict."""
    await connection.execute(SAVE_ADDRESS_CHANGES, *arrays(changes, columns_of(AddressSeen)))


async def read_hours(connection: Connection, gateway_id: bytes, after: datetime) -> list[HourOfGateway]:
    """The hours of a gateway that began after an instant, the oldest first."""
    return await fetch_all(connection, HourOfGateway, READ_HOURS, gateway_id, after)


async def read_round_trips(connection: Connection | Pool, after: datetime) -> dict[bytes, float]:
    """The last round trip of each gateway that was measured since an instant, in milliseconds."""
    rows = await connection.fetch(READ_ROUND_TRIPS, after)
    return {row["gateway_id"]: row["round_trip_ms"] for row in rows}


async def read_airtime(
    connection: Connection, gateway_id: bytes, after: datetime, until: datetime
) -> dict[int, int]:
    """Microseconds on the air by frequency (Hz), of transmissions that began within this time."""
    rows = await connection.fetch(READ_AIRTIME, gateway_id, after, until)
    return {row["frequency"]: row["airtime_us"] for row in rows}


async def read_outcomes(connection: Connection, gateway_id: bytes, after: datetime) -> dict[str, int]:
    """How many transmissions ended in which way since an instant."""
    return {row["status"]: row["times"] for row in await connection.fetch(READ_OUTCOMES, gateway_id, after)}


async def list_address_changes(
    connection: Connection, gateway_id: bytes | None = None, most: int = 100
) -> list[AddressChange]:
    """Changes of address of one gateway, or of all that the transaction sees, the last first."""
    return await fetch_all(connection, AddressChange, LIST_ADDRESS_CHANGES, gateway_id, most)
