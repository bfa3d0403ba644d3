"""Finds the circuits of a campaign, what each is to be sent, and by which gateway."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from api.auth import Caller, Change
from api.impersonation import as_owner
from api.lighting_octets import ProgramEncoder, octets_of
from decoders.codec import EncodedCommand
from lighting import circuit_store
from lighting.campaign_plan import Reach, frame_airtime_us, neighbours_of, targets_of
from lighting.circuit_store import Circuit, Wanted
from lighting.commands import LONGEST_OFF, RejectedLightingCommand
from lighting.compilers import SET_PROGRAM
from lighting.expected import LampRow, read_lamps
from lighting.octets import DIM, OFF, Octets
from lighting.program_sending import NO_DRIFT
from lighting.program_store import bounds_of
from lighting.program_targets import (
    HOLDS_IT,
    Holder,
    RejectedProgram,
    check_holder,
    encoded_for,
    find_holders,
)
from lighting.programs import Overstep, override_outside
from lighting.requests import LightingRequest, check_circuit, native_octets
from lighting.target_store import NewTarget
from lighting.vendor_programs import VendorProgram

LONGEST_CAMPAIGN = timedelta(hours=24)
MOST_TARGETS = 20_000


@dataclass(frozen=True, slots=True)
class RejectedTarget:
    """A circuit that cannot be commanded so, and why, in French."""

    asset_id: int
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """The circuits of a campaign, those that it leaves out, and which gateways hear the same devices.

    `outside` is the first bound that it oversteps of each who has set one for its author; `owners`: of whom how
    many are commanded, and one of the assets of each; `unproven`: those of which nothing can prove it.
    """

    targets: Sequence[NewTarget]
    rejected: Sequence[RejectedTarget]
    neighbours: Mapping[str, Sequence[str]]
    outside: Sequence[Overstep] = ()
    owners: Mapping[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])
    unproven: Collection[int] = ()


@dataclass(slots=True)
class _Part:
    """What one owner's lamps contribute."""

    targets: list[NewTarget] = field(default_factory=list[NewTarget])
    rejected: list[RejectedTarget] = field(default_factory=list[RejectedTarget])
    reached: list[Reach] = field(default_factory=list[Reach])
    unproven: set[int] = field(default_factory=set[int])
    outside: dict[int, Overstep] = field(default_factory=dict[int, Overstep])


async def prepare(change: Change, caller: Caller, request: LightingRequest, wanted: Wanted) -> Prepared:
    """Resolve the targets once: what joins a commune later is not in a campaign of today.

    The lamps of others are looked at in their name, as each grant lets one, and within the bounds set for them.
    """
    found = await circuit_store.find_targets(change.connection, change.tenant_id, wanted)
    known = {asset_id for asset_id, _ in found}
    why = NO_DRIFT if wanted.drifted else "aucune armoire ni circuit de ce numéro chez vous"
    missing = [number for number in dict.fromkeys(wanted.asset_ids or ()) if number not in known]
    whole = _Part(rejected=[RejectedTarget(number, "", why) for number in missing])
    owners: dict[int, tuple[int, int]] = {}
    for owner in sorted({owner for _, owner in found}):
        ids = [asset_id for asset_id, one in found if one == owner]
        async with as_owner(change, owner, ids[0], f"actif {ids[0]}") as acting:
            if request.action == SET_PROGRAM:
                part = await _prepare_programs(acting, caller, ids)
            else:
                part = await _prepare_commands(acting, caller, request, ids, is_own=acting is change)
        whole.targets += part.targets
        whole.rejected += part.rejected
        whole.reached += part.reached
        whole.unproven |= part.unproven
        whole.outside |= part.outside
        if part.targets:
            owners[owner] = ids[0], len(part.targets)
    whole.targets.sort(key=lambda target: target.asset_id)
    neighbours = neighbours_of(whole.reached)
    return Prepared(
        whole.targets, whole.rejected, neighbours, tuple(whole.outside.values()), owners, whole.unproven
    )


