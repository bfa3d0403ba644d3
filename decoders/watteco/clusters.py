"""What each cluster's attribute means, as clusters.toml says (docs/decoders-formats.md, "nke Watteco").

Channels: endpoint 0 is `""` and endpoint n is `"n"`; clusters of a three-phase meter give the phase
(`phase_a`, `phase_b`, `phase_c`) and `""` for the three together.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from decoders.tables import read_table
from decoders.watteco.causes import FieldFormat, FormatOf

PHASES = ("phase_a", "phase_b", "phase_c", "")


class Field(NamedTuple):
    """One value of an attribute: its octets, and the quantity that it is a reading of.

    `quantity` is empty for what only goes into `data`. `channel` is None when the endpoint says it.
    Several fields of one quantity and channel are added, with their `factor`: powers are sent as a
    positive and a negative part, and the reading is their difference.
    """

    layout: FieldFormat
    quantity: str = ""
    channel: str | None = None
    factor: int = 1
    boolean: bool = False


def _code(layout: FieldFormat) -> str:
    """The `struct` code of a field; empty when there is none."""
    if layout.single:
        return "f"
    code = {1: "b", 2: "h", 4: "i"}.get(layout.size, "")
    return code if layout.signed else code.upper()


@dataclass(frozen=True, slots=True)
class Attribute:
    """Consecutive fields of fixed size; `by_phase` when the endpoint numbers a phase."""

    fields: tuple[Field, ...]
    by_phase: bool = False
    # Octets of the attribute, and how to read all its numbers at once, where no field has three octets.
    size: int = field(init=False)
    _at_once: struct.Struct | None = field(init=False)

    def __post_init__(self) -> None:
        layouts = [one.layout for one in self.fields]
        object.__setattr__(self, "size", sum(layout.size for layout in layouts))
        codes = [_code(layout) for layout in layouts]
        at_once = struct.Struct(">" + "".join(codes)) if all(codes) else None
        object.__setattr__(self, "_at_once", at_once)

    def numbers(self, data: bytes) -> Sequence[float]:
        """The numbers of the attribute's `size` octets, one for each field."""
        if self._at_once is not None:
            return self._at_once.unpack(data)
        position, numbers = 0, list[float]()
        for one in self.fields:
            end = position + one.layout.size
            numbers.append(one.layout.number(data[position:end]))
            position = end
        return numbers

    def channel_of(self, endpoint: int) -> str:
        """The channel that the endpoint stands for."""
        if self.by_phase and endpoint < len(PHASES):
            return PHASES[endpoint]
        return str(endpoint) if endpoint else ""


def _field(described: Mapping[str, Any]) -> Field:
    given = dict(described)
    said = {name: given.pop(name) for name in ("quantity", "channel", "factor", "boolean") if name in given}
    return Field(FieldFormat(**given), **said)


def _place(key: str) -> tuple[int, ...]:
    """Cluster and attribute, in hexadecimal, and the endpoint if it says one."""
    return tuple(int(part, 16) for part in key.split("."))


_TABLE = read_table("watteco/clusters.toml")
# (cluster, attribute), or (cluster, attribute, endpoint) where the endpoint says another one -> its fields.
ATTRIBUTES: dict[tuple[int, ...], Attribute] = {
    _place(key): Attribute(tuple(_field(one) for one in fields), key in _TABLE["by_phase"])
    for key, fields in _TABLE["attributes"].items()
}
TEXTS: dict[tuple[int, ...], str] = {_place(key): name for key, name in _TABLE["texts"].items()}


def attribute_of(cluster: int, attribute: int, endpoint: int) -> Attribute | None:
    """The meaning of an attribute on an endpoint; None when the tables do not have it."""
    return ATTRIBUTES.get((cluster, attribute, endpoint)) or ATTRIBUTES.get((cluster, attribute))


def format_of(attribute: Attribute) -> FormatOf:
    """The format of the attribute's fields by their index."""
    fields = attribute.fields

    def by_index(index: int) -> FieldFormat | None:
        return fields[index].layout if index < len(fields) else None

    return by_index
