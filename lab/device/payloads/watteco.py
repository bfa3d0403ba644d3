"""What a Watteco device sends and understands, from the device's side (docs/decoders-formats.md, "nke Watteco").

Every frame goes up on f_port 125. The field order of the TIC clusters is the decoder's table; all the
rest is written apart from the decoder, so that each proves the other.
"""

import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from decoders.linky import Dated, MeterDate, Power, TicValue
from decoders.watteco.tic_fields import (
    CONTRACTS,
    DATED_SIZES,
    HISTORIQUE,
    INTEGER_SIZES,
    PERIODS,
    STANDARD,
    WORDS,
    Kind,
    TicField,
)
from decoders.watteco.tic_professional import CJE, ICE, PME_PMI

F_PORT = 125
_REPORT = 0x0A
_BOOLEAN, _SIGNED_16, _UNSIGNED_32, _BYTE_STRING, _LONG_BYTE_STRING = 0x10, 0x29, 0x23, 0x41, 0x43
_SWITCH = bytes.fromhex("11500006")
_READ_RELAY = bytes.fromhex("110000060000")
_BLOCKS = 11
_LONGEST_SHORT_STRING, _LONGEST_DESCRIPTOR = 0xFF, 0x1F
_FIXED_DESCRIPTOR = 8  # The older form of the bitfield, which the historique mode still sends.


def _report(endpoint: int, cluster: int, attribute: int, kind: int, data: bytes) -> bytes:
    control = 0x11 & 0x1F | (endpoint & 0x07) << 5 | (endpoint & 0x18) >> 2
    return bytes((control, _REPORT)) + cluster.to_bytes(2) + attribute.to_bytes(2) + bytes((kind,)) + data


def pulse(endpoint: int, index: int) -> bytes:
    """The pulse index (0 to 2^32 - 1) of an input: cluster 000F, attribute 0402."""
    return _report(endpoint, 0x000F, 0x0402, _UNSIGNED_32, index.to_bytes(4))


def temperature(endpoint: int, celsius: float) -> bytes:
    """A temperature, to a hundredth of a degree: cluster 0402, attribute 0000."""
    hundredths = round(celsius * 100)
    return _report(endpoint, 0x0402, 0x0000, _SIGNED_16, hundredths.to_bytes(2, signed=True))


def relay_state(on: bool) -> bytes:
    """The report of the relay, sent by itself after a change: cluster 0006, attribute 0000."""
    return _report(0, 0x0006, 0x0000, _BOOLEAN, bytes((on,)))


def read_response_relay(on: bool) -> bytes:
    """The answer to a read of the relay: status 0, then type and value."""
    return bytes.fromhex("11010006000000") + bytes((_BOOLEAN, on))


def parse_switch_command(payload: bytes) -> bool | None:
    """Whether a downlink switches the relay on (True) or off (False); None when it is not a switch."""
    return {_SWITCH + b"\x01": True, _SWITCH + b"\x00": False}.get(payload)


def asks_relay_state(payload: bytes) -> bool:
    """Whether a downlink reads the relay's state, which `read_response_relay` answers."""
    return payload == _READ_RELAY


def metering_800a(
    endpoint: int,
    *,
    import_wh: int,
    export_wh: int = 0,
    import_varh: int = 0,
    export_varh: int = 0,
    active_power_w: int = 0,
    reactive_power_var: int = 0,
) -> bytes:
    """Energies and powers of a phase (endpoints 0 to 2) or of the three (endpoint 3): cluster 800A.

    A power is sent as its positive and its negative part, of which one is zero.
    """
    values = (
        *(import_wh, export_wh, import_varh, export_varh),
        *(max(active_power_w, 0), max(-active_power_w, 0)),
        *(max(reactive_power_var, 0), max(-reactive_power_var, 0)),
    )
    data = b"".join(value.to_bytes(4, signed=True) for value in values)
    return _report(endpoint, 0x800A, 0x0000, _BYTE_STRING, bytes((len(data),)) + data)


def tic_standard(fields: Mapping[str, TicValue], instance: int = 1, *, as_list: bool = True) -> bytes:
    """Labels of the standard mode (cluster 0056), with a descriptor by list of indexes or by bitfield."""
    return _tic(0x0056, STANDARD, fields, instance, as_list)


def tic_historique(fields: Mapping[str, TicValue], instance: int = 0, *, as_list: bool = False) -> bytes:
    """Labels of the historique mode (cluster 0054), with a descriptor by bitfield or by list."""
    return _tic(0x0054, HISTORIQUE, fields, instance, as_list)


def tic_pme_pmi(fields: Mapping[str, TicValue], instance: int = 0, *, as_list: bool = True) -> bytes:
    """Labels of a PME-PMI (cluster 0057)."""
    return _tic(0x0057, PME_PMI, fields, instance, as_list)


def tic_cje(fields: Mapping[str, TicValue], instance: int = 0, *, as_list: bool = True) -> bytes:
    """Labels of a CJE (cluster 0055)."""
    return _tic(0x0055, CJE, fields, instance, as_list)


def tic_ice(fields: Mapping[str, TicValue], period: int = 0, *, as_list: bool = True) -> bytes:
    """Labels of an ICE (cluster 0053): general (0), of the running period (1) or of the one before (2)."""
    return _tic(0x0053, ICE[period], fields, 0, as_list, period)


