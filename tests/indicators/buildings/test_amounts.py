"""Months of indexes, by hand."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indicators.buildings.amounts import (
    StreamMonth,
    change_percent,
    counted_channels,
    known_days,
    month_amount,
    peak_split,
    per_unit,
)

FEBRUARY, MARCH = date(2028, 2, 1), date(2028, 3, 1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("channels", "counted"),
    [
        ([""], [""]),
        (["", "index_1", "index_2", "phase_a", "distributor_1"], [""]),
        (["hc", "hp", "phase_a"], ["hc", "hp"]),
        (["index_2", "index_1", "distributor_1"], ["index_1", "index_2"]),
        (["hc", "hp", "index_1", "index_2"], ["hc", "hp"]),
        (["phase_a", "export"], []),
    ],
)
def test_of_the_channels_of_a_meter_each_energy_is_counted_once(channels: list[str], counted: list[str]) -> None:
    assert counted_channels(channels) == counted


def test_a_leap_february_of_two_tariffs_is_their_sum_and_whole() -> None:
    month = month_amount(FEBRUARY, MARCH, 29, [StreamMonth(100.25, 29), StreamMonth(50.5, 28)])

    assert (month.amount, month.days, month.known_days, month.is_whole) == (150.75, 29, 28, True)
    assert month.completeness == pytest.approx(28 / 29)


@pytest.mark.parametrize(
    ("streams", "over", "amount"),
    [
        ([StreamMonth(100, 29), StreamMonth(None, 0)], 29, None),  # One says nothing: nor do they together.
        ([StreamMonth(100, 26)], 29, 100),  # 26 of 29 is 89.7 %.
        ([StreamMonth(100, 29, in_gaps=1.1)], 29, 100),  # More than a hundredth may be anybody's.
        ([StreamMonth(0, 29, in_gaps=0.1)], 29, 0),
        ([StreamMonth(100, 20)], 20, 100),  # Of a month that goes on.
        ([], 29, None),
    ],
)
def test_a_month_that_is_not_whole_is_compared_with_nothing(streams, over: int, amount: float | None) -> None:
    month = month_amount(FEBRUARY, MARCH, over, streams)
    whole = month_amount(FEBRUARY, MARCH, 29, [StreamMonth(80, 29)])

    assert (month.amount, month.is_whole) == (amount, False)
    assert change_percent(whole, month) is None
    assert change_percent(month, whole) is None
    assert change_percent(whole, None) is None


def test_a_gap_that_takes_less_than_a_hundredth_leaves_a_month_whole() -> None:
    assert month_amount(FEBRUARY, MARCH, 29, [StreamMonth(100, 29, in_gaps=0.9)]).is_whole


def test_the_change_between_two_whole_months() -> None:
    this, other = (month_amount(FEBRUARY, MARCH, 29, [StreamMonth(taken, 29)]) for taken in (90, 120))
    nothing = month_amount(FEBRUARY, MARCH, 29, [StreamMonth(0, 29)])

    assert change_percent(this, other) == -25
    assert change_percent(this, nothing) is None
    assert (per_unit(120, 480), per_unit(120, None), per_unit(None, 3), per_unit(120, 0)) == (
        0.25,
        None,
        None,
        None,
    )


def test_off_peak_and_peak_are_known_when_all_of_their_indexes_are() -> None:
    assert peak_split({"hc": 30.0, "hp": 70.0}) == (30, 70)
    assert peak_split({"bbr_hcjb": 1.0, "bbr_hcjw": 2.0, "bbr_hpjb": 4.0}) == (3, 4)
    assert peak_split({"hc": None, "hp": 70.0}) is None
    assert peak_split({"": 100.0}) is None


def test_a_day_is_known_for_as_long_as_a_reading_stands_for() -> None:
    read = [date(2028, 2, 3)]

    # By the hour: that day alone. Twice a day: 24 hours on. Once a day: two days on, and not before.
    assert known_days(read, FEBRUARY, MARCH, HOUR) == {date(2028, 2, 3)}
    assert known_days(read, FEBRUARY, MARCH, 12 * HOUR) == {date(2028, 2, 3), date(2028, 2, 4)}
    assert known_days(read, FEBRUARY, MARCH, DAY) == {date(2028, 2, n) for n in (3, 4, 5)}
    assert known_days([date(2028, 1, 31)], FEBRUARY, MARCH, DAY) == {date(2028, 2, 1), date(2028, 2, 2)}


@given(st.sets(st.integers(-5, 33)), st.sets(st.integers(-5, 33)), st.integers(1, 72))
def test_without_random_readings_known_days_shrink(read: set[int], removed: set[int], hours: int) -> None:
    days = [FEBRUARY + DAY * n for n in read]
    fewer = [FEBRUARY + DAY * n for n in read - removed]

    assert known_days(fewer, FEBRUARY, MARCH, HOUR * hours) <= known_days(days, FEBRUARY, MARCH, HOUR * hours)
