"""Adeunis Pulse (versions 2 to 4): two counters, A and B (docs/decoders-formats.md, "Adeunis")."""

import struct
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from decoders.adeunis.commands import ADD_PULSES, READ
from decoders.adeunis.frame import AdeunisFrame, Read, add_history, read_product, sized
from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.codec import Codec
from decoders.commands import encoder
from decoders.pulses import add_volumes

CHANNELS = ("a", "b")
_INDEX_SIZE, _DELTA_SIZE = 4, 2


def _read_indexes(frame: AdeunisFrame, _options: Mapping[str, Any], decoded: Decoded) -> None:
    """0x46: both indexes."""
    indexes = struct.unpack(">II", sized(frame, 8))
    decoded.data["frame"] = "indexes"
    for channel, index in zip(CHANNELS, indexes, strict=True):
        decoded.readings.append(Reading(frame.at_us, channel, "pulse_count", float(index)))


def _history(channel: str) -> Read:
    """0x5a and 0x5b: an index, then what it rose by before, from the newest to the oldest."""

    def read(frame: AdeunisFrame, options: Mapping[str, Any], decoded: Decoded) -> None:
        size = len(frame.body)
        if size < _INDEX_SIZE or size % _DELTA_SIZE:
            raise MalformedPayload(
                f"un historique a {_INDEX_SIZE} octets d'index puis {_DELTA_SIZE} par relevé, reçu "
                f"{frame.body.hex() or 'aucun'}"
            )
        index, *rises = struct.unpack(f">I{(size - _INDEX_SIZE) // _DELTA_SIZE}H", frame.body)
        if sum(rises) > index:
            raise MalformedPayload(f"l'historique descend sous zéro : index {index}, hausses {rises}")
        indexes = accumulate(rises, lambda former, rise: former - rise, initial=index)
        decoded.data |= {"frame": "history", "channel": channel}
        add_history(frame, [{(channel, "pulse_count"): float(index)} for index in indexes], options, decoded)

    return read


def _read_alarm(frame: AdeunisFrame, _options: Mapping[str, Any], decoded: Decoded) -> None:
    """0x47: the flows that crossed a threshold, in pulses of the flow's period."""
    flows = struct.unpack(">HH", sized(frame, 4))
    decoded.data |= {"frame": "alarm", "flows": dict(zip(CHANNELS, flows, strict=True))}
    decoded.warnings.append("alarme de débit")


def _read_keep_alive(frame: AdeunisFrame, _options: Mapping[str, Any], decoded: Decoded) -> None:
    """0x30: alarms, and the flows of the last day."""
    flags, most_a, most_b, least_a, least_b = struct.unpack(">BHHHH", sized(frame, 9))
    decoded.data |= {
        "frame": "keep_alive",
        "flows": {"a": {"minimum": least_a, "maximum": most_a}, "b": {"minimum": least_b, "maximum": most_b}},
        "flow_alarm": {channel: bool(flags >> rank & 1) for rank, channel in enumerate(CHANNELS)},
    }
    for rank, channel in enumerate(CHANNELS):
        decoded.readings += [
            Reading(frame.at_us, channel, "tamper", float(flags >> 2 + rank & 1)),
            Reading(frame.at_us, channel, "leak", float(flags >> 4 + rank & 1)),
        ]


_READERS: dict[int, Read] = {
    0x30: _read_keep_alive,
    0x46: _read_indexes,
    0x47: _read_alarm,
    0x5A: _history("a"),
    0x5B: _history("b"),
}
_COMMANDS = (*READ, ADD_PULSES)


def decode(f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
    """Decode a frame; options `recording_period_s` dates the history, `litres_per_pulse` adds volumes."""
    decoded = read_product("Pulse", _READERS, f_port, payload, time_us, options)
    add_volumes(options, decoded)
    return decoded


CODEC = Codec("adeunis.pulse", 1, decode, encoder("Le Pulse Adeunis", _COMMANDS), _COMMANDS)
