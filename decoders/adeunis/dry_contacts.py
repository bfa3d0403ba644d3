"""Adeunis Dry Contacts: four inputs or outputs, A to D (docs/decoders-formats.md, "Adeunis")."""

import struct
from collections.abc import Mapping
from typing import Any

from decoders.adeunis.commands import READ
from decoders.adeunis.frame import AdeunisFrame, Read, read_product, sized
from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.codec import Codec
from decoders.commands import encoder

CHANNELS = ("a", "b", "c", "d")


def _channels(step: int) -> Read:
    """0x40 and 0x30: what each channel counted, then its state, every `step` bits of the last octet.

    With two bits a channel also says its state in the former frame. What it counted starts again, which an
    index does not: it is only kept in `data`.
    """

    def read(frame: AdeunisFrame, _options: Mapping[str, Any], decoded: Decoded) -> None:
        *counted, states = struct.unpack(">HHHHB", sized(frame, 9))
        decoded.data |= {"frame": "channels", "counted": dict(zip(CHANNELS, counted, strict=True))}
        for rank, channel in enumerate(CHANNELS):
            closed = float(states >> step * rank & 1)
            decoded.readings.append(Reading(frame.at_us, channel, "input_state", closed))
        if step > 1:
            former = {channel: bool(states >> step * rank + 1 & 1) for rank, channel in enumerate(CHANNELS)}
            decoded.data["former_states"] = former

    return read


def _read_duration_alarm(frame: AdeunisFrame, _options: Mapping[str, Any], decoded: Decoded) -> None:
    """0x41: a channel stayed in one state longer than its threshold."""
    channel, minutes = struct.unpack(">BH", sized(frame, 3))
    decoded.data |= {"frame": "duration_alarm", "channel": channel, "threshold_minutes": minutes}
    decoded.warnings.append("alarme de durée")


def _read_durations(frame: AdeunisFrame, _options: Mapping[str, Any], decoded: Decoded) -> None:
    """0x59: seconds that the channels of the first octet spent closed."""
    if not frame.body:
        raise MalformedPayload("la trame 0x59 dit quelles voies suivent : aucun octet reçu")
    channels = [channel for rank, channel in enumerate(CHANNELS) if frame.body[0] >> rank & 1]
    seconds = struct.unpack(f">{len(channels)}I", sized(frame, 1 + 4 * len(channels))[1:])
    decoded.data |= {"frame": "durations", "seconds": dict(zip(channels, seconds, strict=True))}


_READERS: dict[int, Read] = {
    0x30: _channels(1),
    0x40: _channels(2),
    0x41: _read_duration_alarm,
    0x59: _read_durations,
}


def decode(f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
    """Decode a frame; a closed contact (ON) is 1."""
    return read_product("Dry Contacts", _READERS, f_port, payload, time_us, options)


CODEC = Codec("adeunis.dry_contacts", 1, decode, encoder("Le Dry Contacts Adeunis", READ), READ)
