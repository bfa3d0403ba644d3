"""Lists every value in the answers of a codec, by its path."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

from decoders.mapping.paths import DEEPEST, EACH, LONGEST, Steps, Where, path_text
from decoders.mapping.rules import LONGEST_CHANNEL
from decoders.mapping.times import read_instant

PAIR = 2
MOST_LEAVES = 400
MOST_VALUES = 30  # of a leaf, that are looked at.
# In `[{variable: "temperature", value: 21.5, date: ...}]`, what names, and what has the value.
_NAMING = ("variable", "name", "measurement", "label", "quantity", "parameter", "key", "type name", "type")
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_MARKS = set('[]="')  # Which a path cannot name a key by.
_VALUES = frozenset({"value", "val", "measurement value", "reading"})


class Leaf(NamedTuple):
    """Something that the samples have a value for: where, and the values seen (not null, not all of them)."""

    steps: Steps
    values: list[Any]

    @property
    def path(self) -> str:
        """As a rule of a mapping names it."""
        return path_text(self.steps)


def leaves(samples: Iterable[Any]) -> list[Leaf]:
    """Every path to a value in the samples, in the order in which they appear; elements of an array share one."""
    found: dict[Steps, Leaf] = {}
    for sample in samples:
        _gather(sample, (), found)
    return list(found.values())


def _gather(value: Any, steps: Steps, found: dict[Steps, Leaf]) -> None:
    if len(steps) >= DEEPEST:
        return
    if isinstance(value, dict):
        for key, inside in cast("dict[str, Any]", value).items():
            _gather(inside, (*steps, key), found)
    elif isinstance(value, list):
        elements = cast("list[Any]", value)
        naming = _naming_key(elements)
        for element in elements:
            step = EACH if naming is None else Where(naming, element[naming])
            if _is_dated_pair(element):
                for place in range(PAIR):
                    _gather(element[place], (*steps, step, place), found)
                continue
            _gather(element, (*steps, step), found)
    elif (
        steps
        and value is not None
        and (steps in found or len(found) < MOST_LEAVES)
        and len(path_text(steps)) <= LONGEST
    ):
        leaf = found.setdefault(steps, Leaf(steps, []))
        if len(leaf.values) < MOST_VALUES:
            leaf.values.append(value)


def _naming_key(elements: list[Any]) -> str | None:
    """The key whose text says what each element is; None where the elements are of one kind."""
    if not elements or not all(_has_value(element) for element in elements):
        return None
    plain = {_plain(key): key for key in cast("dict[str, Any]", elements[0]) if not _MARKS & set(key)}
    usable = (
        plain[name]
        for name in _NAMING
        if name in plain and all(_is_name(element.get(plain[name])) for element in elements)
    )
    return next(usable, None)


def _has_value(element: Any) -> bool:
    return isinstance(element, dict) and any(_plain(key) in _VALUES for key in cast("dict[str, Any]", element))


def _plain(key: str) -> str:
    """`_value`, `typeName` and `type_name` as they would be written in prose."""
    return " ".join(_PART.findall(key)).lower()


def _is_name(text: Any) -> bool:
    return isinstance(text, str) and 0 < len(text) <= LONGEST_CHANNEL and not set("[]=") & set(text)


def _is_dated_pair(element: Any) -> bool:
    """`["2024-08-02T18:00:00Z", 65499]`: an instant, and what was measured then."""
    if not isinstance(element, list):
        return False
    pair = cast("list[Any]", element)
    return len(pair) == PAIR and isinstance(pair[0], str) and read_instant(pair[0]) is not None
