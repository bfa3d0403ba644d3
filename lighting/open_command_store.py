"""SQL of lighting commands that are under way: what their devices said, and each next step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core.runtime.postgres import Connection, Record
from decoders.catalogue import CODECS
from lighting.commands import (
    GROUP_REPORTS_WITHIN,
    OPEN,
    OpenCommand,
    Proving,
    ReadBack,
    RejectedLightingCommand,
    State,
)
from lighting.octets import Asked, Octets, octets_of_codec
from registry.downlinks import cancel_superseded
from registry.rows import fetch_one

# A clock says within ten seconds what it has done (docs/profil-horloge.md), and the way here takes its time.
ANSWERS_WITHIN = timedelta(seconds=15)
REPORTS = 1.25  # Of the usual interval: a report that is due may be a little late.
# Its device may have been replaced, or switch another circuit by now.
STILL_SERVED = """EXISTS (
    SELECT FROM assignment g JOIN asset s ON s.id = c.asset_id
    WHERE g.device_id = c.device_id AND g.during @> now()
      AND (g.asset_id = s.id OR s.kind = 'lighting_circuit' AND g.asset_id = s.parent_id))"""
# Its campaign repeats it when its turn comes.
WAITS_FOR_TURN = """EXISTS (
    SELECT FROM lighting_campaign_target t JOIN lighting_campaign k ON k.id = t.campaign_id
    WHERE t.command_id = c.id AND t.repeat_due AND k.state IN ('approved', 'canary', 'running'))"""
# Somebody, or the campaign itself, has stopped it; for good, or until it is resumed.
OF_STOPPED = """(
    SELECT k.state FROM lighting_campaign_target t JOIN lighting_campaign k ON k.id = t.campaign_id
    WHERE t.command_id = c.id AND k.state IN ('paused', 'halted', 'cancelled') LIMIT 1)"""
# Open ones, those that still owe light, and those that ended a short while ago: their echo may come late.
LOCK_OPEN = f"""
WITH due AS MATERIALIZED (
    SELECT id FROM (
        SELECT id FROM lighting_command WHERE state IN ('queued', 'sent', 'acknowledged')
        UNION
        SELECT id FROM lighting_command WHERE relight_at IS NOT NULL AND off_until IS NULL
        UNION
        SELECT l.id FROM lighting_command l
        WHERE l.state IN ('failed', 'expired') AND l.reconciled_at IS NULL AND l.updated_at > $3
          AND NOT EXISTS (SELECT FROM lighting_command n WHERE n.asset_id = l.asset_id AND n.id > l.id)) AS every
    WHERE id > $1 ORDER BY id LIMIT $2)
SELECT c.id, c.tenant_id, c.asset_id, c.device_id, c.state::text AS state, c.action, c.level, c.off_until,
       c.attempts, c.not_after, c.octets, c.relight_at, c.work_order_at,
       d.state::text AS downlink_state, d.reason AS downlink_reason, d.created_at AS tried_at, d.sent_at,
       d.not_after < c.not_after AS is_kept_back, r.state::text AS read_back_state,
       p.codec, p.expected_interval, p.device_class, {STILL_SERVED} AS is_served,
       m.state IN ('queued', 'sending', 'sent') IS TRUE AS in_group,
       {WAITS_FOR_TURN} AS waits_for_turn, {OF_STOPPED} AS stopped,
       CASE WHEN c.state IN ('failed', 'expired', 'superseded', 'unproven') THEN (
           SELECT count(*)::int FROM downlink o
           WHERE o.device_id = c.device_id AND o.by_lighting AND o.f_port = d.f_port
             AND o.payload = d.payload AND o.created_at >= c.created_at AND o.state IN ('sent', 'acknowledged'))
       ELSE 0 END AS transmitted
FROM due
JOIN lighting_command c ON c.id = due.id
JOIN downlink d ON d.id = c.downlink_id
LEFT JOIN multicast_message m ON m.id = d.multicast_message_id
LEFT JOIN downlink r ON r.id = c.read_back_downlink_id
JOIN device v ON v.id = c.device_id
JOIN device_profile p ON p.id = v.device_profile_id
WHERE c.state IN ('queued', 'sent', 'acknowledged', 'failed', 'expired')
   OR c.relight_at IS NOT NULL AND c.off_until IS NULL
ORDER BY c.id
FOR UPDATE OF c SKIP LOCKED
"""
# The instant that counts is our own clock's at arrival: a gateway's clock may be off by seconds.
READ_BACKS = """
SELECT c.command, s.channel, m.value, u.received_at
FROM unnest($1::bigint[], $2::int[], $3::text[], $4::timestamptz[]) AS c (command, device, quantity, since)
JOIN datastream s ON s.device_id = c.device AND s.quantity = c.quantity
JOIN observation.uplink u ON u.device_id = c.device AND u.time > c.since - interval '1 minute'
                         AND u.received_at > c.since AND u.time > $5::timestamptz - interval '1 minute'
JOIN observation.measurement m ON m.datastream_id = s.id AND m.time = u.time
                              AND m.time > $5::timestamptz - interval '1 minute'
