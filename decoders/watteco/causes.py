"""Report parameters: why a device sent its report (docs/decoders-formats.md, "nke Watteco")."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Any

from decoders.canonical import MalformedPayload

_SHORT, _LONG = 1, 2  # Kinds of cause: short ones only name the criterion, long ones also how much.
_MODES = ("unused", "delta", "threshold", "unused")


@dataclass(frozen=True, slots=True)
class FieldFormat:
    """How a field is written: `size` octets, read as (number + offset) / divisor, in the field's unit."""

    name: str
    size: int
    signed: bool = False
    divisor: float = 1
    offset: int = 0
    single: bool = False  # An IEEE 754 single, not an integer.

    def read(self, octets: bytes) -> float:
        """The value of `size` octets, in the field's unit."""
        return self.value(self.number(octets))

    def number(self, octets: bytes) -> float:
        """The number that `size` octets are."""
        if self.single:
            return struct.unpack(">f", octets)[0]
        return int.from_bytes(octets, signed=self.signed)

    def value(self, number: float) -> float:
        """What the number is in the field's unit."""
        number += self.offset
        return number if self.divisor == 1 else number / self.divisor


# The format of the field with this index; None when it is not known.
FormatOf = Callable[[int], FieldFormat | None]


def read_causes(tail: bytes, structured: bool, format_of: FormatOf) -> tuple[list[dict[str, Any]], bytes]:
    """The causes in `tail`, and the octets left from the first whose field has no known format.

    Values are in the unit of the field. Raises MalformedPayload for a truncated criterion or a kind of
    cause that does not exist.
    """
    if not tail:
        return [], b""
    kind = tail[0] >> 4 & 0x03
    if kind not in (_SHORT, _LONG) and (kind or len(tail) > 1):
        raise MalformedPayload(
            f"les paramètres du rapport n'annoncent aucune sorte de cause connue : {tail.hex()}"
        )
    causes: list[dict[str, Any]] = []
    position = 1
    while position < len(tail):
        cause, after = _short_cause(tail[position]), position + 1
        if kind == _LONG:
            index = _unsigned(tail, after, 1) if structured else 0
            layout = format_of(index)
            if layout is None:
                return causes, tail[position:]
            after = _read_criterion(tail, after + structured, layout, cause)
        causes.append(cause)
        position = after
    return causes, b""


def _short_cause(descriptor: int) -> dict[str, Any]:
    """The criterion slot descriptor: which criterion, of which mode, crossed which way."""
    cause: dict[str, Any] = {
        "criterion": descriptor & 0x07,
        "mode": _MODES[descriptor >> 3 & 0x03],
        "alarm": bool(descriptor & 0x80),
    }
    crossings = [name for bit, name in ((0x40, "exceed"), (0x20, "fall")) if descriptor & bit]
    if crossings:
        cause["crossing"] = "&".join(crossings)
    return cause


def _read_criterion(tail: bytes, position: int, layout: FieldFormat, cause: dict[str, Any]) -> int:
    if layout.name:
        cause["field"] = layout.name
    cause["value"] = _value(tail, position, layout)
    position += layout.size
    if cause["mode"] != "threshold":
        return position
    cause["gap"] = _value(tail, position, layout)
    position += layout.size
    occurrences = _unsigned(tail, position, 1)
    cause["occurrences"] = occurrences & 0x7F
    position += 1
    if occurrences & 0x80:
        cause["occurrences_up"] = _unsigned(tail, position, 2)
        cause["occurrences_down"] = _unsigned(tail, position + 2, 2)
        position += 4
    return position


def _unsigned(tail: bytes, position: int, size: int) -> int:
    octets = tail[position : position + size]
    if len(octets) < size:
        raise MalformedPayload(f"paramètres du rapport tronqués : {tail.hex()}")
    return int.from_bytes(octets)


def _value(tail: bytes, position: int, layout: FieldFormat) -> float | str:
    octets = _unsigned(tail, position, layout.size).to_bytes(layout.size)
    value = layout.read(octets)
    return value if isfinite(value) else octets.hex()  # JSON knows no infinity.
