"""What a number of a frame means: scale, words, quantity, instant; both ways."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isfinite
from typing import Any, NamedTuple

from core.model.quantities import Kind, Quantity
from decoders.canonical import MalformedPayload, Reading
from decoders.codec import Parameter, ParameterKind, UnsupportedCommand
from decoders.declarative.numbers import Scaling
from decoders.declarative.stream import Reader, Writer

Word = str | bool | int | float
# (number of the frame, where to put what it says); raises MalformedPayload for one that the format excludes.
Say = Callable[[float, Reader], None]
TOLERANCE = Fraction(1, 1_000_000)
MOST_READINGS = 2_000  # Of one frame: a table costs the process that decodes no more than this.


class Channel(NamedTuple):
    """A channel, whose `{name}` parts are numbers of the frame, or `{n}` the record in hand."""

    parts: tuple[tuple[str, str | None], ...]  # (text, name that follows it)

    def of(self, reader: Reader) -> str:
        """The channel of the record in hand."""
        return "".join(
            text + ("" if name is None else str(reader.number if name == "n" else reader.raw.get(name, "?")))
            for text, name in self.parts
        )


class Clock(NamedTuple):
    """How a number is an instant: so many units since an epoch, or before the reception when it is None."""

    epoch_us: int | None
    unit_us: int

    def instant(self, raw: int, received_us: int) -> int:
        """Microseconds since 1970."""
        if self.epoch_us is None:
            return received_us - raw * self.unit_us
        return self.epoch_us + raw * self.unit_us


class Running(NamedTuple):
    """The number is what has been added (1) to another one, or taken from it (-1), since the last record."""

    name: str
    sign: int


@dataclass(frozen=True, slots=True)
class Meaning:
    """`scaling` gives the value as declared, which `data` shows; `canonical` the value in the quantity's unit."""

    label: str  # How messages call the field.
    name: str | None = None
    title: str = ""
    quantity: Quantity | None = None
    channel: str | Channel = ""
    unit: str | None = None
    scaling: Scaling | None = None
    canonical: Scaling | None = None
    words: Mapping[int, Word] | None = None
    absent: frozenset[int] = frozenset()
    equals: int | None = None
    inverted: bool = False
    clock: Clock | None = None
    running: Running | None = None
    minimum: Fraction | None = None
    maximum: Fraction | None = None
    default: Fraction | Word | None = None

    def say(self, raw: float, reader: Reader) -> None:
        """Put into the reader what this number says; raises MalformedPayload for one that the format excludes."""
        if self.equals is not None and raw != self.equals:
            raise MalformedPayload(f"{self.label} vaut {self.equals}, reçu {raw} : {reader.payload.hex()}")
        if not isfinite(raw):
            self._say_nothing(raw, reader)
            return
        if self.running is not None:
            raw = int(reader.number_of(self.running.name) + self.running.sign * raw)
            reader.raw[self.running.name] = raw
        if self.name is not None:
            reader.raw[self.name] = raw
        if raw in self.absent:
            self._say_nothing(raw, reader)
            return
        if self.clock is not None:
            reader.at_us = self.clock.instant(int(raw), reader.received_us)
        if self.words is not None:
            self._say_word(int(raw), self.words, reader)
            return
        value = raw if self.scaling is None else self.scaling.value(raw)
        canonical = raw if self.canonical is None else self.canonical.value(raw)
        if not (isfinite(value) and isfinite(canonical)):
            self._say_nothing(raw, reader)
            return
        self._keep(int(not value) if self.inverted else value, reader)
        if self.quantity is not None:
            self._read(float(not canonical if self.inverted else canonical), self.quantity, reader)

    def saying(self) -> Say:
        """`say`; of a plain measure what does the same at once, without asking what else the number may be."""
        quantity, channel = self.quantity, self.channel
        others = (self.name, self.words, self.equals, self.clock, self.running)
        if (
            quantity is None
            or not isinstance(channel, str)
            or self.absent
            or self.inverted
            or any(other is not None for other in others)
        ):
            return self.say
        multiplier, shift, divisor = self.canonical or Scaling(1, 0, 1)
        name, is_flag, say = quantity.name, quantity.kind is Kind.BOOLEAN, self.say

        def measure(raw: float, reader: Reader) -> None:
            value = (raw * multiplier + shift) / divisor
            readings = reader.decoded.readings
            if value - value != 0 or len(readings) >= MOST_READINGS:
                say(raw, reader)
            else:
                readings.append(Reading(reader.at_us, channel, name, float(value != 0) if is_flag else value))

        return measure

    def _say_nothing(self, raw: float, reader: Reader) -> None:
        self._keep(None, reader)
        if self.quantity is not None:
            reader.decoded.warnings.append(f"{self.label} : pas de mesure (valeur {raw})")

    def _say_word(self, raw: int, words: Mapping[int, Word], reader: Reader) -> None:
        word = words.get(raw)
        if word is None:
            self._keep(raw, reader)
            reader.decoded.warnings.append(f"{self.label} : la valeur {raw} n'est pas dans la table")
            return
        self._keep(word, reader)
        if self.quantity is not None:
            self._read(self._code_of(raw, word, self.quantity), self.quantity, reader)

    def _code_of(self, raw: int, word: Word, quantity: Quantity) -> float:
        """A word that is a number is the value, one of an enumeration has its code, others leave the number."""
        if not isinstance(word, str):
            return float(word)
        if quantity.kind is Kind.ENUMERATION:
            return float(quantity.labels.index(word))
        return float(raw) if self.canonical is None else self.canonical.value(raw)

    def _keep(self, value: Any, reader: Reader) -> None:
        if self.name is not None and not self.name.startswith("_"):
            reader.data[self.name] = value

    def _read(self, value: float, quantity: Quantity, reader: Reader) -> None:
        if len(reader.decoded.readings) >= MOST_READINGS:
            raise MalformedPayload(f"plus de {MOST_READINGS} mesures dans une trame : {reader.payload.hex()}")
        if quantity.kind is Kind.BOOLEAN:
            value = float(value != 0)
        channel = self.channel if isinstance(self.channel, str) else self.channel.of(reader)
        reader.decoded.readings.append(Reading(reader.at_us, channel, quantity.name, float(value)))

    def raw_of(self, values: Mapping[str, Any], writer: Writer) -> float:
        """The number to write; raises UnsupportedCommand when the value is missing or cannot be one."""
        if self.equals is not None:
            return self._said(self.equals, writer)
        given = values.get(self.name) if self.name is not None else None
        if given is None:
            given = self.default
        if given is None:
            if not self.absent:
                raise UnsupportedCommand(f"« {self.label} » est à donner")
            return min(self.absent)
        raw = self._raw_of_word(given, self.words) if self.words is not None else self._raw_of_number(given)
        if self.running is not None:
            before = writer.number_of(self.running.name)
            writer.raw[self.running.name] = raw
            return (raw - before) * self.running.sign
        return self._said(raw, writer)

    def _said(self, raw: float, writer: Writer) -> float:
        if self.name is not None:
            writer.raw[self.name] = raw
        return raw

    def _raw_of_word(self, given: Any, words: Mapping[int, Word]) -> int:
        for raw, word in words.items():
            if word == given if isinstance(word, bool) else str(word) == str(given):
                return raw
        known = ", ".join(str(word) for word in words.values())
        raise UnsupportedCommand(f"« {self.label} » vaut une de ces valeurs : {known} ; reçu {given!r}")

    def _raw_of_number(self, given: Any) -> float:
        if not isinstance(given, int | float | Fraction) or not isfinite(given):
            raise UnsupportedCommand(f"« {self.label} » est un nombre, reçu {given!r}")
        if self.inverted:
            return int(not given)
        if self.scaling is None:
            raw = Fraction(given)
        else:  # 23.4 is meant in decimal, not as the binary number beside it.
            raw = self.scaling.raw(given if isinstance(given, Fraction) else Fraction(repr(given + 0)))
            if abs(raw - round(raw)) < TOLERANCE:  # No decimal number is a third.
                raw = Fraction(round(raw))
        return int(raw) if raw.denominator == 1 else float(raw)

    def parameter(self, least: int | None, most: int | None) -> Parameter | None:
        """What a command's sender gives for this number, from `least` to `most`; None when it is fixed."""
        if self.equals is not None or self.name is None:
            return None
        default = float(self.default) if isinstance(self.default, Fraction) else self.default
        form = Parameter(self.name, self.title or self.name, unit=self.unit or "", default=default)
        if self.words is not None and all(isinstance(word, bool) for word in self.words.values()):
            return replace(form, kind=ParameterKind.BOOLEAN)
        if self.words is not None:
            choices = tuple(dict.fromkeys(str(word) for word in self.words.values()))
            shown_default = None if default is None else str(default)
            return replace(form, kind=ParameterKind.CHOICE, choices=choices, default=shown_default)
        integer = self.scaling is None and least is not None
        if integer and default is not None:
            form = replace(form, default=int(default))
        minimum, maximum = self._bounds(least, most)
        kind = ParameterKind.INTEGER if integer else ParameterKind.NUMBER
        return replace(form, kind=kind, minimum=minimum, maximum=maximum)

    def _bounds(self, least: int | None, most: int | None) -> tuple[float | None, float | None]:
        """As declared, else as the number's octets allow."""
        allowed: list[float] = []
        if least is not None and most is not None:
            allowed = sorted(
                float(raw if self.scaling is None else self.scaling.value(raw)) for raw in (least, most)
            )
        return (
            float(self.minimum) if self.minimum is not None else (allowed[0] if allowed else None),
            float(self.maximum) if self.maximum is not None else (allowed[-1] if allowed else None),
        )
