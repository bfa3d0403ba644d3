"""The only writer of table `downlink`: new rows, and every change of state, in our network and with other LNS.

A downlink is a row: inserted by the transaction that wants one, sent by the owner of the shard (network) or,
in slot 16, by the owner of the source whose LNS transmits it (intake). Each statement names the states that a row
may leave by it and those that it may come to; `_leaving` compares both with `core.model.downlinks.TRANSITIONS`.
SQL functions that write the table, too, are listed in docs/architecture.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.model.downlinks import (
    Downlink,
    DownlinkReason,
    DownlinkState,
    ForbiddenTransition,
    check_transition,
    reason_of,
)
from core.runtime.postgres import Connection, Pool, Record
from lorawan.airtime import Priority
from registry.group_keys import GROUP_PORT
from registry.rows import entity

QUEUED, SENDING, SENT = DownlinkState.QUEUED, DownlinkState.SENDING, DownlinkState.SENT
ACKNOWLEDGED, FAILED = DownlinkState.ACKNOWLEDGED, DownlinkState.FAILED
EXPIRED, CANCELLED = DownlinkState.EXPIRED, DownlinkState.CANCELLED

# The slot of rows that go to another LNS: no shard of network has it, intake sends them.
SLOT_OF_OTHER_LNS = 16
MAX_ATTEMPTS = 3
# A class C device answers a confirmed downlink at once; after this the frame is taken for lost.
CLASS_C_ACK_TIMEOUT_S = 10
# A class A device acknowledges with its next uplink, which may come once a day.
SILENT_AFTER_H = 25
# After its last useful instant a row in the queue of another LNS waits so long for the last report of it.
LAST_REPORT_H = 1
# Longer than a hand-over takes: a row in hand for longer was left over by an owner that ended.
HAND_OVER_MOST_S = 15


def _leaving(*before: DownlinkState, to: Iterable[DownlinkState], alias: str = "") -> str:
    """The condition that a row is in one of these states.

    Raises:
        ForbiddenTransition: from one of them a row does not come to one of `to`.
    """
    for after in to:
        for state in before:
            check_transition(state, after)
    return f"{alias}state IN ({', '.join(repr(str(state)) for state in before)})"


def _because(reason: DownlinkReason) -> str:
    return f"reason = '{reason}', detail = NULL"


NO_REASON = "reason = NULL, detail = NULL"
CHANGED = "id, slot, state::text AS state"

ENQUEUE = f"""
INSERT INTO downlink (tenant_id, device_id, slot, lns_source_id, f_port, payload, confirmed, priority, not_after,
                      by_lighting, not_before)
SELECT d.tenant_id, d.id, CASE WHEN d.lns_source_id IS NULL THEN d.slot ELSE {SLOT_OF_OTHER_LNS} END,
       d.lns_source_id, $2, $3, $4, $5, $6, $7, $8
FROM device d WHERE d.id = $1
RETURNING id, slot
"""
# What a member of a multicast group is sent with the others: its group's message is what is on air.
ENQUEUE_IN_GROUP = f"""
INSERT INTO downlink (tenant_id, device_id, slot, f_port, payload, confirmed, priority, not_after, by_lighting,
                      state, sent_at, multicast_message_id)
SELECT d.tenant_id, d.id, d.slot, m.f_port, m.payload, false, m.priority, m.not_after, m.by_lighting,
       '{SENT}', now(), m.id
FROM device d, multicast_message m WHERE d.id = $1 AND m.id = $2
RETURNING id, slot
"""
# Confirmed: the clock's acknowledgement is how it is known that it holds the group.
ENQUEUE_GROUP_KEYS = f"""
INSERT INTO downlink (tenant_id, device_id, slot, f_port, payload, confirmed, priority, not_after, by_lighting,
                      keys_of_group)
