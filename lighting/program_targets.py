"""Programs that campaigns give to clocks: what each is sent when its turn has come, and whether it has proved it.

A program is no switching command: it replaces what the clock holds, ends no override and owes no light. What
proves it is the hash that the clock reports (docs/profil-horloge.md), which it does by itself some seconds after.
A clock of another make is asked by its command `read_program`; where it has none, nothing proves it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from core.runtime.postgres import Connection, Pool
from decoders.codec import EncodedCommand
from decoders.territoire import clock
from lighting import commands
from lighting.campaigns import GOING_ON, State
from lighting.compilers import SET_PROGRAM, CannotCompile, compile_program
from lighting.expected import LampRow, read_lamps
from lighting.open_command_store import REPORTS
from lighting.requests import DISABLED, NOT_SERVED, READ_BACK_USEFUL_FOR, send
from lighting.swept import Swept, alone
from lighting.vendor_programs import VendorProgram
from registry.rows import fetch_all

USEFUL_FOR = timedelta(hours=1)
# A clock answers within ten seconds. What it says before may have been on its way when the program was sent.
ANSWERED_AFTER = timedelta(seconds=15)
PAGE = 500
ON_PLATFORM = "cette armoire ne garde pas de programme : son éclairage dépend de la plateforme"
OF_VENDOR = "le décodeur de cette horloge n'est pas celui du profil ouvert"
UNFIT = "ce programme ne tient pas dans un message"
NO_PROGRAM = "le décodeur de cette horloge ne sait pas écrire de programme (commande set_program)"
CHANGED = "le programme ou l'horloge de cette armoire a changé depuis la préparation : préparez une autre campagne"
HOLDS_IT = "son horloge tient déjà ce programme"
OF_CABINET = "ce circuit suit l'horloge de son armoire"
PROGRAM = "program"

log = structlog.get_logger()

# Cabinets, and circuits and light points that are served by a device of their own: its clock, if it has one. A
# circuit that has none is its cabinet's, and here only where it was named itself.
FIND_HOLDERS = """
SELECT DISTINCT ON (s.id) s.id AS asset_id, s.name, s.kind, g.device_id, v.dev_eui, v.device_profile_id, p.codec,
       v.enabled,
       coalesce('program' = ANY(p.capabilities), false) AS is_clock, w.holds_it
FROM asset s
LEFT JOIN (assignment g JOIN device v ON v.id = g.device_id JOIN device_profile p ON p.id = v.device_profile_id)
    ON g.asset_id = s.id AND g.during @> now() AND (p.codec = $2 OR p.capabilities && '{switch,program}')
LEFT JOIN LATERAL (
    SELECT h.reported_hash = h.desired_hash AS holds_it FROM lighting_shadow h
    WHERE h.asset_id = s.id AND h.device_id = g.device_id) w ON true
WHERE s.archived_at IS NULL AND (s.id = ANY($1::int[])
    OR s.parent_id = ANY($1) AND s.kind = 'lighting_circuit' AND g.id IS NOT NULL)
ORDER BY s.id, p.codec = $2 DESC NULLS LAST, 'program' = ANY(p.capabilities) DESC, g.id
"""
# Those that wait for an answer, with the last that their clocks have reported since they were sent it: of one of
# another make a message that names all that it was sent, be it in an object of its own.
LOCK_OPEN = """
SELECT t.campaign_id, t.asset_id, t.device_id, t.state, t.attempts, t.repeat_due, c.state AS campaign_state,
       c.not_after, t.octets, encode(t.program_hash, 'hex') AS program_hash,
       coalesce(d.state::text, 'expired') AS downlink_state, d.reason AS downlink_reason,
       coalesce(d.created_at, t.released_at) AS tried_at, d.sent_at, q.state::text AS question_state,
       u.decoded AS reported, u.received_at, h.heard_at,
       CASE WHEN p.device_class = 'A' THEN p.expected_interval END AS hears_every
