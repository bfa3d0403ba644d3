"""What a building saved, against a frozen baseline of whole months (IPMVP option C). Pure.

A use that depends on weather follows E / days = a + b (degree days / days), which is E = a days + b degree days
and so counts months of 28 to 31 days alike; one that does not is compared by its mean a day. Savings are what the
baseline would have taken in the reported months less what was taken.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from indicators.buildings.regression import Fit, TooFewPoints, fit_line, fit_mean, half_width

LEAST_MONTHS = 12
LEAST_R2 = 0.7
MONTHS = 12


@dataclass(frozen=True, slots=True)
class Month:
    """A whole month: its first day, how many days it has, what was taken, and its degree days (None: unknown)."""

    first: date
    days: int
    amount: float
    degree_days: float | None = None


class Reason(StrEnum):
    """Why there is no baseline, or no figure."""

    TOO_FEW_MONTHS = "too_few_months"
    LOW_R2 = "low_r2"
    FALLING = "falling"  # Less is taken where it is colder: that is no heating.
    NO_COLD = "no_cold"  # All months have the same degree days.
    SEASON_MISSING = "season_missing"  # Twelve months that are not each of the year's.
    NO_MONTHS = "no_months"
    ZERO_BASELINE = "zero_baseline"


class RejectedBaseline(ValueError):
    """No baseline can be made of these months."""

    def __init__(self, reason: Reason, months: int, fit: Fit | None = None) -> None:
        super().__init__(reason)
        self.reason, self.months, self.fit = reason, months, fit


@dataclass(frozen=True, slots=True)
class Savings:
    """What was saved in `n` months, with the half width of its 95 % interval; percent of what was expected."""

    n: int
    actual: float
    expected: float
    saved: float
    saved_half_width: float
    percent: float
    percent_half_width: float

    @property
    def is_found(self) -> bool:
        """Whether the interval leaves out zero: less than that is noise."""
        return self.saved - self.saved_half_width > 0


def usable(months: Sequence[Month], *, depends_on_weather: bool) -> list[Month]:
    """Those that may stand in a baseline, or be compared with one: of a use that depends on weather, with it
    known.
    """
    return [month for month in months if not depends_on_weather or month.degree_days is not None]


def fit_baseline(months: Sequence[Month], *, depends_on_weather: bool) -> Fit:
    """What a day takes, by its degree days or at all.

    Raises:
        RejectedBaseline: below twelve months, without each month of the year, or where the weather does not
        explain what was taken.
    """
    known = usable(months, depends_on_weather=depends_on_weather)
    if len(known) < LEAST_MONTHS:
        raise RejectedBaseline(Reason.TOO_FEW_MONTHS, len(known))
    if len({month.first.month for month in known}) < MONTHS:
        raise RejectedBaseline(Reason.SEASON_MISSING, len(known))
    ys = [month.amount / month.days for month in known]
    if not depends_on_weather:
        return fit_mean(ys)
    try:
        fit = fit_line(_cold(known), ys)
    except TooFewPoints:
        raise RejectedBaseline(Reason.NO_COLD, len(known)) from None
    if fit.r2 is None or fit.r2 < LEAST_R2:
        raise RejectedBaseline(Reason.LOW_R2, len(known), fit)
    if fit.slope <= 0:
        raise RejectedBaseline(Reason.FALLING, len(known), fit)
    return fit


def _cold(months: Sequence[Month]) -> list[float]:
    return [(month.degree_days or 0.0) / month.days for month in months]


def expected_amount(fit: Fit, month: Month) -> float:
    """What the baseline would have taken in this month."""
    return month.days * fit.intercept + fit.slope * (month.degree_days or 0.0)


def savings(fit: Fit, months: Sequence[Month], *, depends_on_weather: bool) -> Savings | Reason:
    """Against the baseline; of a use that depends on weather, months of which it is not known are left out."""
    known = usable(months, depends_on_weather=depends_on_weather)
    if not known:
        return Reason.NO_MONTHS
    expected = math.fsum(expected_amount(fit, month) for month in known)
    if expected <= 0:
        return Reason.ZERO_BASELINE
    actual = math.fsum(month.amount for month in known)
    width = half_width(fit, [float(month.days) for month in known], _cold(known))
    saved = expected - actual
    return Savings(len(known), actual, expected, saved, width, 100 * saved / expected, 100 * width / expected)
