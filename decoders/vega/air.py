"""VEGAPULS Air: packets 2 and 5, a radar distance (docs/decoders-formats.md, "Short formats")."""

from collections.abc import Mapping
from struct import Struct
from typing import Any

from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.codec import Codec

MEASURE, MEASURE_WITH_POSITION, NOTHING = 2, 5, 254
_MEASURE = Struct(">BBfBBhB")
_WITH_POSITION = Struct(">BBfBBhffIB")
_LAYOUTS = {MEASURE: _MEASURE, MEASURE_WITH_POSITION: _WITH_POSITION}
# HART unit codes -> quantity, and what one is worth in its unit.
_UNITS = {
    44: ("distance", 304.8),
    45: ("distance", 1_000.0),
    47: ("distance", 25.4),
    48: ("distance", 10.0),
    49: ("distance", 1.0),
    57: ("fill_level", 1.0),
}
_NAMUR = {0: "good", 4: "failure"}
_FAILURE = 4


def decode(_f_port: int, payload: bytes, time_us: int, _options: Mapping[str, Any]) -> Decoded:
    """Decode packet 2 or 5, or the one that says nothing (254). Raises MalformedPayload for another one."""
    kind = payload[0] if payload else -1
    if kind == NOTHING and len(payload) == 1:
        return Decoded(data={"packet": NOTHING})
    layout = _LAYOUTS.get(kind)
    if layout is None or len(payload) != layout.size:
        raise MalformedPayload(
            f"paquet {kind} de {len(payload)} octets : 2 (11 octets), 5 (23) et 254 sont lus : {payload.hex()}"
        )
    _, namur, value, unit, battery, tenths, *rest = layout.unpack(payload)
    decoded = Decoded(data={"packet": kind, "namur": _NAMUR.get(namur, str(namur)), "unit": unit})
    _add_measure(value, unit, time_us, decoded)
    decoded.readings += [
        Reading(time_us, "", "battery_level", float(battery)),
        Reading(time_us, "", "temperature", tenths / 10),
        Reading(time_us, "", "angle", float(rest[-1])),
        Reading(time_us, "", "device_fault", float(namur == _FAILURE)),
    ]
    if kind == MEASURE_WITH_POSITION:
        latitude, longitude, status, _ = rest
        decoded.data["status"] = status
        if abs(latitude) <= 90 and abs(longitude) <= 180:  # noqa: PLR2004 - NaN is not.
            decoded.data["position"] = {"latitude": latitude, "longitude": longitude}
    return decoded


def _add_measure(value: float, unit: int, time_us: int, decoded: Decoded) -> None:
    if value - value != 0:  # Infinite or NaN: there was no echo.
        decoded.warnings.append("le capteur n'a pas de mesure")
    elif unit not in _UNITS:
        decoded.data["value"] = value
        decoded.warnings.append(f"unité {unit} inconnue : valeur gardée sans mesure")
    else:
        quantity, worth = _UNITS[unit]
        decoded.readings.append(Reading(time_us, "", quantity, value * worth))


CODEC = Codec("vega.vegapuls_air", 1, decode)
