"""Proposes a mapping from names, units and values in a codec's answers; what is not sure is to be confirmed."""

import re
from collections import Counter
from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from core.model.quantities import QUANTITIES, Kind
from decoders.mapping.doubts import Doubt
from decoders.mapping.fields import Field, read_fields, unit_of_name
from decoders.mapping.leaves import Leaf, leaves
from decoders.mapping.meaning import CUMULATED, contents, extremes_of_a_period, meaning_of, parts_of_an_index
from decoders.mapping.paths import Each, Steps, Where, find
from decoders.mapping.rules import LONGEST_CHANNEL, MOST_RULES, Mapping, Rule
from decoders.mapping.times import TimeRule, read_instant
from decoders.mapping.units import conversion
from decoders.mapping.vocabulary import EMPTY_WORDS, TERMS, UNIT_WORDS, words_of

# `temperature_1` to `_8` are probes, `temperature_0` to `_2` may be a history.
MOST_PROBES, MOST_FROM_ZERO = 8, 2
_NUMBER = re.compile(r"\d+")
MOST_CHANNELS = 16  # elements of an array that are several sources, not several instants.
# Words of a field that says when, where its values are instants.
_DATING = frozenset({"timestamp", "time", "date", "datetime", "ts", "at", "isotime", "unixtime"})
# Words of a field that says how far apart the elements of a series are.
_STEP = frozenset({"interval", "period", "step", "between"})


def propose(samples: Sequence[Any], units: AnyMapping[str, str] | None = None) -> Mapping:
    """Rules for what samples (the `data` of a codec's answers) seem to measure, for somebody to look at.

    `units` are the catalogue's by path, or by the last name of a path; what the samples say themselves
    (`level_unit` beside `level`) goes before. What nothing is known of is left out, what is not sure `to_confirm`.
    """
    known = leaves(samples)
    fields = read_fields(known, units or {})
    placing = _Placing(samples, _dates(known), fields)
    proposed: list[Rule] = []
    in_container = contents(fields)
    extremes, parts = extremes_of_a_period(fields), parts_of_an_index(fields)
    for field in fields:
        meaning = meaning_of(field)
        if meaning is None:
            continue
        doubt = meaning.doubt
        if doubt is Doubt.EXTREME and field.steps in extremes:
            doubt = None
        is_since_last = meaning.quantity == "pulse_count" and "last" in field.words
        if is_since_last or (QUANTITIES[meaning.quantity].kind is Kind.COUNTER and field.steps in parts):
            doubt = doubt or Doubt.PART
        if meaning.quantity == "water_volume" and in_container and not CUMULATED & field.around:
            doubt = doubt or Doubt.CONTENT
        rule = Rule(field.steps, meaning.quantity, unit=meaning.unit, values=meaning.values, to_confirm=doubt)
        proposed += placing.placed(rule)
    return Mapping(tuple(_named_apart(_numbered(_once(proposed)))[:MOST_RULES]))


class _Placing:
    """Where in the samples the elements of arrays have their instants."""

    def __init__(self, samples: Sequence[Any], dated: AnyMapping[Steps, Any], fields: Sequence[Field]) -> None:
        self._samples, self._dated = samples, dated
        self._steps = [(field.steps, seconds) for field in fields if (seconds := _seconds_of_step(field))]

    def placed(self, rule: Rule) -> list[Rule]:
        """The rule with its time: beside its value, by a step that is stated, or a rule for each of few places."""
        innermost = max((at for at, step in enumerate(rule.steps) if isinstance(step, Each | Where)), default=None)
        if innermost is None:
            return [rule]
        element = rule.steps[: innermost + 1]
        if element in self._dated:
            dated = replace(rule, time=TimeRule(steps=(self._dated[element],)))
            return [self._distinguished(dated)]
        if isinstance(rule.steps[innermost], Where):
            return [self._distinguished(rule)]
        outer, inner = rule.steps[:innermost], rule.steps[innermost + 1 :]
        if any(isinstance(step, Each) for step in outer):
            return []
        step = self._step_beside(outer)
        return self._sources(rule, outer, inner) if step is None else [_in_series(rule, *step)]

    def _distinguished(self, rule: Rule) -> Rule:
        """To be confirmed where a sample has several values that nothing tells apart, no name and no instant."""
        for sample in self._samples:
            instants = [rule.time.instant(found, sample, 0) for found in find(rule.steps, sample)]
            if len(set(instants)) < len(instants):
                return replace(rule, to_confirm=rule.to_confirm or Doubt.PLACES)
        return rule

    def _sources(self, rule: Rule, outer: Steps, inner: Steps) -> list[Rule]:
        """A rule for each place of an array without instants; of plain numbers one, for they may be a series."""
        if not inner:
            return [replace(rule, to_confirm=rule.to_confirm or Doubt.ORDER)]
        count = max(_length(sample, outer) for sample in self._samples)
        doubt = rule.to_confirm or Doubt.PLACES
        return [
            replace(rule, steps=(*outer, index, *inner), to_confirm=doubt)
            for index in range(min(count, MOST_CHANNELS))
        ]

    def _step_beside(self, outer: Steps) -> tuple[Steps, float] | None:
        """The one step that is stated in the objects around the series, and the seconds of one of its units."""
        for depth in range(len(outer) - 1, -1, -1):
            near = [
                (steps, seconds)
                for steps, seconds in self._steps
                if steps[:depth] == outer[:depth] and self._is_with(outer, steps)
            ]
            if len(near) == 1:
                return near[0]
            if near:
                return None
        return None

    def _is_with(self, series: Steps, steps: Steps) -> bool:
        """Whether each sample that has the series has this, too."""
        return all(any(True for _ in find(steps, sample)) for sample in self._samples if _length(sample, series))


