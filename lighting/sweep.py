"""Advances every open lighting command by one step, every second and on each nudge."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import Counter, Histogram

from core.messages import topics
from core.messages.topics import shard_of_slot
from core.runtime.bus import BUS_AWAY, Bus
from core.runtime.errors import describe
from core.runtime.postgres import DATABASE_AWAY, Connection, Pool
from lighting import store
from lighting.commands import AskReadBack, Confirm, End, Failure, ReadBack, SendAgain, State, Wait, advance
from lighting.requests import PRIORITY, RELIGHT_AGAIN_AFTER, RejectedLightingCommand, encode, request_command
from lighting.store import DueRelight, LockedCommand
from registry.downlinks import enqueue

PAGE = 200
READ_BACK_USEFUL_FOR = timedelta(minutes=2)
RELIT_BY = "territoire"
RELIGHT_REFUSED_AGAIN_AFTER = timedelta(minutes=1)
SWEEP_EVERY_S = 1.0

COMMANDS = Counter("territoire_lighting_commands_total", "Steps of lighting commands", ["outcome"])
CONFIRMATION_DELAY = Histogram(
    "territoire_lighting_confirmation_delay_seconds",
    "From the request to the cabinet's own word",
    buckets=(1, 2, 5, 10, 20, 30, 60, 120, 300, 600),
)

log = structlog.get_logger()


@dataclass(slots=True)
class Swept:
    """What one sweep did: slots to nudge, outcomes to count."""

    slots: set[int] = field(default_factory=set[int])
    outcomes: list[str] = field(default_factory=list[str])
    confirmation_delays_s: list[float] = field(default_factory=list[float])


async def _step(connection: Connection, locked: LockedCommand, now: datetime, swept: Swept) -> None:
    command = locked.command
    read_backs: Sequence[ReadBack] = ()
    if command.sent_at is not None:
        read_backs = await store.read_backs(connection, locked.device_id, command.sent_at)
    match advance(command, read_backs, now):
        case Wait():
            return
        case AskReadBack(sent_at=sent_at):
            encoded = encode(locked.codec, "read_state")
            row = await enqueue(
                connection,
                locked.device_id,
                f_port=encoded.f_port,
                payload=encoded.payload,
                not_after=now + READ_BACK_USEFUL_FOR,
                priority=PRIORITY,
            )
            await store.set_sent(connection, command.id, sent_at, row.id)
            swept.slots.add(row.slot)
            swept.outcomes.append("sent")
        case Confirm(at=at):
            swept.confirmation_delays_s.append(await store.set_confirmed(connection, command.id, at))
            swept.outcomes.append("confirmed")
        case SendAgain():
            encoded = encode(locked.codec, "switch_on" if command.on else "switch_off")
            row = await enqueue(
                connection,
                locked.device_id,
                f_port=encoded.f_port,
                payload=encoded.payload,
                not_after=command.not_after,
                priority=PRIORITY,
            )
            await store.set_sent_again(connection, command.id, row.id)
            swept.slots.add(row.slot)
            swept.outcomes.append("sent_again")
        case End(state=state, failure=failure):
            await _end(connection, command.id, state, failure, now, swept)


async def _end(
    connection: Connection, command_id: int, state: State, failure: str | None, now: datetime, swept: Swept
) -> None:
    await store.set_ended(connection, command_id, state, failure, now + RELIGHT_AGAIN_AFTER)
    swept.outcomes.append(state)
    log.warning("lighting_command_ended", command=command_id, state=state, failure=failure)


async def _step_or_fail(connection: Connection, locked: LockedCommand, now: datetime, swept: Swept) -> None:
    try:
        await _step(connection, locked, now, swept)
    except RejectedLightingCommand as refused:
        # The device's profile has changed meanwhile: its codec knows no such command any more.
        failure = f"{Failure.NOT_COMMANDABLE}: {refused}"
        await _end(connection, locked.command.id, State.FAILED, failure, now, swept)


async def advance_open_commands(pool: Pool, now: datetime) -> Swept:
    """One step for each open command; replicas share the work by skipping what another has locked."""
    swept = Swept()
    after = 0
    while True:
        async with pool.acquire() as connection, connection.transaction():
            page = await store.lock_open(connection, after, PAGE)
            for locked in page:
                await _step_or_fail(connection, locked, now, swept)
        if len(page) < PAGE:
            return swept
        after = page[-1].command.id


async def relight(pool: Pool, now: datetime) -> Swept:
    """Light again every cabinet whose "off" has come to its end, or that did not light when it had to."""
    swept = Swept()
    for due in await store.due_relights(pool, now):
        async with pool.acquire() as connection, connection.transaction():
            await store.lock_asset(connection, due.asset_id)
            if await store.is_to_relight(connection, due.id, now):
                await _relight_one(connection, due, now, swept)
    return swept


async def _relight_one(connection: Connection, due: DueRelight, now: datetime, swept: Swept) -> None:
    try:
        requested = await request_command(
            connection,
            due.asset_id,
            action="on",
            off_until=None,
            requested_by=RELIT_BY,
            reason=f"fin de l'extinction demandée (commande {due.id})",
            now=now,
        )
    except RejectedLightingCommand as refused:
        log.error("cabinet_not_relit", asset=due.asset_id, command=due.id, reason=str(refused))
        swept.outcomes.append("relight_refused")
        await store.set_relight_at(connection, due.id, now + RELIGHT_REFUSED_AGAIN_AFTER)
    else:
        swept.slots.add(requested.slot)
        swept.outcomes.append("relit")


async def _report(bus: Bus, shards: int, swept: Swept) -> None:
    for outcome in swept.outcomes:
        COMMANDS.labels(outcome).inc()
    for delay in swept.confirmation_delays_s:
        CONFIRMATION_DELAY.observe(delay)
    for shard in {shard_of_slot(slot, shards) for slot in swept.slots}:
        await bus.nudge(topics.downlink_due(shard))


async def keep_sweeping(pool: Pool, bus: Bus, shards: int, nudged: asyncio.Event, stopping: asyncio.Event) -> None:
    """Sweep every second and at each nudge, until stopped."""
    while not stopping.is_set():
        try:
            for sweep in (relight, advance_open_commands):
                await _report(bus, shards, await sweep(pool, datetime.now(UTC)))
        except (*DATABASE_AWAY, *BUS_AWAY) as away:
            log.warning("sweep_put_off", error=describe(away))
        try:
            async with asyncio.timeout(SWEEP_EVERY_S):
                await nudged.wait()
        except TimeoutError:
            continue
        nudged.clear()