ORDER BY u.received_at
"""
HEARD = """
SELECT c.command, max(u.received_at) AS received_at
FROM unnest($1::bigint[], $2::int[], $3::timestamptz[]) AS c (command, device, since)
JOIN observation.uplink u ON u.device_id = c.device AND u.time > c.since - interval '1 minute'
                         AND u.received_at > c.since AND u.time > $4::timestamptz - interval '1 minute'
GROUP BY c.command
"""
SET_SENT = """
UPDATE lighting_command SET state = CASE WHEN $3 THEN 'acknowledged' ELSE 'sent' END::lighting_command_state,
       sent_at = $2, updated_at = now()
WHERE id = $1
"""
FRAME_OF = "SELECT downlink_id FROM lighting_command WHERE id = $1"
SET_ASKED = "UPDATE lighting_command SET read_back_downlink_id = $2 WHERE id = $1"
SET_APPLIED = """
UPDATE lighting_command SET state = 'applied', applied_at = $2, failure = NULL, updated_at = now(),
       relight_at = CASE WHEN action = 'off' OR relight_at IS NULL THEN relight_at ELSE off_until END
WHERE id = $1 RETURNING extract(epoch FROM $2 - created_at)::float8
"""
SET_RECONCILED = """
UPDATE lighting_command SET reconciled_at = $2,
       relight_at = CASE WHEN off_until IS NULL THEN NULL ELSE relight_at END
WHERE id = $1
"""
# Of a command that has ended the state stays.
SET_SENT_AGAIN = """
UPDATE lighting_command SET attempts = least(attempts, 32766) + 1, downlink_id = $2, read_back_downlink_id = NULL,
       state = CASE WHEN $3::timestamptz IS NULL THEN 'queued' ELSE state END,
       relight_at = coalesce($3, relight_at),
       updated_at = now()
WHERE id = $1
"""
# By a campaign, in its turn; one that has ended meanwhile, or that another replica holds, is not.
LOCK_TO_REPEAT = f"""
SELECT c.device_id, c.action, c.octets, c.not_after FROM lighting_command c
WHERE c.id = $1 AND c.state IN ('queued', 'sent', 'acknowledged') AND {STILL_SERVED}
FOR UPDATE OF c SKIP LOCKED
"""
SET_ENDED = """
UPDATE lighting_command SET state = $2::lighting_command_state, failure = $3, updated_at = now(),
       relight_at = CASE WHEN off_until IS NULL AND relight_at IS NOT NULL THEN $4 ELSE relight_at END
WHERE id = $1
"""
SET_WORK_ORDER = "UPDATE lighting_command SET work_order_at = $2 WHERE id = $1"


@dataclass(frozen=True, slots=True)
class LockedCommand:
    """A command, locked in this transaction, with what is needed to take its next step."""

    command: OpenCommand
    tenant_id: int
    asset_id: int
    device_id: int
    quantity: str  # In which its proof comes; empty: there is none.
    octets: Octets | None  # None: its device's codec cannot encode them any more.
    level: int | None
    codec: str
    work_order_at: datetime | None
    is_served: bool  # By this device, still.
    waits_for_turn: bool  # To be repeated by its campaign.
    stopped: str | None  # The state of its campaign, where that does not go on before its end.

    @property
    def is_out(self) -> bool:
        """Whether what its device says may be about it."""
        return self.command.state is not State.QUEUED or self.command.sent_at is not None

    @property
    def is_held_back(self) -> bool:
        """Whether nothing more may go out for it: its campaign was stopped, and it lights nothing that is owed."""
        return self.stopped is not None and self.command.state in OPEN and not self.command.owes_light

    @property
    def is_withdrawn(self) -> bool:
        """Whether its campaign was stopped for good before any gateway was asked."""
        is_waiting = self.command.state is State.QUEUED and self.command.downlink_state == "queued"
        return self.is_held_back and is_waiting and self.stopped != "paused"

    @property
    def since(self) -> datetime:
        """From when on what the device says counts."""
        return self.command.sent_at or self.command.tried_at


@dataclass(frozen=True, slots=True)
class RepeatedCommand:
    """A command that a campaign sends again."""

    device_id: int
    action: str
    octets: Mapping[str, Any]
    not_after: datetime


def _octets_of_before(codec: str, asked: Asked) -> Octets | None:
    """Of a row that keeps none: what its device's codec encodes now; None: nothing."""
    known = CODECS.get(codec)
    try:
        return octets_of_codec(known, None if known is None else known.proof, None, asked)
    except RejectedLightingCommand:
        return None


