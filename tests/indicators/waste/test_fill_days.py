"""Expected values are worked out by hand from the readings of each test."""

import math
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.comparisons import COMPARISONS
from core.model.unknown_time import known_for
from indicators.waste.fill_days import Hold, LevelReading, fill_days, local_days, percentage_reached

PARIS = ZoneInfo("Europe/Paris")
SIX_HOURS = timedelta(hours=6)
NOVEMBER = date(2026, 11, 1), date(2026, 11, 30)
BEFORE_ALL = datetime(2015, 1, 1, tzinfo=UTC)
EVERY_SIX_HOURS = [Hold(BEFORE_ALL, known_for(SIX_HOURS))]


def at(day: int, hour: float, month: int = 11) -> datetime:
    return datetime(2026, month, day, tzinfo=PARIS).astimezone(UTC) + timedelta(hours=hour)


def every_six_hours(since: datetime, until: datetime, level: float) -> list[LevelReading]:
    return [LevelReading(since + n * SIX_HOURS, level) for n in range(-((since - until) // SIX_HOURS))]


def thirty_days_of_a_bin() -> list[LevelReading]:
    """40 % for ten days; exactly 75 % for 4.5; 5 %; 76 % from the 19th, 18:00, and nothing for three days
    after the 20th, 0:00; 90 % from the 23rd, 0:00, until 10 % are read on the 24th, 7:12.
    """
    return [
        *every_six_hours(at(1, 0), at(11, 0), 40),
        *every_six_hours(at(11, 0), at(15, 12), 75),
        *every_six_hours(at(15, 12), at(19, 18), 5),
        *every_six_hours(at(19, 18), at(20, 6), 76),
        *every_six_hours(at(23, 0), at(24, 7.2), 90),
        LevelReading(at(24, 7.2), 10),
        *every_six_hours(at(24, 12), at(30, 24), 10),
    ]


def test_thirty_days_of_a_bin_are_above_below_and_unknown_as_counted_by_hand() -> None:
    days = fill_days(thirty_days_of_a_bin(), EVERY_SIX_HOURS, local_days(*NOVEMBER, PARIS))

    above = sum(day.at_or_above[75 - 1] / day.seconds for day in days)
    known = sum(day.known / day.seconds for day in days)
    unknown = sum(day.unknown / day.seconds for day in days)
    assert len(days) == 30
    assert above == pytest.approx(4.5 + 0.75 + 1.3, abs=0.01)
    assert unknown == pytest.approx(2.5, abs=0.01)
    assert known - above == pytest.approx(10 + 4.25 + 6.7, abs=0.01)
    assert [day.unknown for day in days[18:23]] == [0, 43_200, 86_400, 86_400, 0]


def test_a_minute_above_is_a_minute_and_a_day_that_nobody_measured_is_unknown() -> None:
    readings = [
        LevelReading(at(1, 0), 10),
        LevelReading(at(1, 6), 76),
        LevelReading(at(1, 6) + timedelta(minutes=1), 10),
    ]

    first, second = fill_days(readings, EVERY_SIX_HOURS, local_days(date(2026, 11, 1), date(2026, 11, 2), PARIS))

    assert first.at_or_above[74] == 60
    assert first.unknown == (24 - 18) * 3600 - 60
    assert (second.known, second.unknown, sum(second.at_or_above)) == (0, 86_400, 0)


def test_a_level_holds_over_midnight() -> None:
    days = fill_days(
        [LevelReading(at(1, 20), 80)], EVERY_SIX_HOURS, local_days(date(2026, 11, 1), date(2026, 11, 3), PARIS)
    )

    assert [day.at_or_above[74] for day in days] == [4 * 3600, 8 * 3600, 0]


def test_a_level_of_the_day_before_stands_for_the_first_day() -> None:
    [day] = fill_days(
        [LevelReading(at(1, 20), 80)], EVERY_SIX_HOURS, local_days(date(2026, 11, 2), date(2026, 11, 2), PARIS)
    )

    assert (day.at_or_above[74], day.at_or_above[79], day.at_or_above[80]) == (8 * 3600, 8 * 3600, 0)


@pytest.mark.parametrize(
    ("month", "day", "hours"), [(3, 29, 23), (10, 25, 25), (11, 1, 24)], ids=["march", "october", "november"]
)
def test_days_of_23_and_of_25_hours_are_as_long_as_they_are(month: int, day: int, hours: int) -> None:
    local = date(2026, month, day)
    readings = every_six_hours(at(day, -6, month), at(day, 30, month), 80)

    [found] = fill_days(readings, EVERY_SIX_HOURS, local_days(local, local, PARIS))

    assert (found.seconds, found.known, found.at_or_above[74]) == (hours * 3600,) * 3


@pytest.mark.parametrize(("first", "last", "days"), [((2028, 2), (2028, 3), 29), ((2026, 2), (2026, 3), 28)])
def test_a_leap_february_has_29_days(first: tuple[int, int], last: tuple[int, int], days: int) -> None:
    found = local_days(date(*first, 1), date(*last, 1) - timedelta(days=1), PARIS)

    assert len(found) == days
    assert [one.until for one in found[:-1]] == [one.since for one in found[1:]]


def test_a_reading_stands_for_as_long_as_the_device_of_its_time_was_expected_to_speak() -> None:
    holds = [Hold(BEFORE_ALL, timedelta(hours=2)), Hold(at(1, 12), timedelta(hours=8))]
    readings = [LevelReading(at(1, 0), 80), LevelReading(at(1, 12), 80)]

    [day] = fill_days(readings, holds, local_days(date(2026, 11, 1), date(2026, 11, 1), PARIS))

    assert day.known == (2 + 8) * 3600


@pytest.mark.parametrize("percentage", [1, 60, 75, 90, 100])
def test_the_figure_and_a_rule_call_the_same_level_full(percentage: int) -> None:
    fires = COMPARISONS[">="]
    for level in (
        float(percentage),
        math.nextafter(percentage, 0),
        math.nextafter(percentage, 200),
        percentage - 0.5,
        -3.0,
        0.0,
        117.0,
    ):
        assert (percentage_reached(level) >= percentage) == fires(level, percentage)


moments = st.integers(0, 5 * 24 * 60).map(lambda minutes: at(1, 0) + timedelta(minutes=minutes))
levels = st.floats(0, 100, allow_nan=False)


@given(st.dictionaries(moments, levels, max_size=60), st.sets(moments), st.integers(1, 48 * 60))
def test_without_some_readings_less_is_known_and_every_second_is_one_of_three(
    read: dict[datetime, float], removed: set[datetime], held_minutes: int
) -> None:
    holds = [Hold(BEFORE_ALL, timedelta(minutes=held_minutes))]
    days = local_days(date(2026, 11, 1), date(2026, 11, 6), PARIS)
    whole = [LevelReading(*one) for one in sorted(read.items())]
    gone = removed | set(sorted(read)[::3])

    of_all = fill_days(whole, holds, days)
    of_fewer = fill_days([one for one in whole if one.at not in gone], holds, days)

    for all_of_it, fewer in zip(of_all, of_fewer, strict=True):
        assert fewer.known <= all_of_it.known
        for day in (all_of_it, fewer):
            assert day.known + day.unknown == day.seconds
            assert [*day.at_or_above] == sorted(day.at_or_above, reverse=True)
            assert day.at_or_above[0] <= day.known
