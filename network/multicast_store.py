"""SQL of messages to multicast groups, for the owner of a group's slot.

Messages are inserted by `registry.multicast`.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec

from core.model.downlinks import DownlinkReason
from core.runtime.postgres import Connection, Pool
from network.sessions import SessionReception
from registry.rows import entity

IS_ANYTHING_OPEN = """
SELECT EXISTS (SELECT FROM multicast_message WHERE slot = ANY($1::smallint[]) AND state IN ('queued', 'sending'))
"""
EXPIRE = f"""
UPDATE multicast_message SET state = 'expired', reason = '{DownlinkReason.NOT_AFTER}', updated_at = now()
WHERE slot = ANY($1::smallint[]) AND state = 'queued' AND not_after <= now()
"""
# One message of each group, in the order of their counters: one that has its counter goes before any new one.
READ_DUE = """
SELECT DISTINCT ON (m.group_id) m.id, m.group_id, m.slot, m.f_port, m.payload, m.priority, m.not_after,
       m.emissions, g.dev_addr, g.nwk_s_key_wrapped, g.app_s_key_wrapped, g.sealed_for,
       g.data_rate, g.frequency, g.repeats
FROM multicast_message m JOIN multicast_group g ON g.id = m.group_id
WHERE m.slot = ANY($1::smallint[]) AND NOT m.group_id = ANY($2::int[])
  AND (m.state = 'sending' OR (m.state = 'queued' AND m.not_after > now()))
ORDER BY m.group_id, m.f_cnt NULLS LAST, m.priority, m.id
"""
# The counter is used up by this commit, whatever the gateways do; all repetitions of the message have it.
TAKE_F_CNT = """
WITH taken AS (
    UPDATE multicast_group g SET f_cnt = g.f_cnt + 1
    FROM multicast_message m
    WHERE m.id = ANY($1::bigint[]) AND m.group_id = g.id AND m.f_cnt IS NULL AND g.f_cnt <= 4294967295
    RETURNING m.id, g.f_cnt - 1 AS f_cnt
)
UPDATE multicast_message m SET f_cnt = t.f_cnt FROM taken t WHERE m.id = t.id
"""
MARK_SENDING = """
UPDATE multicast_message SET state = 'sending', updated_at = now()
WHERE id = ANY($1::bigint[]) AND state IN ('queued', 'sending') AND f_cnt IS NOT NULL
RETURNING id, f_cnt
"""
READ_HEARD = """
SELECT mm.group_id, s.device_id, s.last_heard_by
FROM multicast_member mm
JOIN multicast_group g ON g.id = mm.group_id
JOIN device d ON d.id = mm.device_id AND d.tenant_id = g.tenant_id AND d.enabled
JOIN session s ON s.device_id = d.id AND s.closed_at IS NULL AND s.last_uplink_at IS NOT NULL
WHERE mm.group_id = ANY($1::int[])
"""
SAVE = """
UPDATE multicast_message SET emissions = $2::text::jsonb, state = $3, reason = $4, updated_at = now()
WHERE id = $1 AND state = 'sending'
RETURNING true
"""

_encoder = msgspec.json.Encoder()


class MulticastTransmission(msgspec.Struct, frozen=True):
    """What one gateway did with one repetition of a message."""

    gateway_id: str  # Hexadecimal.
    repeat: int  # From 0.
    status: str
    at_us: int


@dataclass(frozen=True, slots=True)
class DueMessage:
    """A message to be sent now, and its group."""

    id: int
    group_id: int
    slot: int
    f_port: int
    payload: bytes
    priority: int
    not_after: datetime
    emissions: tuple[dict[str, object], ...]
    dev_addr: bytes
    nwk_s_key_wrapped: bytes
    app_s_key_wrapped: bytes
    sealed_for: UUID
    data_rate: int
    frequency: int
    repeats: int

    def emitted(self) -> list[MulticastTransmission]:
        """What this owner or a former one has transmitted or tried already."""
        return msgspec.convert(list(self.emissions), list[MulticastTransmission])


async def is_anything_open(pool: Pool, slots: Sequence[int]) -> bool:
    """Whether any message of these slots is open: hardly ever, and the query runs every second."""
    return await pool.fetchval(IS_ANYTHING_OPEN, slots) is True


async def expire(connection: Connection, slots: Sequence[int]) -> None:
    """Expire the messages whose `not_after` has passed."""
    await connection.execute(EXPIRE, slots)


async def read_due(connection: Connection, slots: Sequence[int], busy_groups: Sequence[int]) -> list[DueMessage]:
    """The next due message of each group that is not among the busy ones."""
    return [entity(DueMessage, row) for row in await connection.fetch(READ_DUE, slots, busy_groups)]


async def start(connection: Connection, message_ids: Sequence[int]) -> dict[int, int]:
    """Take a counter for each message that has none; by message, the counter under which it is being sent."""
    await connection.execute(TAKE_F_CNT, message_ids)
    return {row["id"]: row["f_cnt"] for row in await connection.fetch(MARK_SENDING, message_ids)}


async def read_member_receptions(
    connection: Connection, group_ids: Sequence[int]
) -> dict[int, dict[int, list[SessionReception]]]:
    """By group and member: the receptions of the member's last uplink."""
    found: dict[int, dict[int, list[SessionReception]]] = defaultdict(dict)
    for row in await connection.fetch(READ_HEARD, group_ids):
        copies = msgspec.convert(row["last_heard_by"], list[SessionReception])
        found[row["group_id"]].setdefault(row["device_id"], []).extend(copies)
    return found


async def save(
    connection: Connection,
    message_id: int,
    outcomes: Sequence[MulticastTransmission],
    state: str,
    reason: DownlinkReason | None,
) -> bool:
    """Write how far a message has come; False when it was cancelled meanwhile."""
    octets = _encoder.encode(outcomes)
    return await connection.fetchval(SAVE, message_id, octets.decode(), state, reason) is True
