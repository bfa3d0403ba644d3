"""How many tonnes were emptied: volume by density, calibrated by what a weighbridge says. Pure.

Of an emptying that is suspect, or of a bin whose volume nobody has stated, no mass is known: it is counted apart.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from statistics import median
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from indicators.buildings.regression import CONFIDENCE, student_quantile
from indicators.waste.rounds.execution import KnownEmptying

CALIBRATED_OVER = timedelta(days=365)
DEFAULT_DENSITY = 0.33
"""Tonnes a cubic metre, of loose glass."""
WELL_KNOWN = 0.75
"""The least share of a load's emptyings of which the volume is known, for its weight to say anything."""
OUTLIER_DEVIATIONS = 5.0
# Of a normal distribution: the standard deviation by the median of deviations.
DEVIATION_OF_MEDIAN = 1.4826
LEAST_DEVIATION = 0.05
PERCENT, LITRES = 100, 1000
# Fewer say neither what is odd nor how sure the others are.
LEAST_TO_SET_ASIDE, LEAST_FOR_INTERVAL = 5, 3

Grouping = Literal["month", "commune", "stream", "bin"]


@dataclass(frozen=True, slots=True)
class Container:
    """A bin; cubic metres and t/m3 where they are stated. `levels`: how many sensors share its volume.

    `is_served`: its loads are weighed here; it is not one that others only show.
    """

    asset_id: int
    name: str
    commune: str
    insee: str
    stream: str
    cubic_metres: float | None = None
    density: float | None = None
    levels: int = 1
    is_served: bool = True


@dataclass(frozen=True, slots=True)
class EmptiedBin:
    """What was in a bin when it was emptied; `cubic_metres` None: nobody knows."""

    bin: Container
    day: date
    cubic_metres: float | None
    round_id: int | None = None

    @property
    def stream(self) -> str:
        """What the bin is for."""
        return self.bin.stream

    @property
    def tonnes(self) -> float | None:
        """By the stated density, or the default one."""
        return None if self.cubic_metres is None else self.cubic_metres * (self.bin.density or DEFAULT_DENSITY)


def emptied_bin(container: Container, known: KnownEmptying, zone: ZoneInfo) -> EmptiedBin:
    """What an emptying took out: as a sensor measured it, else as the round saw or expected it.

    It is of the local day in the middle of the two readings that show it: a truck does not come at midnight.
    """
    shown, said = None if known.by_sensor is None else known.by_sensor.shown, known.by_round
    at, cubic_metres = known.at, None
    if shown is not None:
        at = shown.not_before + (shown.at - shown.not_before) / 2
        if not shown.suspect and container.cubic_metres is not None:
            cubic_metres = container.cubic_metres / container.levels * (shown.before - shown.after) / PERCENT
    if said is not None:
        at = said.at
        if cubic_metres is None and said.volume_l is not None:
            cubic_metres = said.volume_l / LITRES
    return EmptiedBin(container, at.astimezone(zone).date(), cubic_metres, None if said is None else said.round_id)


