"""Milesight's products, each a table (codecs.md, section 4.3; the vendor's published READMEs)."""

from collections.abc import Mapping
from typing import Any

from decoders.canonical import Decoded
from decoders.codec import Codec, Decode
from decoders.milesight.frame import Table, alarm, entry, history, read_frame, setting
from decoders.tlv import Field, Record, measures

_CLASSES = ("A", "B", "C", "C to B")


def _lorawan_class(octets: bytes) -> str:
    return _CLASSES[octets[0]] if octets[0] < len(_CLASSES) else f"code {octets[0]}"


def _settings(**sizes: tuple[int, int]) -> dict[int, Record]:
    """The answers to settings, under either of the two channels that carry them."""
    return {
        channel << 8 | kind: setting(name, size)
        for name, (kind, size) in sizes.items()
        for channel in (0xFE, 0xFF)
    }


_DISTANCE = Field("H", "distance", absent_from=0x8000)  # The user guide says int16: no distance is negative.
_TEMPERATURE = Field("h", "temperature", 10)
_HUMIDITY = Field("B", "relative_humidity", 2)
_STORED_HUMIDITY = Field("H", "relative_humidity", 2)  # In the history of the AM300 series.
_CO2 = Field("H", "co2")
_PRESSURE = Field("H", "pressure", 10)
_PRESENCE = Field("B", "occupancy", most=1)
_LIGHT_LEVEL = Field("B", "light_level")
_TVOC_INDEX = Field("H", "tvoc_index", 100)
_TVOC_MASS = Field("H", "tvoc_mass")
_PM2_5 = Field("H", "pm2_5")
_PM10 = Field("H", "pm10")
_HCHO = Field("H", "hcho", 100)
_O3 = Field("H", "o3", 100)
_TILT = Field("B", "tilt", most=1)

# What every product says of itself when it joins, its battery, and the answers they all may give.
COMMON: Table = {
    0xFF01: entry("device", "protocol_version", 1, lambda octets: f"{octets[0] >> 4}.{octets[0] & 0x0F}"),
    0xFF09: entry("device", "hardware_version", 2, lambda octets: f"{octets[0]:x}.{octets[1] >> 4}"),
    0xFF0A: entry("device", "firmware_version", 2, lambda octets: f"{octets[0]:x}.{octets[1]:x}"),
    0xFFFF: entry("device", "tsl_version", 2, lambda octets: f"{octets[0]}.{octets[1]}"),
    0xFF16: entry("device", "serial_number", 8, bytes.hex),
    0xFF08: entry("device", "serial_number", 6, bytes.hex),
    0xFF0F: entry("device", "lorawan_class", 1, _lorawan_class),
    0xFFFE: entry("device", "reset", 1, lambda _: True),
    0xFF0B: entry("device", "power_on", 1, lambda _: True),
    **_settings(report_interval=(0x03, 2), reboot=(0x10, 1)),
    0x0175: measures("<", Field("B", "battery_level")),
}

EM310: Table = {
    **COMMON,
    **_settings(collection_interval=(0x02, 2), distance_alarm=(0x06, 9)),
    0x0382: measures("<", _DISTANCE),
    0x0400: measures("<", _TILT),
}

EM400: Table = {
    **COMMON,
    **_settings(
        collection_interval=(0x02, 2),
        distance_alarm=(0x06, 9),
        install_height_enabled=(0x13, 1),
        recollection=(0x1C, 2),
        status_query=(0x28, 1),
        tilt_linkage_enabled=(0x3E, 1),
        time_synchronisation=(0x4A, 1),
        time_of_flight_enabled=(0x56, 1),
        people_height=(0x70, 2),
        working_mode=(0x71, 1),
        install_height=(0x77, 2),
    ),
    0x0367: measures("<", _TEMPERATURE),
    0x0482: measures("<", _DISTANCE),
    0x0500: measures("<", _TILT),
    0x8367: alarm(_TEMPERATURE),
    0x8482: alarm(_DISTANCE),
}

_ROOM: Table = {
    **COMMON,
    **_settings(
        time_zone=(0x17, 2),
        history_cleared=(0x27, 1),
        screen_enabled=(0x2D, 1),
        time_synchronisation_enabled=(0x3B, 1),
        history_enabled=(0x68, 1),
        retransmission_enabled=(0x69, 1),
        retransmission_interval=(0x6A, 3),
        screen_elements=(0xF0, 4),
    ),
    0x0367: measures("<", _TEMPERATURE),
    0x0468: measures("<", _HUMIDITY),
    0x077D: measures("<", _CO2),
}

