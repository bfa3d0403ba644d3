"""Forecasts of bins that fill as somebody has decided beforehand."""

import random
from datetime import date, timedelta

import pytest

from indicators.waste.forecast import DayEnd, Forecast, daily_gains, fill_speed, forecast

TODAY = date(2026, 11, 2)  # A Monday.


def days_before(gains: list[float], today: date = TODAY) -> dict[date, float]:
    return {today - timedelta(days=len(gains) - n): gain for n, gain in enumerate(gains)}


def test_what_a_day_adds_is_the_difference_of_levels_and_what_was_taken_out() -> None:
    first = date(2026, 10, 1)
    ends = [DayEnd(first, 50), DayEnd(first + timedelta(days=1), 60), DayEnd(first + timedelta(days=2), 8, 60.0)]

    assert daily_gains(ends) == {date(2026, 10, 2): 10, date(2026, 10, 3): 8}


def test_over_a_short_outage_each_day_has_its_part_and_over_a_long_one_none() -> None:
    first = date(2026, 10, 1)
    ends = [DayEnd(first, 10), DayEnd(first + timedelta(days=3), 40), DayEnd(first + timedelta(days=11), 90)]

    assert daily_gains(ends) == {date(2026, 10, day): 10 for day in (2, 3, 4)}


def test_a_bin_that_gains_five_points_a_day_is_full_when_arithmetic_says() -> None:
    found = forecast(40.0, TODAY, days_before([5.0] * 7 * 8))

    assert found == Forecast(12.0, 12.0, 12.0, "own", 8)


def test_weekdays_are_played_as_they_were() -> None:
    # From Monday on: nothing but on Saturdays, 30 points.
    week = [0.0, 0.0, 0.0, 0.0, 0.0, 30.0, 0.0]

    found = forecast(55.0, TODAY, days_before(week * 8))
    on_saturday = forecast(55.0, TODAY + timedelta(days=5), days_before(week * 9, TODAY + timedelta(days=7)))

    assert found is not None
    assert found.p50 == 12.5  # The second Saturday, half of it.
    assert on_saturday is not None
    assert on_saturday.p50 == 7.5


def test_good_and_bad_weeks_are_the_first_and_the_last_of_ten() -> None:
    weeks = [[2.0] * 7] * 1 + [[4.0] * 7] * 7 + [[10.0] * 7] * 2

    found = forecast(80.0, TODAY, days_before([day for week in weeks for day in week]))

    assert found is not None
    # Of ten plays, in order: 2 of 2 days, 7 of 5, 1 that is slow first: 14 points in a week, then 6 at four a day.
    assert (found.p10, found.p50, found.p90, found.weeks) == (2.0, 5.0, 5.0, 10)
    assert forecast(80.0, TODAY, days_before([2.0] * 7 * 10)) == Forecast(10.0, 10.0, 10.0, "own", 10)


def test_without_eight_weeks_of_its_own_neighbours_say_it_and_without_any_nobody() -> None:
    own, neighbour, too_new = (days_before([1.0] * 55), days_before([10.0] * 60), days_before([2.0] * 20))

    assert forecast(50.0, TODAY, own, [too_new, neighbour]) == Forecast(5.0, 5.0, 5.0, "neighbours", 8)
    assert forecast(50.0, TODAY, own, [too_new]) is None
    assert forecast(50.0, TODAY, days_before([1.0] * 56), [neighbour]) == Forecast(50.0, 50.0, 50.0, "own", 8)


def test_a_hole_in_the_history_ends_it() -> None:
    gains = days_before([5.0] * 7 * 20)
    del gains[TODAY - timedelta(days=30)]

    assert forecast(50.0, TODAY, gains) is None


def test_a_bin_that_does_not_fill_is_full_at_no_time_and_a_full_one_is_full_now() -> None:
    assert forecast(50.0, TODAY, days_before([0.0] * 56)) == Forecast(None, None, None, "own", 8)
    assert forecast(100.0, TODAY, days_before([3.0] * 56)) == Forecast(0.0, 0.0, 0.0, "own", 8)


@pytest.mark.parametrize("seed", range(3))
def test_of_eight_in_ten_bins_the_truth_is_between_the_first_and_the_ninth(seed: int) -> None:
    chance = random.Random(seed)
    between = 0
    for _ in range(300):
        gains = [max(0.0, chance.gauss(6.0, 5.0)) for _ in range(7 * 26)]
        found = forecast(30.0, TODAY, days_before(gains))
        level, days = 30.0, 0
        while level < 100:
            level += max(0.0, chance.gauss(6.0, 5.0))
            days += 1
        assert found is not None
        assert found.p10 is not None
        assert found.p90 is not None
        between += found.p10 <= days <= found.p90 + 1
    assert 0.65 < between / 300 < 0.98


def test_the_speed_is_the_median_of_four_weeks_of_which_half_is_known() -> None:
    assert fill_speed(days_before([4.0, 4.0, 40.0] * 10), TODAY) == 4.0
    assert fill_speed(days_before([4.0] * 13), TODAY) is None
    assert fill_speed(days_before([4.0] * 14), TODAY) == 4.0
