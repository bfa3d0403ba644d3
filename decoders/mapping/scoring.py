"""Judges a proposed mapping by what a vendor states of the same frames: what it reproduces, what is wrong."""

import math
import re
from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from core.model.quantities import QUANTITIES, Kind, Quantity
from decoders.canonical import Reading
from decoders.mapping.fields import float_of
from decoders.mapping.paths import path_text
from decoders.mapping.rules import Mapping, Rule, apply
from decoders.mapping.units import conversion
from decoders.tables import read_table

_TABLE = read_table("mapping/points.toml")
_HELD_BY: dict[str, frozenset[str]] = {
    name: frozenset(quantities.split()) for name, quantities in _TABLE["held_by"].items()
}
_UNITS: dict[str, str] = _TABLE["units"]
# Whose units leave no doubt what is measured, whatever the point is called: a percentage may be of anything.
_OF_ANY_NAME = frozenset(
    one.name for one in QUANTITIES.values() if one.unit not in ("1", "%", "mm", "m", "deg", "[ppm]", "[ppb]", "s")
)
_NUMBERED = re.compile(r":\d+$")
CLOSE, POWERS = 1e-6, 9


class Point(NamedTuple):
    """What a vendor states: name, unit, values (truth values are 0 and 1), and the quantities that hold it."""

    name: str
    unit: str
    values: tuple[float, ...]
    held_by: frozenset[str]


class Proposed(NamedTuple):
    """A reading by a rule of a proposed mapping, with the number that the codec answered; None: a state."""

    reading: Reading
    rule: Rule
    answered: float | None


def read_all(mapping: Mapping, data: Any, time_us: int) -> list[Proposed]:
    """What each rule reads of an answer, live or to confirm; one value of a quantity, a channel and an instant."""
    found: list[Proposed] = []
    known: set[tuple[int, str, str]] = set()
    for rule in sorted(mapping.rules, key=lambda rule: rule.to_confirm is not None):
        decoded = apply(Mapping((rule,)), data, time_us)
        for reading in decoded.readings or decoded.to_confirm:
            if reading[:3] not in known:
                known.add(reading[:3])
                is_state = rule.values or QUANTITIES[rule.quantity].kind is Kind.BOOLEAN
                answered = (reading.value - rule.conversion.offset) / rule.conversion.scale
                found.append(Proposed(reading, rule, None if is_state else answered))
    return found


@dataclass(slots=True)
class Score:
    """The account of frames: points that are stated, held and reproduced live, readings that are proposed."""

    points: int = 0
    holdable: int = 0
    reproduced: int = 0
    proposed_live: int = 0
    wrong_live: int = 0
    to_confirm: int = 0
    wrong: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


def read_points(stated: Any) -> list[Point]:
    """The points of a line, as its vendor writes them; what is not as it should be is left out."""
    points: list[Point] = []
    for name, said in cast("dict[str, Any]", stated).items() if isinstance(stated, dict) else ():
        if isinstance(said, dict):
            point = cast("dict[str, Any]", said)
            unit = str(point.get("unitId") or "")
            record = point.get("record", point.get("records"))
            points.append(Point(name, unit, tuple(_values(record)), _held_by(name, unit)))
    return points


def _values(record: Any) -> list[float]:
    if isinstance(record, list):
        return [value for one in cast("list[Any]", record) for value in _values(one)]
    if isinstance(record, dict):
        return _values(cast("dict[str, Any]", record).get("value"))
    if isinstance(record, int | float) and math.isfinite(float_of(record)):
        return [float_of(record)]
    return []


def base_name(name: str) -> str:
    """The name of a point without its number: `temperature` of `temperature:2`."""
    return _NUMBERED.sub("", name)


def _held_by(name: str, unit: str) -> frozenset[str]:
    """The quantities that hold a point of this name, in units that its own can be said in."""
    base = base_name(name)
    unit = _UNITS.get(unit.lower(), unit)
    among = _HELD_BY.get(base)
    if among is None:
        among = _OF_ANY_NAME
    if not unit:
        return frozenset()
    return frozenset(one for one in among if conversion(unit, QUANTITIES[one].unit) is not None)