AM103: Table = {
    **_ROOM,
    **_settings(
        temperature_alarm=(0x06, 9),
        clock=(0x11, 4),
        sensors_enabled=(0x18, 2),
        led_mode=(0x2F, 1),
        co2_self_calibration=(0x39, 5),
        co2_alarm=(0x54, 5),
        screen_intelligent_enabled=(0x56, 1),
        schedule_cleared=(0x57, 1),
        battery_reset=(0x59, 1),
        screen_refresh_interval=(0x5A, 2),
        hibernation=(0x75, 7),
        screen_time_enabled=(0x85, 1),
        screen_last_refresh_interval=(0x86, 1),
        altitude_calibration=(0x87, 3),
    ),
    0x20CE: history(_TEMPERATURE, _HUMIDITY, _CO2),
}

AM107: Table = {
    **_ROOM,
    0x056A: measures("<", Field("H", "motion")),
    0x0665: measures(
        *("<", Field("H", "illuminance")),
        *(Field("H", "light_count", channel="visible_infrared"), Field("H", "light_count", channel="infrared")),
    ),
    0x087D: measures("<", Field("H", "tvoc")),
    0x0973: measures("<", _PRESSURE),
}

_AM300: Table = {
    **_ROOM,
    **_settings(
        child_lock=(0x25, 1),
        status_query=(0x2C, 1),
        led_mode=(0x2E, 1),
        screen_report_interval=(0x3A, 2),
        screen_pattern=(0x3C, 1),
        buzzer_stopped=(0x3D, 1),
        buzzer_enabled=(0x3E, 1),
        pm_collection_interval=(0x65, 2),
        screen_alarm_enabled=(0x66, 1),
        transmission_stopped=(0x6D, 1),
        tvoc_unit=(0xEB, 1),
        co2_calibration_enabled=(0xF4, 1),
    ),
    0x0500: measures("<", _PRESENCE),
    0x06CB: measures("<", _LIGHT_LEVEL),
    0x087D: measures("<", _TVOC_INDEX),
    0x08E6: measures("<", _TVOC_MASS),
    0x0973: measures("<", _PRESSURE),
    0x0B7D: measures("<", _PM2_5),
    0x0C7D: measures("<", _PM10),
    0x0E01: entry("device", "buzzer", 1, lambda octets: octets[0] != 0),
}


def _am300_history(tvoc: Field, *last: Field) -> Record:
    stored = (_TEMPERATURE, _STORED_HUMIDITY, _PRESENCE, _LIGHT_LEVEL, _CO2, tvoc, _PRESSURE, _PM2_5, _PM10)
    return history(*stored, *last)


def _am300(*last: Field) -> Table:
    """Channel 20 stores the TVOC as an index, channel 21 in µg/m³."""
    return {**_AM300, 0x20CE: _am300_history(_TVOC_INDEX, *last), 0x21CE: _am300_history(_TVOC_MASS, *last)}


AM308: Table = _am300()
_AM319_LIVE: Table = {0x0A7D: measures("<", _HCHO), 0x0D7D: measures("<", _O3)}
AM319_HCHO: Table = {**_am300(_HCHO), **_AM319_LIVE}
AM319_O3: Table = {**_am300(_O3), **_AM319_LIVE}


def _by_table(table: Table) -> Decode:
    def decode(f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
        return read_frame(table, f_port, payload, time_us, options)

    return decode


def decode_am319(f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
    """Decode either AM319: option `gas` is `hcho` (the default) or `o3`.

    Their measures differ by channel; only their stored records, alike in size, need to be told apart.
    """
    table = AM319_O3 if options.get("gas") == "o3" else AM319_HCHO
    return read_frame(table, f_port, payload, time_us, options)


EM310_CODEC = Codec("milesight.em310", 1, _by_table(EM310))
EM400_CODEC = Codec("milesight.em400", 1, _by_table(EM400))
AM103_CODEC = Codec("milesight.am103", 1, _by_table(AM103))
AM107_CODEC = Codec("milesight.am107", 1, _by_table(AM107))
AM308_CODEC = Codec("milesight.am308", 1, _by_table(AM308))
AM319_CODEC = Codec("milesight.am319", 1, decode_am319)