async def _prepare_commands(
    acting: Change, caller: Caller, request: LightingRequest, known: Sequence[int], *, is_own: bool
) -> _Part:
    now = datetime.now(UTC)
    connection = acting.connection
    circuits = await circuit_store.find_circuits_of(connection, known)
    named = await circuit_store.names_of(connection, [circuit.asset_id for circuit in circuits])
    profiles = await circuit_store.profiles_of(connection, [one.device_id for one in circuits if one.device_id])
    oversteps = await outside_bounds(acting, request, {one.id: one.tags for one in named.values()}, now)
    encoded: dict[tuple[Any, ...], Octets | str] = {}
    octets: dict[int, Octets] = {}
    part = _Part()
    for circuit in circuits:
        given = await _octets(acting, caller, circuit, request, now, profiles, encoded)
        outside = oversteps.get(circuit.asset_id, ())
        if outside and not is_own and not isinstance(given, str):
            given = f"hors des bornes du syndicat : {outside[0].why}"
        if isinstance(given, str):
            part.rejected.append(RejectedTarget(circuit.asset_id, named[circuit.asset_id].name, given))
        else:
            octets[circuit.asset_id] = given
            for overstep in outside:
                part.outside.setdefault(overstep.set_by_id, overstep)
    reached = await circuit_store.read_reached(connection, list(octets))
    part.reached += reached.values()
    part.targets += [NewTarget(*target) for target in targets_of(octets, reached, request.action)]
    return part


async def outside_bounds(
    acting: Change, request: LightingRequest, tags: Mapping[int, Collection[str]], now: datetime
) -> dict[int, tuple[Overstep, ...]]:
    """Those of these circuits at which a command oversteps bounds that have been set for their owner."""
    if request.action not in {OFF, DIM}:
        return {}
    bounds = await bounds_of(acting.connection, acting.tenant_id)
    if not bounds:
        return {}
    end = request.off_until or now + LONGEST_OFF
    level = request.level or 0
    rows = await read_lamps(acting.connection, list(tags))
    judged: dict[tuple[Any, ...], tuple[Overstep, ...]] = {}
    found: dict[int, tuple[Overstep, ...]] = {}
    for asset_id, row in rows.items():
        place = row.place
        # Dusk is the same within some kilometres.
        alike = tuple(None if one is None else round(one, 1) for one in (place.latitude, place.longitude))
        key = (*alike, row.department, frozenset(tags[asset_id]))
        if key not in judged:
            judged[key] = override_outside(level, now, end, place, bounds, tags[asset_id])
        if judged[key]:
            found[asset_id] = judged[key]
    return found


async def _prepare_programs(acting: Change, caller: Caller, known: Sequence[int]) -> _Part:
    """The clocks that are to be sent the program in force of their cabinet; those that hold it already are not."""
    now = datetime.now(UTC)
    connection = acting.connection
    holders = await find_holders(connection, known)
    lamps = await read_lamps(connection, [holder.asset_id for holder in holders])
    compiled: dict[tuple[Any, ...], EncodedCommand | str] = {}
    encoder = ProgramEncoder(connection, caller)
    programs: dict[int, EncodedCommand | VendorProgram] = {}
    part = _Part()
    for holder in holders:
        row = lamps[holder.asset_id]
        given = HOLDS_IT if holder.holds_it else await _program(encoder, holder, row)
        if given is None:
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
            given = compiled[alike]
        if isinstance(given, str):
            part.rejected.append(RejectedTarget(holder.asset_id, holder.name, given))
        else:
            programs[holder.asset_id] = given
    reached = await circuit_store.read_reached(connection, list(programs))
    part.reached += reached.values()
    for number, program in sorted(programs.items()):
        reach = reached.get(number, Reach((), None, None))
        is_of_vendor = isinstance(program, VendorProgram)
        frames = program.frames if is_of_vendor else [program]
        airtime_us = sum(frame_airtime_us(frame, reach.rx2_data_rate) for frame in frames)
        part.targets.append(
            NewTarget(number, reach.gateway, airtime_us, program.as_json() if is_of_vendor else {})
        )
        if is_of_vendor and not program.is_provable:
            part.unproven.add(number)
    return part


async def _program(encoder: ProgramEncoder, holder: Holder, row: LampRow) -> VendorProgram | str | None:
    """Of a clock of another make, or why there is none; None: it is of the open profile, or no clock."""
    try:
        check_holder(holder)
        return await encoder.encode(holder, row) if holder.is_of_vendor else None
    except RejectedProgram as refused:
        return str(refused)


def _compiled(holder: Holder, row: LampRow, now: datetime) -> EncodedCommand | str:
    try:
        return encoded_for(holder, row, now)[0]
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
