"""The month of the year before, brought to the weather of this one: computed by hand."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indicators.buildings.climate import Corrected, Uncorrected, correct
from indicators.buildings.regression import fit_line
from indicators.buildings.savings import Month

# 40 kWh a day and 9 a degree day, exactly: twelve points of a line.
FIT = fit_line([float(x) for x in range(12)], [40.0 + 9 * x for x in range(12)])
FORMER = Month(date(2023, 2, 1), 28, 3_640.0, 280.0)  # 28 x 40 + 280 x 9 = 1,120 + 2,520.


def test_a_colder_leap_february_expects_its_day_and_its_cold_more() -> None:
    this = Month(date(2024, 2, 1), 29, 3_900.0, 310.0)

    found = correct(FIT, this, FORMER)

    # 3,640 + 40 x 1 + 9 x 30 = 3,950; 3,900 is 50 less: 1.2658 %.
    assert isinstance(found, Corrected)
    assert found.amount == pytest.approx(3_950)
    assert found.change_percent == pytest.approx(-100 * 50 / 3_950)


def test_what_is_missing_is_named_and_never_zero() -> None:
    this = Month(date(2024, 2, 1), 29, 3_900.0, None)
    mild = Month(date(2024, 2, 1), 29, 100.0, 0.0)
    little = Month(date(2023, 2, 1), 28, 500.0, 280.0)

    assert correct(FIT, this, FORMER) == Uncorrected.WEATHER_MISSING
    assert correct(FIT, FORMER, this) == Uncorrected.WEATHER_MISSING
    assert correct(FIT, mild, little) == Uncorrected.NOTHING_EXPECTED


@given(st.floats(100, 600), st.floats(100, 600), st.sampled_from([28, 29, 30, 31]), st.floats(-0.3, 0.3))
def test_a_building_that_only_follows_the_weather_changes_by_nothing_but_its_own(
    cold: float, former_cold: float, days: int, change: float
) -> None:
    was = Month(date(2023, 2, 1), 28, 28 * 40 + 9 * former_cold, former_cold)
    is_now = Month(date(2024, 2, 1), days, (1 + change) * (days * 40 + 9 * cold), cold)

    found = correct(FIT, is_now, was)

    assert isinstance(found, Corrected)
    assert found.change_percent == pytest.approx(100 * change, abs=1e-6)
