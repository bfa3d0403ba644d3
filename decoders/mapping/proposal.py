"""Proposes a mapping from the names, units and values in a codec's answers."""

import math
import re
from collections import Counter
from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from core.model.quantities import QUANTITIES, Kind
from decoders.mapping.leaves import Leaf, leaves
from decoders.mapping.paths import Each, Steps, Where
from decoders.mapping.rules import LONGEST_CHANNEL, MOST_RULES, Mapping, Rule
from decoders.mapping.times import TimeRule, read_instant
from decoders.mapping.units import conversion
from decoders.mapping.vocabulary import (
    ABOUT_THE_DEVICE,
    EMPTY_WORDS,
    OPPOSITES,
    TERMS,
    UNIT_WORDS,
    Term,
    words_of,
)

MOST_CHANNELS = 16  # elements of an array that are several sources, not several instants.
_DATING = ("timestamp", "time", "date", "datetime", "eventTime", "event_time", "ts", "at")
# A battery's cells give less than this many volts, and not so little as a fraction does.
_BATTERY_V = 13
_BATTERY_MV = 1000
_NUMBER_AND_UNIT = re.compile(r"([-+]?\d+(?:\.\d+)?)\s*(\D*)")


def propose(samples: Sequence[Any], units: AnyMapping[str, str] | None = None) -> Mapping:
    """Rules for what the samples (the `data` of a codec's answers) seem to measure, for somebody to look at.

    `units` are the vendor's by path, or by the last name of a path; the samples may say them as well (`level_unit`
    beside `level`). What nothing is known of is left out.
    """
    known = leaves(samples)
    said = _units_beside(known) | dict(units or {})
    dated = {leaf.steps[:-1]: leaf.steps[-1] for leaf in known if _is_date(leaf)}
    proposed: list[Rule] = []
    for leaf in known:
        rule = _rule(leaf, said)
        if rule is not None:
            proposed += _placed(rule, dated, samples)
    return Mapping(tuple(_named_apart(_once(proposed))[:MOST_RULES]))


def _units_beside(known: Sequence[Leaf]) -> dict[str, str]:
    """What fields `x_unit` say of fields `x`, and `unit` of the `value` beside it, by path."""
    by_steps = {leaf.steps: leaf for leaf in known}
    found: dict[str, str] = {}
    for leaf in known:
        name = leaf.steps[-1]
        if not isinstance(name, str):
            continue
        beside = (f"{name}_unit", f"{name}Unit", "unit") if name == "value" else (f"{name}_unit", f"{name}Unit")
        for unit in (by_steps.get((*leaf.steps[:-1], one)) for one in beside):
            if unit is not None and isinstance(unit.values[0], str) and len(set(map(str, unit.values))) == 1:
                found[leaf.path] = unit.values[0]
    return found


def _once(rules: list[Rule]) -> list[Rule]:
    """Without what a dated record of the same name beside it says as well: `samples[variable=x].value` and `x`."""
    recorded = {
        (*rule.steps[: at - 1], step.text)
        for rule in rules
        if rule.time.steps
        for at, step in enumerate(rule.steps)
        if at and isinstance(step, Where)
    }
    return [rule for rule in rules if rule.steps not in recorded]


def _is_date(leaf: Leaf) -> bool:
    return leaf.steps[-1] in _DATING and all(read_instant(value) is not None for value in leaf.values)


def _rule(leaf: Leaf, units: AnyMapping[str, str]) -> Rule | None:
    """The quantity that a leaf seems to be, without channel and time; None: it is not understood."""
    names = [
        step.text if isinstance(step, Where) else step for step in leaf.steps if isinstance(step, str | Where)
    ]
    if not names:
        return None
    while len(names) > 1 and not set(words_of(names[-1])) - EMPTY_WORDS:
        names.pop()
    words, around = words_of(names[-1]), {word for name in names for word in words_of(name)}
    said = units.get(leaf.path) or units.get(names[-1])
    for term in _meanings(set(words), around):
        quantity = term.quantity or ""
        unit = said if said and _knows(quantity, said) else _unit_word(words, quantity)
        rule = _readable(leaf, quantity, term.units if unit is None else (unit,), named=unit is not None)
        if rule is not None:
            return rule
    return None