SELECT d.tenant_id, d.id, d.slot, {GROUP_PORT}, '', true, {Priority.ROUTINE}, $3, true, $2
FROM device d WHERE d.id = $1
RETURNING id, slot
"""
COLUMNS = """id, tenant_id, device_id, slot, f_port, payload, confirmed, priority, not_after, state::text AS state,
reason, detail, attempts, f_cnt_down, gateway_id, lns_source_id, created_at, updated_at, sent_at,
keys_of_group"""
READ = f"SELECT {COLUMNS} FROM downlink WHERE id = $1"
LIST = f"""
SELECT {COLUMNS} FROM downlink
WHERE device_id = $1 AND ($2::bigint IS NULL OR id < $2)
ORDER BY id DESC LIMIT $3
"""
# Newer commands win: queued rows are cancelled, and a row whose gateway is being asked is not tried again.
# As a statement of its own it sees what was enqueued while the caller waited for its locks.
CANCEL_SUPERSEDED = f"""
UPDATE downlink SET
    state = CASE WHEN {_leaving(QUEUED, to=[CANCELLED])} THEN 'cancelled' ELSE state END,
    reason = CASE WHEN state = 'queued' THEN '{DownlinkReason.SUPERSEDED}' ELSE reason END,
    detail = CASE WHEN state = 'queued' THEN NULL ELSE detail END,
    not_after = least(not_after, now()), updated_at = now()
WHERE id = ANY($1::bigint[]) AND state IN ('queued', 'sending')
"""

# By a person. The owner of the shard has taken the row first, or finds it cancelled.
WITHDRAW = f"""
UPDATE downlink SET state = 'cancelled', {_because(DownlinkReason.WITHDRAWN)}, updated_at = now()
WHERE id = $1 AND {_leaving(QUEUED, to=[CANCELLED])} RETURNING true
"""
# The keys of a group for devices that are no members of it, or not any more.
CANCEL_GROUP_KEYS = f"""
UPDATE downlink l SET state = 'cancelled', {_because(DownlinkReason.SUPERSEDED)}, updated_at = now()
WHERE l.keys_of_group = $1 AND {_leaving(QUEUED, to=[CANCELLED], alias="l.")}
  AND NOT EXISTS (SELECT FROM multicast_member m WHERE m.group_id = $1 AND m.device_id = l.device_id)
"""

# Of our own network, written by the owner of the shard.
EXPIRE = f"""
UPDATE downlink SET state = 'expired', reason = COALESCE(reason, '{DownlinkReason.NOT_AFTER}'), updated_at = now()
WHERE slot = ANY($1::smallint[]) AND {_leaving(QUEUED, to=[EXPIRED])} AND not_after <= now()
RETURNING {CHANGED}
"""
# Sent, to be confirmed, and not a word from the device as long as the command was useful. The next uplink of a
# device settles it; one that sends nothing must not keep its row, and all behind it, waiting for ever.
FAIL_SILENT = f"""
UPDATE downlink SET state = 'failed', {_because(DownlinkReason.DEVICE_SILENT)}, updated_at = now()
WHERE slot = ANY($1::smallint[]) AND {_leaving(SENT, to=[FAILED])} AND confirmed
  AND not_after <= now() AND sent_at < now() - interval '{SILENT_AFTER_H} hours'
RETURNING {CHANGED}
"""
_AGAIN_OR_FAILED = f"""
state = CASE WHEN l.attempts >= {MAX_ATTEMPTS} OR l.not_after <= now()
             THEN 'failed' ELSE 'queued' END::downlink_state,
    {_because(DownlinkReason.DEVICE_NO_ACK)}, updated_at = now()
"""
_IS_UNACKNOWLEDGED = f"{_leaving(SENT, to=[FAILED, QUEUED], alias='l.')} AND l.confirmed"
RETRY_UNACKNOWLEDGED = f"""
UPDATE downlink AS l SET {_AGAIN_OR_FAILED}
FROM unnest($2::int[], $3::timestamptz[]) AS v (device_id, uplink_at)
WHERE l.slot = ANY($1::smallint[]) AND l.device_id = v.device_id AND {_IS_UNACKNOWLEDGED}
  AND l.sent_at < v.uplink_at
RETURNING l.id, l.slot, l.state::text AS state
"""
RETRY_SILENT_CLASS_C = f"""
UPDATE downlink AS l SET {_AGAIN_OR_FAILED}
FROM device d JOIN device_profile p ON p.id = d.device_profile_id
WHERE d.id = l.device_id AND p.device_class = 'C' AND l.slot = ANY($1::smallint[]) AND {_IS_UNACKNOWLEDGED}
  AND l.sent_at < now() - interval '{CLASS_C_ACK_TIMEOUT_S} seconds'
