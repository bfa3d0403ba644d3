"""Computed series: the least flow of a night, and what lamps take of what they should."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.defaults import DEFAULT_RULES
from alerting.rules.evaluation import evaluate
from alerting.rules.lighting_series import expected_power_w
from alerting.rules.model import Observation, Opened, Place, Resolved, Rule, RuleState, Transition
from alerting.rules.series import step
from core.model.lighting import Program, Schedule

PARIS = ZoneInfo("Europe/Paris")
LEAK = next(rule for rule in DEFAULT_RULES if rule.name == "leak")


def nights(flows: list[float], every_min: int = 60, first: str = "2026-11-01") -> list[Observation]:
    """Readings of an index: a household by day, and this flow (L/h) from midnight to six of each night after."""
    readings: list[Observation] = []
    index, at = 1000.0, datetime.fromisoformat(f"{first}T12:00").replace(tzinfo=PARIS)
    step_h = every_min / 60
    for flow in flows:
        for _ in range(int(24 / step_h)):
            readings.append(Observation(at, index))
            index += step_h * (flow if at.hour < 6 else 40)
            at = (at.astimezone(ZoneInfo("UTC")) + timedelta(minutes=every_min)).astimezone(PARIS)
    return readings


def play(rule: Rule, readings: list[Observation]) -> list[Transition]:
    state: RuleState | None = None
    told: list[Transition] = []
    for reading in readings:
        state, transition = evaluate(rule, state, reading, reading.at)
        told += [transition] if transition is not None else []
    return told


def flows_of(readings: list[Observation]) -> list[float]:
    memo, found = b"", list[float]()
    for reading in readings:
        memo, judged = step("night_minimum_flow", memo, reading, Place())
        found += [judged.value] if judged is not None else []
    return found


@pytest.mark.parametrize("every_min", [10, 15, 60])
def test_the_least_flow_of_each_night_is_found_whatever_the_meters_pace(every_min: int) -> None:
    assert flows_of(nights([0, 8, 3, 12], every_min)) == pytest.approx([0, 8, 3, 12])


def test_a_night_of_the_change_of_the_clock_is_a_night() -> None:
    assert flows_of(nights([1, 2, 3], 60, "2026-10-23")) == pytest.approx([1, 2, 3])
    assert flows_of(nights([1, 2, 3], 60, "2027-03-26")) == pytest.approx([1, 2, 3])


def test_one_draught_in_the_night_is_no_leak_and_a_meter_that_is_swapped_is_none_either() -> None:
    readings = nights([2, 2])
    drawn = [Observation(at, value + (200 if at.hour >= 3 else 0)) for at, value in readings]
    swapped = [Observation(at, value if place < 16 else value - 900) for place, (at, value) in enumerate(readings)]

    assert flows_of(drawn) == pytest.approx([2, 2])
    assert min(flows_of(swapped)) >= 0


def test_a_night_without_readings_is_unknown_and_not_dry() -> None:
    readings = [one for one in nights([7, 7, 7]) if not (one.at.day == 3 and one.at.hour < 6)]

    assert flows_of(readings) == pytest.approx([7, 7])


def test_two_nights_with_water_running_are_a_leak_and_one_clean_night_ends_it() -> None:
    told = play(LEAK, nights([0, 9, 0, 9, 9, 9, 0]))

    assert [type(one) for one in told] == [Opened, Resolved]
    opened, resolved = told
    assert isinstance(opened, Opened)
    assert (opened.since.astimezone(PARIS).isoformat(), opened.value) == ("2026-11-05T02:00:00+01:00", 9)
    assert resolved.at.astimezone(PARIS).isoformat() == "2026-11-08T05:00:00+01:00"


def test_ten_times_the_usual_flow_is_critical_at_once() -> None:
    (told,) = play(LEAK, nights([3, 4, 3, 4, 3, 4, 45]))

    assert isinstance(told, Opened)
    assert (LEAK.severity_at(told.rung), told.value) == ("critical", 45)


@given(st.lists(st.floats(0, 500), min_size=1, max_size=8))
def test_the_flow_of_a_night_is_between_nothing_and_what_flowed(flows: list[float]) -> None:
    found = flows_of(nights(flows))

    assert len(found) == len(flows)
    assert all(abs(one - other) < 1e-6 * max(1, other) for one, other in zip(found, flows, strict=True))


def dimmed(level: float) -> Program:
    """Lamps that are dimmed to this percentage from ten to five."""
    return Program(Schedule(dimming=((22 * 60, level), (5 * 60, 100))))


CABINET = Place(48.39, -4.49, rated_power_w=2000, program=dimmed(50))


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("18:00", 2000),
        ("21:59", None),
        ("22:00", None),
        ("22:20", 1000),
        ("03:00", 1000),
        ("05:05", None),
        ("11:00", 2000),
    ],
)
def test_what_lamps_should_take_follows_their_program(at: str, expected: float | None) -> None:
    hour, minute = map(int, at.split(":"))
    place = Place(rated_power_w=2000, program=dimmed(50))

    assert expected_power_w(place, datetime(2026, 11, 25, hour, minute, tzinfo=PARIS)) == expected


OVER_POWER = next(rule for rule in DEFAULT_RULES if rule.name == "over_power")


def test_around_a_step_of_dimming_no_clock_is_believed() -> None:
    place = Place(rated_power_w=2000, program=dimmed(50))
    evening = datetime(2026, 11, 25, 21, 50, tzinfo=PARIS)

    def readings_of_cabinet(dims_after_min: int) -> list[Transition]:
        """A cabinet that says its power every two minutes, and whose own clock is late."""
        state, found = None, list[Transition]()
        for count in range(40):
            at = evening + timedelta(minutes=2 * count)
            watts = 2000 if 2 * count < 10 + dims_after_min else 900
            state, transition = evaluate(OVER_POWER, state, Observation(at, watts), at, place)
            found += [transition] if transition is not None else []
        return found

    assert readings_of_cabinet(12) == []
    assert [type(one) for one in readings_of_cabinet(40)] == [Opened, Resolved]


DARK = next(rule for rule in DEFAULT_RULES if rule.name == "dark")


def test_a_cabinet_is_dark_when_it_should_burn_and_not_while_it_is_dimmed() -> None:
    place = Place(48.39, -4.49, rated_power_w=2000, program=dimmed(30))
    evening = datetime(2026, 11, 25, 21, 0, tzinfo=PARIS)

    def readings_of_cabinet(watts: float, since: datetime = evening) -> list[Transition]:
        state, found = None, list[Transition]()
        for quarter in range(6):
            at = since + timedelta(minutes=15 * quarter)
            state, transition = evaluate(DARK, state, Observation(at, watts), at, place)
            found += [transition] if transition is not None else []
        return found

    assert readings_of_cabinet(600) == []  # 30 % of 2 kW: as it should be after ten.
    assert [type(one) for one in readings_of_cabinet(100)] == [Opened]
    assert readings_of_cabinet(0, datetime(2026, 11, 25, 12, 0, tzinfo=PARIS)) == []
