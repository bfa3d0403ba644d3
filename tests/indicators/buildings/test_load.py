"""Base load, nights and weekends, of hours that are counted by hand."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from indicators.buildings.load import HourAmount, load_shape

PARIS = ZoneInfo("Europe/Paris")


def hours(first: tuple[int, int, int], after: tuple[int, int, int], amount) -> list[HourAmount]:
    at, until = (datetime(*day, tzinfo=PARIS).astimezone(UTC) for day in (first, after))
    found = []
    while at < until:
        local = at.astimezone(PARIS)
        found.append(HourAmount(local, amount(local)))
        at += timedelta(hours=1)
    return found


def test_a_week_of_one_kilowatt_is_a_third_at_night_and_two_sevenths_at_the_weekend() -> None:
    shape = load_shape(hours((2026, 6, 1), (2026, 6, 8), lambda _: 1.0))

    assert (shape.hours, shape.known_hours, shape.base, shape.is_whole) == (168, 168, 1, True)
    assert shape.night_share == pytest.approx(8 / 24)
    assert shape.weekend_share == pytest.approx(2 / 7)


@pytest.mark.parametrize(
    ("first", "after", "count", "night"),
    # A March of 743 hours with a night of seven, an October of 745 with one of nine; 8 hours of the other 30
    # nights.
    [((2026, 3, 1), (2026, 4, 1), 743, 247), ((2026, 10, 1), (2026, 11, 1), 745, 249)],
)
def test_months_in_which_clocks_change_have_their_own_hours(first, after, count: int, night: int) -> None:
    shape = load_shape(hours(first, after, lambda _: 2.0))

    assert shape.hours == count
    assert shape.night_share == pytest.approx(night / count)


def test_the_base_load_is_what_nineteen_hours_of_twenty_take_at_least() -> None:
    # 40 hours: two without a pulse, then 3 each, and a peak: 40 x 5 / 100 = 2, and so the third.
    amounts = [0.0, 0.0, *[3.0] * 37, 50.0]
    start = datetime(2026, 6, 1, tzinfo=PARIS)
    shape = load_shape(HourAmount(start + timedelta(hours=n), one) for n, one in enumerate(amounts))

    assert shape.base == 3


def test_unknown_hours_are_in_no_share_and_none_known_is_no_figure() -> None:
    start = datetime(2026, 6, 5, 20, tzinfo=PARIS)  # A Friday evening: 20, 21, 22, 23, and Saturday 0.
    amounts = [1.0, None, 2.0, None, 3.0]
    found = [HourAmount(start + timedelta(hours=n), one) for n, one in enumerate(amounts)]

    shape = load_shape(found)
    nothing = load_shape(HourAmount(one.local, None) for one in found)
    zero = load_shape(HourAmount(one.local, 0.0) for one in found)

    assert (shape.hours, shape.known_hours, shape.is_whole) == (5, 3, False)
    assert (shape.night_share, shape.weekend_share) == (pytest.approx(5 / 6), pytest.approx(0.5))
    assert (nothing.base, nothing.night_share, nothing.weekend_share) == (None, None, None)
    assert (zero.base, zero.night_share, zero.weekend_share) == (0, None, None)
