"""Leaks by the least flow of nights; litres and euros by hand."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indicators.buildings.leaks import HourFlow, Night, find_leaks, nights_of

PARIS = ZoneInfo("Europe/Paris")


def nights(*flows: float | None) -> list[Night]:
    return [Night(date(2026, 6, 1) + timedelta(days=n), flow, 24.0) for n, flow in enumerate(flows)]


def test_two_nights_above_five_litres_are_a_leak_and_one_is_none() -> None:
    found = find_leaks(nights(0, 20, 0, 10, 30, 0, 40), 5.0, 4.0)

    # The nights of 4 and 5 June: 10 x 24 + 30 x 24 = 960 litres, at 4 euros a cubic metre 3.84.
    [leak] = found.leaks
    assert (leak.first, leak.last, leak.nights, leak.litres) == (date(2026, 6, 4), date(2026, 6, 5), 2, 960)
    assert leak.eur == pytest.approx(3.84)
    assert (found.litres, found.eur(4.0), found.eur(None)) == (960, pytest.approx(3.84), None)


def test_what_is_at_the_limit_is_no_leak_as_for_the_alert() -> None:
    assert find_leaks(nights(5, 5, 5), 5.0).leaks == ()


def test_an_unknown_night_neither_makes_nor_ends_a_leak_and_adds_nothing() -> None:
    bridged = find_leaks(nights(10, 10, None, 10), 5.0)
    apart = find_leaks(nights(10, None, 10), 5.0)

    [leak] = bridged.leaks
    assert (leak.nights, leak.litres, leak.eur) == (3, 720, None)
    assert (bridged.nights, bridged.known_nights) == (4, 3)
    assert apart.leaks == ()


@pytest.mark.parametrize(
    ("morning", "day_hours", "of_night"),
    [(date(2026, 3, 29), 23, 2), (date(2026, 10, 25), 25, 4), (date(2028, 2, 29), 24, 3)],
)
def test_nights_of_the_clock_have_two_three_or_four_hours_and_all_have_to_be_known(
    morning: date, day_hours: int, of_night: int
) -> None:
    at = datetime.combine(morning, datetime.min.time(), PARIS).astimezone(UTC)
    locals_ = [(at + timedelta(hours=n)).astimezone(PARIS) for n in range(day_hours)]
    flows = [HourFlow(local, 7.0 + local.hour) for local in locals_]
    assert sum(2 <= flow.local.hour < 5 for flow in flows) == of_night

    [night] = nights_of([(morning, float(day_hours))], flows)
    [unknown] = nights_of(
        [(morning, float(day_hours))],
        [flow._replace(litres=None) if flow.local.hour == 4 else flow for flow in flows],
    )

    # At 2 o'clock 9 litres; on the night on which 2 o'clock is missing, 3 o'clock's 10.
    assert night == (morning, 10.0 if of_night == 2 else 9.0, day_hours)
    assert unknown.least_l_h is None


def test_a_night_without_any_hour_is_unknown() -> None:
    assert nights_of([(date(2026, 6, 1), 24.0)], []) == [Night(date(2026, 6, 1), None, 24.0)]


@given(st.lists(st.one_of(st.none(), st.floats(0, 40)), max_size=40), st.sets(st.integers(0, 39)))
def test_without_random_nights_known_ones_shrink_and_no_litre_is_added(flows, removed: set[int]) -> None:
    before = find_leaks(nights(*flows), 5.0)
    then = find_leaks(nights(*(None if n in removed else flow for n, flow in enumerate(flows))), 5.0)
    clean = {n for n, flow in enumerate(flows) if flow is not None and flow <= 5}

    assert then.known_nights <= before.known_nights
    if not removed & clean:  # A clean night that is unknown ends no leak any more, and may join two.
        assert then.litres <= before.litres + 1e-6
