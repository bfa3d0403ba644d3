"""Takes every open command one step further; rows are the truth, a nudge only saves the wait."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from core.registry.downlinks import enqueue
from core.runtime.postgres import Connection, Pool
from lighting import store
from lighting.commands import AskReadBack, Confirm, End, ReadBack, SendAgain, Wait, advance
from lighting.requests import PRIORITY, RefusedCommand, encode, request_command
from lighting.store import LockedCommand

PAGE = 200
READ_BACK_USEFUL_FOR = timedelta(minutes=2)
RELIT_BY = "territoire"
# A cabinet that could not be lit again is tried until it says that it is lit: no street stays dark.
RELIGHT_AGAIN_AFTER = timedelta(minutes=5)
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
            await store.set_ended(connection, command.id, state, failure)
            swept.outcomes.append(state)
            if command.on and locked.requested_by == RELIT_BY:
                await store.set_relight_at(connection, command.id, now + RELIGHT_AGAIN_AFTER)
            log.warning("lighting_command_ended", command=command.id, state=state, failure=failure)


async def advance_open_commands(pool: Pool, now: datetime) -> Swept:
    """One step for each open command; replicas share the work by skipping what another has locked."""
    swept = Swept()
    after = 0
    while True:
        async with pool.acquire() as connection, connection.transaction():
            page = await store.lock_open(connection, after, PAGE)
            for locked in page:
                await _step(connection, locked, now, swept)
        if len(page) < PAGE:
            return swept
        after = page[-1].command.id


async def relight(pool: Pool, now: datetime) -> Swept:
    """Light again every cabinet whose "off" has come to its end, or that did not light when it had to."""
    swept = Swept()
    async with pool.acquire() as connection, connection.transaction():
        for due in await store.lock_due_relights(connection, now):
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
    return swept