FROM lighting_campaign_target t
JOIN lighting_campaign c ON c.id = t.campaign_id
LEFT JOIN downlink d ON d.id = t.downlink_id
LEFT JOIN downlink q ON q.id = t.question_downlink_id
LEFT JOIN device v ON v.id = t.device_id
LEFT JOIN device_profile p ON p.id = v.device_profile_id
LEFT JOIN LATERAL (
    SELECT u.received_at, u.decoded FROM observation.uplink u
    WHERE u.device_id = t.device_id AND u.time > d.created_at - interval '1 minute'
      AND u.received_at > d.created_at AND u.status = 'decoded'
      AND CASE WHEN t.octets ? 'of'
               THEN t.octets -> 'names' <> '[]' AND coalesce(u.decoded -> 'program', u.decoded)
                    ?& ARRAY(SELECT jsonb_array_elements_text(t.octets -> 'names'))
               ELSE u.codec = $4 AND u.f_port = $5 END
    ORDER BY u.time DESC LIMIT 1) u ON true
LEFT JOIN LATERAL (
    SELECT max(u.received_at) AS heard_at FROM observation.uplink u
    WHERE u.device_id = t.device_id AND u.time > d.created_at - interval '1 minute'
      AND u.received_at > d.created_at) h ON t.octets ? 'of'
WHERE t.state IN ('queued', 'sent', 'acknowledged') AND (t.campaign_id, t.asset_id) > ($1, $2)
ORDER BY t.campaign_id, t.asset_id LIMIT $3
FOR UPDATE OF t SKIP LOCKED
"""
SET_STATE = """
UPDATE lighting_campaign_target SET state = $3, failure = $4, repeat_due = false
WHERE campaign_id = $1 AND asset_id = $2
"""
SET_REPEAT_DUE = "UPDATE lighting_campaign_target SET repeat_due = true WHERE campaign_id = $1 AND asset_id = $2"
SET_SENT = """
UPDATE lighting_campaign_target SET released_at = $3, state = 'queued', repeat_due = false, device_id = $4,
       program_hash = decode($5, 'hex'), downlink_id = $6, question_downlink_id = NULL, attempts = attempts + 1
WHERE campaign_id = $1 AND asset_id = $2
"""
SET_ASKED = (
    "UPDATE lighting_campaign_target SET question_downlink_id = $3 WHERE campaign_id = $1 AND asset_id = $2"
)


class RejectedProgram(ValueError):
    """Nothing is to be sent to this asset's clock; the message, in French, says why."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A cabinet, circuit or light point, and the device that would hold its program.

    `holds_it`: it has reported that it holds what it should; None: nobody knows.
    """

    asset_id: int
    name: str
    kind: str
    device_id: int | None
    dev_eui: bytes | None
    device_profile_id: int | None
    codec: str | None
    enabled: bool | None
    is_clock: bool
    holds_it: bool | None

    @property
    def is_of_vendor(self) -> bool:
        """Whether only its vendor's codec knows how a program is written."""
        return self.is_clock and self.codec != clock.CODEC.name


@dataclass(frozen=True, slots=True)
class ProgramTarget:
    """A clock that was sent its program by a campaign, and what it has reported since."""

    campaign_id: int
    asset_id: int
    device_id: int | None
    state: str
    attempts: int
    repeat_due: bool
    campaign_state: str
    not_after: datetime
    octets: Mapping[str, Any]
    program_hash: str | None
    downlink_state: str
    downlink_reason: str | None
    tried_at: datetime
    sent_at: datetime | None
    question_state: str | None
    reported: Mapping[str, Any] | None
    received_at: datetime | None
    heard_at: datetime | None  # Of a clock of another make: whatever it said.
    hears_every: timedelta | None  # Of class A.

    @property
    def holds_it(self) -> bool:
        """Whether its clock has reported what it was sent."""
        if self.reported is None:
            return False
        vendor = VendorProgram.from_json(self.octets)
        if vendor is None:
            return self.reported.get("program_hash") == self.program_hash
        return vendor.is_held(self.reported)


