"""Lighting of a month, by hand."""

import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import ephem
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.lighting import FROM_DUSK_TO_DAWN, LampPlace, Program, Schedule, Switching
from indicators.lighting.months import (
    Burning,
    CabinetMonth,
    LampHour,
    burning_of,
    commune_month,
    expected_shares,
)

PARIS = ZoneInfo("Europe/Paris")
BREST = LampPlace(48.39, -4.49)

NOTHING = Burning(744, 0, 0.0, 0, None)
# On from 21:30 to 06:15, dark from midnight to 5: 2.5 hours and 1.25.
BY_THE_CLOCK = Program(Schedule(Switching(None, 21 * 60 + 30), Switching(None, 6 * 60 + 15), (0, 5 * 60)))


def local(*day: int) -> datetime:
    return datetime(*day, tzinfo=PARIS).astimezone(UTC)


def test_a_program_by_the_clock_burns_its_share_of_each_hour() -> None:
    shares = expected_shares(BY_THE_CLOCK, BREST, local(2026, 6, 1), local(2026, 6, 2))

    assert shares == [0, 0, 0, 0, 0, 1, 0.25, *[0] * 14, 0.5, 1, 1]


@pytest.mark.parametrize(
    ("first", "after", "hours", "lit"),
    # 30 nights of 3.75 hours in March, but for what is dark anyway; the last night of October has the same hours.
    [((2026, 3, 1), (2026, 4, 1), 743, 31 * 3.75), ((2026, 10, 1), (2026, 11, 1), 745, 31 * 3.75)],
)
def test_months_in_which_clocks_change_burn_the_same_hours_on_the_wall(first, after, hours, lit) -> None:
    shares = expected_shares(BY_THE_CLOCK, BREST, local(*first), local(*after))

    assert (len(shares), sum(shares)) == (hours, pytest.approx(lit))


def test_without_a_place_nobody_can_say_when_the_sun_sets() -> None:
    nowhere = LampPlace(None, None)

    assert set(expected_shares(FROM_DUSK_TO_DAWN, nowhere, local(2026, 6, 1), local(2026, 6, 2))) == {None}
    assert set(expected_shares(Program(None), nowhere, local(2026, 6, 1), local(2026, 6, 2))) == {0}


def test_from_dusk_to_dawn_burns_as_long_as_another_ephemeris_has_the_sun_below() -> None:
    begin, end = local(2026, 6, 20), local(2026, 6, 23)
    observer, sun = ephem.Observer(), ephem.Sun()
    observer.lat, observer.lon, observer.pressure = "48.39", "-4.49", 0
    below = 0
    for minute in range(3 * 24 * 60):
        observer.date = ephem.Date((begin + timedelta(minutes=minute + 0.5)).replace(tzinfo=None))
        sun.compute(observer)
        below += math.degrees(float(sun.alt)) < -0.833  # The upper edge, refracted.

    shares = expected_shares(FROM_DUSK_TO_DAWN, BREST, begin, end)

    assert sum(shares) == pytest.approx(below / 60, abs=0.1)
    assert 23 < sum(shares) < 24


def test_hours_that_should_burn_from_end_to_end_are_judged_and_unknown_ones_in_nothing() -> None:
    burning = burning_of(
        [
            LampHour(0.4, 0.5),  # Dusk.
            LampHour(1, 1),
            LampHour(1, 0.25),  # Dark for three quarters of an hour.
            LampHour(1, None),
            LampHour(None, 1),  # Nobody knows where it is.
            LampHour(0, 0),
        ]
    )

    assert (burning.hours, burning.known_hours, burning.judged_hours) == (6, 5, 2)
    assert burning.lit_hours == pytest.approx(2.75)
    assert burning.availability == pytest.approx(0.625)


def test_a_commune_saves_where_both_figures_are_known_and_says_of_how_many() -> None:
    burning = Burning(744, 744, 300.0, 200, 0.99)
    half = Burning(744, 372, 100.0, 100, 0.96)

    month = commune_month(
        [
            CabinetMonth(600.0, 1000.0, burning, 1),
            CabinetMonth(500.0, None, half, 0),
            CabinetMonth(None, 900.0, NOTHING, 2),
        ],
        0.2,
    )

    assert (month.cabinets, month.metered, month.kwh) == (3, 2, 1100)
    assert (month.compared, month.reference_kwh, month.saved_kwh) == (1, 1000, 400)
    assert month.saved_eur == pytest.approx(80)
    assert (month.lit_hours, month.known_hours, month.hours) == (200, 1116, 2232)
    assert month.availability == pytest.approx((0.99 * 200 + 0.96 * 100) / 300)
    assert month.faults == 3


def test_of_nothing_known_nothing_is_a_zero() -> None:
    month = commune_month([CabinetMonth(None, None, NOTHING, 0)], 0.2)

    assert (month.kwh, month.reference_kwh, month.saved_kwh, month.saved_eur) == (None, None, None, None)
    assert (month.lit_hours, month.availability, month.known_hours) == (None, None, 0)
    assert commune_month([CabinetMonth(1.0, 2.0, NOTHING, 0)], None).saved_eur is None


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=50), st.sets(st.integers(0, 50)))
def test_without_random_hours_known_time_and_lit_time_shrink(hours, removed: set[int]) -> None:
    every = [LampHour(*hour) for hour in hours]
    fewer = [hour._replace(lit=None) if n in removed else hour for n, hour in enumerate(every)]

    before, then = burning_of(every), burning_of(fewer)

    assert then.hours == before.hours
    assert then.known_hours <= before.known_hours
    assert then.lit_hours <= before.lit_hours + 1e-9
