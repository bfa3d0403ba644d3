"""Lists every value in the answers of a codec, by its path."""

from collections.abc import Iterable
from typing import Any, NamedTuple, cast

from decoders.mapping.paths import DEEPEST, EACH, LONGEST, Steps, Where, path_text
from decoders.mapping.rules import LONGEST_CHANNEL

MOST_LEAVES = 400
MOST_VALUES = 30  # of a leaf, that are looked at.
# In `[{variable: "temperature", value: 21.5, date: ...}]`, what names.
_NAMING = ("variable", "name", "measurement", "label", "type")


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
    if not elements or not all(isinstance(element, dict) and "value" in element for element in elements):
        return None
    usable = (key for key in _NAMING if all(_is_name(element.get(key)) for element in elements))
    return next(usable, None)


def _is_name(text: Any) -> bool:
    return isinstance(text, str) and 0 < len(text) <= LONGEST_CHANNEL and not set("[]=") & set(text)
