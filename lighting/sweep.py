"""Advances every lighting command by one step, every second and on each nudge; lights again what must be lit.

Every second one question says which sweeps have something to do.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import Counter, Histogram

from core.messages import topics
from core.messages.topics import shard_of_slot
from core.model.lighting import level_at
from core.runtime.bus import Bus
from core.runtime.postgres import Connection, Pool
from lighting import circuit_store, meter_store, open_command_store, relight_store
from lighting.campaign_sweep import advance_campaigns
from lighting.circuit_store import Circuit
from lighting.commands import (
    MAX_ATTEMPTS,
    OPEN,
    RELIGHT_EVERY,
    WARM_UP,
    Apply,
    Ask,
    End,
    Failure,
    Proving,
    Reconcile,
    RejectedLightingCommand,
    SendAgain,
    Settle,
    State,
    Step,
    Transmitted,
    Wait,
    advance,
    compare_power,
    failure_text,
    judge,
)
from lighting.due_work import read_due
from lighting.expected import read_lamps
from lighting.octets import ON, QUESTION, Asked, Octets
from lighting.open_command_store import LockedCommand
from lighting.relight_store import DueRelight
from lighting.requests import READ_BACK_USEFUL_FOR, LightingRequest, native_octets, request_command, send
from lighting.restoring import RELIT_BY, octets_for, request_now, restore, serving_circuit
from lighting.swept import Swept, alone, order_work, put_off
from lighting.target_store import set_repeat_due

PAGE = 200
NOT_REACHED = "l'armoire n'a pas pu être jointe à temps"
# Of a clock that is asked whether it burns again; ten minutes are left for what does not.
ANSWERED_WITHIN = timedelta(minutes=2)
# What ended without proof is still looked at for so long: its echo may come late.
LATE_FOR = timedelta(hours=1)
SWEEP_EVERY_S = 1.0

COMMANDS = Counter("territoire_lighting_commands_total", "Steps of lighting commands", ["outcome"])
for _outcome in (State.FAILED, State.EXPIRED):  # Shown before the first of them, which rings.
    COMMANDS.labels(_outcome)
CONFIRMATION_DELAY = Histogram(
    "territoire_lighting_confirmation_delay_seconds",
    "From the request to the cabinet's own word",
    buckets=(1, 2, 5, 10, 20, 30, 60, 120, 300, 600),
)

log = structlog.get_logger()


async def _step(
    connection: Connection,
    locked: LockedCommand,
    step: Step,
    now: datetime,
    swept: Swept,
) -> None:
    command = locked.command
    match step:
        case Transmitted(sent_at=sent_at, acknowledged=acknowledged, ask=ask):
            await open_command_store.set_sent(connection, command.id, sent_at, acknowledged=acknowledged)
            swept.outcomes.append("acknowledged" if acknowledged else "sent")
            if ask:
                await _ask(connection, locked, now, swept)
        case Ask():
            await _ask(connection, locked, now, swept)
        case Apply(at=at):
            swept.application_delays_s.append(await open_command_store.set_applied(connection, command.id, at))
            swept.outcomes.append("applied")
        case Reconcile(at=at):
            await open_command_store.set_reconciled(connection, command.id, at)
            swept.outcomes.append("reconciled")
        case Settle():
            await relight_store.set_relight_at(connection, command.id, None)
            swept.outcomes.append("settled")
        case SendAgain():
            await _send_again(connection, locked, now, swept)
        case End(state=state, failure=failure):
            await _end(connection, locked, state, failure, now, swept)
        case Wait():
            return


async def _send_again(connection: Connection, locked: LockedCommand, now: datetime, swept: Swept) -> None:
    """At once, or where a campaign has commanded it when its turn comes: the others would not be heard."""
    command = locked.command
    is_open = command.state in OPEN
    if locked.waits_for_turn or locked.is_held_back:
        return
    if is_open and await set_repeat_due(connection, command.id, now):
        return
    not_after = command.not_after if is_open else now + RELIGHT_EVERY
    row = await send(connection, locked.device_id, _octets(locked).frames[command.action], not_after)
    await open_command_store.set_sent_again(
        connection, command.id, row.id, None if is_open else now + RELIGHT_EVERY
    )
    swept.slots.add(row.slot)
    swept.outcomes.append("sent_again")


async def _ask(connection: Connection, locked: LockedCommand, now: datetime, swept: Swept) -> None:
    question = _octets(locked).frames[QUESTION]
    useful_for = max(READ_BACK_USEFUL_FOR, locked.command.proving.receives_every)
    row = await send(connection, locked.device_id, question, now + useful_for)
    await open_command_store.set_asked(connection, locked.command.id, row.id)
    swept.slots.add(row.slot)


async def _leave(connection: Connection, locked: LockedCommand, now: datetime, swept: Swept) -> None:
    """Its device serves another circuit, or none: nothing more goes there; what is owed waits for the next."""
    if locked.command.state in OPEN:
        await _end(connection, locked, State.FAILED, Failure.NOT_SERVED, now, swept)
    elif locked.command.owes_light:
        await relight_store.set_relight_at(connection, locked.command.id, now + RELIGHT_EVERY)


def _octets(locked: LockedCommand) -> Octets:
    return locked.octets or native_octets(locked.codec, None, Asked(locked.command.tried_at, locked.level))


async def _end(
    connection: Connection, locked: LockedCommand, state: State, failure: str | None, now: datetime, swept: Swept
) -> None:
    """Without proof; people are asked to look at what owes light, and it is tried further.

    What can never be proved owes nothing once it has been repeated so often as it may.
    """
    command = locked.command
    is_settled = state is State.UNPROVEN and command.attempts >= MAX_ATTEMPTS
    relight_at = None if is_settled else now + RELIGHT_EVERY
    await open_command_store.set_ended(connection, command.id, state, failure, relight_at)
    swept.outcomes.append(state)
    log.warning("lighting_command_ended", command=command.id, state=state, failure=failure)
    if command.owes_light and state in {State.FAILED, State.EXPIRED} and locked.work_order_at is None:
        why = NOT_REACHED if state is State.EXPIRED else failure_text(failure) or ""
        await order_work(connection, command.id, locked.asset_id, why, now)


async def _step_or_fail(
    connection: Connection,
    locked: LockedCommand,
    step: Step,
    now: datetime,
    swept: Swept,
) -> None:
    if isinstance(step, SendAgain | Ask) and not locked.is_served:
        await _leave(connection, locked, now, swept)
        return
    try:
        await _step(connection, locked, step, now, swept)
    except RejectedLightingCommand as refused:
        # Of before rows kept their octets, and the device's profile has changed meanwhile.
        await _end(connection, locked, State.FAILED, f"{Failure.NOT_COMMANDABLE}: {refused}", now, swept)


async def advance_commands(pool: Pool, now: datetime) -> Swept:
    """One step for each command; replicas share the work by skipping what another has locked."""
    swept = Swept()
    after = 0
    while True:
        async with pool.acquire() as connection, connection.transaction():
            page = await open_command_store.lock_open(connection, after, PAGE, now - LATE_FOR)
            said = await open_command_store.read_backs(connection, [one for one in page if one.is_out])
            heard = await open_command_store.last_received(connection, [one for one in page if one.is_out])
            for locked in page:
                number = locked.command.id
                if locked.is_withdrawn:  # It ends with the next sweep.
                    await open_command_store.withdraw_frame(connection, number)
                    continue
                step = advance(locked.command, said.get(number, ()), heard.get(number), now)
                if isinstance(step, Wait):
                    continue
                with alone("command", number):
                    async with connection.transaction():
                        await _step_or_fail(connection, locked, step, now, swept)
        if len(page) < PAGE:
            return swept
        after = page[-1].command.id


async def confirm_applied(pool: Pool, now: datetime) -> Swept:
    """Compare what the meter says with what was expected of each command that was carried out."""
    swept, after = Swept(), 0
    while True:
        async with pool.acquire() as connection, connection.transaction():
            page = await meter_store.lock_applied(connection, after, PAGE, WARM_UP)
            for one in page:
                reading = None if one.value is None or one.received_at is None else (one.value, one.received_at)
                found = compare_power(one.applied_at, one.expected_power_w, one.power_margin_w or 0, reading, now)
                if found is not None:
                    await meter_store.set_compared(connection, one.id, found.at, found.unconfirmed)
                    swept.outcomes.append(found.unconfirmed or "confirmed")
        if len(page) < PAGE:
            return swept
        after = page[-1].id


async def relight(pool: Pool, now: datetime) -> Swept:
    """Light again every circuit whose "off" has come to its end, or bring it to what its program says by then."""
    swept, after = Swept(), 0
    while True:
        page = await relight_store.due_relights(pool, now, after, PAGE)
        for due in page:
            with alone("relight", due.id):
                async with pool.acquire() as connection, connection.transaction():
                    await circuit_store.lock_asset(connection, due.asset_id)
                    if await relight_store.is_to_relight(connection, due.id, now):
                        await _relight_one(connection, due, now, swept)
        if len(page) < PAGE:
            return swept
        after = page[-1].id


async def _relight_one(connection: Connection, due: DueRelight, now: datetime, swept: Swept) -> None:
    try:
        circuit = await serving_circuit(connection, due.asset_id)
        octets = await octets_for(connection, circuit, due.device_id, due.octets, Asked(now))
        if octets.ends_itself and await _is_left_to_clock(connection, due, octets, now, swept):
            return
        request = await _request_at_end(connection, due, circuit, octets, now)
        async with connection.transaction():
            requested = await request_command(connection, circuit, request, octets, now)
    except RejectedLightingCommand as refused:
        log.error("cabinet_not_relit", asset=due.asset_id, command=due.id, reason=str(refused))
        swept.outcomes.append("relight_refused")
        if due.work_order_at is None:
            await order_work(connection, due.id, due.asset_id, str(refused), now)
        await relight_store.set_relight_at(connection, due.id, now + RELIGHT_EVERY)
    else:
        swept.slots.add(requested.slot)
        swept.outcomes.append("relit" if request.action == "on" else "dark_by_program")


async def _request_at_end(
    connection: Connection, due: DueRelight, circuit: Circuit, octets: Octets, now: datetime
) -> LightingRequest:
    """What the program says now: in a planned cut an "off", which ends with the cut."""
    what = "fin de la gradation demandée" if due.action == "dim" else "fin de l'extinction demandée"
    reason = f"{what} (commande {due.id})"
    lamps = (await read_lamps(connection, [due.asset_id])).get(due.asset_id)
    planned = None
    if lamps is not None and not octets.ends_itself:
        planned = request_now(lamps, circuit, octets, now, reason)
    return planned or LightingRequest("on", RELIT_BY, reason, owes_light=True, is_automatic=True)


async def _is_left_to_clock(
    connection: Connection, due: DueRelight, octets: Octets, now: datetime, swept: Swept
) -> bool:
    """A clock has ended the "off" by itself: it is asked, and sent an "on" only if it should burn and does not.

    What it says counts from the end on.
    """
    lamps = (await read_lamps(connection, [due.asset_id])).get(due.asset_id)
    if lamps is not None and level_at(lamps.lamps.program, lamps.place, now) == 0:
        await relight_store.set_relight_at(connection, due.id, None)
        swept.outcomes.append("dark_by_program")
        return True
    said = await open_command_store.said_since(connection, due.device_id, octets.quantity_of(ON), due.off_until)
    proving = Proving(octets.channels, 1.0, octets.asks)
    if judge(proving, said, due.off_until)[0]:
        await relight_store.set_relight_at(connection, due.id, None)
        swept.outcomes.append("lit_by_itself")
        return True
    answered_by = due.off_until + ANSWERED_WITHIN
    if not octets.asks or now >= answered_by:
        return False
    row = await send(connection, due.device_id, octets.frames[QUESTION], answered_by)
    await relight_store.set_relight_at(connection, due.id, answered_by)
    swept.slots.add(row.slot)
    swept.outcomes.append("asked_at_end")
    return True


async def report(bus: Bus, shards: int, swept: Swept) -> None:
    """Count what a sweep did, and have its commands sent."""
    for outcome in swept.outcomes:
        COMMANDS.labels(outcome).inc()
    for delay in swept.application_delays_s:
        CONFIRMATION_DELAY.observe(delay)
    for shard in {shard_of_slot(slot, shards) for slot in swept.slots}:
        await bus.nudge(topics.downlink_due(shard))


Sweep = Callable[[Pool, datetime], Awaitable[Swept]]
SWEEPS: tuple[Sweep, ...] = (relight, restore, advance_commands, advance_campaigns, confirm_applied)
# What became of a downlink takes commands on; nothing else waits for it.
AT_NUDGE: tuple[Sweep, ...] = (advance_commands,)


async def sweeps_due(pool: Pool, now: datetime) -> tuple[Sweep, ...]:
    """Those that may have something to do; each when that cannot be asked, so that each says why it fails."""
    due = frozenset(sweep.__name__ for sweep in SWEEPS)
    with put_off("due work"):
        due = await read_due(pool, now, LATE_FOR)
    return tuple(sweep for sweep in SWEEPS if sweep.__name__ in due)


async def sweep_once(pool: Pool, bus: Bus, shards: int, sweeps: Iterable[Sweep]) -> None:
    """Each of them; one that fails costs itself alone, and is tried again with the next round."""
    for sweep in sweeps:
        with put_off(sweep.__name__):
            await report(bus, shards, await sweep(pool, datetime.now(UTC)))


async def keep_sweeping(pool: Pool, bus: Bus, shards: int, nudged: asyncio.Event, stopping: asyncio.Event) -> None:
    """Sweep every second, and advance commands at each nudge, until stopped."""
    loop, whole_round_at = asyncio.get_running_loop(), 0.0
    while not stopping.is_set():
        is_whole = loop.time() >= whole_round_at
        if is_whole:
            whole_round_at = loop.time() + SWEEP_EVERY_S
        sweeps = await sweeps_due(pool, datetime.now(UTC)) if is_whole else AT_NUDGE
        await sweep_once(pool, bus, shards, sweeps)
        try:
            async with asyncio.timeout_at(whole_round_at):
                await nudged.wait()
        except TimeoutError:
            continue
        nudged.clear()
