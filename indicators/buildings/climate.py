"""A month beside the same month of the year before, with the weather taken out of the difference. Pure.

By the frozen regression of a use that has been proven to follow the weather, E = a days + b degree days: the year
before is brought to the days and the degree days of this month. Nothing is corrected without such a proof.
"""

from dataclasses import dataclass
from enum import StrEnum

from indicators.buildings.regression import Fit
from indicators.buildings.savings import Month


class Uncorrected(StrEnum):
    """Why nothing is corrected."""

    NO_BASELINE = "no_baseline"
    NO_WEATHER_USE = "no_weather_use"  # Its baseline is a mean: the weather explains nothing of it.
    MONTH_NOT_WHOLE = "month_not_whole"
    WEATHER_MISSING = "weather_missing"
    NOTHING_EXPECTED = "nothing_expected"  # A mild month: what is left of the year before is nothing.


@dataclass(frozen=True, slots=True)
class Corrected:
    """What the year before would have taken in this month's weather, and by how much this month differs, %."""

    amount: float
    change_percent: float


def correct(fit: Fit, this: Month, former: Month) -> Corrected | Uncorrected:
    """The former month by the weather of this one."""
    if this.degree_days is None or former.degree_days is None:
        return Uncorrected.WEATHER_MISSING
    colder = fit.slope * (this.degree_days - former.degree_days)
    amount = former.amount + fit.intercept * (this.days - former.days) + colder
    if amount <= 0:
        return Uncorrected.NOTHING_EXPECTED
    return Corrected(amount, 100 * (this.amount - amount) / amount)
