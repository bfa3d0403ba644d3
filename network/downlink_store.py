"""The downlink rows, as the owner of their shard works them off. Who wants one: `registry.downlinks`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from core.runtime.postgres import Connection, Pool, Record
from registry.rows import entity

MAX_ATTEMPTS = 3
# A class C device answers a confirmed downlink at once; after this the frame is taken for lost.
CLASS_C_ACK_TIMEOUT_S = 10
# A class A device acknowledges with its next uplink, which may come once a day.
SILENT_AFTER_H = 25

_QUEUED_AND_DUE = """
l.state = 'queued' AND (l.not_before IS NULL OR l.not_before <= now()) AND l.not_after > now()
  AND NOT EXISTS (SELECT FROM downlink w WHERE w.slot = l.slot AND w.device_id = l.device_id
                  AND (w.state = 'sending' OR (w.state = 'sent' AND w.confirmed)))
"""
# What the index downlink_open holds.
_OPEN = "(state IN ('queued', 'sending') OR (state = 'sent' AND confirmed))"
# More than this, and the devices in question are asked for one by one instead.
MAX_CONCERNED = 1_000
READ_CONCERNED = f"""
SELECT DISTINCT device_id FROM downlink WHERE slot = ANY($1::smallint[]) AND {_OPEN} LIMIT {MAX_CONCERNED + 1}
"""
_DUE_COLUMNS = """l.id, l.device_id, l.slot, l.f_port, l.payload, l.confirmed, l.priority, l.attempts, l.not_after,
       l.created_at, count(*) OVER (PARTITION BY l.device_id) AS waiting"""

READ_DUE_OF_DEVICES = f"""
SELECT DISTINCT ON (l.device_id) {_DUE_COLUMNS}
FROM downlink l
WHERE l.slot = ANY($1::smallint[]) AND l.device_id = ANY($2::int[]) AND {_QUEUED_AND_DUE}
ORDER BY l.device_id, l.priority, l.id
"""
READ_DUE_CLASS_C = f"""
SELECT DISTINCT ON (l.device_id) {_DUE_COLUMNS}
FROM downlink l JOIN device d ON d.id = l.device_id JOIN device_profile p ON p.id = d.device_profile_id
WHERE l.slot = ANY($1::smallint[]) AND p.device_class = 'C' AND d.enabled AND {_QUEUED_AND_DUE}
ORDER BY l.device_id, l.priority, l.id
"""
EXPIRE = """
UPDATE downlink SET state = 'expired', reason = COALESCE(reason, 'NOT_AFTER'), updated_at = now()
WHERE slot = ANY($1::smallint[]) AND state = 'queued' AND not_after <= now()
RETURNING id, slot, state::text AS state
"""
# Sent, to be confirmed, and not a word from the device as long as the command was useful. The next uplink of a
# device in order tells; one that stays silent must not keep its row, and all behind it, waiting for ever.
FAIL_SILENT = f"""
UPDATE downlink SET state = 'failed', reason = 'DEVICE_SILENT', updated_at = now()
WHERE slot = ANY($1::smallint[]) AND state = 'sent' AND confirmed
  AND not_after <= now() AND sent_at < now() - interval '{SILENT_AFTER_H} hours'
RETURNING id, slot, state::text AS state
"""
_AGAIN_OR_FAILED = f"""
state = CASE WHEN l.attempts >= {MAX_ATTEMPTS} OR l.not_after <= now()
             THEN 'failed' ELSE 'queued' END::downlink_state,
    reason = 'DEVICE_NO_ACK', updated_at = now()
"""
RETRY_UNACKNOWLEDGED = f"""
UPDATE downlink AS l SET {_AGAIN_OR_FAILED}
FROM unnest($2::int[], $3::timestamptz[]) AS v (device_id, uplink_at)
WHERE l.slot = ANY($1::smallint[]) AND l.device_id = v.device_id AND l.state = 'sent' AND l.confirmed
  AND l.sent_at < v.uplink_at
RETURNING l.id, l.slot, l.state::text AS state
"""
RETRY_SILENT_CLASS_C = f"""
UPDATE downlink AS l SET {_AGAIN_OR_FAILED}
FROM device d JOIN device_profile p ON p.id = d.device_profile_id
WHERE d.id = l.device_id AND p.device_class = 'C' AND l.slot = ANY($1::smallint[]) AND l.state = 'sent'
  AND l.confirmed AND l.sent_at < now() - interval '{CLASS_C_ACK_TIMEOUT_S} seconds'
RETURNING l.id, l.slot, l.state::text AS state
"""
ACKNOWLEDGE = """
UPDATE downlink SET state = 'acknowledged', reason = NULL, updated_at = now()
WHERE slot = ANY($1::smallint[]) AND device_id = ANY($2::int[]) AND confirmed
  AND (state = 'sending' OR (state = 'sent' AND confirmed))
