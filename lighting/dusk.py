"""Who the platform will not be able to light is named before the program lights: then people still can.

A clock lights by itself, whatever became of the network. A relay depends on its device, on a gateway that hears it
and on the network server.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from core.runtime.postgres import Connection, Pool
from lighting import circuit_store, command_store
from lighting.circuit_store import Circuit
from lighting.command_store import Command
from lighting.commands import RejectedLightingCommand, State
from lighting.following import Following
from lighting.phases import lit_at
from lighting.requests import LightingRequest, check_circuit
from lighting.restoring import octets_for
from lighting.swept import alone
from registry.alert_requests import request_dusk_alert

NAMED_BEFORE = timedelta(hours=1)
# A restart takes less; a gateway speaks at least once a minute.
NETWORK_SILENT_FOR, GATEWAY_SILENT_FOR = timedelta(minutes=2), timedelta(minutes=5)
# An "on" that goes out takes seconds.
NOT_PLACED_FOR = timedelta(minutes=3)
UNREACHED_FR = {
    "network": "le serveur de réseau ne répond pas",
    "gateway": "aucune des passerelles qui entendent son équipement ne répond",
    "unheard": "son équipement n'a pas encore été entendu",
}
NOT_PLACED_FR = "aucune passerelle n'a pu émettre l'ordre d'allumage"
UNREACHED = "SELECT device_id, why FROM lighting_unreached($1::int[], $2, $3)"


class Named:
    """For which lighting each circuit was named last; after a restart once more, which is one more occurrence."""

    def __init__(self) -> None:
        """Nobody was named."""
        self._lit_at: dict[int, datetime] = {}

    def is_new(self, asset_id: int, at: datetime) -> bool:
        """Whether it was not named for a lighting that is about at this instant."""
        known = self._lit_at.get(asset_id)
        return known is None or abs(at - known) > NAMED_BEFORE

    def record(self, asset_id: int, at: datetime) -> None:
        """It is named."""
        self._lit_at[asset_id] = at


async def name_unlit(pool: Pool, following: Mapping[int, Following], now: datetime, named: Named) -> int:
    """Ask for an alert of each relay that is to be lit soon and, as things stand, will not be; of how many."""
    soon = {number: at for number, one in following.items() if (at := _lit_soon(one, now)) is not None}
    new = {number: at for number, at in soon.items() if named.is_new(number, at)}
    if not new:
        return 0
    count = 0
    async with pool.acquire() as connection:
        for asset_id, why in (await _unlit(connection, new, now)).items():
            with alone("dusk", asset_id):
                hour = f"{following[asset_id].lamps.place.region.local(new[asset_id]):%-H h %M}"
                await request_dusk_alert(connection, asset_id, why, hour, now)
                named.record(asset_id, new[asset_id])
                count += 1
    return count


def _lit_soon(one: Following, now: datetime) -> datetime | None:
    """When the program lights it, within the hour; None: not so soon."""
    at = lit_at(one.lamps, one.phase)
    return at if now < at <= now + NAMED_BEFORE else None


async def _unlit(connection: Connection, soon: Mapping[int, datetime], now: datetime) -> dict[int, str]:
    """Of these circuits those that will not be lit, and why, in French."""
    circuits = await circuit_store.find_served(connection, list(soon))
    devices = [one.device_id for one in circuits if one.device_id is not None]
    unreached = await connection.fetch(UNREACHED, devices, now - NETWORK_SILENT_FOR, now - GATEWAY_SILENT_FOR)
    reasons = {row["device_id"]: UNREACHED_FR[row["why"]] for row in unreached}
    last = await command_store.last_commands(connection, list(soon))
    found: dict[int, str] = {}
    for circuit in circuits:
        why = await _why_rejected(connection, circuit, now) or reasons.get(circuit.device_id or 0)
        if why is None and _waits(last.get(circuit.asset_id), now):
            why = NOT_PLACED_FR
        if why is not None:
            found[circuit.asset_id] = why
    return found


async def _why_rejected(connection: Connection, circuit: Circuit, now: datetime) -> str | None:
    """Why its device cannot be asked at all."""
    request = LightingRequest("on", "", "")
    try:
        check_circuit(circuit, request, now)
        await octets_for(connection, circuit, circuit.device_id or 0, {}, request.asked_at(now))
    except RejectedLightingCommand as refused:
        return str(refused)
    return None


def _waits(last: Command | None, now: datetime) -> bool:
    """Whether an "on" waits for longer than any takes."""
    return (
        last is not None
        and last.action == "on"
        and last.state == State.QUEUED
        and now >= last.created_at + NOT_PLACED_FOR
    )
