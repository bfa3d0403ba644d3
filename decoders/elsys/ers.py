"""Elsys frames: repeated type octet and value, big-endian, on f_port 5 (docs/decoders-formats.md, "Elsys")."""

from collections.abc import Callable, Mapping
from typing import Any

from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.codec import Codec
from decoders.pulses import add_volumes
from decoders.tlv import Field, Record, measures

F_PORT = 5  # As delivered; the profile option `f_port` names another. Settings come on the next one.
SETTINGS = 0x3E
_OCCUPANCY = ("free", "pending", "occupied")
_GRID = 64  # Pixels of the thermal camera.


def _flag(quantity: str, channel: str = "") -> Record:
    """An octet that is a state: any value but zero is true, and kept in `data` when it says more."""

    def read(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
        value = payload[start]
        decoded.readings.append(Reading(time_us, channel, quantity, float(value != 0)))
        if value > 1:
            decoded.data[f"{quantity}_{channel}" if channel else quantity] = value

    return Record(1, read)


def _kept(name: str, size: int, form: Callable[[bytes], Any]) -> Record:
    def read(payload: bytes, start: int, _time_us: int, decoded: Decoded) -> None:
        decoded.data[name] = form(payload[start : start + size])

    return Record(size, read)


def _position(octets: bytes) -> dict[str, float]:
    """Latitude and longitude are little-endian, unlike all the rest."""
    latitude, longitude = (int.from_bytes(part, "little", signed=True) for part in (octets[:3], octets[3:]))
    return {"latitude": latitude / 10_000, "longitude": longitude / 10_000}


def _thermal_grid(octets: bytes) -> list[float]:
    """A reference temperature, then what each pixel adds to it, in tenths."""
    return [round(octets[0] + pixel / 10, 1) for pixel in octets[1:]]


def _read_occupancy(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
    state = payload[start]
    if state >= len(_OCCUPANCY):
        raise MalformedPayload(f"occupation {state} à l'octet {start}, de 0 à 2 attendue : {payload.hex()}")
    decoded.readings.append(Reading(time_us, "", "occupancy", float(_OCCUPANCY[state] == "occupied")))
    decoded.data["occupancy"] = _OCCUPANCY[state]


def _read_probe(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
    """Type 19 comes once per probe: the channels are external_2, external_3 and so on, in their order."""
    former = sum(reading.channel.startswith("external_") for reading in decoded.readings)
    value = int.from_bytes(payload[start : start + 2], signed=True) / 10
    decoded.readings.append(Reading(time_us, f"external_{former + 2}", "temperature", value))


TYPES: Mapping[int, Record] = {
    0x01: measures(">", Field("h", "temperature", 10)),
    0x02: measures(">", Field("B", "relative_humidity")),
    0x03: measures(">", *(Field("b", "acceleration", 63, axis) for axis in "xyz")),
    0x04: measures(">", Field("H", "illuminance")),
    0x05: measures(">", Field("B", "motion")),
    0x06: measures(">", Field("H", "co2")),
    0x07: measures(">", Field("H", "battery_voltage", 1_000)),
    0x08: measures(">", Field("H", "input_voltage", 1_000, "1")),
    0x09: _kept("position", 6, _position),
    0x0A: _kept("pulses_since_last_1", 2, int.from_bytes),  # Not an index: it cannot be a counter's value.
    0x0B: measures(">", Field("I", "pulse_count", channel="1")),
    0x0C: measures(">", Field("h", "temperature", 10, "external")),
    0x0D: _flag("input_state", "1"),
    0x0E: measures(">", Field("H", "distance")),
    0x0F: measures(">", Field("B", "motion", channel="acceleration")),
    0x10: measures(
        ">", Field("h", "temperature", 10, "infrared_internal"), Field("h", "temperature", 10, "infrared_external")
    ),
    0x11: Record(1, _read_occupancy),
    0x12: _flag("leak"),
    0x13: _kept("thermal_grid", 1 + _GRID, _thermal_grid),
    0x14: measures(">", Field("I", "pressure", 1_000)),
    0x15: measures(">", Field("B", "sound_level", channel="peak"), Field("B", "sound_level", channel="average")),
    0x16: _kept("pulses_since_last_2", 2, int.from_bytes),
    0x17: measures(">", Field("I", "pulse_count", channel="2")),
    0x18: measures(">", Field("H", "input_voltage", 1_000, "2")),
    0x19: Record(2, _read_probe),
    0x1A: _flag("input_state", "2"),
    0x1B: measures(">", Field("i", "input_voltage", 1_000_000, "microvolts")),
    0x1C: measures(">", Field("H", "tvoc")),
    0x3D: _kept("debug", 4, bytes.hex),
}


def decode(f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
    """Decode a frame of measures, or the settings that a device sends when it starts, kept as octets.

    Option `litres_per_pulse` scales the indexes of the pulse inputs, channels `"1"` and `"2"`. Raises
    MalformedPayload for another f_port, an empty or truncated frame and an unknown type.
    """
    expected = options.get("f_port", F_PORT)
    if not payload:
        raise MalformedPayload("une trame Elsys a au moins un enregistrement : aucun octet reçu")
    if payload[0] == SETTINGS and f_port in (expected, F_PORT + 1):
        return Decoded(data={"settings": payload[1:].hex()})
    if f_port != expected:
        raise MalformedPayload(f"f_port {f_port} : les trames de ce profil arrivent sur {expected}")
    decoded, offset = Decoded(), 0
    while offset < len(payload):
        start = offset + 1
        record = TYPES.get(payload[offset])
        if record is None:
            raise MalformedPayload(f"type {payload[offset]:02x} inconnu à l'octet {offset} : {payload.hex()}")
        if start + record.size > len(payload):
            raise MalformedPayload(
                f"type {payload[offset]:02x} à l'octet {offset} : {record.size} octets annoncés, "
                f"il en reste {len(payload) - start} : {payload.hex()}"
            )
        record.read(payload, start, time_us, decoded)
        offset = start + record.size
    add_volumes(options, decoded)
    return decoded


# One decoder for the whole family, ELT, EMS and ERS; the first profiles name it by their product. How settings
# are written down is the vendor's own: no command is published octet by octet.
CODEC = Codec("elsys.ers_co2", 2, decode)
FAMILY = Codec("elsys.family", 1, decode)