RETURNING l.id, l.slot, l.state::text AS state
"""
# The same condition as of the index downlink_open.
ACKNOWLEDGE = f"""
UPDATE downlink SET state = 'acknowledged', {NO_REASON}, updated_at = now()
WHERE slot = ANY($1::smallint[]) AND device_id = ANY($2::int[]) AND confirmed
  AND ({_leaving(SENDING, to=[ACKNOWLEDGED])} OR ({_leaving(SENT, to=[ACKNOWLEDGED])} AND confirmed))
RETURNING {CHANGED}
"""
REQUEUE_SENDING = f"""
UPDATE downlink SET state = 'queued', {_because(DownlinkReason.RESTARTED)}, updated_at = now()
WHERE slot = ANY($1::smallint[]) AND {_leaving(SENDING, to=[QUEUED])} AND NOT id = ANY($2::bigint[])
"""
MARK_SENDING = f"""
UPDATE downlink SET state = 'sending', {NO_REASON}, attempts = attempts + 1, updated_at = now()
WHERE id = ANY($1::bigint[]) AND {_leaving(QUEUED, to=[SENDING])}
RETURNING {CHANGED}
"""
NOTE_F_CNT_DOWN = """
UPDATE downlink AS l SET f_cnt_down = v.f_cnt_down, gateway_id = v.gateway_id, updated_at = now()
FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS v (id, f_cnt_down, gateway_id)
WHERE l.id = v.id AND l.state = 'sending'
"""
# The states in which an attempt may end.
SETTLED = (QUEUED, SENT, FAILED)
SETTLE = f"""
UPDATE downlink SET state = $2::text::downlink_state, reason = $3, detail = $8,
    gateway_id = COALESCE($4, gateway_id), sent_at = $5, not_before = $6, attempts = attempts - $7::smallint,
    updated_at = now()
WHERE id = $1 AND {_leaving(QUEUED, SENDING, to=SETTLED)}
RETURNING {CHANGED}
"""
MOVE_TO_SLOT_OF_DEVICE = """
UPDATE downlink AS l SET slot = d.slot FROM device d
WHERE d.id = ANY($1::int[]) AND l.device_id = d.id AND l.slot <> d.slot
  AND l.state IN ('queued', 'sending', 'sent')
"""

# Of other LNS. Time alone decides, so any replica may write it, without a lease. A disabled source has no sender.
SWEEP_LNS = f"""
UPDATE downlink SET updated_at = now(),
    state = CASE state WHEN 'sent' THEN 'failed' ELSE 'expired' END::downlink_state,
    reason = CASE WHEN state = 'queued' THEN coalesce(reason, '{DownlinkReason.NOT_AFTER}')
                  WHEN state = 'sent' THEN '{DownlinkReason.DEVICE_SILENT}'
                  ELSE '{DownlinkReason.LNS_NO_REPORT}' END,
    detail = CASE WHEN state = 'queued' THEN detail END
WHERE slot = {SLOT_OF_OTHER_LNS} AND (
    ({_leaving(QUEUED, to=[EXPIRED])} AND not_after <= now())
    OR ({_leaving(SENDING, to=[EXPIRED])} AND handed_at IS NULL
        AND not_after < now() - interval '{HAND_OVER_MOST_S} seconds')
    OR ({_leaving(SENDING, to=[EXPIRED])} AND not_after < now() - interval '{LAST_REPORT_H} hours')
    OR ({_leaving(SENT, to=[FAILED])} AND confirmed AND not_after <= now()
        AND sent_at < now() - interval '{SILENT_AFTER_H} hours'
        AND EXISTS (SELECT FROM lns_source s
                    WHERE s.id = lns_source_id AND s.kind IN ('chirpstack', 'the_things_stack'))))