def is_holdable(point: Point) -> bool:
    """Whether a quantity of ours has all values of the point in its physical range."""
    return bool(point.values) and any(
        all(_is_in_range(point, value, QUANTITIES[name]) for value in point.values) for name in point.held_by
    )


def _is_in_range(point: Point, value: float, quantity: Quantity) -> bool:
    known = conversion(_UNITS.get(point.unit.lower(), point.unit), quantity.unit)
    if known is None:
        return False
    worth = value * known.scale + known.offset
    return (quantity.minimum is None or quantity.minimum <= worth) and (
        quantity.maximum is None or worth <= quantity.maximum
    )


def judge(score: Score, line: str, points: Sequence[Point], proposed: Sequence[Proposed]) -> None:
    """Add a frame to the account; `line` names it where something is wrong."""
    live = [one for one in proposed if one.rule.to_confirm is None]
    score.points += len(points)
    score.proposed_live += len(live)
    score.to_confirm += len(proposed) - len(live)
    left, unmet = list(live), list[Point]()
    for point in points:
        held = is_holdable(point)
        score.holdable += held
        found = _reproduced(point, left) if held else None
        if found is None:
            unmet.append(point)
        else:
            score.reproduced += 1
            left = [one for one in left if not any(one is taken for taken in found)]
    for one in left:
        wrong = next((said for point in unmet if (said := _contradicts(point, one))), None)
        if wrong is not None:
            score.wrong_live += 1
            score.wrong.append({"line": line, "path": path_text(one.rule.steps), **wrong})


def _reproduced(point: Point, live: Sequence[Proposed]) -> list[Proposed] | None:
    """Readings that have each of the point's values, in one of its quantities; None where one is missing."""
    found: list[Proposed] = []
    for value in point.values:
        match = next(
            (
                one
                for one in live
                if not any(one is taken for taken in found)
                and one.reading.quantity in point.held_by
                and math.isclose(one.reading.value, _worth(point, value, one), rel_tol=CLOSE, abs_tol=1e-9)
            ),
            None,
        )
        if match is None:
            return None
        found.append(match)
    return found


def _worth(point: Point, value: float, one: Proposed) -> float:
    """The point's value in the unit of the reading's quantity."""
    known = conversion(_UNITS.get(point.unit.lower(), point.unit), QUANTITIES[one.reading.quantity].unit)
    return math.nan if known is None else value * known.scale + known.offset


def _contradicts(point: Point, one: Proposed) -> AnyMapping[str, Any] | None:
    """What is wrong with a reading that answers this point's value as another quantity, or by a power of ten."""
    if one.answered is None:
        return None
    for value in point.values:
        same = math.isclose(one.answered, value, rel_tol=CLOSE, abs_tol=1e-9)
        if one.reading.quantity in point.held_by:
            worth = _worth(point, value, one)
            ratio = one.reading.value / worth if worth and one.reading.value else 0.0
            power = math.log10(ratio) if ratio > 0 else 0.0
            is_power = 1 <= abs(round(power)) <= POWERS and math.isclose(power, round(power), abs_tol=CLOSE)
            if not is_power:
                continue
        elif not same or not _is_measured(point, one):
            continue
        return {
            "quantity": one.reading.quantity,
            "value": one.reading.value,
            "unit": QUANTITIES[one.reading.quantity].unit,
            "point": point.name,
            "stated": value,
            "stated_unit": point.unit,
        }
    return None


def _is_measured(point: Point, one: Proposed) -> bool:
    """Whether a point of this unit says what the reading is: a state says nothing of a number, nor the reverse."""
    is_state = QUANTITIES[one.reading.quantity].kind is Kind.BOOLEAN
    return point.unit != "state" and not is_state
