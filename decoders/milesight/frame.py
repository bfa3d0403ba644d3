"""Milesight frames: repeated [channel][type][data], little-endian (docs/decoders-formats.md, "Milesight")."""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from decoders.canonical import Decoded, MalformedPayload
from decoders.tlv import Field, Record, add_readings, layout_of

F_PORT = 85  # As delivered; the profile option `f_port` names another.
# How far from the uplink the clock of a stored record may be: what the memory holds, and drift.
_OLDEST_US = 400 * 86_400_000_000
_AHEAD_US = 86_400_000_000
ALARM_STATES = ("released", "raised")
# Channels on which a device answers settings; they never carry a measure.
_ANSWERS = frozenset({0xF8, 0xF9, 0xFE, 0xFF})

# (channel << 8 | type) -> the record that follows. A product is one such table.
Table = Mapping[int, Record]


def read_frame(table: Table, f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
    """Read a whole frame by its product's table.

    What follows a channel or type that the product does not have could not be told apart: it is kept from there on
    in `data["unread"]`, with a warning, and what came before is read. Raises MalformedPayload for another f_port,
    an empty or truncated frame, and one that begins with such a channel, unless it answers a setting.
    """
    expected = options.get("f_port", F_PORT)
    if f_port != expected:
        raise MalformedPayload(f"f_port {f_port} : les trames de ce profil arrivent sur {expected}")
    end = len(payload)
    if end == 0:
        raise MalformedPayload("une trame Milesight a au moins un enregistrement : aucun octet reçu")
    decoded = Decoded()
    find = table.get
    offset = 0
    while offset < end:
        start = offset + 2
        if start > end:
            raise MalformedPayload(f"canal sans type à l'octet {offset} : {payload.hex()}")
        record = find(payload[offset] << 8 | payload[offset + 1])
        if record is None:
            _keep_unread(payload, offset, decoded)
            break
        size, read, measure = record
        following = start + size
        if measure is not None and following <= end:
            following = start + measure(payload, start)
        if following > end:
            raise MalformedPayload(
                f"canal {payload[offset]:02x} de type {payload[offset + 1]:02x} à l'octet {offset} : "
                f"{following - start} octets annoncés, il en reste {end - start} : {payload.hex()}"
            )
        read(payload, start, time_us, decoded)
        offset = following
    return decoded


def _keep_unread(payload: bytes, offset: int, decoded: Decoded) -> None:
    unread = payload[offset:].hex()
    if payload[offset] in _ANSWERS:
        warning = f"réponse à un réglage inconnue ({payload[offset + 1]:02x}), gardée telle quelle"
    else:
        unknown = f"canal {payload[offset]:02x} de type {payload[offset + 1]:02x} inconnu à l'octet {offset}"
        if offset == 0:
            raise MalformedPayload(f"{unknown} : {payload.hex()}")
        warning = f"{unknown} : la suite de la trame n'est pas lue ({unread})"
    decoded.data["unread"] = unread
    decoded.warnings.append(warning)


def state_name(state: int, names: tuple[str, ...] = ALARM_STATES) -> str:
    """What a code stands for."""
    return names[state] if state < len(names) and names[state] else f"code {state}"


def alarm(*fields: Field, names: tuple[str, ...] = ALARM_STATES) -> Record:
    """Measures, and the state of the first one's alarm: `data["alarms"][quantity]`, with its channel if any."""
    layout = layout_of("<", fields)
    unpack, field = layout.unpack_from, fields[0]
    key = f"{field.quantity}_{field.channel}" if field.channel else field.quantity

    def read(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
        add_readings(fields, unpack(payload, start), time_us, decoded)
        state = payload[start + layout.size]
        decoded.data.setdefault("alarms", {})[key] = state_name(state, names)

    return Record(layout.size + 1, read)


def change_alarm(field: Field, code: str = "h", names: tuple[str, ...] = ALARM_STATES) -> Record:
    """A measure, how much it changed, and the state of the alarm."""
    layout = layout_of("<", (field,), after=code + "B")
    unpack = layout.unpack_from
    key = f"{field.quantity}_{field.channel}" if field.channel else field.quantity

    def read(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
        value, change, state = unpack(payload, start)
        add_readings((field,), (value,), time_us, decoded)
        decoded.data.setdefault("alarms", {})[key] = state_name(state, names)
        if isfinite(change):
            decoded.data.setdefault("changes", {})[key] = change / field.divisor

    return Record(layout.size, read)


def stored_instant(timestamp: int, time_us: int, decoded: Decoded) -> int | None:
    """When a record was stored; None, with a warning, when the device's clock cannot have been right."""
    at_us = timestamp * 1_000_000
    if time_us - _OLDEST_US <= at_us <= time_us + _AHEAD_US:
        return at_us
    decoded.warnings.append(f"mesure en mémoire à une date invraisemblable ({timestamp} s depuis 1970)")
    return None


def history(*fields: Field, before: str = "", after: str = "") -> Record:
    """A stored record: seconds since 1970, then measures of that instant.

    `before` and `after` are octets that say nothing. A record whose clock is implausible goes to
    `data["undated_history"]` with a warning.
    """
    layout = layout_of("<", fields, before="I" + before, after=after)
    unpack = layout.unpack_from

    def read(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
        timestamp, *values = unpack(payload, start)
        add_stored(fields, values, timestamp, time_us, decoded)

    return Record(layout.size, read)


def add_stored(
    fields: tuple[Field, ...], values: list[float], timestamp: int, time_us: int, decoded: Decoded
) -> None:
    """Readings of a stored record, or its values in `data["undated_history"]`."""
    at_us = stored_instant(timestamp, time_us, decoded)
    if at_us is not None:
        add_readings(fields, values, at_us, decoded)
        return
    measured: dict[str, Any] = {
        f"{field.quantity}_{field.channel}".rstrip("_"): value / field.divisor
        for field, value in zip(fields, values, strict=True)
        if isfinite(value)
    }
    decoded.data.setdefault("undated_history", []).append({"timestamp": timestamp, **measured})


def entry(section: str, name: str, size: int, form: Callable[[bytes], Any]) -> Record:
    """Something to keep beside the readings: `data[section][name]`, in the form given by its octets."""

    def read(payload: bytes, start: int, _time_us: int, decoded: Decoded) -> None:
        decoded.data.setdefault(section, {})[name] = form(payload[start : start + size])

    return Record(size, read)


def setting(name: str, size: int) -> Record:
    """The device's answer to a setting: a number up to two octets, else the octets in hexadecimal."""
    return entry("settings", name, size, number if size <= 2 else bytes.hex)  # noqa: PLR2004 - u8 and u16.


def number(octets: bytes) -> int:
    """An unsigned number."""
    return int.from_bytes(octets, "little")