def _in_series(rule: Rule, path: Steps, seconds: float) -> Rule:
    """One source, its elements a step apart; a series is written as time goes, unless somebody says otherwise."""
    return replace(rule, time=TimeRule(step_s=seconds, step_path=path, order="oldest_first"))


def _seconds_of_step(field: Field) -> float | None:
    """Seconds of one of what the field counts, where it says a step and in which unit."""
    if (
        not _STEP & field.around
        or not field.numbers
        or any(isinstance(step, Each | Where) for step in field.steps)
    ):
        return None
    unit = field.unit or unit_of_name(field, ("s",))
    known = conversion(unit, "s") if unit else None
    return None if known is None else known.scale


def _numbered(rules: list[Rule]) -> list[Rule]:
    """Many numbers of one name, one after the other, may be a series of instants, which nobody says."""
    runs: dict[Steps, list[tuple[int, int]]] = {}
    for at, rule in enumerate(rules):
        name = rule.steps[-1]
        numbers = list(_NUMBER.finditer(name)) if isinstance(name, str) else []
        if isinstance(name, str) and numbers and rule.to_confirm is None and Each() not in rule.steps:
            start, end = numbers[-1].span()
            run = runs.setdefault((*rule.steps[:-1], f"{name[:start]}#{name[end:]}"), [])
            run.append((int(numbers[-1][0]), at))
    for run in runs.values():
        run.sort()
        first, most = run[0][0], MOST_PROBES if run[0][0] else MOST_FROM_ZERO
        if len(run) > most and [number for number, _ in run] == list(range(first, first + len(run))):
            for _, at in run:
                rules[at] = replace(rules[at], to_confirm=Doubt.ORDER)
    return rules


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


def _dates(known: Sequence[Leaf]) -> dict[Steps, Any]:
    """What says when, in each object that says it: the first of several."""
    found: dict[Steps, Any] = {}
    for leaf in known:
        if _is_date(leaf):
            found.setdefault(leaf.steps[:-1], leaf.steps[-1])
    return found


def _is_date(leaf: Leaf) -> bool:
    of_pair = leaf.steps[-1] == 0 and isinstance(leaf.steps[-2], Each)  # `["2024-08-02T18:00:00Z", 65499]`
    name = leaf.steps[-1]
    is_named = isinstance(name, str) and bool(_DATING & set(words_of(name)))
    return (of_pair or is_named) and all(read_instant(value) is not None for value in leaf.values)


def _length(sample: Any, steps: Steps) -> int:
    for step in steps:
        if not isinstance(step, str) or not isinstance(sample, dict):
            return 0
        sample = cast("dict[str, Any]", sample).get(step)
    return len(cast("list[Any]", sample)) if isinstance(sample, list) else 0


def _named_apart(rules: list[Rule]) -> list[Rule]:
    """Each with the channel that its path's other words give; "" where a quantity has one source.

    A history has the channel of the value that it is the history of: its array's name tells no source. What is
    to be confirmed comes second, so that it renames nothing that is sure.
    """
    channels = [_channel(rule) for rule in rules]
    named: dict[int, Rule] = {}
    taken: set[tuple[str, str, bool]] = set()
    for sure in (True, False):
        chosen = [at for at, rule in enumerate(rules) if not sure or rule.to_confirm is None]
        sources = Counter(quantity for quantity, _ in {(rules[at].quantity, channels[at]) for at in chosen})
        for at in chosen:
            if at not in named:
                named[at] = _named(rules[at], channels[at] if sources[rules[at].quantity] > 1 else "", taken)
    return [named[at] for at in range(len(rules))]


def _named(rule: Rule, channel: str, taken: set[tuple[str, str, bool]]) -> Rule:
    historic = bool(rule.time.steps or rule.time.step_s)
    base, text, number = channel, channel, 2
    while (rule.quantity, text, historic) in taken:
        text, number = f"{base}_{number}" if base else str(number), number + 1
    taken.add((rule.quantity, text, historic))
    return replace(rule, channel=text[:LONGEST_CHANNEL])


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
    meant -= {"in", "out"}  # Which way people went tells their counts apart.
    meant |= {word for word, unit in UNIT_WORDS.items() if conversion(unit, QUANTITIES[rule.quantity].unit)}
    return "_".join(dict.fromkeys(word for word in words if word not in meant))
