"""Advances every open lighting command by one step, every second and on each nudge."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from core.runtime.postgres import Connection, Pool
from lighting import store
from lighting.commands import AskReadBack, Confirm, End, Failure, ReadBack, SendAgain, State, Wait, advance
from lighting.requests import PRIORITY, RELIGHT_AGAIN_AFTER, RefusedCommand, encode, request_command
from lighting.store import DueRelight, LockedCommand
from registry.downlinks import enqueue

PAGE = 200
READ_BACK_USEFUL_FOR = timedelta(minutes=2)
RELIT_BY = "territoire"
RELIGHT_REFUSED_AGAIN_AFTER = timedelta(minutes=1)

log = structlog.get_logger()


@dataclass(slots=True)
class Swept:
    """What one sweep did: slots to nudge, outcomes to count."""

    slots: set[int] = field(default_factory=set[int])
    outcomes: list[str] = field(default_factory=list[str])
    confirmation_delays_s: list[float] = field(default_factory=list[float])


async def _step(connection: Connection, locked: LockedCommand, now: datetime, swept: Swept) -> None:
    command = locked.command
    heard: Sequence[ReadBack] = ()
    if command.sent_at is not None:
        heard = await store.read_backs(connection, locked.device_id, command.sent_at)
    match advance(command, heard, now):
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
    except RefusedCommand as refused:
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
    except RefusedCommand as refused:
        log.error("cabinet_not_relit", asset=due.asset_id, command=due.id, reason=str(refused))
        swept.outcomes.append("relight_refused")
        await store.set_relight_at(connection, due.id, now + RELIGHT_REFUSED_AGAIN_AFTER)
    else:
        swept.slots.add(requested.slot)
        swept.outcomes.append("relit")
