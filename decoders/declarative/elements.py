"""The simple parts of a frame: numbers, bit fields, texts, gaps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from decoders.canonical import MalformedPayload
from decoders.codec import UnsupportedCommand
from decoders.declarative.meaning import Meaning, Say
from decoders.declarative.numbers import NumberType
from decoders.declarative.stream import Reader, Writer


@dataclass(frozen=True, slots=True)
class Number:
    """One number at the next octet, or at `at`."""

    type: NumberType
    meaning: Meaning
    say: Say
    at: int | None = None

    @property
    def least(self) -> int:
        return self.type.size

    @property
    def keys(self) -> frozenset[str]:
        return frozenset() if self.meaning.name is None else frozenset({self.meaning.name})

    def read(self, reader: Reader) -> None:
        if self.at is not None:
            reader.seek(self.at)
        self.say(self.type.read(reader.read_octets(self.type.size, self.meaning.label)), reader)

    def write(self, writer: Writer, values: Mapping[str, Any]) -> None:
        if self.at is not None:
            writer.seek(self.at)
        raw = self.meaning.raw_of(values, writer)
        _check(raw, self.type.least, self.type.most, self.meaning.label)
        try:
            writer.put(self.type.write(raw))
        except OverflowError:
            raise UnsupportedCommand(f"« {self.meaning.label} » : {raw:g} est trop grand") from None


def _check(raw: float, least: int | None, most: int | None, label: str) -> None:
    if least is None or most is None:
        return
    if not isinstance(raw, int):
        raise UnsupportedCommand(f"« {label} » n'a pas une valeur aussi fine : {raw:g} pas, il en faut un entier")
    if not least <= raw <= most:
        raise UnsupportedCommand(f"« {label} » dépasse ce que la trame peut porter ({raw}, de {least} à {most})")


class BitField(NamedTuple):
    """Bits `low` to `low + width - 1` of the number that holds them; bit 0 is the least significant."""

    low: int
    width: int
    signed: bool
    meaning: Meaning
    say: Say

    @property
    def bounds(self) -> tuple[int, int]:
        half = 1 << (self.width - 1)
        return (-half, half - 1) if self.signed else (0, 2 * half - 1)


@dataclass(frozen=True, slots=True)
class Bits:
    """A number of which groups of bits mean something each."""

    type: NumberType
    fields: tuple[BitField, ...]
    label: str
    at: int | None = None

    @property
    def least(self) -> int:
        return self.type.size

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(field.meaning.name for field in self.fields if field.meaning.name is not None)

    def read(self, reader: Reader) -> None:
        if self.at is not None:
            reader.seek(self.at)
        word = int(self.type.read(reader.read_octets(self.type.size, self.label)))
        for low, width, signed, _, say in self.fields:
            raw = word >> low & (1 << width) - 1
            if signed and raw >> (width - 1):
                raw -= 1 << width
            say(raw, reader)

    def write(self, writer: Writer, values: Mapping[str, Any]) -> None:
        if self.at is not None:
            writer.seek(self.at)
        word = 0
        for field in self.fields:
            raw = field.meaning.raw_of(values, writer)
            _check(raw, *field.bounds, field.meaning.label)
            word |= (int(raw) & (1 << field.width) - 1) << field.low
        writer.put(self.type.write(word))


@dataclass(frozen=True, slots=True)
class Text:
    """ASCII characters, or octets shown as hexadecimal; `size` None takes all that is left."""

    name: str
    size: int | None
    is_ascii: bool
    title: str = ""
    at: int | None = None

    @property
    def least(self) -> int:
        return self.size or 0

    @property
    def keys(self) -> frozenset[str]:
        return frozenset({self.name})

    def read(self, reader: Reader) -> None:
        if self.at is not None:
            reader.seek(self.at)
        octets = reader.read_octets(reader.left if self.size is None else self.size, self.name)
        if self.is_ascii:
            stripped = octets.rstrip(b"\0 ")
            if not stripped.isascii() or not stripped.decode("ascii").isprintable():
                raise MalformedPayload(f"{self.name} n'est pas du texte ASCII : {octets.hex()}")
            reader.data[self.name] = stripped.decode("ascii")
        else:
            reader.data[self.name] = octets.hex()

    def write(self, writer: Writer, values: Mapping[str, Any]) -> None:
        if self.at is not None:
            writer.seek(self.at)
        text = values.get(self.name)
        if not isinstance(text, str):
            raise UnsupportedCommand(f"« {self.name} » est un texte à donner, reçu {text!r}")
        octets = self._octets(text)
        if self.size is not None and len(octets) > self.size:
            raise UnsupportedCommand(f"« {self.name} » a {self.size} octets au plus, reçu {len(octets)}")
        if self.size is not None and not self.is_ascii and len(octets) < self.size:
            raise UnsupportedCommand(f"« {self.name} » a {self.size} octets, reçu {len(octets)}")
        writer.put(octets if self.size is None else octets.ljust(self.size, b"\0"))

    def _octets(self, text: str) -> bytes:
        if not self.is_ascii:
            try:
                return bytes.fromhex(text)
            except ValueError:
                raise UnsupportedCommand(f"« {self.name} » est de l'hexadécimal, reçu {text!r}") from None
        if not (text.isascii() and text.isprintable()):
            raise UnsupportedCommand(f"« {self.name} » est du texte ASCII, reçu {text!r}")
        return text.encode("ascii")


@dataclass(frozen=True, slots=True)
class Skip:
    """Octets without a meaning; they are written as zeros."""

    size: int
    at: int | None = None

    @property
    def least(self) -> int:
        return self.size

    @property
    def keys(self) -> frozenset[str]:
        return frozenset()

    def read(self, reader: Reader) -> None:
        if self.at is not None:
            reader.seek(self.at)
        reader.read_octets(self.size, "un passage sans signification")

    def write(self, writer: Writer, values: Mapping[str, Any]) -> None:  # noqa: ARG002 - As every element.
        if self.at is not None:
            writer.seek(self.at)
        writer.put(bytes(self.size))


@dataclass(frozen=True, slots=True)
class Warned:
    """No octet, but a warning about the frame: what a number says that is no measure."""

    text: str

    @property
    def least(self) -> int:
        return 0

    @property
    def keys(self) -> frozenset[str]:
        return frozenset()

    def read(self, reader: Reader) -> None:
        reader.decoded.warnings.append(self.text)

    def write(self, writer: Writer, values: Mapping[str, Any]) -> None:
        """No command has one."""
