"""Milesight's level and distance sensors, a table each (docs/decoders-formats.md, "Milesight")."""

import struct

from decoders.canonical import Decoded, Reading
from decoders.milesight.common import COMMON, DISTANCE, TEMPERATURE, TILT, one, settings
from decoders.milesight.frame import Table, add_stored, alarm, change_alarm, history
from decoders.tlv import Field, Record

_MUTATION = ("released", "raised", "mutation")
_EXCEPTION = ("released", "blind_zone", "no_target", "sensor_exception")
# Bits of the event octet of a record that an EM410 stored.
_EVENTS = ("threshold", "threshold_released", "blind_zone", "blind_zone_released", "mutation")
_STORED = (DISTANCE, TEMPERATURE)
_STORED_LAYOUT = struct.Struct("<IHhhB")
_TILT_BIT = 0x20

EM310: Table = {
    **COMMON,
    **settings("level"),
    0x0382: one(DISTANCE),
    0x0400: one(TILT),
}

EM400: Table = {
    **COMMON,
    **settings("em400"),
    0x0367: one(TEMPERATURE),
    0x0482: one(DISTANCE),
    0x0500: one(TILT),
    0x8367: alarm(TEMPERATURE),
    0x8482: alarm(DISTANCE),
}


def _read_em410_record(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
    """Instant, distance, temperature, how much the distance changed, and events; the tilt is one of them."""
    timestamp, distance, temperature, change, events = _STORED_LAYOUT.unpack_from(payload, start)
    before = len(decoded.readings)
    add_stored(_STORED, [distance, temperature], timestamp, time_us, decoded)
    if len(decoded.readings) > before:
        at_us = decoded.readings[-1].time_us
        decoded.readings.append(Reading(at_us, "", "tilt", float(bool(events & _TILT_BIT))))
    raised = [name for rank, name in enumerate(_EVENTS) if events >> rank & 1]
    if raised:
        stored = {"timestamp": timestamp, "events": raised, "distance_change": change}
        decoded.data.setdefault("stored_events", []).append(stored)


EM410: Table = {
    **EM400,
    0x8482: alarm(DISTANCE, names=_MUTATION),
    0x9482: change_alarm(DISTANCE, "h", names=_MUTATION),
    0xB482: alarm(DISTANCE, names=_EXCEPTION),
    0x20CE: Record(_STORED_LAYOUT.size, _read_em410_record),
}
EM500_UDL: Table = {
    **COMMON,
    **settings("level"),
    0x0382: one(DISTANCE),
    0x20CE: history(DISTANCE),
}
_WATER_LEVEL = Field("H", "water_level", 100)
EM500_SWL: Table = {
    **COMMON,
    **settings("interval"),
    0x0377: one(_WATER_LEVEL),
    0x20CE: history(_WATER_LEVEL),
}
WS201: Table = {**COMMON, 0x0382: one(DISTANCE), 0x04D6: one(Field("B", "fill_level"))}
