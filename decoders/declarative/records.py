"""Parts of a frame that contain others: conditional groups, tagged records, repetitions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from decoders.canonical import MalformedPayload
from decoders.codec import UnsupportedCommand
from decoders.declarative.numbers import NumberType
from decoders.declarative.stream import Element, Reader, Writer

# What a number may be: inclusive ranges, of which one has to hold it.
Ranges = tuple[tuple[int, int], ...]


def holds(ranges: Ranges, value: float) -> bool:
    """Whether one of the ranges has the value in it."""
    for least, most in ranges:  # noqa: SIM110 - Asked of every frame, and any() takes three times as long.
        if least <= value <= most:
            return True
    return False


def read_all(elements: Iterable[Element], reader: Reader) -> None:
    """Read the elements one after the other."""
    for element in elements:
        element.read(reader)


def write_all(elements: Sequence[Element], writer: Writer, values: Mapping[str, Any]) -> None:
    """Write the elements; a count is that of the list which it announces."""
    counts = {
        element.count: len(element.given(values))
        for element in elements
        if isinstance(element, Repeat) and isinstance(element.count, str)
    }
    counted = {**values, **counts}
    for element in elements:
        element.write(writer, counted)


@dataclass(frozen=True, slots=True)
class Group:
    """Elements that are there under a condition, or (`optional`) when the frame does not end before."""

    elements: tuple[Element, ...]
    conditions: tuple[tuple[str, Ranges], ...] = ()
    optional: bool = False

    @property
    def least(self) -> int:
        if self.conditions or self.optional:
            return 0
        return sum(element.least for element in self.elements)

    @property
    def keys(self) -> frozenset[str]:
        return frozenset[str]().union(*(element.keys for element in self.elements))

    def read(self, reader: Reader) -> None:
        if (self.optional and not reader.left) or not self._applies(reader.raw):
            return
        read_all(self.elements, reader)

    def write(self, writer: Writer, values: Mapping[str, Any]) -> None:
        if not self._applies(writer.raw) or (self.optional and self.keys.isdisjoint(values)):
            return
        write_all(self.elements, writer, values)

    def _applies(self, raw: Mapping[str, float]) -> bool:
        for name, ranges in self.conditions:  # noqa: SIM110 - As in `holds`.
            if name not in raw or not holds(ranges, raw[name]):
                return False
        return True


@dataclass(frozen=True, slots=True)
class TaggedRecord:
    """What follows a tag."""

    tag: int
    elements: tuple[Element, ...]

    @property
    def keys(self) -> frozenset[str]:
        return frozenset[str]().union(*(element.keys for element in self.elements))


@dataclass(frozen=True, slots=True)
class Tagged:
    """Records behind tags, to the end of the frame; with `length`, the tag is followed by the record's size.

    An unknown tag can be passed over where there is a length; elsewhere the frame is malformed.
    """

    tag: NumberType
    length: NumberType | None
    records: Mapping[int, TaggedRecord]
    pass_unknown: bool

    @property
    def least(self) -> int:
        return 0

    @property
    def keys(self) -> frozenset[str]:
        return frozenset[str]().union(*(record.keys for record in self.records.values()))

    def read(self, reader: Reader) -> None:
        at_us = reader.at_us
        while reader.left:
            start = reader.position
            tag = int(self.tag.read(reader.read_octets(self.tag.size, "l'étiquette")))
            size = None
            if self.length is not None:
                size = int(self.length.read(reader.read_octets(self.length.size, "la longueur")))
            reader.at_us = at_us
            self._read_record(tag, size, start, reader)
        reader.at_us = at_us

    def _read_record(self, tag: int, size: int | None, start: int, reader: Reader) -> None:
        record = self.records.get(tag)
        if record is None:
            if size is None or not self.pass_unknown:
                raise MalformedPayload(f"étiquette {tag:#x} inconnue à l'octet {start} : {reader.payload.hex()}")
            reader.read_octets(size, f"l'enregistrement {tag:#x}")
            reader.decoded.warnings.append(f"étiquette {tag:#x} inconnue, {size} octets passés")
            return
        before, end = reader.position, reader.end
        if size is not None:
            reader.end = min(end, before + size)
        read_all(record.elements, reader)
        reader.end = end
        if size is not None and reader.position - before != size:
            raise MalformedPayload(
                f"l'enregistrement {tag:#x} à l'octet {start} a {reader.position - before} octets, "
                f"{size} annoncés : {reader.payload.hex()}"
            )

    def write(self, writer: Writer, values: Mapping[str, Any]) -> None:
        """The records of which something is given, in the order of the declaration."""
        for record in self.records.values():
            if record.keys.isdisjoint(values):
                continue
            body = Writer()
            body.raw = writer.raw
            write_all(record.elements, body, values)
            writer.put(self.tag.write(record.tag))
            if self.length is not None:
                writer.put(self.length.write(len(body.octets)))
            writer.put(bytes(body.octets))


class Steps(NamedTuple):
    """When the records are: the first, or the last, `shift_us` after the instant in hand, then a step each.

    The step is a number of microseconds, or a number of the frame and how many microseconds its unit has.
    """

    step: int | tuple[str, int]
    shift_us: int
    from_last: bool

    def step_us(self, reader: Reader) -> int:
        return self.step if isinstance(self.step, int) else reader.number_of(self.step[0]) * self.step[1]


@dataclass(frozen=True, slots=True)
class Repeat:
    """Records of one form: `count` of them, as many as a number of the frame says, or (None) to the end."""

    name: str
    count: int | str | None
    elements: tuple[Element, ...]
    steps: Steps | None = None
    title: str = ""

    @property
    def least(self) -> int:
        return self.count * sum(element.least for element in self.elements) if isinstance(self.count, int) else 0

    @property
    def keys(self) -> frozenset[str]:
        return frozenset({self.name})

    def read(self, reader: Reader) -> None:
        base_us, outer, number = reader.at_us, reader.data, reader.number
        readings = reader.decoded.readings
        first, done, records = len(readings), 0, list[dict[str, Any]]()
        step_us = 0 if self.steps is None else self.steps.step_us(reader)
        start_us = base_us if self.steps is None else base_us + self.steps.shift_us
        total = reader.number_of(self.count) if isinstance(self.count, str) else self.count
        while done < total if total is not None else reader.left:
            reader.at_us, reader.data, reader.number = start_us + done * step_us, dict[str, Any](), done + 1
            read_all(self.elements, reader)
            records.append(reader.data)
            done += 1
        if self.steps is not None and self.steps.from_last:
            back_us = (done - 1) * step_us
            readings[first:] = [
                reading._replace(time_us=reading.time_us - back_us) for reading in readings[first:]
            ]
        reader.at_us, reader.data, reader.number = base_us, outer, number
        if any(records):
            outer[self.name] = records

    def given(self, values: Mapping[str, Any]) -> Sequence[Any]:
        """The records to write."""
        records: object = values.get(self.name)
        if not isinstance(records, list | tuple):
            raise UnsupportedCommand(f"« {self.name} » est une liste à donner, reçu {records!r}")
        given = cast("Sequence[Any]", records)
        if isinstance(self.count, int) and len(given) != self.count:
            raise UnsupportedCommand(f"« {self.name} » a {self.count} éléments, reçu {len(given)}")
        return given

    def write(self, writer: Writer, values: Mapping[str, Any]) -> None:
        for record in self.given(values):
            if not isinstance(record, Mapping):
                raise UnsupportedCommand(f"« {self.name} » : chaque élément est un objet, reçu {record!r}")
            write_all(self.elements, writer, cast("Mapping[str, Any]", record))
