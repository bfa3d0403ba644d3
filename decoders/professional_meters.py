"""Readings of professional sites' meters (PME-PMI, ICE, CJE), for every module that relays them.

Energies are in watt-hours and powers in watts, as everywhere; these meters count in kWh and kW. Channels of
`active_energy_import`, and of the reactive ones: the tariff in lower case (`hpe`, `hch`, `p` ...), which for
PME-PMI is PTCOUR1 of the same frame, or `index_1` to `index_6` of a CJE. Powers of ten minutes are on
`load_curve`, at the end of the ten minutes.
"""

from collections.abc import Mapping
from typing import Any

from decoders.canonical import Decoded, Reading
from decoders.linky import MeterDate, Power, Target, TicValue, add_dated, json_of, targets

_KILO = 1_000
_ACTIVE, _DRAWN, _GIVEN = "active_energy_import", "reactive_energy_import", "reactive_energy_export"

# Labels whose value, times a thousand, is a reading as it is; and those whose value is one.
_KILO_TARGETS, _TARGETS = targets("professional_kilo"), targets("professional")
# Indexes of the running period of a PME-PMI: their channel is the tariff that runs.
_OF_THE_TARIFF = {
    "EAP_s": _ACTIVE,
    "EAP_i": "active_energy_export",
    "ER+P_s": _DRAWN,
    "ER-P_s": _GIVEN,
}
_DATED = {
    **{f"PA{index}{suffix}": f"DATEPA{index}" for index in range(1, 7) for suffix in ("", "_s", "_i")},
}
_LOAD_CURVE, _LOAD_CURVE_EXPORT = Target("active_power", "load_curve"), Target("active_power", "load_curve_export")
# A power whose unit the meter says: (quantity in kW, quantity in kVA); only the second has a subscribed one.
_POWERS = {"PMAX_s": ("active_power_maximum", "apparent_power_maximum")}
_TEXTS = {
    "meter_id": ("ADS",),
    "tariff_period": ("PTCOUR1", "PTCOUR"),
    "tariff_option": ("MESURES1", "CONTRAT"),
}


def normalise_professional(fields: Mapping[str, TicValue], time_us: int, decoded: Decoded) -> None:
    """Add to `decoded` what the labels of a frame say.

    An index of the running tariff without PTCOUR1 in the same frame is kept in `data["tic"]`, with a
    warning: it would be mixed with those of the other tariffs.
    """
    decoded.data["tic"] = {label: json_of(value) for label, value in fields.items()}
    for name, labels in _TEXTS.items():
        for label in labels:
            if isinstance(text := fields.get(label), str) and (shown := text.strip(" .")):
                decoded.data[name] = shown
    for label, value in fields.items():
        match value:
            case int() if label in _DATED:
                _add_load_curve(label, value, fields, time_us, decoded)
            case int() if label in _OF_THE_TARIFF:
                _add_index(label, value, fields, time_us, decoded)
            case int():
                _append_reading(label, value, time_us, decoded)
            case Power():
                _add_power(label, value, time_us, decoded)
            case _:
                pass


def _append_reading(label: str, value: int, time_us: int, decoded: Decoded) -> None:
    if (target := _KILO_TARGETS.get(label)) is not None:
        decoded.readings.append(Reading(time_us, target.channel, target.quantity, float(value * _KILO)))
    elif (target := _TARGETS.get(label)) is not None:
        decoded.readings.append(Reading(time_us, target.channel, target.quantity, float(value)))


def _add_load_curve(
    label: str, kilowatts: int, fields: Mapping[str, TicValue], time_us: int, decoded: Decoded
) -> None:
    """A mean power of ten minutes, when the frame also has its date."""
    date: Any = fields.get(_DATED[label])
    if isinstance(date, MeterDate):
        target = _LOAD_CURVE_EXPORT if label.endswith("_i") else _LOAD_CURVE
        add_dated(label, date, kilowatts * _KILO, target, time_us, decoded)


def _add_index(label: str, kilo: int, fields: Mapping[str, TicValue], time_us: int, decoded: Decoded) -> None:
    tariff = fields.get("PTCOUR1")
    if isinstance(tariff, str) and (channel := tariff.strip(" .").lower()):
        decoded.readings.append(Reading(time_us, channel, _OF_THE_TARIFF[label], float(kilo * _KILO)))
    else:
        decoded.warnings.append(f"{label} : sans PTCOUR1 dans la trame, cet index n'est attribué à aucun tarif")


def _add_power(label: str, power: Power, time_us: int, decoded: Decoded) -> None:
    if label == "PS" and power.unit == "kVA":
        decoded.readings.append(Reading(time_us, "", "subscribed_power", float(power.value)))
    elif label in _POWERS and power.unit in ("kW", "kVA"):
        quantity = _POWERS[label][power.unit == "kVA"]
        decoded.readings.append(Reading(time_us, "", quantity, float(power.value * _KILO)))
