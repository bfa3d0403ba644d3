"""SQL of intake: devices by DevEUI, state of sources, unreadable messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from core.model.quarantine import Quarantined, QuarantineReason
from core.runtime.postgres import Connection, Pool
from registry.quarantine import quarantine
from registry.rows import arrays, fetch_one

SERVICE = "intake"

FIND_DEVICE = "SELECT id, slot, enabled FROM device WHERE tenant_id = $1 AND dev_eui = $2"
# A source that is gone meanwhile leaves no row.
SAVE_STATES = """
INSERT INTO lns_source_state AS kept
    (source_id, tenant_id, last_seen_at, accepted, ignored, refused, last_error, last_error_at)
SELECT s.id, s.tenant_id, of.seen_at, of.accepted, of.ignored, of.refused, of.error, of.error_at
FROM unnest($1::int[], $2::timestamptz[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::timestamptz[])
     AS of (source_id, seen_at, accepted, ignored, refused, error, error_at)
JOIN lns_source s ON s.id = of.source_id
ORDER BY s.id
ON CONFLICT (source_id) DO UPDATE
SET last_seen_at = coalesce(excluded.last_seen_at, kept.last_seen_at),
    accepted = kept.accepted + excluded.accepted,
    ignored = kept.ignored + excluded.ignored,
    refused = kept.refused + excluded.refused,
    last_error = coalesce(excluded.last_error, kept.last_error),
    last_error_at = coalesce(excluded.last_error_at, kept.last_error_at)
"""
SAVE_UNKNOWN = """
INSERT INTO lns_unknown_device AS kept (source_id, dev_eui, tenant_id, first_seen_at, last_seen_at, messages)
SELECT s.id, of.dev_eui, s.tenant_id, of.seen_at, of.seen_at, of.messages
FROM unnest($1::int[], $2::bytea[], $3::timestamptz[], $4::bigint[]) AS of (source_id, dev_eui, seen_at, messages)
JOIN lns_source s ON s.id = of.source_id
WHERE NOT EXISTS (SELECT FROM device d WHERE d.dev_eui = of.dev_eui AND d.tenant_id = s.tenant_id)
ORDER BY s.id, of.dev_eui
ON CONFLICT (source_id, dev_eui) DO UPDATE
SET last_seen_at = excluded.last_seen_at, messages = kept.messages + excluded.messages
"""


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """A device as intake needs it."""

    id: int
    slot: int
    enabled: bool


@dataclass(slots=True)
class Seen:
    """What a source did since the last save."""

    seen_at: datetime | None = None
    accepted: int = 0
    ignored: int = 0
    refused: int = 0
    error: str | None = None
    error_at: datetime | None = None


@dataclass(slots=True)
class UnknownSeen:
    """How many messages about a device that is not registered came since the last save."""

    seen_at: datetime
    messages: int = 0


@dataclass(frozen=True, slots=True)
class Unread:
    """A message that nobody can read, for quarantine."""

    source_id: int
    detail: str
    data: bytes = field(repr=False)


async def find_device(connection: Connection | Pool, tenant_id: int, dev_eui: bytes) -> FoundDevice | None:
    """The device of this DevEUI, if the tenant has it."""
    return await fetch_one(connection, FoundDevice, FIND_DEVICE, tenant_id, dev_eui)


async def save_states(connection: Connection | Pool, seen: Mapping[int, Seen]) -> None:
    """Add to what is known of these sources, by id."""
    ids = sorted(seen)
    states = arrays([seen[source_id] for source_id in ids], "seen_at, accepted, ignored, refused, error, error_at")
    await connection.execute(SAVE_STATES, ids, *states)


async def save_unknown(connection: Connection | Pool, seen: Mapping[tuple[int, bytes], UnknownSeen]) -> None:
    """Devices that are not registered, by source and DevEUI."""
    keys = sorted(seen)
    source_ids, dev_euis = [key[0] for key in keys], [key[1] for key in keys]
    devices = arrays([seen[key] for key in keys], "seen_at, messages")
    await connection.execute(SAVE_UNKNOWN, source_ids, dev_euis, *devices)


async def save_unread(connection: Connection | Pool, unread: Sequence[Unread]) -> None:
    """Keep the octets with the reason; the same octets of a source are kept once."""
    reason = QuarantineReason.UNREADABLE_MESSAGE
    items = [Quarantined(f"lns_source {one.source_id}", 0, reason, one.data, one.detail) for one in unread]
    await quarantine(connection, SERVICE, items)
