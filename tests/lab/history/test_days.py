from datetime import UTC, date, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from lab.history.days import (
    easter,
    is_school_holiday,
    make_day,
    public_holidays,
    weeks,
)
from lorawan.instants import to_us

PARIS = ZoneInfo("Europe/Paris")
HOUR_US = 3_600_000_000


# Source: the civil calendar of these years.
@pytest.mark.parametrize(
    ("year", "month", "day"), [(2000, 4, 23), (2024, 3, 31), (2025, 4, 20), (2026, 4, 5), (2038, 4, 25)]
)
def test_easter_falls_where_the_calendar_has_it(year: int, month: int, day: int) -> None:
    assert easter(year) == date(year, month, day)


# Source: service-public.fr, jours fériés 2026.
def test_the_public_holidays_of_2026_are_the_eleven_official_ones() -> None:
    official = [(1, 1), (4, 6), (5, 1), (5, 8), (5, 14), (5, 25), (7, 14), (8, 15), (11, 1), (11, 11), (12, 25)]

    assert public_holidays(2026) == {date(2026, month, day) for month, day in official}


# Source: calendrier scolaire 2025-2026, zone B.
def test_pupils_are_on_holiday_when_zone_b_was() -> None:
    free = [date(2025, 10, 20), date(2025, 12, 31), date(2026, 2, 20), date(2026, 4, 15), date(2026, 8, 20)]
    at_school = [date(2025, 11, 4), date(2026, 1, 6), date(2026, 3, 10), date(2026, 6, 30), date(2026, 9, 2)]

    assert all(is_school_holiday(day) for day in free)
    assert not any(is_school_holiday(day) for day in at_school)


def test_days_are_local_with_23_and_25_hours_when_clocks_change() -> None:
    spring, autumn = make_day(date(2026, 3, 29), PARIS), make_day(date(2026, 10, 25), PARIS)

    assert spring.end_us - spring.start_us == 23 * HOUR_US
    assert autumn.end_us - autumn.start_us == 25 * HOUR_US
    assert spring.start_us == to_us(datetime(2026, 3, 28, 23, tzinfo=UTC))


def test_schools_are_closed_on_sundays_wednesdays_and_holidays() -> None:
    school = [make_day(date(2026, 3, number), PARIS).is_school for number in range(2, 9)]

    assert school == [True, True, False, True, True, False, False]
    assert not make_day(date(2026, 5, 14), PARIS).is_working  # Ascension.
    assert not make_day(date(2026, 7, 20), PARIS).is_school


def test_winter_is_heated_and_darker_than_summer() -> None:
    winter, summer = make_day(date(2026, 1, 20), PARIS), make_day(date(2026, 7, 20), PARIS)

    assert winter.heating > 5
    assert summer.heating == 0
    assert winter.sunset_h - winter.sunrise_h < 10
    assert summer.sunset_h - summer.sunrise_h > 15


def test_weeks_follow_each_other_without_a_gap() -> None:
    days = [day for week in weeks(date(2025, 11, 25), date(2026, 11, 25), PARIS) for day in week]

    assert len(days) == 365
    assert all(one.end_us == other.start_us for one, other in pairwise(days))
