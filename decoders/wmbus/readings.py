"""Quantities, channels and instants of a meter's M-Bus records.

A value of storage 0 is at the uplink's instant, one of another storage at the instant that the meter gives for
that storage; without one it is in `data` alone. Channels say the phase, the direction of flow, the tariff, the
subunit and the function, where there are any: `""`, `maximum`, `tariff_1`, `subunit_1`, `tariff_2_maximum`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.wmbus.records import Function, Record
from lorawan.instants import to_us

_DAY_US = 86_400_000_000
OLDEST_US, AHEAD_US = 400 * _DAY_US, _DAY_US
_LOW_BATTERY, _PERMANENT_ERROR, _TEMPORARY_ERROR = 0x04, 0x08, 0x10
LITRES_PER_M3 = 1_000

ELECTRICITY, GAS, HEAT, COOLING, WATER, ROOM, HEAT_COST = (
    "electricity",
    "gas",
    "heat",
    "cooling",
    "water",
    "room",
    "hca",
)
MEDIA = {
    0x02: ELECTRICITY,
    0x03: GAS,
    **dict.fromkeys((0x04, 0x0C, 0x0D), HEAT),
    **dict.fromkeys((0x0A, 0x0B), COOLING),
    **dict.fromkeys((0x06, 0x07, 0x15, 0x16, 0x17), WATER),
    0x08: HEAT_COST,
    0x1B: ROOM,
}


class _Target(NamedTuple):
    quantity: str
    channel: str = ""
    divisor: int = 1


# What is measured, of what medium ("" for any) -> where it goes.
_TARGETS: Mapping[tuple[str, str], _Target] = {
    ("energy", HEAT): _Target("thermal_energy"),
    ("energy", COOLING): _Target("cooling_energy"),
    ("energy", ELECTRICITY): _Target("active_energy_import"),
    ("power", HEAT): _Target("thermal_power"),
    ("power", COOLING): _Target("thermal_power"),
    ("power", ELECTRICITY): _Target("active_power"),
    ("volume", WATER): _Target("water_volume"),
    ("volume", GAS): _Target("gas_volume", divisor=LITRES_PER_M3),
    ("volume", HEAT): _Target("water_volume", "circuit"),
    ("volume", COOLING): _Target("water_volume", "circuit"),
    ("volume_flow", ""): _Target("volume_flow"),
    ("flow_temperature", WATER): _Target("water_temperature"),
    ("flow_temperature", ""): _Target("temperature", "flow"),
    ("return_temperature", ""): _Target("temperature", "return"),
    ("temperature_difference", ""): _Target("temperature_difference"),
    ("external_temperature", ROOM): _Target("temperature"),
    ("external_temperature", ""): _Target("temperature", "external"),
    ("relative_humidity", ""): _Target("relative_humidity"),
    ("heat_cost_units", ""): _Target("heat_cost_units"),
    ("voltage", ELECTRICITY): _Target("voltage"),
    ("voltage", ""): _Target("battery_voltage"),
    ("current", ""): _Target("current"),
    ("frequency", ""): _Target("frequency"),
}
_EXPORTS = {"active_energy_import": "active_energy_export"}


def clock_offset(options: Mapping[str, Any]) -> timedelta:
    """How far the meter's clock is ahead of UTC: the option `utc_offset`, in hours, 0 by default."""
    hours: Any = options.get("utc_offset", 0)
    if isinstance(hours, bool) or not isinstance(hours, int | float) or not -12 <= hours <= 14:  # noqa: PLR2004
        raise MalformedPayload("l'option « utc_offset » du profil est un nombre d'heures, de -12 à 14")
    return timedelta(hours=hours)


def add_readings(
    records: Sequence[Record], medium: str, time_us: int, offset: timedelta, decoded: Decoded
) -> None:
    """Every record as JSON in `data["records"]`, and a reading for each that measures, at its instant."""
    instants = _instants(records, offset)
    shown: list[dict[str, Any]] = decoded.data.setdefault("records", [])
    for record in records:
        shown.append(_shown(record, offset))
        if record.meaning.what == "error_flags" and isinstance(record.value, int | float) and not record.storage:
            decoded.readings.append(Reading(time_us, "flags", "device_fault", float(record.value != 0)))
        target = _target(record, medium)
        if target is None or not isinstance(record.value, int | float):
            continue
        at_us = instants.get(record.storage) if record.storage else time_us
        if at_us is None:
            continue
        if not time_us - OLDEST_US <= at_us <= time_us + AHEAD_US:
            decoded.warnings.append(f"{target.quantity} : date du compteur invraisemblable, gardée sans mesure")
            continue
        value = record.value / target.divisor
        decoded.readings.append(Reading(at_us, _channel(record, target), target.quantity, float(value)))


def add_status(status: int, time_us: int, decoded: Decoded) -> None:
    """The status octet of the transport layer."""
    fault = bool(status & (_PERMANENT_ERROR | _TEMPORARY_ERROR))
    decoded.readings.append(Reading(time_us, "", "low_battery", float(bool(status & _LOW_BATTERY))))
    decoded.readings.append(Reading(time_us, "", "device_fault", float(fault)))
    decoded.data["status"] = status


def _target(record: Record, medium: str) -> _Target | None:
    meaning = record.meaning
    if meaning.modifiers or record.function is Function.ERROR:
        return None
    target = _TARGETS.get((meaning.what, medium)) or _TARGETS.get((meaning.what, ""))
    if target is not None and meaning.direction == "backward" and target.quantity in _EXPORTS:
        return target._replace(quantity=_EXPORTS[target.quantity])
    return target


def _channel(record: Record, target: _Target) -> str:
    parts = [target.channel, record.meaning.phase]
    if record.meaning.direction and target.quantity not in _EXPORTS.values():
        parts.append(record.meaning.direction)
    if record.tariff:
        parts.append(f"tariff_{record.tariff}")
    if record.subunit:
        parts.append(f"subunit_{record.subunit}")
    if record.function is not Function.INSTANT:
        parts.append(record.function.value)
    return "_".join(part for part in parts if part)


def _instants(records: Sequence[Record], offset: timedelta) -> dict[int, int]:
    """The instant of each storage that has one; a date alone leaves a day open, and is none."""
    instants: dict[int, int] = {}
    for record in records:
        if record.meaning.what == "datetime" and isinstance(record.value, datetime):
            instants.setdefault(record.storage, to_us(record.value - offset))
    return instants


def _shown(record: Record, offset: timedelta) -> dict[str, Any]:
    meaning, value = record.meaning, record.value
    if isinstance(value, datetime):
        written = value.date().isoformat() if meaning.what == "date" else (value - offset).isoformat()
    else:
        written = value
    shown: dict[str, Any] = {"what": meaning.what, "value": written}
    if meaning.unit:
        shown["unit"] = meaning.unit
    if meaning.direction:
        shown["direction"] = meaning.direction
    if meaning.phase:
        shown["phase"] = meaning.phase
    if meaning.modifiers:
        shown["modifiers"] = meaning.modifiers.hex()
    if record.function is not Function.INSTANT:
        shown["function"] = record.function.value
    for name in ("storage", "tariff", "subunit"):
        if number := getattr(record, name):
            shown[name] = number
    return shown
