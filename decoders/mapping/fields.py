"""What is known of each value in a codec's answers: the words of its name, and the unit that the vendor states."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from decoders.mapping.leaves import Leaf
from decoders.mapping.paths import Steps, Where
from decoders.mapping.units import is_known
from decoders.mapping.vocabulary import BESIDE, ELECTRIC, EMPTY_WORDS, EXTREMES, MEANT, UNIT_WORDS, words_of

_NUMBER_AND_UNIT = re.compile(r"([-+]?\d+(?:\.\d+)?)\s*(\D*)")
# Units without meaning: of texts, of flags, of what has none.
_NO_UNIT = frozenset({"", "string", "bool", "boolean", "text", "n/a", "na", "-", "[]", "null", "none", "enum"})


@dataclass(frozen=True, slots=True)
class Field:
    """A leaf of the samples. `words` are those of its name, `around` also those of the objects that it is in.

    `unit` is what stands beside the value, or behind it; else what the catalogue says. `name_unit` is in its name.
    """

    leaf: Leaf
    words: list[str]
    around: frozenset[str]
    unit: str = ""
    name_units: Sequence[str] = ()
    texts: frozenset[str] = frozenset()
    numbers: list[float] = field(default_factory=list[float])

    @property
    def steps(self) -> Steps:
        """Where it is."""
        return self.leaf.steps


def read_fields(known: Sequence[Leaf], catalogue: Mapping[str, str]) -> list[Field]:
    """Each leaf that has a name, with what is known of it; `catalogue` has units by path or by a name in it."""
    beside = units_beside(known)
    fields = (_field(leaf, beside.get(leaf.steps, ""), catalogue) for leaf in known)
    return [one for one in fields if one is not None]


def units_beside(known: Sequence[Leaf]) -> dict[Steps, str]:
    """What `x_unit` says of `x` beside it, and `unit` or `typeUnits` of the value beside it."""
    by_steps = {leaf.steps: leaf for leaf in known}
    found: dict[Steps, str] = {}
    for leaf in known:
        name = leaf.steps[-1]
        if not isinstance(name, str):
            inner = leaf.steps[:-1]  # Of `{"value": [1, 2], "unit": "ppm"}`, the list is the value.
            name = inner[-1] if inner and isinstance(inner[-1], str) else None
            if name is None:
                continue
        else:
            inner = leaf.steps
        around = inner[:-1]
        said = by_steps.get((*around, f"{name}_unit")) or by_steps.get((*around, f"{name}Unit"))
        if said is None and not set(words_of(name)) - EMPTY_WORDS:
            said = next((by_steps[key] for key in _unit_keys(around, by_steps)), None)
        if said is not None and isinstance(said.values[0], str) and len(set(map(str, said.values))) == 1:
            found[leaf.steps] = said.values[0].strip()
    return found


def _unit_keys(around: Steps, by_steps: Mapping[Steps, Leaf]) -> Iterable[Steps]:
    for steps in by_steps:
        name = steps[-1]
        if steps[:-1] == around and isinstance(name, str) and name.lower().endswith(("unit", "units")):
            yield steps


def _field(leaf: Leaf, beside: str, catalogue: Mapping[str, str]) -> Field | None:
    names = [
        step.text if isinstance(step, Where) else step for step in leaf.steps if isinstance(step, str | Where)
    ]
    if not names:
        return None
    around = frozenset(word for name in names for word in words_of(name))
    said_by_catalogue = catalogue.get(leaf.path) or catalogue.get(names[-1], "")
    name_units: list[str] = []
    qualifiers: list[str] = []
    while len(names) > 1 and _says_nothing(names[-1], names[-2]):
        popped = words_of(names.pop())
        name_units += [UNIT_WORDS[word] for word in popped if word in UNIT_WORDS]
        qualifiers += [word for word in popped if word in EXTREMES or word in BESIDE - EMPTY_WORDS]
    words = words_of(names[-1]) + qualifiers
    name_units += [UNIT_WORDS[word] for word in words[1:][::-1] if word in UNIT_WORDS]
    texts = frozenset(value.strip() for value in leaf.values if isinstance(value, str))
    written = [_NUMBER_AND_UNIT.fullmatch(text) for text in texts]
    numbers = [float_of(value) for value in leaf.values if isinstance(value, int | float)]
    if texts and all(written):
        numbers += [float_of(match[1]) for match in written if match]
        suffixes = {match[2].strip() for match in written if match}
        if len(suffixes) == 1 and suffixes != {""}:
            beside = beside or suffixes.pop()
        texts = frozenset[str]()
    unit = _said(beside) or _said(said_by_catalogue)
    return Field(leaf, words, around, unit, name_units, texts, numbers)


def _says_nothing(name: str, outer: str) -> bool:
    """Whether the object around has the name: `humidity.value`, `voltage.L1`, `humidity.3`."""
    words, around = set(words_of(name)), set(words_of(outer))
    if words == {"current"} and not ELECTRIC & around:
        return bool(MEANT & around)  # What it is at present.
    if name.isdecimal() or not words - EMPTY_WORDS - EXTREMES - set(UNIT_WORDS):
        return True
    return bool(MEANT & around) and words <= BESIDE | EXTREMES


def _said(unit: str) -> str:
    return "" if unit.strip().lower() in _NO_UNIT else unit.strip()


def float_of(value: Any) -> float:
    """The number, infinite where it is too large."""
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def unit_of_name(field: Field, units: Iterable[str]) -> str:
    """The unit in the name that converts to one of `units`, else one that contradicts them all, else nothing.

    A single letter contradicts nothing: `temperature_a` is of probe A.
    """
    wanted = tuple(units)
    for unit in field.name_units:
        if any(is_known(unit, one) for one in wanted):
            return unit
    return next((unit for unit in field.name_units if len(unit.strip("°")) > 1 or unit == "%"), "")