async def find_holders(connection: Connection, asset_ids: Sequence[int]) -> list[Holder]:
    """The cabinets and what they have of circuits with a clock of their own; by id."""
    return await fetch_all(connection, Holder, FIND_HOLDERS, list(asset_ids), clock.CODEC.name)


def check_holder(holder: Holder) -> None:
    """Whether a program can be sent there.

    Raises:
        RejectedProgram: it cannot.
    """
    if holder.device_id is None:
        raise RejectedProgram(OF_CABINET if holder.kind == "lighting_circuit" else NOT_SERVED)
    if not holder.enabled:
        raise RejectedProgram(DISABLED)
    if not holder.is_clock and holder.codec != clock.CODEC.name:
        raise RejectedProgram(ON_PLATFORM)


def encoded_for(holder: Holder, row: LampRow, now: datetime) -> tuple[EncodedCommand, str]:
    """The frame that gives a clock of the open profile the program in force, and the hash by which it reports it.

    Raises:
        RejectedProgram: there is none.
    """
    check_holder(holder)
    if holder.is_of_vendor:
        raise RejectedProgram(OF_VENDOR)
    return compiled_for(holder.codec or "", row, now, UNFIT)


def encoded_of(holder: Holder, row: LampRow) -> dict[str, Any]:
    """What a vendor's frames are encoded for; of the place so much as its clock needs of the sun."""
    latitude, longitude = (None if one is None else round(one, 2) for one in (row.latitude, row.longitude))
    return {
        "device_id": holder.device_id,
        "profile_id": holder.device_profile_id,
        "version_id": row.version_id,
        "latitude": latitude,
        "longitude": longitude,
    }


def compiled_for(codec: str, row: LampRow, now: datetime, unfit: str) -> tuple[EncodedCommand, str]:
    """The one frame with the program in force for a clock of this codec, and the hash by which it reports it.

    Raises:
        RejectedProgram: it cannot be compiled; or takes several frames, or has no hash: `unfit`.
    """
    try:
        compiled = compile_program(codec, row.lamps.program, row.place, row.place.region.local(now).date())
    except CannotCompile as reason:
        raise RejectedProgram(str(reason)) from None
    if compiled.program_hash is None or len(compiled.payloads) != 1:
        raise RejectedProgram(unfit)
    return compiled.payloads[0], compiled.program_hash.hex()


async def send_to_target(
    connection: Connection,
    campaign_id: int,
    asset_id: int,
    octets: Mapping[str, Any],
    at: datetime,
    out_before: datetime,
    now: datetime,
) -> int:
    """Enqueue the program that is in force now for a target whose turn it is, to go out before; the slot to nudge.

    Raises:
        RejectedProgram: its clock is gone, or takes it no more, or was to be sent what is not in force any more.
    """
    holder = next((one for one in await find_holders(connection, [asset_id]) if one.asset_id == asset_id), None)
    lamps = (await read_lamps(connection, [asset_id])).get(asset_id)
    if holder is None or holder.device_id is None or lamps is None:
        raise RejectedProgram(NOT_SERVED)
    check_holder(holder)
    vendor = VendorProgram.from_json(octets) if holder.is_of_vendor else None
    if vendor is not None:
        if vendor.of != encoded_of(holder, lamps):
            raise RejectedProgram(CHANGED)
        frame, program_hash = vendor.frame, None
    else:
        frame, program_hash = encoded_for(holder, lamps, now)
    row = await send(connection, holder.device_id, frame, min(now + USEFUL_FOR, out_before), not_before=at)
    await connection.execute(SET_SENT, campaign_id, asset_id, at, holder.device_id, program_hash, row.id)
    return row.slot