RETURNING {CHANGED}
"""
# `sending` and not handed over: a row in hand, or left over by an owner that ended; then it is handed over again
# under the same item. The device's address at that LNS may be unknown yet.
TAKE_DUE_OF_LNS = f"""
WITH due AS (
    SELECT l.id FROM downlink l JOIN device d ON d.id = l.device_id
    WHERE l.slot = {SLOT_OF_OTHER_LNS} AND l.lns_source_id = $1 AND l.not_after > now() AND d.enabled
      AND ({_leaving(QUEUED, to=[SENDING], alias="l.")} AND (l.not_before IS NULL OR l.not_before <= now())
           OR {_leaving(SENDING, to=[SENDING], alias="l.")} AND l.handed_at IS NULL
              AND l.updated_at < now() - interval '{HAND_OVER_MOST_S} seconds')
    ORDER BY l.priority, l.id LIMIT 1 FOR UPDATE OF l
)
UPDATE downlink l SET state = 'sending', not_before = NULL, updated_at = now(),
    lns_item = coalesce(l.lns_item, CASE WHEN $2 THEN upper(left(replace(gen_random_uuid()::text, '-', ''), 16))
                                         ELSE gen_random_uuid()::text END)
FROM due, device d JOIN device_profile p ON p.id = d.device_profile_id
     LEFT JOIN lns_route r ON r.source_id = $1 AND r.device_id = d.id
WHERE l.id = due.id AND d.id = l.device_id
RETURNING l.id, d.dev_eui, l.f_port, l.payload, l.confirmed, l.not_after, l.lns_item AS item,
          coalesce(r.address, '') AS address, p.device_class = 'C' AS is_class_c
"""
# A report may have been faster than the answer: then the state is what it said.
NOTE_HANDED = f"""
UPDATE downlink SET handed_at = coalesce(handed_at, now()), lns_item = $3, updated_at = now(),
    attempts = attempts + CASE WHEN handed_at IS NULL THEN 1 ELSE 0 END,
    reason = CASE state WHEN 'sending' THEN $4 ELSE reason END,
    detail = CASE state WHEN 'sending' THEN NULL ELSE detail END
WHERE id = $1 AND lns_item = $2 RETURNING {CHANGED}
"""
NOTE_LATER = f"""
UPDATE downlink SET state = 'queued', reason = $3, detail = $4, not_before = now() + $5::interval,
    updated_at = now()
WHERE id = $1 AND lns_item = $2 AND {_leaving(SENDING, to=[QUEUED])} AND handed_at IS NULL
RETURNING {CHANGED}
"""
NOTE_REJECTED = f"""
UPDATE downlink SET state = 'failed', reason = $3, detail = $4, attempts = attempts + 1, updated_at = now()
WHERE id = $1 AND lns_item = $2 AND {_leaving(SENDING, to=[FAILED])} AND handed_at IS NULL
RETURNING {CHANGED}
"""
UNACKNOWLEDGED = "unacknowledged"
_AGAIN = f"($3 = '{UNACKNOWLEDGED}' AND attempts < {MAX_ATTEMPTS} AND not_after > now())"
# States only go on: a report that comes twice, or late, changes nothing. Its time is believed between hand-over
# and now, because a cabinet's read-back is judged by it.
REPORT_OF_LNS = f"""
UPDATE downlink SET
    state = CASE WHEN {_AGAIN} THEN 'queued' WHEN $3 = '{UNACKNOWLEDGED}' THEN 'failed'
                 ELSE $3 END::downlink_state,
    reason = CASE $3 WHEN 'sending' THEN coalesce($4, reason)
                     WHEN '{UNACKNOWLEDGED}' THEN '{DownlinkReason.DEVICE_NO_ACK}' ELSE $4 END,
    detail = CASE WHEN $3 = 'sending' AND $4 IS NULL THEN detail ELSE $8 END,
    sent_at = CASE WHEN $3 IN ('sent', 'acknowledged')
                   THEN coalesce(sent_at, greatest(least($5::timestamptz, now()), handed_at), now())
                   ELSE sent_at END,
    f_cnt_down = coalesce($6, f_cnt_down), gateway_id = coalesce($7, gateway_id),
    handed_at = CASE WHEN {_AGAIN} THEN NULL ELSE coalesce(handed_at, now()) END,
    attempts = attempts + CASE WHEN handed_at IS NULL THEN 1 ELSE 0 END,
    lns_item = CASE WHEN {_AGAIN} THEN NULL ELSE lns_item END, updated_at = now()
