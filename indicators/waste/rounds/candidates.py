"""Which bins a round should empty: those that are full, or will be before the next one. Pure.

Nobody knows how full a bin is whose last reading no longer stands; it is named apart, and may be added by hand.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.model.unknown_time import known_for
from indicators.waste.forecast import FULL, Forecast
from indicators.waste.rounds.model import ChosenBy, LeftReason, Part, Place, Visit

# A bin that a person has added comes before any that measured itself full.
FORCED_MATTERS = 20
POINTS_A_DEGREE = 10
# Where nobody measured any bin of those that are looked at.
LEVEL_OF_UNKNOWN = 50.0
CUBIC_METRE_L = 1_000.0


@dataclass(frozen=True, slots=True)
class Bin:
    """A bin as it is known: where, how large, how heavy what is in it, its last level and when it will be full."""

    asset_id: int
    place: Place | None
    volume_l: float | None
    density_kg_m3: float | None
    level: float | None = None
    level_at: datetime | None = None
    expected_interval: timedelta | None = None
    forecast: Forecast | None = None


@dataclass(frozen=True, slots=True)
class Criteria:
    """From which level on a bin is a stop, now or as forecast before the next round."""

    threshold: int
    forecast_part: Part
    next_round_at: datetime
    forced: Collection[int] = ()
    excluded: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A bin that is to be emptied, or that nobody knows whether: `left_reason`, why it cannot be in a trip."""

    bin: Bin
    chosen_by: ChosenBy
    level: float | None
    full_at: datetime | None
    left_reason: LeftReason | None
    visit: Visit | None


def level_now(one: Bin, now: datetime) -> float | None:
    """The last level, while it stands: for two expected intervals."""
    if one.level is None or one.level_at is None:
        return None
    if one.expected_interval is not None and now - one.level_at > known_for(one.expected_interval):
        return None
    return min(FULL, max(0.0, one.level))


def full_at(one: Bin, part: Part) -> datetime | None:
    """When it reaches the level of forecasts, by this part of the plays; None: nobody knows, or not in a year."""
    days = None if one.forecast is None else getattr(one.forecast, part)
    return None if days is None or one.level_at is None else one.level_at + timedelta(days=days)


def candidates(bins: Sequence[Bin], criteria: Criteria, now: datetime) -> list[Candidate]:
    """Of all that are looked at those that are to be emptied, and those of which nobody knows."""
    found = (_candidate(one, criteria, now) for one in bins if one.asset_id not in criteria.excluded)
    return [one for one in found if one is not None]


def _candidate(one: Bin, criteria: Criteria, now: datetime) -> Candidate | None:
    level = level_now(one, now)
    full = None if level is None else full_at(one, criteria.forecast_part)
    by = _chosen_by(one, level, full, criteria)
    if by is None:
        return None
    if by == "unknown":
        return Candidate(one, by, None, None, "never_measured" if one.level_at is None else "unknown_level", None)
    reason: LeftReason | None = None
    if one.place is None:
        reason = "no_position"
    elif one.volume_l is None:
        reason = "no_volume"
    # Of one that a person adds and nobody has measured, the truck keeps room for all that it may hold.
    held = visit_of(one, FULL if level is None else level, _matters(by, level))
    return Candidate(one, by, level, full, reason, held)


def _chosen_by(one: Bin, level: float | None, full: datetime | None, criteria: Criteria) -> ChosenBy | None:
    if one.asset_id in criteria.forced:
        return "forced"
    if level is None:
        return "unknown"
    if level >= criteria.threshold:
        return "threshold"
    return "forecast" if full is not None and full < criteria.next_round_at else None


def _matters(by: ChosenBy, level: float | None) -> int:
    """The fuller, the more: what a truck has no time for is what can wait longest."""
    return FORCED_MATTERS if by == "forced" else 1 + int((level or 0.0) // POINTS_A_DEGREE)


def visit_of(one: Bin, level: float, matters: int = 1) -> Visit | None:
    """What a truck takes when it empties a bin that is so full; None where that or the way is unknown."""
    if one.place is None or one.volume_l is None or one.density_kg_m3 is None:
        return None
    volume_l = one.volume_l * level / FULL
    return Visit(one.asset_id, one.place, volume_l, volume_l / CUBIC_METRE_L * one.density_kg_m3, matters)


def visits_of_all(bins: Sequence[Bin], now: datetime) -> list[Visit]:
    """What a round over all of them takes, as before anybody knew how full they are.

    One of which nobody knows is as full as the others are on average.
    """
    levels = [level for one in bins if (level := level_now(one, now)) is not None]
    mean = sum(levels) / len(levels) if levels else LEVEL_OF_UNKNOWN
    found = (visit_of(one, mean if (level := level_now(one, now)) is None else level) for one in bins)
    return [one for one in found if one is not None]
