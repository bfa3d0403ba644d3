"""Enless TX transmitters: a header, then values by type (docs/decoders-formats.md, "Short formats").

Identifier, type, sequence, firmware, values, alarm word, state word: everything big-endian, on f_port 1. VOC and
CO2 are read as whole ppb and ppm: the published decoder divides them by ten, which would make 61 ppm of a room's
609. An unprobed place of the room transmitters is zero.
"""

from collections.abc import Mapping
from struct import Struct, unpack_from
from typing import Any, NamedTuple

from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.codec import Codec
from decoders.tlv import Field, layout_of

F_PORT = 1
_HEADER = Struct(">3sBBB")
_WORDS = Struct(">HH")  # Alarms, state.
_PERCENT = (100, 75, 50, 25)  # By bits 2 and 3 of the state.
_ALARM_MESSAGE = 0x01


class _Product(NamedTuple):
    fields: tuple[Field, ...]
    layout: Struct
    alarms: tuple[str, ...]  # From the least significant bit.


def _product(fields: tuple[Field, ...], *alarms: str, unused: str = "") -> _Product:
    return _Product(fields, layout_of(">", fields, after=unused), alarms)


def _high_low(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}_{side}" for name in names for side in ("high", "low"))


_TEMPERATURE, _HUMIDITY = Field("h", "temperature", 10), Field("H", "relative_humidity", 10)
_VOC, _CO2 = Field("H", "tvoc"), Field("H", "co2")
_CLIMATE = (_TEMPERATURE, _HUMIDITY)
_TWO_PROBES = (Field("h", "temperature", 10, "1"), Field("h", "temperature", 10, "2"))
_INPUTS = tuple(Field("I", "pulse_count", channel=channel) for channel in ("1", "2", "open_collector"))
_FLOW_ALARMS = (
    *("flow_1_high", "flow_2_high", "flow_oc_high", "", "flow_1_low", "flow_2_low", "flow_oc_low", ""),
    *("leak_1", "leak_2", "leak_oc"),
)
_CLIMATE_ALARMS = _high_low("temperature", "humidity")
_ONE_PROBE = _product((_TEMPERATURE,), *_high_low("temperature"), unused="2x")
_PULSES = _product(_INPUTS, *_FLOW_ALARMS)
_TWO = _product(_TWO_PROBES, *_high_low("temperature_1", "temperature_2"))
TYPES: Mapping[int, _Product] = {
    0x04: _product(_CLIMATE, *_CLIMATE_ALARMS, unused="4x"),
    0x05: _product((*_CLIMATE, _VOC), *_CLIMATE_ALARMS, *_high_low("voc"), unused="2x"),
    0x06: _product((*_CLIMATE, _VOC, _CO2), *_CLIMATE_ALARMS, *_high_low("voc", "co2")),
    **dict.fromkeys((0x07, 0x0F, 0x10), _ONE_PROBE),
    **dict.fromkeys((0x08, 0x09, 0x0A, 0x0B), _PULSES),
    **dict.fromkeys((0x0C, 0x11), _TWO),
    0x0D: _product((Field("h", "input_current", 10),), *_high_low("current")),
    0x0E: _product(_CLIMATE, *_CLIMATE_ALARMS),
}


def decode(f_port: int, payload: bytes, time_us: int, _options: Mapping[str, Any]) -> Decoded:
    """Decode a frame of any TX. Raises MalformedPayload for another f_port, type or size."""
    if f_port != F_PORT or len(payload) < _HEADER.size:
        raise MalformedPayload(
            f"f_port {f_port} : une trame Enless arrive sur 1, de 6 octets au moins : {payload.hex()}"
        )
    identifier, kind, sequence, firmware = _HEADER.unpack_from(payload)
    product = TYPES.get(kind)
    if product is None:
        raise MalformedPayload(f"type {kind:02x} inconnu chez Enless : {payload.hex()}")
    size = _HEADER.size + product.layout.size + _WORDS.size
    if len(payload) != size:
        raise MalformedPayload(f"le type {kind:02x} a {size} octets, {len(payload)} reçus : {payload.hex()}")
    decoded = Decoded()
    values = product.layout.unpack_from(payload, _HEADER.size)
    for field, value in zip(product.fields, values, strict=True):
        decoded.readings.append(Reading(time_us, field.channel, field.quantity, value / field.divisor))
    alarms, state = unpack_from(">HH", payload, size - _WORDS.size)
    decoded.readings.append(Reading(time_us, "", "battery_level", float(_PERCENT[state >> 2 & 3])))
    decoded.data = {
        "device_id": int.from_bytes(identifier),
        "sequence": sequence,
        "firmware": firmware,
        "message": "alarm" if state & _ALARM_MESSAGE else "normal",
        "alarms": [name for bit, name in enumerate(product.alarms) if name and alarms >> bit & 1],
        "state": state,
    }
    return decoded


CODEC = Codec("enless.tx", 1, decode)
