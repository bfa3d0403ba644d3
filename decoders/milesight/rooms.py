"""Milesight's room sensors (AM series), a table each (docs/decoders-formats.md, "Milesight")."""

from decoders.milesight.common import CO2, HUMIDITY, OCCUPANCY, PRESSURE, ROOM, TEMPERATURE, one, settings
from decoders.milesight.frame import Table, entry, history
from decoders.tlv import Field, Record, measures

_STORED_HUMIDITY = Field("H", "relative_humidity", 2)  # In the history of the AM300 series.
_LIGHT_LEVEL = Field("B", "light_level")
_TVOC_INDEX = Field("H", "tvoc_index", 100)
_TVOC_MASS = Field("H", "tvoc_mass")
_PM2_5 = Field("H", "pm2_5")
_PM10 = Field("H", "pm10")
_HCHO = Field("H", "hcho", 100)
_O3 = Field("H", "o3", 100)

_ROOM: Table = {
    **ROOM,
    **settings("rooms"),
    0x077D: one(CO2),
}

AM103: Table = {
    **_ROOM,
    **settings("am103"),
    0x20CE: history(TEMPERATURE, HUMIDITY, CO2),
}

_LIGHTS = (
    Field("H", "illuminance"),
    Field("H", "light_count", channel="visible_infrared"),
    Field("H", "light_count", channel="infrared"),
)
AM102: Table = {**_ROOM, **settings("interval"), 0x20CE: history(TEMPERATURE, HUMIDITY)}
AM104: Table = {**_ROOM, 0x056A: one(Field("H", "motion")), 0x0665: measures("<", *_LIGHTS)}
AM107: Table = {**AM104, 0x087D: one(Field("H", "tvoc")), 0x0973: one(PRESSURE)}

_AM300: Table = {
    **_ROOM,
    **settings("am300"),
    0x0500: one(OCCUPANCY),
    0x06CB: one(_LIGHT_LEVEL),
    0x087D: one(_TVOC_INDEX),
    0x08E6: one(_TVOC_MASS),
    0x0973: one(PRESSURE),
    0x0B7D: one(_PM2_5),
    0x0C7D: one(_PM10),
    0x0E01: entry("device", "buzzer", 1, lambda octets: octets[0] != 0),
}


def _am300_history(tvoc: Field, *last: Field) -> Record:
    stored = (TEMPERATURE, _STORED_HUMIDITY, OCCUPANCY, _LIGHT_LEVEL, CO2, tvoc, PRESSURE, _PM2_5, _PM10)
    return history(*stored, *last)


def _am300(*last: Field) -> Table:
    """Channel 20 stores the TVOC as an index, channel 21 in µg/m³."""
    return {**_AM300, 0x20CE: _am300_history(_TVOC_INDEX, *last), 0x21CE: _am300_history(_TVOC_MASS, *last)}


# The AM307 has no particle sensor, and its records none either.
AM307: Table = {
    **_AM300,
    0x20CE: history(
        *(TEMPERATURE, _STORED_HUMIDITY, OCCUPANCY, _LIGHT_LEVEL, CO2, _TVOC_INDEX, PRESSURE),
    ),
    0x21CE: history(
        *(TEMPERATURE, _STORED_HUMIDITY, OCCUPANCY, _LIGHT_LEVEL, CO2, _TVOC_MASS, PRESSURE),
    ),
}
AM308: Table = _am300()
_AM319_LIVE: Table = {0x0A7D: one(_HCHO), 0x0D7D: one(_O3)}
AM319_HCHO: Table = {**_am300(_HCHO), **_AM319_LIVE}
AM319_O3: Table = {**_am300(_O3), **_AM319_LIVE}