def step_of(target: ProgramTarget, now: datetime) -> commands.Step:
    """The next step of a target; a repetition waits for its turn at the gateway, as the first. Pure."""
    if target.holds_it and target.received_at is not None:
        return commands.Apply(target.received_at)
    if target.repeat_due:
        is_over = target.campaign_state not in {*GOING_ON, State.PAUSED} or now >= target.not_after
        return commands.End(commands.State.FAILED, _why(target)) if is_over else commands.Wait()
    vendor = VendorProgram.from_json(target.octets)
    open_command = commands.OpenCommand(
        id=target.asset_id,
        state=commands.State(target.state),
        action=SET_PROGRAM,
        proving=commands.Proving(
            (PROGRAM,) if vendor is None or vendor.is_provable else (),
            1.0,
            asks=vendor is not None and vendor.is_provable,
            receives_every=REPORTS * (target.hears_every or timedelta(0)),
        ),
        attempts=target.attempts,
        not_after=target.not_after,
        downlink_state=target.downlink_state,
        downlink_reason=target.downlink_reason,
        tried_at=target.tried_at,
        sent_at=target.sent_at,
        read_back_state=target.question_state,
        # What has waited for its gateway for as long as it is of use has no other turn.
        is_kept_back=now < target.tried_at + USEFUL_FOR,
    )
    heard_at = target.received_at if vendor is None else target.heard_at
    return commands.advance(open_command, _said(target), heard_at, now)


def _said(target: ProgramTarget) -> list[commands.ReadBack]:
    """That it holds another program, once it has had time to take this one."""
    since = target.sent_at or target.tried_at
    if target.reported is None or target.received_at is None or target.received_at <= since + ANSWERED_AFTER:
        return []
    return [commands.ReadBack(PROGRAM, 0.0, target.received_at)]


def _why(target: ProgramTarget) -> commands.Failure:
    return commands.Failure.STATE_DIFFERS if _said(target) else commands.Failure.NO_READ_BACK


async def advance_programs(pool: Pool, now: datetime) -> Swept:
    """One step for each clock that was sent its program and has not proved it."""
    swept, after = Swept(), (0, 0)
    while True:
        async with pool.acquire() as connection, connection.transaction():
            page = await fetch_all(
                connection, ProgramTarget, LOCK_OPEN, *after, PAGE, clock.CODEC.name, clock.STATE_PORT
            )
            for target in page:
                with alone("program_target", target.asset_id):
                    async with connection.transaction():
                        await _record_step(connection, target, step_of(target, now), now, swept)
        if len(page) < PAGE:
            return swept
        after = page[-1].campaign_id, page[-1].asset_id


async def _record_step(
    connection: Connection, target: ProgramTarget, step: commands.Step, now: datetime, swept: Swept
) -> None:
    state, failure = None, None
    match step:
        case commands.Transmitted(acknowledged=acknowledged, ask=ask):
            state = commands.State.ACKNOWLEDGED if acknowledged else commands.State.SENT
            if ask:
                await _ask(connection, target, now, swept)
        case commands.Ask():
            await _ask(connection, target, now, swept)
        case commands.Apply():
            state = commands.State.APPLIED
        case commands.SendAgain():
            await connection.execute(SET_REPEAT_DUE, target.campaign_id, target.asset_id)
        case commands.End(state=ended, failure=why):
            # What its downlink says of itself: nobody superseded a program.
            state = commands.State.FAILED if ended is commands.State.SUPERSEDED else ended
            failure = why
            log.warning("program_not_taken", campaign=target.campaign_id, asset=target.asset_id, failure=why)
        case _:
            return
    if state is not None:
        await connection.execute(SET_STATE, target.campaign_id, target.asset_id, state, failure)
        swept.outcomes.append(f"program_{state}")


async def _ask(connection: Connection, target: ProgramTarget, now: datetime, swept: Swept) -> None:
    vendor = VendorProgram.from_json(target.octets)
    if vendor is None or vendor.question is None or target.device_id is None:
        return
    useful_for = max(READ_BACK_USEFUL_FOR, REPORTS * (target.hears_every or timedelta(0)))
    row = await send(connection, target.device_id, vendor.question, now + useful_for)
    await connection.execute(SET_ASKED, target.campaign_id, target.asset_id, row.id)
    swept.slots.add(row.slot)