class Weighing(NamedTuple):
    """What a weighbridge said on a local day, of a round or of all that was emptied of this stream on the day."""

    stream: str
    day: date
    tonnes: float
    round_id: int | None = None


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the estimates of a stream are multiplied by; `low` and `high`: 95 %, None below three loads.

    `loads` were used; `set_aside` were odd, and to `unmatched` no emptyings, or too few of known volume, belong.
    """

    factor: float = 1.0
    low: float | None = None
    high: float | None = None
    loads: int = 0
    set_aside: int = 0
    unmatched: int = 0

    @property
    def is_calibrated(self) -> bool:
        """Or else the default is all there is."""
        return self.loads > 0


@dataclass(frozen=True, slots=True)
class Tonnage:
    """Tonnes of known emptyings; of `unknown` ones nothing. What they are not grouped by is None.

    `low` and `high` are those of the calibration, None where one of the streams has none.
    """

    bin: Container | None
    commune: str | None
    insee: str | None
    month: date | None
    stream: str | None
    emptyings: int
    unknown: int
    cubic_metres: float
    tonnes: float
    low: float | None
    high: float | None


class _Load(NamedTuple):
    estimated: float
    weighed: float


def calibrations(emptied: Sequence[EmptiedBin], weighings: Sequence[Weighing]) -> dict[str, Calibration]:
    """By stream, of those that were weighed."""
    keys = _keys_of(weighings)
    belonging: dict[tuple[object, ...], list[EmptiedBin]] = {}
    for one in emptied:
        if one.bin.is_served:
            belonging.setdefault(keys(one), []).append(one)
    weights: dict[tuple[object, ...], float] = {}
    for weighing in weighings:
        weights[keys(weighing)] = weights.get(keys(weighing), 0.0) + weighing.tonnes
    loads: dict[str, list[_Load | None]] = {}
    for key, tonnes in weights.items():
        loads.setdefault(str(key[0]), []).append(_load(belonging.get(key, []), tonnes))
    return {stream: _calibration(of_stream) for stream, of_stream in loads.items()}


def _keys_of(weighings: Iterable[Weighing]) -> Callable[[EmptiedBin | Weighing], tuple[object, ...]]:
    """What belongs together: a round that was weighed as such, else a day."""
    rounds = {one.round_id for one in weighings if one.round_id is not None}

    def key(one: EmptiedBin | Weighing) -> tuple[object, ...]:
        return (one.stream, "round", one.round_id) if one.round_id in rounds else (one.stream, "day", one.day)

    return key


def _load(emptied: Sequence[EmptiedBin], weighed: float) -> _Load | None:
    """None: the emptyings do not say what was on the truck.

    Those few of which nobody knows the volume had as much as the others, on average.
    """
    known = [one.tonnes for one in emptied if one.tonnes is not None]
    if not known or len(known) < WELL_KNOWN * len(emptied) or not sum(known):
        return None
    return _Load(sum(known) * len(emptied) / len(known), weighed)


def _calibration(loads: Sequence[_Load | None]) -> Calibration:
    matched = [load for load in loads if load is not None]
    unmatched = len(loads) - len(matched)
    if not matched:
        return Calibration(unmatched=unmatched)
    kept = _without_outliers(matched)
    estimated, n = sum(load.estimated for load in kept), len(kept)
    factor = sum(load.weighed for load in kept) / estimated
    counts = {"loads": n, "set_aside": len(matched) - n, "unmatched": unmatched}
    if n < LEAST_FOR_INTERVAL:
        return Calibration(factor, **counts)
    residual = math.sqrt(sum((load.weighed - factor * load.estimated) ** 2 for load in kept) / (n - 1))
    half = student_quantile((1 + CONFIDENCE) / 2, n - 1) * residual * math.sqrt(n) / estimated
    return Calibration(factor, max(0.0, factor - half), factor + half, **counts)


def _without_outliers(loads: Sequence[_Load]) -> Sequence[_Load]:
    """A ticket with a digit too many, or a truck that also went elsewhere, is not averaged in."""
    if len(loads) < LEAST_TO_SET_ASIDE:
        return loads
    middle = median(load.weighed / load.estimated for load in loads)
    deviation = DEVIATION_OF_MEDIAN * median(abs(load.weighed / load.estimated - middle) for load in loads)
    most = OUTLIER_DEVIATIONS * max(deviation, LEAST_DEVIATION * middle)
    return [load for load in loads if abs(load.weighed / load.estimated - middle) <= most]


def tonnages(
    emptied: Iterable[EmptiedBin], calibrated: Mapping[str, Calibration], by: Sequence[Grouping]
) -> list[Tonnage]:
    """What was emptied, by what is asked for, in the order in which it comes."""
    found: dict[tuple[object, ...], Tonnage] = {}
    for one in emptied:
        key = tuple(_PART_OF_KEY[part](one) for part in by)
        found[key] = _with(found.get(key) or _nothing_yet(one, by), one, calibrated.get(one.stream, Calibration()))
    return list(found.values())


_PART_OF_KEY: dict[Grouping, Callable[[EmptiedBin], object]] = {
    "bin": lambda one: one.bin.asset_id,
    "month": lambda one: one.day.replace(day=1),
    "commune": lambda one: (one.bin.commune, one.bin.insee),
    "stream": lambda one: one.stream,
}


def _nothing_yet(one: EmptiedBin, by: Sequence[Grouping]) -> Tonnage:
    names_commune = "bin" in by or "commune" in by
    return Tonnage(
        bin=one.bin if "bin" in by else None,
        commune=one.bin.commune if names_commune else None,
        insee=one.bin.insee if names_commune else None,
        month=one.day.replace(day=1) if "month" in by else None,
        stream=one.stream if "bin" in by or "stream" in by else None,
        emptyings=0,
        unknown=0,
        cubic_metres=0.0,
        tonnes=0.0,
        low=0.0,
        high=0.0,
    )


def _with(group: Tonnage, one: EmptiedBin, calibration: Calibration) -> Tonnage:
    if one.cubic_metres is None or one.tonnes is None:
        return replace(group, unknown=group.unknown + 1)
    return replace(
        group,
        emptyings=group.emptyings + 1,
        cubic_metres=group.cubic_metres + one.cubic_metres,
        tonnes=group.tonnes + one.tonnes * calibration.factor,
        low=_plus(group.low, one.tonnes, calibration.low),
        high=_plus(group.high, one.tonnes, calibration.high),
    )


def _plus(bound: float | None, tonnes: float, factor: float | None) -> float | None:
    return None if bound is None or factor is None else bound + tonnes * factor