def _meanings(words: set[str], around: set[str]) -> list[Term]:
    """What these words may mean, the likeliest first; nothing when it is about the device, or in no catalogue."""
    if not words or around & ABOUT_THE_DEVICE:
        return []
    candidates = [term for term in TERMS if term.words <= around and term.words & words]
    most = max((len(term.words) for term in candidates), default=0)
    likeliest = [term for term in candidates if len(term.words) == most]
    return [] if any(term.quantity is None for term in likeliest) else likeliest


def _knows(quantity: str, unit: str) -> bool:
    """Whether a quantity can be said in this unit; a battery is a level or a voltage."""
    targets = ("%", "V") if quantity == "battery_level" else (QUANTITIES[quantity].unit,)
    return any(conversion(unit, target) is not None for target in targets)


def _unit_word(words: list[str], quantity: str) -> str | None:
    """The unit that the name ends with, where the quantity knows it."""
    said = [UNIT_WORDS[word] for word in words[1:] if word in UNIT_WORDS]
    usable = (unit for unit in reversed(said) if conversion(unit, QUANTITIES[quantity].unit) is not None)
    unit = next(usable, None)
    if unit is None and quantity == "battery_level" and {"V", "mV"} & set(said):
        return said[-1]
    return unit


def _readable(leaf: Leaf, quantity: str, units: Sequence[str], *, named: bool) -> Rule | None:
    """The rule under the first unit that makes all values plausible; a battery may be a level or a voltage."""
    texts = {value.strip() for value in leaf.values if isinstance(value, str)}
    if texts and QUANTITIES[quantity].kind is Kind.BOOLEAN:
        values = _opposites({text.casefold() for text in texts})
        return None if values is None else Rule(leaf.steps, quantity, values=values)
    written = [_NUMBER_AND_UNIT.fullmatch(text) for text in texts]
    numbers = [_number(value) for value in leaf.values if isinstance(value, int | float)]
    numbers += [_number(match[1]) for match in written if match]
    if not all(written) or not numbers or not all(math.isfinite(number) for number in numbers):
        return None
    suffixes = {match[2].strip() for match in written if match} - {""}
    if len(suffixes) == 1 and _knows(quantity, next(iter(suffixes))):
        units, named = tuple(suffixes), True
    if quantity == "battery_level":
        quantity, units = _battery(numbers, units, named=named)
    usable = [unit for unit in units if conversion(unit, QUANTITIES[quantity].unit) is not None]
    fitting = (unit for unit in usable if _all_plausible(numbers, quantity, unit))
    unit = next(fitting, usable[0] if usable and named else None)
    if unit is None:
        return None
    return Rule(leaf.steps, quantity, unit="" if unit == QUANTITIES[quantity].unit else unit)


def _number(value: float | str) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _battery(numbers: list[float], units: Sequence[str], *, named: bool) -> tuple[str, Sequence[str]]:
    if named:
        volts = conversion(units[0], "V") is not None and conversion(units[0], "%") is None
        return ("battery_voltage" if volts else "battery_level"), units
    if all(number >= _BATTERY_MV for number in numbers):
        return "battery_voltage", ("mV",)
    whole = all(number.is_integer() for number in numbers)
    if not whole and 1 < max(numbers) < _BATTERY_V:
        return "battery_voltage", ("",)
    return "battery_level", ("fraction", "") if not whole and max(numbers) <= 1 else ("",)


