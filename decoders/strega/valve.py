"""Strega smart valve: state as characters, timed commands (docs/decoders-formats.md, "Short formats").

Four digits of millivolts, whose first character's upper half says how it is powered; a state character; then `#`
and temperature and humidity; `C` and a counter of six hexadecimal digits; `V` and four of millivolts; or `@`, what
it answers to a command.
"""

import re
from collections.abc import Mapping
from typing import Any

from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.codec import Codec, Command, EncodedCommand, Parameter, ParameterKind
from decoders.commands import encoder

_STATE_SIZE, _CLIMATE_SIZE = 5, 5
_STATE_OFFSET = 0x30
_CLASS_CHANGED, _EXTERNAL_POWER = 0x80, 0x40  # Of the first character.
_EMPTY_MV, _MV_PER_PERCENT = 2_000, 16
_ANSWER, _CLIMATE = 0x40, 0x23
_TAIL = re.compile(rb"(?:C([0-9A-Fa-f]{6}))?(?:V([0-9A-Fa-f]{4}))?")
_BITS = (
    ("valve_open", ""),
    ("tamper", ""),
    ("input_state", "cable"),
    ("input_state", "di0"),
    ("input_state", "di1"),
    ("leak", ""),
    ("tamper", "fraud"),
)
IMMEDIATE_PORT, TIMED_PORT = 1, 2
_UNITS = {"s": 0x20, "min": 0x40, "h": 0x80}
_OPEN, _CLOSE = 1, 0


def decode(_f_port: int, payload: bytes, time_us: int, _options: Mapping[str, Any]) -> Decoded:
    """Decode a periodic uplink or an answer. Raises MalformedPayload for what is neither."""
    if payload[:1] == b"@":
        return Decoded(data={"answer": _text(payload[1:])})
    if len(payload) < _STATE_SIZE:
        raise MalformedPayload(f"une trame Strega a {_STATE_SIZE} octets au moins : {payload.hex()}")
    decoded = Decoded()
    _read_power(payload, time_us, decoded)
    _read_state(payload, time_us, decoded)
    rest = payload[_STATE_SIZE:]
    if rest[:1] == b"@":
        decoded.data["answer"] = _text(rest[1:])
        return decoded
    if rest[:1] == b"#":
        if len(rest) < _CLIMATE_SIZE:
            raise MalformedPayload(f"température et humidité tronquées : {payload.hex()}")
        temperature, humidity = int.from_bytes(rest[1:3]), int.from_bytes(rest[3:5])
        decoded.readings.append(Reading(time_us, "", "temperature", temperature / 65_536 * 165 - 40))
        decoded.readings.append(Reading(time_us, "", "relative_humidity", humidity / 65_536 * 100))
        rest = rest[_CLIMATE_SIZE:]
    _read_tail(rest, payload, time_us, decoded)
    return decoded


def _text(octets: bytes) -> str:
    text = octets.decode("latin-1")
    return text if text.isascii() and text.isprintable() else octets.hex()


def _read_power(payload: bytes, time_us: int, decoded: Decoded) -> None:
    first = payload[0]
    external = bool(first & _EXTERNAL_POWER)
    decoded.data |= {"external_power": external, "class_changed": bool(first & _CLASS_CHANGED)}
    digits = bytes((0x30 | first & 0x0F,)) + payload[1:4]
    if external:
        return
    if not digits.isdigit():
        raise MalformedPayload(f"la tension n'est pas écrite en chiffres : {payload.hex()}")
    millivolts = int(digits)
    percent = min(100, max(0, round((millivolts - _EMPTY_MV) / _MV_PER_PERCENT)))
    decoded.readings.append(Reading(time_us, "", "battery_voltage", millivolts / 1_000))
    decoded.readings.append(Reading(time_us, "", "battery_level", float(percent)))


def _read_state(payload: bytes, time_us: int, decoded: Decoded) -> None:
    state = payload[4] - _STATE_OFFSET
    if not 0 <= state < 1 << len(_BITS):
        raise MalformedPayload(f"le caractère d'état {payload[4]:02x} n'est pas de 30 à af : {payload.hex()}")
    for bit, (quantity, channel) in enumerate(_BITS):
        decoded.readings.append(Reading(time_us, channel, quantity, float(state >> bit & 1)))


def _read_tail(rest: bytes, payload: bytes, time_us: int, decoded: Decoded) -> None:
    found = _TAIL.fullmatch(rest)
    if found is None:
        raise MalformedPayload(f"fin de trame Strega inconnue ({rest.hex()}) : {payload.hex()}")
    counter, millivolts = found.groups()
    if counter is not None:
        decoded.readings.append(Reading(time_us, "", "pulse_count", float(int(counter, 16))))
    if millivolts is not None:
        decoded.readings.append(Reading(time_us, "", "input_voltage", int(millivolts, 16) / 1_000))


def _timed(action: int, values: Mapping[str, Any]) -> EncodedCommand:
    return EncodedCommand(TIMED_PORT, bytes((_UNITS[values["unit"]] | action, values["duration"])))


_DURATION = (
    Parameter("duration", "durée", minimum=1, maximum=255),
    Parameter("unit", "unité de la durée", ParameterKind.CHOICE, choices=tuple(_UNITS), default="min"),
)
COMMANDS = (
    Command("open", "Ouvrir", lambda _: EncodedCommand(IMMEDIATE_PORT, b"1"), switches=True),
    Command("close", "Fermer", lambda _: EncodedCommand(IMMEDIATE_PORT, b"0"), switches=True),
    Command("open_for", "Ouvrir pendant", lambda values: _timed(_OPEN, values), _DURATION, switches=True),
    Command("close_for", "Fermer pendant", lambda values: _timed(_CLOSE, values), _DURATION, switches=True),
)
CODEC = Codec("strega.valve", 1, decode, encoder("La vanne Strega", COMMANDS), COMMANDS)
