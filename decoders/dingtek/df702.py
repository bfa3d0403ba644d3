"""Dingtek DF702 container sensor: alarms and a distance (docs/decoders-formats.md, "Short formats")."""

from collections.abc import Mapping
from typing import Any

from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.codec import Codec

SIZE, ALARM_DIGITS = 4, 4
_ALARMS = ("full", "fire", "fall", "low_battery")


def decode(_f_port: int, payload: bytes, time_us: int, _options: Mapping[str, Any]) -> Decoded:
    """Decode a frame of any f_port. Raises MalformedPayload for another size, and for what is no digit."""
    digits = payload.hex()
    if len(payload) != SIZE or not digits[ALARM_DIGITS:].isdecimal():
        raise MalformedPayload(
            f"une trame DF702 a 4 octets, dont les deux derniers en chiffres : {digits or 'vide'}"
        )
    alarms = {name: digits[place] != "0" for place, name in enumerate(_ALARMS)}
    readings = [
        Reading(time_us, "", "distance", float(digits[ALARM_DIGITS:])),
        Reading(time_us, "", "tilt", float(alarms["fall"])),
        Reading(time_us, "", "low_battery", float(alarms["low_battery"])),
    ]
    decoded = Decoded(readings, {"full": alarms["full"], "fire": alarms["fire"]})
    if alarms["fire"]:
        decoded.warnings.append("le capteur signale un feu")
    return decoded


CODEC = Codec("dingtek.df702", 1, decode)
