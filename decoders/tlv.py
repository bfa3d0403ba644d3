"""Fields and records of the tag-and-value formats, so that a product is a table."""

import struct
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from decoders.canonical import Decoded, MalformedPayload, Reading

# (payload, where the record's data starts, time of the uplink, where to put what it says).
Read = Callable[[bytes, int, int, Decoded], None]


class Record(NamedTuple):
    """What a tag announces: so many octets of data, and how to read them."""

    size: int
    read: Read


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


def layout_of(order: str, fields: Iterable[Field], *, before: str = "") -> struct.Struct:
    """The layout of these fields, in octet order `<` or `>`, after another group of codes."""
    return struct.Struct(order + before + "".join(field.code for field in fields))


def measures(order: str, *fields: Field) -> Record:
    """A record of measures taken at the time of the uplink."""
    layout = layout_of(order, fields)
    unpack = layout.unpack_from
    if len(fields) == 1 and fields[0].most is None and fields[0].absent_from is None:
        return Record(layout.size, _one_measure(unpack, fields[0]))

    def read(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
        add_readings(fields, unpack(payload, start), time_us, decoded)

    return Record(layout.size, read)


def _one_measure(unpack: Callable[[bytes, int], tuple[Any, ...]], field: Field) -> Read:
    """The most frequent record, read without the loop and the checks of the general one."""
    _, quantity, divisor, channel, _, _ = field

    def read(payload: bytes, start: int, time_us: int, decoded: Decoded) -> None:
        decoded.readings.append(Reading(time_us, channel, quantity, unpack(payload, start)[0] / divisor))

    return read


def add_readings(fields: Iterable[Field], values: Iterable[int], at_us: int, decoded: Decoded) -> None:
    """Add the readings of one record. Raises MalformedPayload for a value that the field cannot have."""
    append = decoded.readings.append
    for (_, quantity, divisor, channel, most, absent_from), value in zip(fields, values, strict=False):
        if most is not None and value > most:
            raise MalformedPayload(f"{quantity} vaut {most} au plus, reçu {value}")
        if absent_from is not None and value >= absent_from:
            decoded.warnings.append(f"le capteur n'a pas de mesure de {quantity} (valeur {value:#x})")
        else:
            append(Reading(at_us, channel, quantity, value / divisor))