def _tic(
    cluster: int,
    table: tuple[TicField, ...],
    fields: Mapping[str, TicValue],
    instance: int,
    as_list: bool,
    period: int = 0,
) -> bytes:
    indexes = [index for index, field in enumerate(table) if field.label in fields]
    if len(indexes) != len(fields):
        unknown = set(fields) - {field.label for field in table}
        raise ValueError(f"labels that cluster {cluster:04x} does not have: {sorted(unknown)}")
    values = b"".join(_write(table[index], fields[table[index].label]) for index in indexes)
    data = _descriptor(indexes, as_list, fixed=table is HISTORIQUE) + values
    attribute = instance << 8 | period
    if len(data) <= _LONGEST_SHORT_STRING:
        return _report(0, cluster, attribute, _BYTE_STRING, bytes((len(data),)) + data)
    return _report(0, cluster, attribute, _LONG_BYTE_STRING, len(data).to_bytes(2) + data)


def _descriptor(indexes: list[int], as_list: bool, fixed: bool) -> bytes:
    if as_list:
        body, kind = bytes(indexes), 0x20
    else:
        size = _FIXED_DESCRIPTOR - 1 if fixed else max(indexes, default=0) // 8 + 1
        body, kind = sum(1 << index for index in indexes).to_bytes(size), 0
        if fixed:
            return b"\0" + body
    if len(body) >= _LONGEST_DESCRIPTOR:
        raise ValueError(f"{len(indexes)} labels do not fit a list: use a bitfield")
    return bytes((kind | 1 + len(body),)) + body


def _write(field: TicField, value: TicValue) -> bytes:
    form, write = _WRITERS[field.kind]
    if not isinstance(value, form):
        raise ValueError(f"{field.label} is a {field.kind.name}, not {value!r}")  # noqa: TRY004 - Of a label.
    return write(value)


def _date(date: MeterDate) -> bytes:
    parts = (date.year, date.month, date.day, date.hour, date.minute, date.second)
    return date.season.encode("latin-1") + bytes(parts)


def _local_date(date: MeterDate) -> bytes:
    return bytes((date.day, date.month, date.year, date.hour, date.minute, date.second))


def _instant(date: MeterDate) -> bytes:
    """Seconds since 2000-01-01T00:00Z."""
    instant = date.instant()
    if instant is None:
        raise ValueError(f"{date} is no instant")
    return int((instant - datetime(2000, 1, 1, tzinfo=UTC)).total_seconds()).to_bytes(4)


def _two_numbers(text: str, separator: str) -> tuple[int, int]:
    first, second = text.split(separator)
    return int(first), int(second)


def _hour_and_day(text: str) -> bytes:
    """`DD/MM hh:mm` as hh mm DD MM."""
    day, hour = text.split(" ")
    return bytes((*_two_numbers(hour, ":"), *_two_numbers(day, "/")))


def _day_and_hour(text: str) -> bytes:
    """`DD/MM hh:00` as DD MM hh."""
    day, hour = text.split(" ")
    return bytes((*_two_numbers(day, "/"), _two_numbers(hour, ":")[0]))


def _enumeration(value: str, names: tuple[str, ...]) -> bytes:
    if value in names:
        return bytes((names.index(value),))
    return bytes((0x80 | len(value),)) + value.encode("latin-1")


def _day_profile(blocks: list[dict[str, str]]) -> bytes:
    written = b""
    for block in blocks:
        hour, minute = block["from"].split(":")
        written += bytes((int(hour), int(minute))) + bytes.fromhex(block["action"])
    return written + b"\xff" * (_BLOCKS - len(blocks))


def _unsigned(size: int) -> tuple[type, Callable[[Any], bytes]]:
    return int, lambda value: value.to_bytes(size)


def _dated(size: int) -> tuple[type, Callable[[Any], bytes]]:
    return Dated, lambda value: _date(value.date) + value.value.to_bytes(size)


# Kind -> what a value of it is, and how it is written.
_WRITERS: dict[Kind, tuple[type, Callable[[Any], bytes]]] = {
    **{kind: _unsigned(size) for kind, size in INTEGER_SIZES.items()},
    **{kind: _dated(size) for kind, size in DATED_SIZES.items()},
    Kind.STATUS: _unsigned(4),
    Kind.I16: (int, lambda value: value.to_bytes(2, signed=True)),
    Kind.SINGLE: (float, lambda value: struct.pack(">f", value)),
    Kind.DATE: (MeterDate, _date),
    Kind.LOCAL_DATE: (MeterDate, _local_date),
    Kind.INSTANT: (MeterDate, _instant),
    Kind.INSTANT_AND_PERIOD: (Dated, lambda value: _instant(value.date) + _enumeration(value.value, PERIODS)),
    Kind.POWER_AND_UNIT: (Power, lambda value: value.value.to_bytes(3) + _enumeration(value.unit, WORDS)),
    Kind.DAY_PROFILE: (list, _day_profile),
    Kind.NOTHING: (type(None), lambda _: b""),
    Kind.TEXT: (str, lambda value: value.encode("latin-1") + b"\0"),
    Kind.CHARACTER: (str, lambda value: value.encode("latin-1")),
    Kind.CONTRACT: (str, lambda value: _enumeration(value, CONTRACTS)),
    Kind.PERIOD: (str, lambda value: _enumeration(value, PERIODS)),
    Kind.WORD: (str, lambda value: _enumeration(value, WORDS)),
    Kind.IDENTIFIER: (str, lambda value: bytes((len(value) // 2,)) + bytes.fromhex(value)),
    Kind.HOUR_AND_DAY: (str, _hour_and_day),
    Kind.DAY_AND_HOUR: (str, _day_and_hour),
    Kind.HOUR: (str, lambda value: bytes(_two_numbers(value, ":"))),
}
