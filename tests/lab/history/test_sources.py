from datetime import date
from itertools import pairwise
from random import Random
from zoneinfo import ZoneInfo

import pytest

from lab.history import sources
from lab.history.days import Day, weeks
from lab.history.plan import GROUPS, Channel
from lab.history.sources import FillLevel, RoomCo2, WaterIndex

PARIS = ZoneInfo("Europe/Paris")
YEAR = [day for week in weeks(date(2025, 9, 1), date(2026, 9, 1), PARIS) for day in week]
HOURLY = slice(0, 144, 6)
CHANNELS = list(
    {(group.asset_kind, channel.quantity): channel for group in GROUPS for channel in group.channels}.values()
)


def read(source: sources.Source, slots: slice = HOURLY, days: list[Day] = YEAR) -> list[list[float]]:
    return [source.day(day, slots) for day in days]


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.quantity)
def test_a_source_says_the_same_for_the_same_seed_and_another_thing_for_another(channel: Channel) -> None:
    said = [read(channel.make(Random(seed)), days=YEAR[:60]) for seed in ("a", "a", "b")]

    assert said[0] == said[1]
    assert said[0] != said[2] or channel.quantity == "switch_state"


@pytest.mark.parametrize("channel", [one for one in CHANNELS if one.is_index], ids=lambda one: one.quantity)
def test_an_index_never_falls_and_rises_over_the_year(channel: Channel) -> None:
    values = [value for day in read(channel.make(Random("x")), slice(6, 150, 6)) for value in day]

    assert all(one <= other for one, other in pairwise(values))
    assert values[-1] > values[0] + 100


@pytest.mark.parametrize("is_glass", [True, False])
def test_a_bin_is_a_sawtooth_that_is_emptied_on_working_days_only(is_glass: bool) -> None:
    emptied: list[Day] = []
    bin_ = FillLevel(Random("bin"), is_glass=is_glass)
    for day in YEAR:
        values = bin_.day(day, HOURLY)
        if any(one - other > 40 and other < 25 for one, other in pairwise(values)):
            emptied.append(day)
        assert all(0 <= value <= 100 for value in values)

    assert 5 < len(emptied) < 120
    assert all(day.is_working for day in emptied)


def test_a_classroom_has_fresh_air_on_closed_days_and_is_crowded_on_others() -> None:
    room = RoomCo2(Random("room"), "classroom")

    highest = {day.date: max(values) for day, values in zip(YEAR, read(room), strict=True)}

    closed = [highest[day.date] for day in YEAR if not day.is_school]
    opened = [highest[day.date] for day in YEAR if day.is_school]
    assert max(closed) < 480
    assert min(opened) > 600


def test_some_meters_leak_at_night_for_days_and_others_never() -> None:
    leaking = 0
    for number in range(60):
        meter = WaterIndex(Random(f"meter {number}"), "home")
        nights = [values[1] - values[0] for values in read(meter, slice(12, 36, 12))]  # 02:00 to 04:00.
        nights_with_flow = [night > 5 for night in nights]
        leaking += any(nights_with_flow)
        if any(nights_with_flow):
            first = nights_with_flow.index(True)
            assert all(nights_with_flow[first : first + 3])

    assert 1 <= leaking <= 20


def test_power_and_index_of_one_seed_agree() -> None:
    every_slot = slice(0, 144)
    power = read(sources.Power(Random("load"), "office"), every_slot, YEAR[:30])
    energy = read(sources.Energy(Random("load"), "office"), slice(0, 145, 144), YEAR[:30])

    for watts, (first, last) in zip(power, energy, strict=True):
        assert last - first == pytest.approx(sum(watts) / 6, rel=0.05)
