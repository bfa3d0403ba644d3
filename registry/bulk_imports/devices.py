"""Devices of a bulk import: registered as `registry.imports` does, and placed where their line says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.runtime.postgres import Connection, ExclusionViolationError
from registry.assignments import open_assignment, read_serving
from registry.bulk_imports import store
from registry.bulk_imports.plan import RejectedLine
from registry.bulk_imports.rows import DoneLine
from registry.enrolment import read_enrolled
from registry.imports import ImportedDevice, ImportedSession, Outcome, import_device
from registry.keys import KeyWrap

NO_JOIN_EUI = bytes(8)
SESSION = ("dev_addr", "nwk_s_key", "app_s_key")
WINDOWS = ("f_cnt_up", "f_cnt_down", "rx1_delay", "rx1_dr_offset", "rx2_data_rate", "rx2_frequency")
CABINET = "lighting_cabinet"


@dataclass(frozen=True, slots=True)
class _There:
    """What is there of what the lines of a batch name."""

    profiles: Mapping[str, int]
    profile_ids: set[int]
    sources: set[int]
    assets: Mapping[tuple[str, str], int]


async def import_devices(
    connection: Connection, keys: KeyWrap, tenant_id: int, lines: Sequence[Mapping[str, Any]], room: int
) -> list[DoneLine]:
    """Register the devices of these lines, of which `room` may be new; one that is refused changes nothing."""
    there = await _surroundings(connection, tenant_id, lines)
    done = list[DoneLine]()
    for line in lines:
        trying = connection.transaction()
        await trying.start()
        try:
            became = await _import(connection, keys, tenant_id, line, there, room)
        except RejectedLine as refused:
            became = DoneLine(Outcome.REFUSED, refused.column, refused.french)
        if became.outcome == Outcome.REFUSED:
            await trying.rollback()
        else:
            await trying.commit()
        room -= became.outcome == Outcome.CREATED
        done.append(became)
    return done


def _asset_named(line: Mapping[str, Any]) -> tuple[str, str] | None:
    return (line.get("asset_kind", CABINET), line["asset"]) if "asset" in line else None


async def _surroundings(connection: Connection, tenant_id: int, lines: Sequence[Mapping[str, Any]]) -> _There:
    names = sorted({line["device_profile"] for line in lines if "device_profile" in line})
    ids = sorted({line["device_profile_id"] for line in lines if "device_profile_id" in line})
    profiles, profile_ids = await store.read_profiles(connection, tenant_id, names, ids)
    sources = sorted({line["lns_source_id"] for line in lines if "lns_source_id" in line})
    assets = sorted({named for line in lines if (named := _asset_named(line)) is not None})
    parents = await store.read_parents(connection, tenant_id, assets)
    return _There(
        profiles,
        profile_ids,
        await store.read_sources(connection, tenant_id, sources) if sources else set(),
        {named: parent.id for named, parent in parents.items()},
    )


async def _import(
    connection: Connection, keys: KeyWrap, tenant_id: int, line: Mapping[str, Any], there: _There, room: int
) -> DoneLine:
    device = _device(line, there)
    known = await read_enrolled(connection, device.dev_eui)
    if known is None and room <= 0:
        raise RejectedLine("", "quota de capteurs atteint : l'exploitant du réseau peut l'élever")
    if known is None and not device.device_profile_id:
        raise RejectedLine("device_profile_id", "manque : il le faut pour créer")
    imported = await import_device(connection, keys, tenant_id, device)
    if imported.outcome == Outcome.REFUSED:
        return DoneLine(Outcome.REFUSED, "dev_eui", imported.french)
    outcome = imported.outcome
    if await _place(connection, line, device, there) and outcome == Outcome.UNCHANGED:
        outcome = Outcome.UPDATED
    return DoneLine(outcome)


def _device(line: Mapping[str, Any], there: _There) -> ImportedDevice:
    """The device as `registry.imports` takes it; a profile of 0 is one that the line does not name."""
    profile_id = line.get("device_profile_id")
    if profile_id is not None and profile_id not in there.profile_ids:
        raise RejectedLine("device_profile_id", f"profil {profile_id} introuvable")
    if profile_id is None and "device_profile" in line:
        profile_id = there.profiles.get(line["device_profile"])
        if profile_id is None:
            raise RejectedLine("device_profile", f"profil « {line['device_profile']} » introuvable")
    source = line.get("lns_source_id")
    if source is not None and source not in there.sources:
        raise RejectedLine("lns_source_id", f"source {source} introuvable")
    if "app_key" in line and "join_eui" not in line:
        raise RejectedLine("join_eui", "manque : il va avec app_key")
    return ImportedDevice(
        bytes.fromhex(line["dev_eui"]),
        bytes.fromhex(line["join_eui"]) if "join_eui" in line else NO_JOIN_EUI,
        line.get("name", line["dev_eui"]),
        profile_id or 0,
        bytes.fromhex(line["app_key"]) if "app_key" in line else None,
        line.get("join_nonce"),
        _session(line),
        source,
    )


def _session(line: Mapping[str, Any]) -> ImportedSession | None:
    given = [name for name in SESSION if name in line]
    if not given:
        return None
    missing = next((name for name in SESSION if name not in line), None)
    if missing is not None:
        raise RejectedLine(missing, f"manque : il va avec {given[0]}")
    given_windows: dict[str, Any] = {name: line[name] for name in WINDOWS if name in line}
    octets: dict[str, Any] = {name: bytes.fromhex(line[name]) for name in SESSION}
    counters: dict[str, Any] = {"f_cnt_up": 0, "f_cnt_down": 0}
    return ImportedSession(**(counters | octets | given_windows))


async def _place(connection: Connection, line: Mapping[str, Any], device: ImportedDevice, there: _There) -> bool:
    """The device serves what its line names from now on; False when it did already. Nothing is taken away."""
    named = _asset_named(line)
    if named is None:
        return False
    asset_id, position = there.assets.get(named), line.get("position", "")
    if asset_id is None:
        raise RejectedLine("asset", f"« {named[1]} » n'est pas dans l'inventaire ({named[0]})")
    enrolled = await read_enrolled(connection, device.dev_eui)
    assert enrolled is not None  # noqa: S101 - It was just imported.
    serving = await read_serving(connection, asset_id)
    if any((one.device_id, one.position) == (enrolled.id, position) for one in serving):
        return False
    if enrolled.asset_id is not None:
        raise RejectedLine("asset", "ce capteur sert déjà un autre équipement : retirez-le d'abord")
    if any(one.position == position for one in serving):
        raise RejectedLine("asset", f"« {named[1]} » est déjà servi par un autre capteur à cette place")
    try:
        await open_assignment(connection, asset_id, enrolled.id, position)
    except ExclusionViolationError:
        raise RejectedLine("asset", f"« {named[1]} » vient d'être pris par un autre capteur") from None
    return True
