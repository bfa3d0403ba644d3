"""Fludia FM432 (e, ir, p): an index at the reception, and how much it grew in each step before (vendor's drivers).

Everything is big-endian, on f_port 129. The frames repeat steps that former ones have said: their instants are
rounded to the minute, so that what overlaps is the same. An optical index of an electromechanical meter counts
turns or flashes: it is `pulse_count`, and energy when the profile option `wh_per_unit` says what one is worth.
"""

from collections.abc import Mapping
from math import isfinite
from struct import unpack_from
from typing import Any, NamedTuple

from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.codec import Codec

F_PORT = 129
MINUTE_US = 60_000_000


class _Curve(NamedTuple):
    """A frame of curves: how its index is written, where the curves begin, and what each one is."""

    code: str
    start: int
    quantities: tuple[tuple[str, str], ...]


_UNITS = (("pulse_count", ""),)
CURVES: Mapping[int, _Curve] = {
    0x69: _Curve("I", 2, _UNITS),  # FM432e
    0x6F: _Curve("I", 2, _UNITS),  # FM432ir on an electromechanical meter
    0x6B: _Curve("I", 2, _UNITS),  # FM432p
    # FM432ir on an electronic meter, in watt-hours: OBIS 16.8.0, or 1.8.0 and 2.8.0.
    0x75: _Curve("Q", 3, (("active_energy_import", "sum"),)),
    0x78: _Curve("Q", 3, (("active_energy_import", ""), ("active_energy_export", ""))),
}
_METERS = {0: "electromechanical", 1: "electronic"}
_OPTICAL_STATE, _OPTICAL_STATE_SIZE = 0x6A, 16
_PULSE_STATE, _PULSE_STATE_SIZE = 0x6C, 11
_INSTALLING = {0x01: "start", 0x12: "installation_1", 0x13: "installation_2"}


def decode(f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
    """Decode curves, or the technical state. Raises MalformedPayload for another f_port, type or size."""
    if f_port != F_PORT or not payload:
        raise MalformedPayload(f"f_port {f_port} : les trames Fludia arrivent sur 129 : {payload.hex() or 'vide'}")
    kind, decoded = payload[0], Decoded()
    if kind in CURVES:
        _read_curves(payload, CURVES[kind], time_us, _wh_per_unit(options), decoded)
    elif kind == _OPTICAL_STATE and len(payload) == _OPTICAL_STATE_SIZE:
        _read_optical_state(payload, time_us, _wh_per_unit(options), decoded)
    elif kind == _PULSE_STATE and len(payload) == _PULSE_STATE_SIZE:
        _read_pulse_state(payload, time_us, _wh_per_unit(options), decoded)
    elif kind in _INSTALLING:
        decoded.data = {"frame": _INSTALLING[kind], "octets": payload[1:].hex()}
    else:
        raise MalformedPayload(f"type {kind:02x} de {len(payload)} octets inconnu chez Fludia : {payload.hex()}")
    return decoded


def _wh_per_unit(options: Mapping[str, Any]) -> float | None:
    worth: Any = options.get("wh_per_unit")
    if isinstance(worth, bool) or not isinstance(worth, int | float) or not isfinite(worth) or worth <= 0:
        return None
    return float(worth)


def _add_index(at_us: int, channel: str, quantity: str, index: int, worth: float | None, decoded: Decoded) -> None:
    decoded.readings.append(Reading(at_us, channel, quantity, float(index)))
    if quantity == "pulse_count" and worth is not None:
        decoded.readings.append(Reading(at_us, channel, "active_energy_import", index * worth))


def _read_curves(payload: bytes, curve: _Curve, time_us: int, worth: float | None, decoded: Decoded) -> None:
    size = (len(payload) - curve.start) // len(curve.quantities)
    index_size = 4 if curve.code == "I" else 8
    count, odd = divmod(size - index_size, 2)
    if (
        size < index_size + 2
        or odd
        or curve.start + size * len(curve.quantities) != len(payload)
        or not payload[1]
    ):
        raise MalformedPayload(f"courbes Fludia de taille ou de pas impossible : {payload.hex()}")
    step_us = payload[1] * MINUTE_US
    at_us = (time_us + MINUTE_US // 2) // MINUTE_US * MINUTE_US
    decoded.data = {"frame": "curve", "step_minutes": payload[1]}
    for number, (quantity, channel) in enumerate(curve.quantities):
        index, *growths = unpack_from(f">{curve.code}{count}H", payload, curve.start + number * size)
        readings = [(at_us, index)]
        for back, growth in enumerate(reversed(growths), start=1):
            index -= growth
            readings.append((at_us - back * step_us, index))
        sound = [(instant, value) for instant, value in reversed(readings) if value >= 0]
        if len(sound) < len(readings):
            decoded.warnings.append(f"{quantity} : {len(readings) - len(sound)} index négatifs écartés")
        for instant, value in sound:
            _add_index(instant, channel, quantity, value, worth, decoded)


def _read_optical_state(payload: bytes, time_us: int, worth: float | None, decoded: Decoded) -> None:
    _add_index(time_us, "", "pulse_count", int.from_bytes(payload[8:12]), worth, decoded)
    decoded.readings.append(Reading(time_us, "", "low_battery", float(payload[7] != 0)))
    decoded.data = {
        "frame": "state",
        "starts": payload[1],
        "parameter_set": payload[4],
        "firmware": payload[5],
        "meter": _METERS.get(payload[6], str(payload[6])),
        "step_minutes": payload[12],
        "values": payload[13],
        "redundancy": payload[14],
        "sensitivity": payload[15],
    }


def _read_pulse_state(payload: bytes, time_us: int, worth: float | None, decoded: Decoded) -> None:
    _add_index(time_us, "", "pulse_count", int.from_bytes(payload[4:8]), worth, decoded)
    decoded.data = {
        "frame": "state",
        "firmware": ".".join(str(part) for part in payload[1:4]),
        "step_minutes": payload[8],
        "values": payload[9],
        "redundancy": payload[10],
    }


CODEC = Codec("fludia.fm432", 1, decode)
