"""Lighting of a month, by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indicators.lighting.months import Burning, CabinetMonth, LampHour, burning_of, commune_month

NOTHING = Burning(744, 0, 0.0, 0, None)


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
