"""Finds the circuits of a campaign, what each is to be sent, and by which gateway."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from api.auth import Caller, Change
from api.lighting_octets import octets_of
from lighting import campaign_store
from lighting.campaign_plan import neighbours_of, targets_of
from lighting.campaign_store import NewTarget
from lighting.commands import RejectedLightingCommand
from lighting.octets import Octets
from lighting.requests import LightingRequest, check_circuit, native_octets
from lighting.store import Circuit


@dataclass(frozen=True, slots=True)
class Wanted:
    """To whom a campaign goes: one of the three, or with none of them to everything that its author owns."""

    asset_ids: Sequence[int] | None = None
    commune: str | None = None
    tag: str | None = None


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


async def prepare(
    change: Change,
    caller: Caller,
    action: str,
    wanted: Wanted,
    *,
    level: int | None = None,
    off_until: datetime | None = None,
) -> Prepared:
    """Resolve the targets once: what joins a commune later is not in a campaign of today."""
    now = datetime.now(UTC)
    connection = change.connection
    found = await campaign_store.find_targets(
        connection, change.tenant_id, wanted.asset_ids, wanted.commune, wanted.tag
    )
    known = {asset_id for asset_id, _ in found}
    rejected = [
        RejectedTarget(asset_id, "", "aucune armoire ni circuit de ce numéro chez vous")
        for asset_id in dict.fromkeys(wanted.asset_ids or ())
        if asset_id not in known
    ]
    circuits = await campaign_store.find_circuits_of(connection, sorted(known))
    names = await campaign_store.names_of(connection, [circuit.asset_id for circuit in circuits])
    request = LightingRequest(action, "", "", off_until=off_until, level=level)
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
    targets = [NewTarget(*target) for target in targets_of(octets, reached, action)]
    return Prepared(targets, rejected, neighbours_of(list(reached.values())))


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
