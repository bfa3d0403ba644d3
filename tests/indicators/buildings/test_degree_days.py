"""Degree days by hand, in comments; the formulas are those of issue 20 and of docs/indicateurs.md."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indicators.buildings.degree_days import (
    DayTemperatures,
    by_energy_professionals,
    by_mean,
    degree_days,
)


@pytest.mark.parametrize(
    ("tn", "tx", "mean", "professionals"),
    [
        (2.0, 10.0, 12.0, 12.0),  # 18 - 6, all day below.
        (-5.0, 1.0, 20.0, 20.0),  # 18 + 2.
        # The mean is 16: 2. By hours: 6 x (0.08 + 0.42 x 6 / 8) = 6 x 0.395.
        (12.0, 20.0, 2.0, 2.37),
        # The mean is 19: nothing; by hours: 8 x (0.08 + 0.42 x 8 / 18) = 8 x 0.2666... = 2.1333...
        (10.0, 28.0, 0.0, 2.133333),
        (18.0, 26.0, 0.0, 0.0),
        (10.0, 18.0, 4.0, 4.0),  # At the base both are one: 8 x 0.5.
        (18.0, 18.0, 0.0, 0.0),
    ],
)
def test_each_method_of_a_day(tn: float, tx: float, mean: float, professionals: float) -> None:
    day = DayTemperatures(tn, tx)

    assert by_mean(day) == pytest.approx(mean, abs=1e-6)
    assert by_energy_professionals(day) == pytest.approx(professionals, abs=1e-6)


def test_a_leap_february_has_29_days_and_a_missing_one_is_counted_and_no_zero() -> None:
    february = {date(2028, 2, 1) + timedelta(days=n): DayTemperatures(0, 8) for n in range(29)}

    whole = degree_days(february, date(2028, 2, 1), date(2028, 3, 1), "meteo")
    del february[date(2028, 2, 29)]
    parted = degree_days(february, date(2028, 2, 1), date(2028, 3, 1), "meteo")

    assert (whole.total, whole.days, whole.missing, whole.method) == (29 * 14, 29, 0, "meteo")
    assert (parted.total, parted.known, parted.days, parted.missing) == (None, 28 * 14, 29, 1)


@given(
    st.dictionaries(st.integers(0, 60), st.tuples(st.floats(-30, 40), st.floats(0, 25)), max_size=61),
    st.sets(st.integers(0, 60)),
)
def test_without_random_days_what_is_known_shrinks_and_what_is_missing_grows(found: dict, removed: set) -> None:
    first, after = date(2026, 1, 1), date(2026, 3, 3)
    days = {first + timedelta(days=n): DayTemperatures(tn, tn + span) for n, (tn, span) in found.items()}
    fewer = {day: one for day, one in days.items() if (day - first).days not in removed}

    for method in ("meteo", "energy_professionals"):
        before, then = degree_days(days, first, after, method), degree_days(fewer, first, after, method)

        assert then.missing - before.missing == len(days) - len(fewer)
        assert 0 <= then.known <= before.known + 1e-9
