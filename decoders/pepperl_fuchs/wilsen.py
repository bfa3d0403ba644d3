"""Pepperl+Fuchs WILSEN.sonic: length, type, value, on f_port 1 (docs/decoders-formats.md, "Short formats").

The size counts the two octets of the type. What the sensor says of its settings after a downlink (types F1xx to
F4xx) is kept as it is.
"""

from collections.abc import Mapping
from struct import unpack
from typing import Any

from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.codec import Codec

F_PORT = 1
_TYPE_SIZE = 2
# Code, quantity, and by what the number is multiplied and divided.
MEASURES: Mapping[int, tuple[str, str, int, int]] = {
    0x0201: ("f", "temperature", 1, 1),
    0x0B01: ("H", "distance", 10, 1),  # Centimetres.
    0x0B02: ("H", "distance", 1, 1),
    0x0B06: ("B", "fill_level", 1, 1),
    0x5101: ("B", "battery_voltage", 1, 10),
}
KEPT: Mapping[int, tuple[str, str, int]] = {
    0x0B07: ("amplitude", "B", 1),
    0x3101: ("transmissions", "H", 1),
    0x3102: ("positions", "H", 1),
    0x3103: ("measures", "I", 1),
    0x5001: ("latitude", "i", 1_000_000),
    0x5002: ("longitude", "i", 1_000_000),
}
_SERIAL = 0x2A25
_SETTINGS = range(0xF100, 0xF500)
_CODE_SIZES = {"B": 1, "H": 2, "I": 4, "i": 4, "f": 4}


def decode(f_port: int, payload: bytes, time_us: int, _options: Mapping[str, Any]) -> Decoded:
    """Decode every record. Raises MalformedPayload for another f_port, and a record that is cut or too long."""
    if f_port != F_PORT or not payload:
        raise MalformedPayload(f"f_port {f_port} : les trames WILSEN arrivent sur 1 : {payload.hex() or 'vide'}")
    decoded, position = Decoded(), 0
    while position < len(payload):
        size, start = payload[position], position + 1 + _TYPE_SIZE
        end = position + 1 + size
        if size < _TYPE_SIZE or end > len(payload):
            raise MalformedPayload(f"enregistrement de {size} octets à l'octet {position} : {payload.hex()}")
        _read(int.from_bytes(payload[position + 1 : start]), payload[start:end], time_us, decoded)
        position = end
    return decoded


def _read(kind: int, octets: bytes, time_us: int, decoded: Decoded) -> None:
    if kind in MEASURES:
        code, quantity, multiplier, divisor = MEASURES[kind]
        value = _number(kind, code, octets) * multiplier / divisor
        if value - value == 0:  # Neither infinite nor NaN.
            decoded.readings.append(Reading(time_us, "", quantity, value))
    elif kind in KEPT:
        name, code, divisor = KEPT[kind]
        number = _number(kind, code, octets)
        decoded.data[name] = number if divisor == 1 else number / divisor
    elif kind == _SERIAL:
        text = octets.decode("latin-1")
        decoded.data["serial"] = text if text.isascii() and text.isprintable() else octets.hex()
    elif kind in _SETTINGS:
        decoded.data.setdefault("settings", {})[f"{kind:04x}"] = octets.hex()
    else:
        decoded.data.setdefault("unread", {})[f"{kind:04x}"] = octets.hex()


def _number(kind: int, code: str, octets: bytes) -> float:
    if len(octets) != _CODE_SIZES[code]:
        raise MalformedPayload(f"le type {kind:04x} a {_CODE_SIZES[code]} octets, reçu {octets.hex() or 'aucun'}")
    return unpack(">" + code, octets)[0]


CODEC = Codec("pepperl_fuchs.wilsen_sonic", 1, decode)
