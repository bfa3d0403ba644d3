"""Cayenne LPP: repeated [channel][type][value], on any f_port (docs/decoders-formats.md, "Cayenne LPP").

The channel of a reading is the device's, `"3"`; an axis adds its name, `"3_x"`.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.codec import Codec

_AXES = ("_x", "_y", "_z")

# (channel, numbers, time of the uplink, where to put what they say).
_Read = Callable[[int, tuple[int, ...], int, Decoded], None]


class _Type(NamedTuple):
    layout: struct.Struct
    read: _Read


def _measure(code: str, quantity: str, divisor: float = 1, suffixes: tuple[str, ...] = ("",)) -> _Type:
    """So many numbers of one quantity."""

    def read(channel: int, numbers: tuple[int, ...], time_us: int, decoded: Decoded) -> None:
        for suffix, number in zip(suffixes, numbers, strict=True):
            decoded.readings.append(Reading(time_us, f"{channel}{suffix}", quantity, number / divisor))

    return _Type(struct.Struct(">" + code * len(suffixes)), read)


def _state(quantity: str) -> _Type:
    """An octet that is true but for zero."""

    def read(channel: int, numbers: tuple[int, ...], time_us: int, decoded: Decoded) -> None:
        decoded.readings.append(Reading(time_us, str(channel), quantity, float(numbers[0] != 0)))

    return _Type(struct.Struct(">B"), read)


def _kept(code: str, name: str, form: Callable[[tuple[int, ...]], Any]) -> _Type:
    """What is no measure: `data[name][channel]`."""

    def read(channel: int, numbers: tuple[int, ...], _time_us: int, decoded: Decoded) -> None:
        decoded.data.setdefault(name, {})[str(channel)] = form(numbers)

    return _Type(struct.Struct(">" + code), read)


def _u24(octets: tuple[int, ...]) -> int:
    return int.from_bytes(bytes(octets), signed=True)


def _position(octets: tuple[int, ...]) -> dict[str, float]:
    """Three times three octets."""
    return {
        "latitude": _u24(octets[:3]) / 10_000,
        "longitude": _u24(octets[3:6]) / 10_000,
        "altitude": _u24(octets[6:]) / 100,
    }


TYPES: Mapping[int, _Type] = {
    0: _state("input_state"),
    1: _state("switch_state"),
    2: _measure("h", "analog_input", 100),
    3: _measure("h", "analog_output", 100),
    100: _measure("I", "analog_input", 1, ("_generic",)),
    101: _measure("H", "illuminance"),
    102: _state("occupancy"),
    103: _measure("h", "temperature", 10),
    104: _measure("B", "relative_humidity", 2),
    113: _measure("h", "acceleration", 1_000, _AXES),
    115: _measure("H", "pressure", 10),
    116: _measure("H", "voltage", 100),
    117: _measure("H", "current", 1_000),
    118: _measure("I", "frequency"),
    120: _measure("B", "percentage"),
    121: _measure("h", "altitude"),
    125: _measure("H", "concentration"),
    128: _measure("H", "active_power"),
    130: _measure("I", "distance"),  # Thousandths of a metre.
    131: _measure("I", "active_energy_import"),  # Thousandths of a kilowatt-hour.
    132: _measure("H", "angle"),
    133: _kept("I", "time", lambda numbers: numbers[0]),
    134: _kept("hhh", "gyrometer", lambda numbers: [number / 100 for number in numbers]),
    135: _kept("BBB", "colour", lambda numbers: bytes(numbers).hex()),
    136: _kept("9B", "position", _position),
    142: _state("input_state"),
}


def decode(_f_port: int, payload: bytes, time_us: int, _options: Mapping[str, Any]) -> Decoded:
    """Decode a frame. Raises MalformedPayload for an empty or truncated frame and an unknown type."""
    if not payload:
        raise MalformedPayload("une trame Cayenne LPP a au moins un enregistrement : aucun octet reçu")
    decoded, offset, end = Decoded(), 0, len(payload)
    while offset < end:
        start = offset + 2
        kind = TYPES.get(payload[offset + 1]) if start <= end else None
        if kind is None:
            what = f"type {payload[offset + 1]} inconnu" if start <= end else "canal sans type"
            raise MalformedPayload(f"{what} à l'octet {offset} : {payload.hex()}")
        following = start + kind.layout.size
        if following > end:
            raise MalformedPayload(
                f"type {payload[offset + 1]} à l'octet {offset} : {kind.layout.size} octets annoncés, "
                f"il en reste {end - start} : {payload.hex()}"
            )
        kind.read(payload[offset], kind.layout.unpack_from(payload, start), time_us, decoded)
        offset = following
    return decoded


CODEC = Codec("cayenne.lpp", 1, decode)
