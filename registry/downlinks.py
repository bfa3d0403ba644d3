"""Downlink rows: inserted by the transaction that wants one, processed by the owner of the shard."""

from dataclasses import dataclass
from datetime import datetime

from core.runtime.postgres import Connection, Pool
from registry.rows import entity

# The slot of rows that another LNS carries: no shard of network has it, intake works them off.
SLOT_OF_OTHER_LNS = 16

ENQUEUE = f"""
INSERT INTO downlink (tenant_id, device_id, slot, lns_source_id, f_port, payload, confirmed, priority, not_after)
SELECT d.tenant_id, d.id, CASE WHEN d.lns_source_id IS NULL THEN d.slot ELSE {SLOT_OF_OTHER_LNS} END,
       d.lns_source_id, $2, $3, $4, $5, $6
FROM device d WHERE d.id = $1
RETURNING id, slot
"""
CANCEL = """
UPDATE downlink SET state = 'cancelled', reason = $2, updated_at = now()
WHERE id = $1 AND state = 'queued' RETURNING true
"""
COLUMNS = """id, tenant_id, device_id, slot, f_port, payload, confirmed, priority, not_after, state::text AS state,
reason, attempts, f_cnt_down, gateway_id, lns_source_id, created_at, updated_at, sent_at"""
READ = f"SELECT {COLUMNS} FROM downlink WHERE id = $1"
LIST = f"""
SELECT {COLUMNS} FROM downlink
WHERE device_id = $1 AND ($2::bigint IS NULL OR id < $2)
ORDER BY id DESC LIMIT $3
"""


@dataclass(frozen=True, slots=True)
class Downlink:
    """One application downlink and where it stands.

    `state`: queued, sending (asked of a gateway), sent (TX_ACK OK), acknowledged (by the device, confirmed ones
    only), failed, expired, cancelled. `reason` says why it waits, failed or was refused. With `lns_source_id`
    another LNS carries it: `sending` is in its queue, `sent` is what it says, and `reason` is French.
    """

    id: int
    tenant_id: int
    device_id: int
    slot: int
    f_port: int
    payload: bytes
    confirmed: bool
    priority: int
    not_after: datetime
    state: str
    reason: str | None
    attempts: int
    f_cnt_down: int | None
    gateway_id: bytes | None
    lns_source_id: int | None
    created_at: datetime
    updated_at: datetime
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class Enqueued:
    """A new row, and the slot whose owner must be nudged once the transaction is committed."""

    id: int
    slot: int


class UnknownDevice(LookupError):
    """There is no such device in this tenant."""


async def enqueue(
    connection: Connection,
    device_id: int,
    *,
    f_port: int,
    payload: bytes,
    not_after: datetime,
    confirmed: bool = False,
    priority: int = 1,
) -> Enqueued:
    """Insert a downlink in the caller's transaction; after the commit nudge `topics.downlink_due(shard)`.

    Raises:
        UnknownDevice: no such device is visible.
    """
    row = await connection.fetchrow(ENQUEUE, device_id, f_port, payload, confirmed, priority, not_after)
    if row is None:
        raise UnknownDevice(f"device {device_id}")
    return Enqueued(row["id"], row["slot"])


async def cancel(connection: Connection | Pool, downlink_id: int, reason: str) -> bool:
    """Cancel a downlink that no gateway was asked for yet; False when it is too late."""
    return await connection.fetchval(CANCEL, downlink_id, reason) is True


async def read_downlink(connection: Connection | Pool, downlink_id: int) -> Downlink | None:
    """One downlink as it stands."""
    row = await connection.fetchrow(READ, downlink_id)
    return None if row is None else entity(Downlink, row)


async def list_downlinks(
    connection: Connection | Pool, device_id: int, *, before: int | None = None, most: int = 100
) -> list[Downlink]:
    """Downlinks of a device, newest first; `before` is the last id of the former page."""
    return [entity(Downlink, row) for row in await connection.fetch(LIST, device_id, before, most)]