def _all_plausible(numbers: list[float], quantity: str, unit: str) -> bool:
    entry = QUANTITIES[quantity]
    known = conversion(unit, entry.unit)
    if known is None:
        return False
    values = [number * known.scale + known.offset for number in numbers]
    if entry.kind is Kind.BOOLEAN:
        return all(value in (0, 1) for value in values)
    if entry.kind is Kind.COUNTER and unit == "" and entry.unit in ("L", "W.h"):
        # Litres and watt-hours are counted whole; with decimals it is the larger unit.
        return all(value.is_integer() and value >= 0 for value in values)
    low = -math.inf if entry.minimum is None else entry.minimum
    high = math.inf if entry.maximum is None else entry.maximum
    return all(low <= value <= high for value in values)


def _opposites(texts: set[str]) -> dict[str, float] | None:
    """Both sides of the pair that has all these texts."""
    for ones, zeros in OPPOSITES:
        if texts <= {*ones, *zeros}:
            return dict.fromkeys(ones, 1.0) | dict.fromkeys(zeros, 0.0)
    return None


def _placed(rule: Rule, dated: dict[Steps, Any], samples: Sequence[Any]) -> list[Rule]:
    """The rule with its time: beside its value in an array, or else one rule for each place in the array."""
    innermost = max((at for at, step in enumerate(rule.steps) if isinstance(step, Each | Where)), default=None)
    if innermost is None:
        return [rule]
    element = rule.steps[: innermost + 1]
    if element in dated:
        return [replace(rule, time=TimeRule(steps=(dated[element],)))]
    if isinstance(rule.steps[innermost], Where):
        return [rule]
    outer, inner = rule.steps[:innermost], rule.steps[innermost + 1 :]
    if any(isinstance(step, Each) for step in outer):
        return []
    count = 1 if not inner else max(_length(sample, outer) for sample in samples)
    return [replace(rule, steps=(*outer, index, *inner)) for index in range(min(count, MOST_CHANNELS))]


def _length(sample: Any, steps: Steps) -> int:
    for step in steps:
        if not isinstance(step, str) or not isinstance(sample, dict):
            return 0
        sample = cast("dict[str, Any]", sample).get(step)
    return len(cast("list[Any]", sample)) if isinstance(sample, list) else 0


def _named_apart(rules: list[Rule]) -> list[Rule]:
    """Each with the channel that its path's other words give; "" where a quantity has one source.

    A history has the channel of the value that it is the history of: its array's name names no source.
    """
    channels = [_channel(rule) for rule in rules]
    sources = Counter(quantity for quantity, _ in {(r.quantity, c) for r, c in zip(rules, channels, strict=True)})
    named: list[Rule] = []
    taken: set[tuple[str, str, bool]] = set()
    for rule, channel in zip(rules, channels, strict=True):
        text = channel if sources[rule.quantity] > 1 else ""
        historic = bool(rule.time.steps)
        base, number = text, 2
        while (rule.quantity, text, historic) in taken:
            text, number = f"{base}_{number}" if base else str(number), number + 1
        taken.add((rule.quantity, text, historic))
        named.append(replace(rule, channel=text[:LONGEST_CHANNEL]))
    return named


def _channel(rule: Rule) -> str:
    words: list[str] = []
    for step in rule.steps:
        match step:
            case int() if step is not rule.steps[-1]:
                words.append(str(step + 1))
            case Where(_, text):
                words = words_of(text)  # What was before is the name of the array.
            case str():
                words += words_of(step)
            case Each():
                words.clear()  # What was before is the name of a history.
            case _:
                pass  # The one element that is taken of an array of numbers.
    meant = {word for term in TERMS if term.quantity == rule.quantity for word in term.words}
    meant |= set(words_of(rule.quantity)) | EMPTY_WORDS
    meant |= {word for word, unit in UNIT_WORDS.items() if conversion(unit, QUANTITIES[rule.quantity].unit)}
    return "_".join(dict.fromkeys(word for word in words if word not in meant))
