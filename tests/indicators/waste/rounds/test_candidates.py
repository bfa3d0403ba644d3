"""Which bins a round empties, by hand."""

from datetime import UTC, datetime, timedelta

import pytest

from indicators.waste.forecast import Forecast, forecast
from indicators.waste.rounds.candidates import Bin, Criteria, candidates, level_now, visits_of_all
from indicators.waste.rounds.model import Place

NOW = datetime(2026, 12, 1, 8, tzinfo=UTC)
SIX_HOURS = timedelta(hours=6)
BREST = Place(48.39, -4.49)


def bin_of(level: float | None, asset_id: int = 1, *, ago: timedelta = SIX_HOURS, **fields) -> Bin:
    given = {"place": BREST, "volume_l": 4_000.0, "density_kg_m3": 330.0} | fields
    at = None if level is None else NOW - ago
    return Bin(asset_id, level=level, level_at=at, expected_interval=SIX_HOURS, **given)


def criteria(**fields) -> Criteria:
    given = {"threshold": 75, "forecast_part": "p50", "next_round_at": NOW + timedelta(days=7)} | fields
    return Criteria(**given)


@pytest.mark.parametrize(("level", "by"), [(75.0, "threshold"), (74.99, None), (100.0, "threshold")])
def test_the_threshold_itself_is_enough(level, by) -> None:
    assert [one.chosen_by for one in candidates([bin_of(level)], criteria(), NOW)] == ([] if by is None else [by])


def test_a_level_stands_for_two_intervals_and_no_longer() -> None:
    assert level_now(bin_of(80, ago=2 * SIX_HOURS), NOW) == 80
    assert level_now(bin_of(80, ago=2 * SIX_HOURS + timedelta(seconds=1)), NOW) is None

    [silent] = candidates([bin_of(99, ago=timedelta(days=2))], criteria(), NOW)

    assert (silent.chosen_by, silent.left_reason, silent.visit) == ("unknown", "unknown_level", None)


def test_a_forecast_before_the_next_round_is_enough() -> None:
    """From the last reading, six hours ago: 7.2 days later is before a round in seven days, 7.3 is not."""
    for days, chosen in ((7.2, ["forecast"]), (7.3, [])):
        one = bin_of(40, forecast=Forecast(1.0, days, None, "own", 8))
        assert [one.chosen_by for one in candidates([one], criteria(), NOW)] == chosen
    early = bin_of(40, forecast=Forecast(1.0, 20.0, None, "own", 8))
    assert candidates([early], criteria(), NOW) == []
    assert len(candidates([early], criteria(forecast_part="p10"), NOW)) == 1
    assert candidates([early], criteria(forecast_part="p90"), NOW) == []


def test_a_forecast_of_ninety_percent_comes_before_the_one_of_full() -> None:
    """Five points each day from 40 %: 90 % after ten days, full after twelve."""
    gains = {NOW.date() - timedelta(days=n): 5.0 for n in range(1, 57)}
    found = [forecast(40, NOW.date(), gains, full=full) for full in (90.0, 100.0)]

    assert [one and one.p50 for one in found] == [10, 12]


def test_people_add_and_leave_bins() -> None:
    bins = [bin_of(10, 1), bin_of(90, 2), bin_of(None, 3)]

    found = candidates(bins, criteria(forced=[1, 3], excluded=[2]), NOW)

    assert [(one.bin.asset_id, one.chosen_by, one.level) for one in found] == [
        (1, "forced", 10),
        (3, "forced", None),
    ]
    # Of the one that nobody has measured: all that it may hold.
    assert [one.visit and one.visit.volume_l for one in found] == [400, 4000]


def test_what_has_no_place_or_volume_is_left_with_the_reason() -> None:
    found = candidates([bin_of(80, 1, place=None), bin_of(80, 2, volume_l=None)], criteria(), NOW)

    assert [one.left_reason for one in found] == ["no_position", "no_volume"]


def test_what_a_bin_holds_is_its_volume_by_its_level_by_its_density() -> None:
    [one] = candidates([bin_of(80)], criteria(), NOW)

    assert one.visit is not None
    assert (one.visit.volume_l, one.visit.weight_kg) == (3200, pytest.approx(1056))


def test_before_all_are_visited_and_the_unknown_are_as_full_as_the_others() -> None:
    bins = [bin_of(20, 1), bin_of(60, 2), bin_of(None, 3), bin_of(80, 4, place=None)]

    found = visits_of_all(bins, NOW)

    # The mean of 20, 60 and 80 %.
    assert [(one.asset_id, round(one.volume_l)) for one in found] == [(1, 800), (2, 2400), (3, 2133)]
