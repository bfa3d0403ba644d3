"""Adeunis Comfort: temperature, humidity, CO2, digital inputs (docs/decoders-formats.md, "Adeunis")."""

import struct
from collections.abc import Mapping
from typing import Any

from decoders.adeunis.commands import READ, SET_RECORDING
from decoders.adeunis.frame import (
    CONFIGURATION,
    AdeunisFrame,
    Read,
    add_history,
    digital_input,
    read_product,
    sized,
)
from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.codec import Codec, Decode
from decoders.commands import encoder

_TEMPERATURE, _HUMIDITY, _CO2 = ("", "temperature"), ("", "relative_humidity"), ("", "co2")
# Struct codes of a record, and the quantity and divisor of each number.
_COMFORT = (">hB", ((_TEMPERATURE, 10), (_HUMIDITY, 1)))
_COMFORT_CO2 = (">hBH", ((_TEMPERATURE, 10), (_HUMIDITY, 1), (_CO2, 1)))
_ALARM_BITS = {_TEMPERATURE: 0x10, _HUMIDITY: 0x01, _CO2: 0x20}
_DAILY_SIZES = (9, 17)
_CONFIGURATION = struct.Struct(">HHHHB")  # Newer products say more after this.

_Record = tuple[str, tuple[tuple[tuple[str, str], int], ...]]


def _records(form: _Record) -> Read:
    layout, fields = struct.Struct(form[0]), form[1]

    def read(frame: AdeunisFrame, options: Mapping[str, Any], decoded: Decoded) -> None:
        if not frame.body or len(frame.body) % layout.size:
            raise MalformedPayload(
                f"un relevé a {layout.size} octets, reçu {frame.body.hex() or 'aucun'} après l'en-tête"
            )
        records = [
            {key: number / divisor for (key, divisor), number in zip(fields, numbers, strict=True)}
            for numbers in layout.iter_unpack(frame.body)
        ]
        decoded.data["frame"] = "data"
        add_history(frame, records, options, decoded)

    return read


def _alarm(form: _Record) -> Read:
    """The alarm's flags, then one record."""
    layout, fields = struct.Struct(form[0]), form[1]

    def read(frame: AdeunisFrame, _options: Mapping[str, Any], decoded: Decoded) -> None:
        flags, *numbers = struct.unpack(">B" + form[0][1:], sized(frame, layout.size + 1))
        decoded.data |= {"frame": "alarm", "alarms": {}}
        for (key, divisor), number in zip(fields, numbers, strict=True):
            decoded.readings.append(Reading(frame.at_us, *key, number / divisor))
            decoded.data["alarms"][key[1]] = "raised" if flags & _ALARM_BITS[key] else "released"

    return read


def _configuration(first: str, first_unit: int) -> Read:
    """0x10: `recording_period_s` is the option that dates the history."""

    def read(frame: AdeunisFrame, _options: Mapping[str, Any], decoded: Decoded) -> None:
        if len(frame.body) < _CONFIGURATION.size:
            raise MalformedPayload(
                f"une configuration a au moins {_CONFIGURATION.size} octets, reçu {frame.body.hex() or 'aucun'}"
            )
        number, per_frame, per_record, sampling, redundant = _CONFIGURATION.unpack_from(frame.body)
        decoded.data |= {
            "frame": "configuration",
            first: number * first_unit,
            "records_per_frame": per_frame,
            "sampling_s": sampling * 2,
            "recording_period_s": sampling * per_record * 2,
            "redundant_records": redundant,
        }

    return read


def _read_day(frame: AdeunisFrame, _options: Mapping[str, Any], decoded: Decoded) -> None:
    """0x30 of a Comfort CO2: the extremes of the day, and its means in the longer form."""
    body = sized(frame, *_DAILY_SIZES)
    icon, red, warmest, most_co2, most_humid, coldest = struct.unpack_from(">BBhHBh", body)
    decoded.data |= {
        "frame": "day",
        "icon": icon,
        "red_minutes": red * 10,
        "maximum": {"temperature": warmest / 10, "co2": most_co2, "relative_humidity": most_humid},
        "minimum": {"temperature": coldest / 10},
    }
    if len(body) == _DAILY_SIZES[1]:
        least_co2, least_humid, mean, mean_co2, mean_humid = struct.unpack_from(">HBhHB", body, 9)
        decoded.data["minimum"] |= {"co2": least_co2, "relative_humidity": least_humid}
        decoded.data["mean"] = {"temperature": mean / 10, "co2": mean_co2, "relative_humidity": mean_humid}


_INPUTS = {0x51: digital_input("1"), 0x52: digital_input("2")}
_READERS: dict[int, Read] = {
    CONFIGURATION: _configuration("keep_alive_s", 10),
    0x4C: _records(_COMFORT),
    0x4D: _alarm(_COMFORT),
    **_INPUTS,
}
_READERS_CO2: dict[int, Read] = {
    CONFIGURATION: _configuration("daily_frame", 1),
    0x30: _read_day,
    0x6A: _records(_COMFORT_CO2),
    0x6B: _alarm(_COMFORT_CO2),
    **_INPUTS,
}
_COMMANDS = (*READ, SET_RECORDING)


def _decode(product: str, readers: Mapping[int, Read]) -> Decode:
    def decode(f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
        return read_product(product, readers, f_port, payload, time_us, options)

    return decode


COMFORT = Codec(
    *("adeunis.comfort", 1, _decode("Comfort", _READERS)), encoder("Le Comfort Adeunis", _COMMANDS), _COMMANDS
)
COMFORT_CO2 = Codec(
    *("adeunis.comfort_co2", 1, _decode("Comfort CO2", _READERS_CO2)),
    encoder("Le Comfort CO2 Adeunis", _COMMANDS),
    _COMMANDS,
)