WHERE slot = {SLOT_OF_OTHER_LNS} AND lns_source_id = $1 AND lns_item = $2 AND state::text = ANY($9::text[])
RETURNING {CHANGED}
"""
# Items to poll, where nothing is reported: those that were polled longest ago first.
TAKE_UNDECIDED_OF_LNS = f"""
UPDATE downlink SET updated_at = now() WHERE id IN (
    SELECT id FROM downlink WHERE slot = {SLOT_OF_OTHER_LNS} AND lns_source_id = $1 AND handed_at IS NOT NULL
      AND (state = 'sending' OR (state = 'sent' AND confirmed))
    ORDER BY updated_at LIMIT $2)
RETURNING lns_item, confirmed
"""
# What a source was asked to send before it was removed: nothing will report on it.
FAIL_OF_SOURCE = f"""
UPDATE downlink SET state = 'failed', {_because(DownlinkReason.SOURCE_REMOVED)}, updated_at = now()
WHERE lns_source_id = $1 AND {_leaving(QUEUED, SENDING, to=[FAILED])}
"""


@dataclass(frozen=True, slots=True)
class Enqueued:
    """A new row, and the slot whose owner must be nudged once the transaction is committed."""

    id: int
    slot: int


@dataclass(frozen=True, slots=True)
class Changed:
    """A row whose state changed; after the commit the processes that wait for it are nudged."""

    id: int
    slot: int
    state: str


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of one attempt: QUEUED (again), SENT or FAILED; `reason` may be an error of a gateway's own."""

    downlink_id: int
    state: DownlinkState
    reason: str | None = None
    gateway_id: bytes | None = None
    sent_at: datetime | None = None
    not_before: datetime | None = None
    counts: bool = True  # Whether it counts as an attempt; False: no gateway was there, or no time on the air.


@dataclass(frozen=True, slots=True)
class HandOver:
    """A row to hand over to another LNS, which knows it as `item`."""

    id: int
    dev_eui: bytes
    f_port: int
    payload: bytes
    confirmed: bool
    not_after: datetime
    item: str
    address: str  # "": no uplink has shown yet how their LNS addresses the device.
    is_class_c: bool


@dataclass(frozen=True, slots=True)
class LnsReport:
    """What another LNS reports of an item: a state, or UNACKNOWLEDGED."""

    item: str
    state: str
    reason: DownlinkReason | None
    detail: str | None
    at: datetime | None
    f_cnt_down: int | None
    gateway_id: bytes | None


class UnknownDevice(LookupError):
    """There is no such device in this tenant."""


def _changed(rows: Iterable[Record]) -> list[Changed]:
    return [Changed(row["id"], row["slot"], row["state"]) for row in rows]


async def enqueue(
    connection: Connection,
    device_id: int,
    *,
    f_port: int,
    payload: bytes,
    not_after: datetime,
    confirmed: bool = False,
    priority: int = 1,
    by_lighting: bool = False,
    not_before: datetime | None = None,
) -> Enqueued:
    """Insert a downlink in the caller's transaction; after the commit nudge `topics.downlink_due(shard)`.

    Unless it is `by_lighting`, the database records it as an unknown act where the device serves a lighting
    circuit, which is brought back to its program within twelve hours (docs/architecture.md, "Lighting commands").
    No gateway is asked for it `not_before` its time.

    Raises:
        UnknownDevice: no such device is visible.
    """
    row = await connection.fetchrow(
        ENQUEUE, device_id, f_port, payload, confirmed, priority, not_after, by_lighting, not_before
    )
    if row is None:
        raise UnknownDevice(f"device {device_id}")
    return Enqueued(row["id"], row["slot"])


