"""The shape of what a building takes: base load, nights, weekends; from hours that are known. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from math import fsum
from typing import NamedTuple

NIGHT_FROM_HOUR, NIGHT_UNTIL_HOUR = 22, 6
SATURDAY = 5
# So many hours of a hundred take less than the base load: a single meter's hour without a pulse is none.
BASE_PERCENT = 5
# Below, a night or a weekend may be what is missing.
LEAST_KNOWN = 0.9


class HourAmount(NamedTuple):
    """An hour by the clocks on the wall, and what was taken in it; None: unknown."""

    local: datetime
    amount: float | None


@dataclass(frozen=True, slots=True)
class LoadShape:
    """`base`: what nearly every hour takes at least; shares of what was taken in the known hours.

    None: no hour is known, or nothing was taken. `is_whole`: nine hours of ten are known.
    """

    hours: int
    known_hours: int
    base: float | None
    night_share: float | None
    weekend_share: float | None

    @property
    def is_whole(self) -> bool:
        """Whether enough of its hours are known."""
        return self.hours > 0 and self.known_hours >= LEAST_KNOWN * self.hours


def is_night(local: datetime) -> bool:
    """From ten in the evening until six."""
    return local.hour >= NIGHT_FROM_HOUR or local.hour < NIGHT_UNTIL_HOUR


def load_shape(hours: Iterable[HourAmount]) -> LoadShape:
    """Of these hours; a night of the clock has seven or nine of them, and each counts once."""
    every = list(hours)
    known = [(hour.local, hour.amount) for hour in every if hour.amount is not None]
    if not known:
        return LoadShape(len(every), 0, None, None, None)
    amounts = sorted(amount for _, amount in known)
    base = amounts[len(amounts) * BASE_PERCENT // 100]
    total = fsum(amounts)
    if total <= 0:
        return LoadShape(len(every), len(known), base, None, None)
    night = fsum(amount for local, amount in known if is_night(local))
    weekend = fsum(amount for local, amount in known if local.weekday() >= SATURDAY)
    return LoadShape(len(every), len(known), base, night / total, weekend / total)
