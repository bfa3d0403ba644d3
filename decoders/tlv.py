"""Declares tag-and-value formats as tables of fields and records."""

import struct
from collections.abc import Callable, Iterable
from math import inf
from typing import NamedTuple, cast

from decoders.canonical import Decoded, MalformedPayload, Reading

# What a NamedTuple's constructor does, without its own call: half the time of a reading.
_NEW = cast(
    "Callable[[type[Reading], tuple[int, str, str, float]], Reading]",
    tuple.__new__,  # pyright: ignore[reportUnknownMemberType]
)

# (payload, where the record's data starts, time of the uplink, where to put what it says).
Read = Callable[[bytes, int, int, Decoded], None]
# (payload, where the record's data starts) -> its octets; the payload may end before.
Measure = Callable[[bytes, int], int]


class Record(NamedTuple):
    """What a tag announces: so many octets of data, and how to read them.

    `measure` returns the size of a record that contains it, on top of `size`, the least that it has.
    """

    size: int
    read: Read
    measure: Measure | None = None


class Field(NamedTuple):
    """A number of a record: its `struct` code, and the quantity it is once divided by `divisor`.

    Above `most` the octets are not of this format. From `absent_from` on, the sensor says that it has
    no measure: a warning, and no reading.
    """

    code: str
    quantity: str
    divisor: float = 1.0
    channel: str = ""
    most: int | None = None
    absent_from: int | None = None


def layout_of(byte_order: str, fields: Iterable[Field], *, before: str = "", after: str = "") -> struct.Struct:
    """The layout of these fields, in octet order `<` or `>`, between other groups of codes."""
    return struct.Struct(byte_order + before + "".join(field.code for field in fields) + after)


def measures(byte_order: str, *fields: Field) -> Record:
    """A record of measures taken at the time of the uplink."""
    layout = layout_of(byte_order, fields)
    if len(fields) == 1:
        return Record(layout.size, _one_measure(layout, fields[0]))
    unpack = layout.unpack_from

    def read(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
        add_readings(fields, unpack(payload, start), time_us, decoded)

    return Record(layout.size, read)


def _one_measure(layout: struct.Struct, field: Field) -> Read:
    """The most frequent record, read without the loop of the general one, nor its checks while they hold."""
    code, quantity, divisor, channel, most, absent_from = field
    unpack = layout.unpack_from
    new = _NEW
    usual = min(inf if most is None else most + 1, inf if absent_from is None else absent_from)

    def read_octet(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
        decoded.readings.append(new(Reading, (time_us, channel, quantity, payload[start] / divisor)))

    def read(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
        decoded.readings.append(new(Reading, (time_us, channel, quantity, unpack(payload, start)[0] / divisor)))

    def read_checked(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
        (value,) = unpack(payload, start)
        if value < usual:
            decoded.readings.append(new(Reading, (time_us, channel, quantity, value / divisor)))
        else:
            add_readings((field,), (value,), time_us, decoded)

    if usual != inf:
        return read_checked
    return read_octet if code == "B" else read


def add_readings(fields: Iterable[Field], values: Iterable[float], at_us: int, decoded: Decoded) -> None:
    """Add the readings of one record. Raises MalformedPayload for a value that the field cannot have."""
    append = decoded.readings.append
    for (_, quantity, divisor, channel, most, absent_from), value in zip(fields, values, strict=False):
        if most is not None and value > most:
            raise MalformedPayload(f"{quantity} vaut {most} au plus, reçu {value}")
        if absent_from is not None and value >= absent_from:
            decoded.warnings.append(f"le capteur n'a pas de mesure de {quantity} (valeur {int(value):#x})")
        else:
            append(Reading(at_us, channel, quantity, value / divisor))
