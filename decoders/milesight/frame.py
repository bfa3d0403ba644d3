"""Milesight frames: [channel][type][data] again and again, little-endian (codecs.md, section 4.3)."""

from collections.abc import Callable, Mapping
from typing import Any

from decoders.canonical import Decoded, MalformedPayload
from decoders.tlv import Field, Record, add_readings, layout_of

F_PORT = 85  # As delivered; the profile option `f_port` tells another.
# How far from the uplink the clock of a stored record may be: what the memory holds, and drift.
_OLDEST_US = 400 * 86_400_000_000
_AHEAD_US = 86_400_000_000
_ALARM_STATES = ("released", "raised")

# (channel << 8 | type) -> the record that follows. A product is one such table.
Table = Mapping[int, Record]


def read_frame(table: Table, f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
    """Read a whole frame by its product's table.

    Raises MalformedPayload for another f_port, an empty or truncated frame, and a channel or type that
    the product does not have: what follows it could not be told apart.
    """
    expected = options.get("f_port", F_PORT)
    if f_port != expected:
        raise MalformedPayload(f"f_port {f_port} : les trames de ce profil arrivent sur {expected}")
    end = len(payload)
    if end == 0:
        raise MalformedPayload("une trame Milesight a au moins un enregistrement : aucun octet reçu")
    decoded = Decoded()
    offset = 0
    while offset < end:
        start = offset + 2
        if start > end:
            raise MalformedPayload(f"canal sans type à l'octet {offset} : {payload.hex()}")
        record = table.get(payload[offset] << 8 | payload[offset + 1])
        if record is None:
            raise MalformedPayload(
                f"canal {payload[offset]:02x} de type {payload[offset + 1]:02x} inconnu à l'octet {offset} : "
                f"{payload.hex()}"
            )
        following = start + record.size
        if following > end:
            raise MalformedPayload(
                f"canal {payload[offset]:02x} de type {payload[offset + 1]:02x} à l'octet {offset} : "
                f"{record.size} octets annoncés, il en reste {end - start} : {payload.hex()}"
            )
        record.read(payload, start, time_us, decoded)
        offset = following
    return decoded


def alarm(field: Field) -> Record:
    """A measure, and whether it crossed the threshold set in the device: `data["alarms"][quantity]`."""
    layout = layout_of("<", (field,))
    unpack = layout.unpack_from

    def read(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
        (value,), state = unpack(payload, start), payload[start + layout.size]
        add_readings((field,), (value,), time_us, decoded)
        name = _ALARM_STATES[state] if state < len(_ALARM_STATES) else f"code {state}"
        decoded.data.setdefault("alarms", {})[field.quantity] = name

    return Record(layout.size + 1, read)


def history(*fields: Field) -> Record:
    """A stored record: seconds since 1970, then measures of that instant.

    A record whose clock is implausible goes to `data["undated_history"]` with a warning.
    """
    layout = layout_of("<", fields, before="I")
    unpack = layout.unpack_from

    def read(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
        timestamp, *values = unpack(payload, start)
        at_us = timestamp * 1_000_000
        if time_us - _OLDEST_US <= at_us <= time_us + _AHEAD_US:
            add_readings(fields, values, at_us, decoded)
            return
        decoded.warnings.append(f"mesure en mémoire à une date invraisemblable ({timestamp} s depuis 1970)")
        measured = {field.quantity: value / field.divisor for field, value in zip(fields, values, strict=True)}
        decoded.data.setdefault("undated_history", []).append({"timestamp": timestamp, **measured})

    return Record(layout.size, read)


def entry(section: str, name: str, size: int, form: Callable[[bytes], Any]) -> Record:
    """Something to keep beside the readings: `data[section][name]`, in the form given by its octets."""

    def read(payload: bytes, start: int, _time_us: int, decoded: Decoded) -> None:
        decoded.data.setdefault(section, {})[name] = form(payload[start : start + size])

    return Record(size, read)


def setting(name: str, size: int) -> Record:
    """The device's answer to a setting: a number up to two octets, else the octets in hexadecimal."""
    return entry("settings", name, size, _number if size <= 2 else bytes.hex)  # noqa: PLR2004 - u8 and u16.


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "little")
