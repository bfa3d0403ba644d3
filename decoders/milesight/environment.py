"""Milesight's EM300, EM500 and WS sensors, a table each (docs/decoders-formats.md, "Milesight")."""

import struct

from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.milesight.common import (
    CO2,
    COMMON,
    HUMIDITY,
    OCCUPANCY,
    PRESSURE,
    ROOM,
    TEMPERATURE,
    flag,
    one,
    settings,
)
from decoders.milesight.frame import Table, add_stored, alarm, change_alarm, history, state_name
from decoders.tlv import Field, Record

_OPEN = Field("B", "open", most=1)
_LEAK = Field("B", "leak", most=1)
_ILLUMINANCE = Field("I", "illuminance")
_SOIL_TEMPERATURE = Field("h", "temperature", 10)
_STORED_SOIL_MOISTURE = Field("H", "soil_moisture", 100)
_CONDUCTIVITY = Field("H", "conductivity")
_INTERVALS = settings("interval")

EM300_TH: Table = {
    **ROOM,
    **_INTERVALS,
    **settings("em300_th"),
    0x20CE: history(TEMPERATURE, HUMIDITY, after="x"),
}
EM300_MCS: Table = {**ROOM, **_INTERVALS, 0x0600: one(_OPEN), 0x20CE: history(TEMPERATURE, HUMIDITY, _OPEN)}
EM300_SLD: Table = {**ROOM, **_INTERVALS, 0x0500: one(_LEAK), 0x20CE: history(TEMPERATURE, HUMIDITY, _LEAK)}

_GPIO, _PULSES = Field("B", "input_state", most=1), Field("I", "pulse_count")
_WATER = struct.Struct("<HHf")
_WATER_ALARMS = ("", "outage", "outage_released", "flow", "flow_released")
_STORED_ALARMS = (*_WATER_ALARMS, "input", "input_released")
_COUNTS = 2  # Kind of input: 1 is a state, 2 pulses.
_DI_HEAD, _DI_PULSES = struct.Struct("<IhBBBI"), struct.Struct("<IhBBBBHHf")


def _water(payload: bytes, start: int) -> dict[str, float | str]:
    """How the device turns pulses into its user's unit of water, and the volume in that unit."""
    per_water, per_pulse, volume = _WATER.unpack_from(payload, start)
    if volume != volume or abs(volume) == float("inf"):  # noqa: PLR0124 - NaN.
        raise MalformedPayload(f"le volume d'eau n'est pas un nombre : {payload.hex()}")
    return {"water_conversion": per_water / 10, "pulse_conversion": per_pulse / 10, "volume": round(volume, 3)}


def _read_water(payload: bytes, start: int, _time_us: int, decoded: Decoded) -> None:
    decoded.data["water"] = _water(payload, start)


