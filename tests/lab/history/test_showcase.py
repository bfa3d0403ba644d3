"""The months behind the demonstration: what is counted while they are made, against what is made by hand."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random
from zoneinfo import ZoneInfo

import pytest

from lab.history.days import make_day, outdoor_temperature
from lab.history.showcase import BINS, FULL, Filling, Heating, LeakingTap, Member, plan_showcase

PARIS = ZoneInfo("Europe/Paris")
# The last whole month is a February of 29 days, a March of 743 hours, an October of 745.
TODAYS = [date(2028, 3, 15), date(2026, 4, 1), date(2026, 11, 28)]


def member(today: date, name: str) -> Member:
    return next(one for one in plan_showcase(today, PARIS).members if one.plan.asset_name == name)


@pytest.mark.parametrize("today", TODAYS)
def test_the_same_day_gives_the_same_months_and_no_two_assets_share_a_device(today: date) -> None:
    one, other = plan_showcase(today, PARIS), plan_showcase(today, PARIS)
    said, again = (
        [list(showcase.readings(member, "co2")) for member in showcase.members if member.plan.asset_kind == "room"]
        for showcase in (one, other)
    )

    assert said == again
    assert [len(of_room) > 1_000 for of_room in said] == [True] * 3
    assert len({member.plan.dev_eui for member in one.members}) == len(one.members)
    assert one.month < one.after <= today


def test_a_bin_of_two_points_is_full_for_twelve_readings_in_forty_eight() -> None:
    # 5, 7, 9, … 99 are 48 readings, of which 75, 77, … 99 are 13; then it is emptied.
    day = make_day(date(2026, 6, 1), PARIS)
    levels = Filling(None, points=2.0).day(day, slice(0, 144, 3))  # type: ignore[arg-type]

    assert levels == [5.0 + 2 * n for n in range(48)]
    assert sum(level >= FULL for level in levels) == 13


def test_a_silence_of_three_days_is_twelve_hours_of_the_last_level_and_the_rest_unknown() -> None:
    # The last reading is of 20:00 on the 9th, the next one of 02:00 on the 13th: 78 hours, of which 12 are known.
    showcase = plan_showcase(date(2026, 11, 28), PARIS)
    _, unknown = showcase.full_days()
    silent = member(showcase.today, f"Borne à verre, place {len(BINS)}")
    times = [at for at, _ in showcase.readings(silent, "fill_level")]
    gaps = [(before, after) for before, after in pairwise(times) if after - before > timedelta(hours=6)]

    assert gaps == [(datetime(2026, 10, 9, 18, tzinfo=UTC), datetime(2026, 10, 13, 0, tzinfo=UTC))]
    assert unknown == pytest.approx((78 - 12) / 24)


def test_a_building_takes_a_quarter_less_since_its_works_whatever_the_weather() -> None:
    days = [make_day(date(2026, 1, number), PARIS) for number in (1, 2, 3, 4)]
    insulated, not_insulated = (Heating(Random("x"), date(2026, 1, 3), saved) for saved in (0.25, 0.0))
    ends = [
        [1_000_000.0, *(source.day(day, slice(144, 145))[0] for day in days)]
        for source in (insulated, not_insulated)
    ]
    taken = [[after - before for before, after in pairwise(end)] for end in ends]

    assert taken[0][:2] == taken[1][:2]
    shares = [one / other for one, other in zip(taken[0][2:], taken[1][2:], strict=True)]
    assert shares == pytest.approx([0.75] * 2, abs=1e-4)
    cold = 18 - outdoor_temperature(days[0].date)
    assert taken[1][0] == pytest.approx(60_000 + 22_000 * cold, rel=0.1)


def test_a_leak_runs_forty_litres_an_hour_day_and_night() -> None:
    night = slice(12, 37, 6)  # From two to six.
    tap = LeakingTap(Random("x"), date(2026, 10, 8))
    levels = {number: tap.day(make_day(date(2026, 10, number), PARIS), night) for number in (7, 8, 14, 15)}

    hours = {number: [after - before for before, after in pairwise(of)] for number, of in levels.items()}
    assert hours == {7: [0.0] * 4, 8: [40.0] * 4, 14: [40.0] * 4, 15: [0.0] * 4}


@pytest.mark.parametrize("today", TODAYS)
def test_figures_of_any_month_are_plausible(today: date) -> None:
    showcase = plan_showcase(today, PARIS)
    days = (showcase.after - showcase.month).days
    above, unknown = showcase.full_days()

    assert 0.15 * days * len(BINS) < above < 0.35 * days * len(BINS)
    assert 2.5 <= unknown <= 2.9
    assert 12 <= showcase.emptyings() <= 30
    # Two cabinets of 3.5 kW, lit from four to fifteen hours of a day.
    assert 2 * 3.5 * 4 * days < showcase.lighting_kwh() < 2 * 3.5 * 15 * days
    assert showcase.leaked_litres == 6_720
