"""Finds the circuits of a campaign, what each is to be sent, and by which gateway."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from api.auth import Caller, Change
from api.lighting_octets import octets_of
from decoders.codec import EncodedCommand
from lighting import campaign_store
from lighting.campaign_plan import Reach, neighbours_of, program_airtime_us, targets_of
from lighting.campaign_store import NewTarget, Wanted
from lighting.commands import RejectedLightingCommand
from lighting.expected import LampRow, read_lamps
from lighting.octets import Octets
from lighting.program_sending import NO_DRIFT
from lighting.program_targets import HOLDS_IT, Holder, RejectedProgram, encoded_for, find_holders
from lighting.requests import LightingRequest, check_circuit, native_octets
from lighting.store import Circuit


@dataclass(frozen=True, slots=True)
class RejectedTarget:
    """A circuit that cannot be commanded so, and why, in French."""

    asset_id: int
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """The circuits of a campaign, those that it leaves out, and which gateways hear the same devices."""

    targets: Sequence[NewTarget]
    rejected: Sequence[RejectedTarget]
    neighbours: Mapping[str, Sequence[str]]


async def prepare(change: Change, caller: Caller, request: LightingRequest, wanted: Wanted) -> Prepared:
    """Resolve the targets once: what joins a commune later is not in a campaign of today."""
    known, rejected = await _find(change, wanted)
    now = datetime.now(UTC)
    connection = change.connection
    circuits = await campaign_store.find_circuits_of(connection, known)
    names = await campaign_store.names_of(connection, [circuit.asset_id for circuit in circuits])
    profiles = await campaign_store.profiles_of(connection, [one.device_id for one in circuits if one.device_id])
    encoded: dict[tuple[Any, ...], Octets | str] = {}
    octets: dict[int, Octets] = {}
    for circuit in circuits:
        given = await _octets(change, caller, circuit, request, now, profiles, encoded)
        if isinstance(given, str):
            rejected.append(RejectedTarget(circuit.asset_id, names.get(circuit.asset_id, ""), given))
        else:
            octets[circuit.asset_id] = given
    reached = await campaign_store.read_reached(connection, list(octets))
    targets = [NewTarget(*target) for target in targets_of(octets, reached, request.action)]
    return Prepared(targets, rejected, neighbours_of(list(reached.values())))


async def _find(change: Change, wanted: Wanted) -> tuple[list[int], list[RejectedTarget]]:
    """What of one's own is meant, and what is named and is not there."""
    found = await campaign_store.find_targets(change.connection, change.tenant_id, wanted)
    known = {asset_id for asset_id, _ in found}
    why = NO_DRIFT if wanted.drifted else "aucune armoire ni circuit de ce numéro chez vous"
    missing = [number for number in dict.fromkeys(wanted.asset_ids or ()) if number not in known]
    return sorted(known), [RejectedTarget(number, "", why) for number in missing]


async def prepare_programs(change: Change, wanted: Wanted) -> Prepared:
    """The clocks that are to be sent the program in force of their cabinet; those that hold it already are not."""
    known, rejected = await _find(change, wanted)
    now = datetime.now(UTC)
    connection = change.connection
    holders = await find_holders(connection, known)
    lamps = await read_lamps(connection, [holder.asset_id for holder in holders])
    compiled: dict[tuple[Any, ...], EncodedCommand | str] = {}
    frames: dict[int, EncodedCommand] = {}
    for holder in holders:
        row = lamps[holder.asset_id]
        # How long a frame is does not depend on where exactly the cabinet stands.
        is_placed = row.latitude is not None and row.longitude is not None
        alike = (
            holder.codec,
            holder.is_clock,
            holder.enabled,
            holder.kind,
            row.version_id,
            row.department,
            is_placed,
        )
        if alike not in compiled:
            compiled[alike] = await asyncio.to_thread(_compiled, holder, row, now)
        given = HOLDS_IT if holder.holds_it else compiled[alike]
        if isinstance(given, str):
            rejected.append(RejectedTarget(holder.asset_id, holder.name, given))
        else:
            frames[holder.asset_id] = given
    reached = await campaign_store.read_reached(connection, list(frames))
    targets: list[NewTarget] = []
    for number, frame in sorted(frames.items()):
        reach = reached.get(number, Reach((), None, None))
        targets.append(NewTarget(number, reach.gateway, program_airtime_us(frame, reach), {}))
    return Prepared(targets, rejected, neighbours_of(list(reached.values())))


def _compiled(holder: Holder, row: LampRow, now: datetime) -> EncodedCommand | str:
    try:
        return encoded_for(holder, row, row.place.region.local(now).date())[0]
    except RejectedProgram as refused:
        return str(refused)


async def _octets(
    change: Change,
    caller: Caller,
    circuit: Circuit,
    request: LightingRequest,
    now: datetime,
    profiles: Mapping[int, int],
    encoded: dict[tuple[Any, ...], Octets | str],
) -> Octets | str:
    """What the circuit is to be sent, or why it is not; encoded once for all circuits that are alike."""
    try:
        check_circuit(circuit, request, now)
    except RejectedLightingCommand as refused:
        return str(refused)
    profile = None if circuit.device_id is None else profiles.get(circuit.device_id)
    alike = (profile, circuit.codec, circuit.codec_version_id, circuit.output, circuit.reported)
    if alike not in encoded:
        try:
            if circuit.codec_version_id is None:
                encoded[alike] = native_octets(
                    circuit.codec, circuit.output, request.asked_at(now), circuit.reported
                )
            else:
                encoded[alike] = await octets_of(change.connection, caller, circuit, request.asked_at(now))
        except RejectedLightingCommand as refused:
            encoded[alike] = str(refused)
    return encoded[alike]
