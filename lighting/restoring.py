"""Brings a circuit back to what its program says now, after acts of which lighting knows nothing."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog

from core.runtime.postgres import Connection, Pool
from lighting import act_store, circuit_store
from lighting.act_store import DueAct
from lighting.circuit_store import Circuit
from lighting.commands import (
    ACT_LOOKED_AT_EVERY,
    LONGEST_OFF,
    RELIGHT_EVERY,
    ActStep,
    RejectedLightingCommand,
    about_act,
)
from lighting.expected import LampRow, read_lamps
from lighting.octets import OFF, Asked, Octets
from lighting.phases import phase_of
from lighting.requests import NOT_SERVED, LightingRequest, native_octets, request_command
from lighting.swept import Swept, alone
from registry.alert_requests import request_relight_alert

RELIT_BY = "territoire"
BROUGHT_BACK = "message envoyé hors de l'éclairage : retour au programme"
CHANGED = "un autre équipement commande cette armoire, et son décodeur ne se commande pas d'ici : redonnez l'ordre"

log = structlog.get_logger()


async def serving_circuit(connection: Connection, asset_id: int) -> Circuit:
    """The asset as a circuit of its own, whatever circuits it has got since.

    Raises:
        RejectedLightingCommand: it is gone.
    """
    found = await circuit_store.find_circuit(connection, asset_id)
    if found is None:
        raise RejectedLightingCommand(NOT_SERVED)
    return found


async def octets_for(
    connection: Connection, circuit: Circuit, device_id: int, kept: Mapping[str, Any], asked: Asked
) -> Octets:
    """What the circuit's device is to be sent: what a row keeps for it, else what can be encoded without a script.

    Raises:
        RejectedLightingCommand: neither.
    """
    if circuit.device_id is None:
        raise RejectedLightingCommand(NOT_SERVED)
    octets = Octets.from_json(kept) if circuit.device_id == device_id else None
    if octets is None:
        try:
            return native_octets(circuit.codec, circuit.output, asked, circuit.reported)
        except RejectedLightingCommand:
            octets = await act_store.last_octets(connection, circuit.asset_id, circuit.device_id)
    if octets is None:
        raise RejectedLightingCommand(CHANGED)
    return octets


def request_now(
    row: LampRow, circuit: Circuit, octets: Octets, now: datetime, reason: str = BROUGHT_BACK
) -> LightingRequest | None:
    """What the circuit's program asks of it now: lit where nobody can say. None: nothing, it may stay as it is.

    An "off" ends when the relay is to go on (`lighting.phases`), and after twelve hours in any case. A clock puts
    out by itself.
    """
    phase = None if row.version_id is None else phase_of(row, now)
    if phase is None or phase.on:
        return LightingRequest("on", RELIT_BY, reason, owes_light=True, is_automatic=True)
    if circuit.is_protected or OFF not in octets.frames:
        return None
    until = min(phase.until, now + LONGEST_OFF)
    return LightingRequest("off", RELIT_BY, reason, off_until=until, is_automatic=True)


async def restore(pool: Pool, now: datetime) -> Swept:
    """Bring back every circuit about whose unknown act it is time."""
    swept = Swept()
    for due in await act_store.due_acts(pool, now):
        with alone("act", due.id):
            async with pool.acquire() as connection, connection.transaction():
                await circuit_store.lock_asset(connection, due.asset_id)
                if await act_store.is_act_due(connection, due.id, now):
                    await _about(connection, due, now, swept)
    return swept


async def _about(connection: Connection, due: DueAct, now: datetime, swept: Swept) -> None:
    step, at = about_act(due.state, due.reached_at, due.by_other_lns, now)
    if step is ActStep.LATER:
        await act_store.postpone_act(connection, due.id, at)
        return
    again = None
    if step in {ActStep.RESTORE, ActStep.RESTORE_AGAIN}:
        again = await _restore_one(connection, due, now, swept)
    if again is not None:
        await act_store.postpone_act(connection, due.id, now + again)
    elif step is ActStep.RESTORE_AGAIN:
        await act_store.postpone_act(connection, due.id, at)
    else:
        await act_store.settle_act(connection, due.id, now)


async def _restore_one(connection: Connection, due: DueAct, now: datetime, swept: Swept) -> timedelta | None:
    """Bring a circuit back; after how long once more, where it could not be yet."""
    if await act_store.is_known_since(connection, due.asset_id, due.device_id, due.reached_at or now):
        return None
    circuit = await circuit_store.find_circuit(connection, due.asset_id)
    if circuit is None or circuit.device_id != due.device_id or not circuit.capabilities:
        return None  # It serves no circuit any more, or switches nothing.
    try:
        octets = await octets_for(connection, circuit, due.device_id, due.octets, Asked(now))
        rows = await read_lamps(connection, [due.asset_id])
        request = request_now(rows[due.asset_id], circuit, octets, now)
        if request is None:
            return ACT_LOOKED_AT_EVERY  # It cannot be put out, and may be dark until the program lights it.
        async with connection.transaction():
            requested = await request_command(connection, circuit, request, octets, now)
    except RejectedLightingCommand as refused:
        log.error("circuit_not_restored", asset=due.asset_id, act=due.id, reason=str(refused))
        swept.outcomes.append("restore_refused")
        await request_relight_alert(connection, due.asset_id, str(refused), now)
        return RELIGHT_EVERY if "switch" in circuit.capabilities else None
    swept.slots.add(requested.slot)
    swept.outcomes.append("restored")
    return None