async def enqueue_in_group(connection: Connection, device_id: int, message_id: int) -> Enqueued:
    """The part of one member in a message to its multicast group: nothing more is transmitted for it.

    Raises:
        UnknownDevice: no such device or message is visible.
    """
    row = await connection.fetchrow(ENQUEUE_IN_GROUP, device_id, message_id)
    if row is None:
        raise UnknownDevice(f"device {device_id}")
    return Enqueued(row["id"], row["slot"])


async def enqueue_group_keys(
    connection: Connection, device_id: int, group_id: int, *, not_after: datetime
) -> Enqueued:
    """The message that gives a clock its multicast group; its octets are made when it is framed.

    Raises:
        UnknownDevice: no such device is visible.
    """
    row = await connection.fetchrow(ENQUEUE_GROUP_KEYS, device_id, group_id, not_after)
    if row is None:
        raise UnknownDevice(f"device {device_id}")
    return Enqueued(row["id"], row["slot"])


async def cancel_group_keys(connection: Connection, group_id: int) -> None:
    """Cancel what waits to give a group's keys to devices that are no members of it."""
    await connection.execute(CANCEL_GROUP_KEYS, group_id)


async def read_downlink(connection: Connection | Pool, downlink_id: int) -> Downlink | None:
    """One downlink as it stands."""
    row = await connection.fetchrow(READ, downlink_id)
    return None if row is None else entity(Downlink, row)


async def list_downlinks(
    connection: Connection | Pool, device_id: int, *, before: int | None = None, most: int = 100
) -> list[Downlink]:
    """Downlinks of a device, newest first; `before` is the last id of the former page."""
    return [entity(Downlink, row) for row in await connection.fetch(LIST, device_id, before, most)]


async def cancel_superseded(connection: Connection, downlink_ids: Sequence[int]) -> None:
    """Cancel those that no gateway was asked for yet; the others are not asked for again."""
    await connection.execute(CANCEL_SUPERSEDED, downlink_ids)


async def withdraw(connection: Connection, downlink_id: int) -> bool:
    """Cancel a row that no gateway and no other LNS was asked for; False when it does not wait any more."""
    return await connection.fetchval(WITHDRAW, downlink_id) is True


async def expire(connection: Connection, slots: Sequence[int]) -> list[Changed]:
    """Expire the rows whose `not_after` has passed."""
    return _changed(await connection.fetch(EXPIRE, slots))


async def fail_silent(connection: Connection, slots: Sequence[int]) -> list[Changed]:
    """Fail confirmed downlinks of devices that sent nothing since, long after the term has passed."""
    return _changed(await connection.fetch(FAIL_SILENT, slots))


async def retry_unacknowledged(
    connection: Connection, slots: Sequence[int], device_ids: Sequence[int], uplinks_at: Sequence[datetime]
) -> list[Changed]:
    """These devices sent an uplink without ACK after a confirmed downlink: queue it again, or fail it."""
    return _changed(await connection.fetch(RETRY_UNACKNOWLEDGED, slots, device_ids, uplinks_at))


async def retry_silent_class_c(connection: Connection, slots: Sequence[int]) -> list[Changed]:
    """Class C devices that did not acknowledge in time: queue the downlink again, or fail it."""
    return _changed(await connection.fetch(RETRY_SILENT_CLASS_C, slots))


async def acknowledge_downlinks(
    connection: Connection, slots: Sequence[int], device_ids: Sequence[int]
) -> list[Changed]:
    """These devices set ACK: their confirmed downlink is acknowledged."""
    return _changed(await connection.fetch(ACKNOWLEDGE, slots, device_ids))


async def requeue_sending(connection: Connection, slots: Sequence[int], in_flight: Sequence[int] = ()) -> None:
    """Queue again rows in `sending` that no task works on: a former owner's, or of a commit without answer."""
    await connection.execute(REQUEUE_SENDING, slots, in_flight)


async def mark_sending(connection: Connection, downlink_ids: Sequence[int]) -> list[Changed]:
    """Start an attempt; a row that was cancelled in the meantime is not among the result."""
    return _changed(await connection.fetch(MARK_SENDING, downlink_ids))


async def save_f_cnt_down(
    connection: Connection, downlink_ids: Sequence[int], f_cnts: Sequence[int], gateway_ids: Sequence[bytes]
) -> None:
    """Record under which counter, and through which gateway, each row is about to go out."""
    await connection.execute(NOTE_F_CNT_DOWN, downlink_ids, f_cnts, gateway_ids)