RETURNING id, slot, state::text AS state
"""
REQUEUE_SENDING = """
UPDATE downlink SET state = 'queued', reason = 'RESTARTED', updated_at = now()
WHERE slot = ANY($1::smallint[]) AND state = 'sending' AND NOT id = ANY($2::bigint[])
"""
MARK_SENDING = """
UPDATE downlink SET state = 'sending', reason = NULL, attempts = attempts + 1, updated_at = now()
WHERE id = ANY($1::bigint[]) AND state = 'queued'
RETURNING id, slot, state::text AS state
"""
NOTE_F_CNT_DOWN = """
UPDATE downlink AS l SET f_cnt_down = v.f_cnt_down, gateway_id = v.gateway_id, updated_at = now()
FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS v (id, f_cnt_down, gateway_id)
WHERE l.id = v.id AND l.state = 'sending'
"""
SETTLE = """
UPDATE downlink SET state = $2::text::downlink_state, reason = $3, gateway_id = COALESCE($4, gateway_id),
    sent_at = $5, not_before = $6, attempts = attempts - $7::smallint, updated_at = now()
WHERE id = $1 AND state IN ('queued', 'sending')
RETURNING id, slot, state::text AS state
"""


@dataclass(frozen=True, slots=True)
class DueDownlink:
    """A row whose time has come. `waiting` counts the device's due rows, this one included."""

    id: int
    device_id: int
    slot: int
    f_port: int
    payload: bytes
    confirmed: bool
    priority: int
    attempts: int
    not_after: datetime
    created_at: datetime
    waiting: int


@dataclass(frozen=True, slots=True)
class Changed:
    """A row whose state changed: whoever waits for it is nudged after the commit."""

    id: int
    slot: int
    state: str


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of one attempt."""

    downlink_id: int
    state: str  # queued, sent or failed
    reason: str | None = None
    gateway_id: bytes | None = None
    sent_at: datetime | None = None
    not_before: datetime | None = None
    counts: bool = True  # As an attempt; False: there was nobody to ask, or no time on the air.


def _changed(rows: Iterable[Record]) -> list[Changed]:
    return [Changed(row["id"], row["slot"], row["state"]) for row in rows]


async def read_due_of_devices(
    connection: Connection, slots: Sequence[int], device_ids: Sequence[int]
) -> dict[int, DueDownlink]:
    """The first due row of each of these devices; none while an earlier one is being sent or acknowledged."""
    rows = await connection.fetch(READ_DUE_OF_DEVICES, slots, device_ids)
    return {row["device_id"]: entity(DueDownlink, row) for row in rows}


async def read_due_class_c(connection: Connection, slots: Sequence[int]) -> dict[int, DueDownlink]:
    """The first due row of every class C device of these slots."""
    rows = await connection.fetch(READ_DUE_CLASS_C, slots)
    return {row["device_id"]: entity(DueDownlink, row) for row in rows}


async def expire(connection: Connection, slots: Sequence[int]) -> list[Changed]:
    """Give up the rows that nobody wants any more."""
    return _changed(await connection.fetch(EXPIRE, slots))


async def read_concerned(connection: Connection | Pool, slots: Sequence[int]) -> set[int] | None:
    """The devices of these slots with a row that is not done with; None when there are too many to say."""
    rows = await connection.fetch(READ_CONCERNED, slots)
    return {row["device_id"] for row in rows} if len(rows) <= MAX_CONCERNED else None


async def fail_silent(connection: Connection, slots: Sequence[int]) -> list[Changed]:
    """Give up what was sent to devices that have been silent since, long after it was of use."""
    return _changed(await connection.fetch(FAIL_SILENT, slots))


async def retry_unacknowledged(
    connection: Connection, slots: Sequence[int], device_ids: Sequence[int], uplinks_at: Sequence[datetime]
) -> list[Changed]:
    """These devices spoke after a confirmed downlink without acknowledging it: again, or failed."""
    return _changed(await connection.fetch(RETRY_UNACKNOWLEDGED, slots, device_ids, uplinks_at))


async def retry_silent_class_c(connection: Connection, slots: Sequence[int]) -> list[Changed]:
    """Class C devices that did not acknowledge in time: again, or failed."""
    return _changed(await connection.fetch(RETRY_SILENT_CLASS_C, slots))


async def acknowledge(connection: Connection, slots: Sequence[int], device_ids: Sequence[int]) -> list[Changed]:
    """These devices set ACK: their confirmed downlink arrived."""
    return _changed(await connection.fetch(ACKNOWLEDGE, slots, device_ids))


async def requeue_sending(connection: Connection, slots: Sequence[int], in_flight: Sequence[int] = ()) -> None:
    """Make the requests again that nobody sees through: a former owner's, or ours whose commit went unanswered."""
    await connection.execute(REQUEUE_SENDING, slots, in_flight)


async def mark_sending(connection: Connection, downlink_ids: Sequence[int]) -> list[Changed]:
    """Start an attempt; a row that was cancelled in the meantime is not among the result."""
    return _changed(await connection.fetch(MARK_SENDING, downlink_ids))


async def note_f_cnt_down(
    connection: Connection, downlink_ids: Sequence[int], f_cnts: Sequence[int], gateway_ids: Sequence[bytes]
) -> None:
    """Under which counter, and through which gateway, each row is about to go out."""
    await connection.execute(NOTE_F_CNT_DOWN, downlink_ids, f_cnts, gateway_ids)


async def settle(connection: Connection, settlement: Settlement) -> list[Changed]:
    """Write what became of an attempt, unless the device has acknowledged in the meantime."""
    rows = await connection.fetch(
        SETTLE,
        settlement.downlink_id,
        settlement.state,
        settlement.reason,
        settlement.gateway_id,
        settlement.sent_at,
        settlement.not_before,
        0 if settlement.counts else 1,
    )
    return _changed(rows)