def _locked(row: Record) -> LockedCommand:
    action, octets = (
        row["action"],
        Octets.from_json(row["octets"]) or _octets_of_before(row["codec"], Asked(row["tried_at"], row["level"])),
    )
    quantity = "" if octets is None else octets.quantity_of(action)
    usually = REPORTS * row["expected_interval"]
    in_group = row["in_group"] and octets is not None and octets.ends_itself
    proving = Proving(
        channels=() if octets is None or not quantity else octets.channels,
        value=float(row["level"] if action == "dim" else action == "on"),
        asks=octets is not None and octets.asks and not in_group,
        report_within=GROUP_REPORTS_WITHIN if in_group else usually,
        receives_every=usually if row["device_class"] == "A" else timedelta(0),
        answers_within=ANSWERS_WITHIN if octets is not None and octets.ends_itself else timedelta(0),
        in_group=in_group,
    )
    command = OpenCommand(
        id=row["id"],
        state=State(row["state"]),
        action=action,
        proving=proving,
        attempts=row["attempts"],
        not_after=row["not_after"],
        downlink_state=row["downlink_state"],
        downlink_reason=row["downlink_reason"],
        tried_at=row["tried_at"],
        sent_at=row["sent_at"],
        read_back_state=row["read_back_state"],
        owes_light=row["off_until"] is None and row["relight_at"] is not None,
        relight_at=row["relight_at"],
        transmitted=row["transmitted"],
        is_kept_back=row["is_kept_back"],
    )
    return LockedCommand(
        command,
        *(row["tenant_id"], row["asset_id"], row["device_id"], quantity),
        *(octets, row["level"], row["codec"], row["work_order_at"], row["is_served"]),
        *(row["waits_for_turn"], row["stopped"]),
    )


async def lock_open(connection: Connection, after: int, most: int, late_since: datetime) -> list[LockedCommand]:
    """Commands beyond id `after` that may have a next step, those that another replica holds left out.

    What ended without proof after `late_since` is among them.
    """
    return [_locked(row) for row in await connection.fetch(LOCK_OPEN, after, most, late_since)]


async def read_backs(connection: Connection, asked: Sequence[LockedCommand]) -> dict[int, list[ReadBack]]:
    """By command, what its device said of what proves it in uplinks since, oldest first."""
    found: dict[int, list[ReadBack]] = {}
    proved = [one for one in asked if one.quantity]
    if proved:
        since = [one.since for one in proved]
        rows = await connection.fetch(
            READ_BACKS,
            [one.command.id for one in proved],
            [one.device_id for one in proved],
            [one.quantity for one in proved],
            since,
            min(since),
        )
        for row in rows:
            found.setdefault(row["command"], []).append(ReadBack(row["channel"], row["value"], row["received_at"]))
    return found


async def said_since(connection: Connection, device_id: int, quantity: str, since: datetime) -> list[ReadBack]:
    """What a device has said of a quantity since, oldest first."""
    rows = await connection.fetch(READ_BACKS, [0], [device_id], [quantity], [since], since)
    return [ReadBack(row["channel"], row["value"], row["received_at"]) for row in rows]


async def last_received(connection: Connection, asked: Sequence[LockedCommand]) -> dict[int, datetime]:
    """By command, when its device was last heard since."""
    if not asked:
        return {}
    since = [one.since for one in asked]
    ids, devices = [one.command.id for one in asked], [one.device_id for one in asked]
    rows = await connection.fetch(HEARD, ids, devices, since, min(since))
    return {row["command"]: row["received_at"] for row in rows}


async def withdraw_frame(connection: Connection, command_id: int) -> None:
    """Cancel the frame of a command for which no gateway was asked yet."""
    await cancel_superseded(connection, [await connection.fetchval(FRAME_OF, command_id)])


async def set_sent(connection: Connection, command_id: int, sent_at: datetime, *, acknowledged: bool) -> None:
    """The gateway transmitted it, and the device has acknowledged the frame, or not yet."""
    await connection.execute(SET_SENT, command_id, sent_at, acknowledged)


async def set_asked(connection: Connection, command_id: int, read_back_id: int) -> None:
    """The cabinet is asked for its state by downlink `read_back_id`."""
    await connection.execute(SET_ASKED, command_id, read_back_id)


async def set_applied(connection: Connection, command_id: int, at: datetime) -> float:
    """The cabinet said so; returns the seconds since the request."""
    return await connection.fetchval(SET_APPLIED, command_id, at)


async def set_reconciled(connection: Connection, command_id: int, at: datetime) -> None:
    """The cabinet said so after the command had ended."""
    await connection.execute(SET_RECONCILED, command_id, at)


async def set_sent_again(
    connection: Connection, command_id: int, downlink_id: int, relight_at: datetime | None
) -> None:
    """A new downlink carries the same command; `relight_at` is the next of one that has ended and owes light."""
    await connection.execute(SET_SENT_AGAIN, command_id, downlink_id, relight_at)


async def lock_to_repeat(connection: Connection, command_id: int) -> RepeatedCommand | None:
    """A command that is still open, locked in this transaction."""
    return await fetch_one(connection, RepeatedCommand, LOCK_TO_REPEAT, command_id)


async def set_ended(
    connection: Connection, command_id: int, state: State, failure: str | None, relight_at: datetime | None
) -> None:
    """The command has ended without success; what it had to light is tried again at `relight_at`."""
    await connection.execute(SET_ENDED, command_id, state, failure, relight_at)


async def set_work_order(connection: Connection, command_id: int, at: datetime) -> None:
    """People are asked to look at it."""
    await connection.execute(SET_WORK_ORDER, command_id, at)