async def settle(connection: Connection, settlement: Settlement) -> list[Changed]:
    """Write the end of an attempt, unless the device has acknowledged in the meantime.

    Raises:
        ForbiddenTransition: an attempt does not end in this state.
    """
    if settlement.state not in SETTLED:
        raise ForbiddenTransition(SENDING, settlement.state)
    reason, detail = (None, None) if settlement.reason is None else reason_of(settlement.reason)
    rows = await connection.fetch(
        SETTLE,
        settlement.downlink_id,
        settlement.state,
        reason,
        settlement.gateway_id,
        settlement.sent_at,
        settlement.not_before,
        0 if settlement.counts else 1,
        detail,
    )
    return _changed(rows)


async def move_to_slot_of_device(connection: Connection, device_ids: Sequence[int]) -> None:
    """These devices went to another slot: so do their rows, except those that go to another LNS."""
    await connection.execute(MOVE_TO_SLOT_OF_DEVICE, device_ids)


async def sweep_lns(connection: Connection | Pool) -> list[Changed]:
    """End, for every source, rows whose term has passed or about which no report came."""
    return _changed(await connection.fetch(SWEEP_LNS))


async def take_due_of_lns(connection: Connection, source_id: int, *, short_items: bool) -> HandOver | None:
    """The row to hand over next, if any is due; it is `sending` and has its item from here on."""
    row = await connection.fetchrow(TAKE_DUE_OF_LNS, source_id, short_items)
    return None if row is None else entity(HandOver, row)


async def record_handed_over(
    connection: Connection | Pool, downlink_id: int, former_item: str, item: str, reason: DownlinkReason
) -> list[Changed]:
    """Their LNS has the downlink, as `item`."""
    return _changed(await connection.fetch(NOTE_HANDED, downlink_id, former_item, item, reason))


async def record_retry(
    connection: Connection | Pool,
    downlink_id: int,
    item: str,
    reason: DownlinkReason,
    detail: str | None,
    wait: timedelta,
) -> list[Changed]:
    """Their LNS does not have it, and will be asked again."""
    return _changed(await connection.fetch(NOTE_LATER, downlink_id, item, reason, detail, wait))


async def record_rejection(
    connection: Connection | Pool, downlink_id: int, item: str, reason: DownlinkReason, detail: str | None
) -> list[Changed]:
    """Their LNS will never have it."""
    return _changed(await connection.fetch(NOTE_REJECTED, downlink_id, item, reason, detail))


async def report_of_lns(connection: Connection | Pool, source_id: int, report: LnsReport) -> list[Changed]:
    """Write what another LNS reports; nothing for an item that is unknown, or whose row has ended."""
    return _changed(
        await connection.fetch(
            REPORT_OF_LNS,
            source_id,
            report.item,
            report.state,
            report.reason,
            report.at,
            report.f_cnt_down,
            report.gateway_id,
            report.detail,
            _reported_from(report.state),
        )
    )


def _reported_from(state: str) -> list[DownlinkState]:
    """The states of a row with another LNS in which a report of `state` is believed."""
    possible: list[DownlinkState] = []
    for before in (SENDING, SENT):
        try:
            for after in (QUEUED, FAILED) if state == UNACKNOWLEDGED else (DownlinkState(state),):
                check_transition(before, after)
        except ForbiddenTransition:
            continue
        if (before, state) != (SENT, SENT):  # A late or repeated report changes nothing.
            possible.append(before)
    return possible


async def take_undecided_of_lns(connection: Connection, source_id: int, most: int) -> list[tuple[str, bool]]:
    """Items to ask about, and whether each is to be acknowledged by its device."""
    rows = await connection.fetch(TAKE_UNDECIDED_OF_LNS, source_id, most)
    return [(row["lns_item"], row["confirmed"]) for row in rows]


async def fail_of_source(connection: Connection, source_id: int) -> None:
    """Fail what a source was asked to send, because it is being removed."""
    await connection.execute(FAIL_OF_SOURCE, source_id)