def _read_water_alarm(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
    _read_water(payload, start, time_us, decoded)
    decoded.data.setdefault("alarms", {})["water"] = state_name(payload[start + _WATER.size], _WATER_ALARMS)


def _read_di_record(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
    """20 CE: instant, temperature, humidity, kind of the input, its state, its pulses."""
    timestamp, temperature, humidity, kind, state, pulses = _DI_HEAD.unpack_from(payload, start)
    field, value = (_PULSES, pulses) if kind == _COUNTS else (_GPIO, state)
    add_stored((TEMPERATURE, HUMIDITY, field), [temperature, humidity, value], timestamp, time_us, decoded)


def _read_di_water_record(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
    """21 CE: the same with an alarm, and water instead of pulses."""
    timestamp, temperature, humidity, event, kind, state = _DI_PULSES.unpack_from(payload, start)[:6]
    fields, values = (TEMPERATURE, HUMIDITY), [temperature, humidity]
    if kind == _COUNTS:
        stored = {"timestamp": timestamp, **_water(payload, start + 10)}
        decoded.data.setdefault("stored_water", []).append(stored)
    else:
        fields, values = (*fields, _GPIO), [*values, state]
    add_stored(fields, values, timestamp, time_us, decoded)
    if event:
        stored_event = {"timestamp": timestamp, "event": state_name(event, _STORED_ALARMS)}
        decoded.data.setdefault("stored_events", []).append(stored_event)


EM300_DI: Table = {
    **ROOM,
    **_INTERVALS,
    **settings("em300_di"),
    0x0500: one(_GPIO),
    0x05C8: one(_PULSES),
    0x05E1: Record(_WATER.size, _read_water),
    0x06E1: Record(_WATER.size, _read_water),
    0x8500: alarm(_GPIO),
    0x86E1: Record(_WATER.size + 1, _read_water_alarm),
    0x20CE: Record(_DI_HEAD.size, _read_di_record),
    0x21CE: Record(_DI_PULSES.size, _read_di_water_record),
}

EM500_CO2: Table = {
    **ROOM,
    **_INTERVALS,
    0x057D: one(CO2),
    0x0673: one(PRESSURE),
    0x83D7: change_alarm(TEMPERATURE),
    0x20CE: history(CO2, PRESSURE, TEMPERATURE, HUMIDITY),
}
EM500_LGT: Table = {**COMMON, **_INTERVALS, 0x0394: one(_ILLUMINANCE), 0x20CE: history(_ILLUMINANCE)}
_WATER_PRESSURE = Field("h", "water_pressure")  # Of a gauge: below the air's it is negative.
EM500_PP: Table = {
    **COMMON,
    **_INTERVALS,
    0x037B: one(_WATER_PRESSURE),
    0x20CE: history(_WATER_PRESSURE),
}
EM500_PT100: Table = {
    **COMMON,
    **_INTERVALS,
    0x0367: one(TEMPERATURE),
    0x83D7: change_alarm(TEMPERATURE),
    0x20CE: history(TEMPERATURE),
}
EM500_SMT: Table = {
    **COMMON,
    **_INTERVALS,
    0x0367: one(_SOIL_TEMPERATURE),
    0x0468: one(Field("B", "soil_moisture", 2)),
    0x04CA: one(_STORED_SOIL_MOISTURE),
    0x057F: one(_CONDUCTIVITY),
    0x20CE: history(_CONDUCTIVITY, _SOIL_TEMPERATURE, _STORED_SOIL_MOISTURE),
}

_PRESSES = ("", "short", "long", "double")


def _read_press(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
    press = payload[start]
    if not 1 <= press < len(_PRESSES):
        raise MalformedPayload(f"appui {press} à l'octet {start}, de 1 à 3 attendu : {payload.hex()}")
    decoded.readings.append(Reading(time_us, "", "button_press", float(press)))
    decoded.data["press"] = _PRESSES[press]


_WEIGHTINGS, _TIMES = "ZACD", "IFS?"
_SOUND = struct.Struct("<BHHH")


def _read_sound(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
    """The weighting of frequencies and time, then the level, the equivalent one and the highest."""
    weighting, *levels = _SOUND.unpack_from(payload, start)
    decoded.data["weighting"] = f"L{_WEIGHTINGS[weighting & 3]}{_TIMES[weighting >> 2 & 3]}"
    for channel, level in zip(("", "equivalent", "maximum"), levels, strict=True):
        decoded.readings.append(Reading(time_us, channel, "sound_level", level / 10))


WS101: Table = {**COMMON, 0xFF2E: Record(1, _read_press)}
WS202: Table = {**COMMON, 0x0300: one(OCCUPANCY), 0x0400: flag("daylight")}
# What made the record is not a measure; it says why there is one.
WS203: Table = {
    **ROOM,
    0x0500: one(OCCUPANCY),
    0x8367: alarm(TEMPERATURE),
    0x20CE: history(OCCUPANCY, TEMPERATURE, HUMIDITY, before="x"),
}
WS301: Table = {**COMMON, 0x0300: one(_OPEN), 0x0400: flag("tamper")}
WS302: Table = {**COMMON, 0x055B: Record(_SOUND.size, _read_sound)}
WS303: Table = {**COMMON, 0x0300: one(_LEAK)}
WT101: Table = {
    **COMMON,
    **settings("wt101"),
    0x0367: one(TEMPERATURE),
    0x0467: one(Field("h", "target_temperature", 10)),
    0x0592: one(Field("B", "valve_opening")),
    0x0600: flag("tamper"),
    0x0700: flag("open", "window"),
    0x0A00: flag("freeze"),
}
