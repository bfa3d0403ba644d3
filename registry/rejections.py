"""Rejected frames: written by the network server, looked up by the API."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core.runtime.postgres import Connection, Pool
from lorawan.instants import from_us
from lorawan.rejections import RejectReason
from registry.rows import fetch_all

# In the order of the key: two replicas that write the same rows must not wait for each other in a circle.
SAVE = """
INSERT INTO frame_refusal AS known (subject, reason, device_id, gateway_id, times, first_at, last_at, dev_nonce,
                                    forgiven)
SELECT s.subject, s.reason, coalesce(by_id.id, by_eui.id), (array_agg(s.gateway_id ORDER BY s.last_at DESC))[1],
       sum(s.times), min(s.first_at), max(s.last_at),
       (array_agg(s.dev_nonce ORDER BY s.last_at DESC))[1], sum(s.forgiven)
FROM unnest($1::bytea[], $2::text[], $3::int[], $4::bytea[], $5::bigint[], $6::timestamptz[], $7::timestamptz[],
            $8::int[], $9::bigint[])
     AS s (subject, reason, device_id, gateway_id, times, first_at, last_at, dev_nonce, forgiven)
LEFT JOIN device by_id ON by_id.id = s.device_id
LEFT JOIN device by_eui ON by_eui.dev_eui = s.subject
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3
ON CONFLICT (subject, reason, device_id) DO UPDATE
SET times = known.times + excluded.times, gateway_id = excluded.gateway_id,
    first_at = least(known.first_at, excluded.first_at), last_at = greatest(known.last_at, excluded.last_at),
    dev_nonce = coalesce(excluded.dev_nonce, known.dev_nonce), forgiven = known.forgiven + excluded.forgiven
"""
# The joins of these DevEUIs were accepted: earlier rejections need nobody's attention any more.
FORGIVE = "UPDATE frame_refusal SET forgiven = times WHERE subject = ANY($1::bytea[]) AND forgiven < times"
COLUMNS = "r.subject, r.reason, r.gateway_id, r.times, r.first_at, r.last_at"
OF_DEVICE = f"""
SELECT {COLUMNS} FROM frame_refusal r
JOIN device d ON r.device_id = d.id OR (r.device_id IS NULL AND r.subject = d.dev_eui)
WHERE d.dev_eui = $1 AND d.tenant_id = current_tenant() ORDER BY r.last_at DESC, r.reason, r.subject LIMIT $2
"""
IS_OWN = "SELECT true FROM device WHERE dev_eui = $1 AND tenant_id = current_tenant()"
OF_STRANGERS = f"""
SELECT {COLUMNS} FROM frame_refusal r
WHERE r.device_id IS NULL AND ($1::bytea IS NULL OR r.subject = $1)
ORDER BY r.last_at DESC, r.reason, r.subject LIMIT $2
"""


@dataclass(slots=True)
class RejectionSeen:
    """Rejections of one kind since the last save; microseconds since 1970 UTC."""

    subject: bytes
    reason: RejectReason
    device_id: int
    gateway_id: bytes
    first_us: int
    last_us: int = 0
    times: int = 0
    dev_nonce: int | None = None
    """Of the last join-request, when its device is registered."""
    forgiven: int = 0
    """How many of `times` came before the device's last accepted join."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Rejections of one kind, `reason` being the code of a RejectReason.

    `subject`: a DevAddr (4 octets), or the DevEUI of a join-request (8 octets).
    """

    subject: bytes
    reason: str
    gateway_id: bytes
    times: int
    first_at: datetime
    last_at: datetime


async def save_rejections(connection: Connection | Pool, seen: Sequence[RejectionSeen]) -> None:
    """Add rejections up, one entry for each subject, reason and device; without a device it counts as unknown."""
    await connection.execute(
        SAVE,
        [entry.subject for entry in seen],
        [entry.reason for entry in seen],
        [entry.device_id for entry in seen],
        [entry.gateway_id for entry in seen],
        [entry.times for entry in seen],
        [from_us(entry.first_us) for entry in seen],
        [from_us(entry.last_us) for entry in seen],
        [entry.dev_nonce for entry in seen],
        [entry.forgiven for entry in seen],
    )


async def clear_join_rejections(connection: Connection, dev_euis: Sequence[bytes]) -> None:
    """Count the earlier rejections of these devices as settled: a join was accepted."""
    await connection.execute(FORGIVE, dev_euis)


async def list_device_rejections(connection: Connection, dev_eui: bytes, most: int) -> list[Rejection] | None:
    """What was rejected of a device, also from before it was registered, the last first.

    Returns:
        None when the tenant of this transaction owns no such device.
    """
    if await connection.fetchval(IS_OWN, dev_eui) is None:
        return None
    return await fetch_all(connection, Rejection, OF_DEVICE, dev_eui, most)


async def list_unknown_device_rejections(
    connection: Connection, subject: bytes | None, most: int
) -> list[Rejection]:
    """Rejections that belong to no registered device, the last first; only the operator may see them."""
    return await fetch_all(connection, Rejection, OF_STRANGERS, subject, most)
