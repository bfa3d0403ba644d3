"""What holds of every rule whatever is measured: cuts, duplicates, silence, the nights when clocks change."""

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.rules.calendar import Calendar, weekly_of
from alerting.rules.duty import is_on_duty, next_duty
from alerting.rules.evaluation import evaluate
from alerting.rules.model import (
    Condition,
    Due,
    Missed,
    Observation,
    Opened,
    Place,
    Resolved,
    Rule,
    RuleState,
    Rung,
    Transition,
)
from core.model.region import METROPOLITAN, Region, region_of

# Every kind that goes by values, its series among them, with each way to be patient.
RULES = st.builds(
    lambda shape, readings, more, seconds, keep, schedule: replace(
        Rule(1, 1, "r", "threshold", "q", "warning", "m"),
        **shape,
        for_readings=readings,
        of_readings=None if more is None else readings + more,
        for_seconds=seconds,
        keep_firing_seconds=keep,
        schedule=schedule,
    ),
    st.sampled_from(
        [
            {"fire_op": ">=", "fire_value": 75.0, "clear_op": "<=", "clear_value": 60.0, "clear_on_emptying": True,
             "ladder": (Rung("major", within_hours=24.0), Rung("critical", value=95.0, at_once=True))},
            {"kind": "range", "fire_value": 20.0, "clear_value": 30.0, "clear_upper": 70.0, "fire_upper": 80.0},
            {"kind": "rate", "fire_op": ">", "fire_value": 50.0, "clear_op": "<", "clear_value": 10.0},
            {"kind": "boolean", "fire_value": 1.0},
            {"kind": "flat", "fire_value": 2.0},
            {"series": "night_minimum_flow", "fire_op": ">", "fire_value": 5.0, "clear_op": "<=",
             "clear_value": 5.0, "ladder": (Rung("critical", times_median=10.0, at_once=True),)},
            {"series": "power_ratio", "fire_op": "<", "fire_value": 20.0, "clear_op": ">", "clear_value": 50.0},
        ]
    ),
    st.integers(1, 3),
    st.one_of(st.none(), st.integers(0, 3)),
    st.sampled_from([0, 1200, 7200]),
    st.sampled_from([0, 1800]),
    st.sampled_from(["always", "open", "closed", "night"]),
)  # fmt: skip
VALUES = st.one_of(st.floats(0, 100), st.sampled_from([0.0, 1.0, 1.0, 60.0, 75.0, 96.0]))
# Minutes since the event before, and a value, a silence, or a look at the clock.
EVENTS = st.lists(st.tuples(st.integers(1, 90), st.one_of(VALUES, st.just("missed"), st.just("due"))), max_size=40)
# The evenings before the clocks change, and an ordinary one.
STARTS = st.sampled_from([datetime(2026, *day, 20, tzinfo=UTC) for day in ((3, 28), (10, 24), (6, 5))])
OPEN = Calendar(weekly_of([[["07:30", "18:30"]]] * 5 + [[["00:00", "02:30"], ["22:00", "24:00"]]] * 2))
REGIONS = st.sampled_from([METROPOLITAN, region_of("974", "Europe/Paris"), region_of("972", "Europe/Paris")])
Told = list[tuple[int, Transition]]


def place_in(region: Region) -> Place:
    return Place(48.4, -4.5, OPEN, 50.0, region=region)


def events_of(start: datetime, steps: list[tuple[int, Any]]) -> list[tuple[datetime, Observation | Missed | Due]]:
    at, events = start, list[tuple[datetime, Observation | Missed | Due]]()
    for minutes, what in steps:
        at += timedelta(minutes=minutes)
        match what:
            case "missed":
                events.append((at, Missed(at)))
            case "due":
                events.append((at, Due()))
            case value:
                events.append((at, Observation(at, value)))
    return events


def written_and_read(state: RuleState | None) -> RuleState | None:
    """As the table has it: every field, and nothing that is held in memory beside."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=RuleState | None)


@given(RULES, STARTS, EVENTS, REGIONS, st.sets(st.integers(0, 40)))
def test_evaluation_in_one_go_equals_evaluation_cut_anywhere(
    rule: Rule, start: datetime, steps: list[tuple[int, Any]], region: Region, cuts: set[int]
) -> None:
    place, whole, cut = place_in(region), Told(), Told()
    first: RuleState | None = None
    second: RuleState | None = None
    for index, (at, event) in enumerate(events_of(start, steps)):
        first, transition = evaluate(rule, first, event, at, place)
        whole += [] if transition is None else [(index, transition)]
        if index in cuts:
            second = written_and_read(second)
        second, transition = evaluate(rule, second, event, at, place)
        cut += [] if transition is None else [(index, transition)]

    assert cut == whole
    assert second == first


@given(RULES, STARTS, EVENTS, REGIONS, st.integers(1, 12), st.randoms(use_true_random=False))
def test_a_batch_is_judged_alike_in_whatever_order_it_comes_and_however_often(
    rule: Rule, start: datetime, steps: list[tuple[int, Any]], region: Region, size: int, shuffle: random.Random
) -> None:
    """The engine sorts each batch by time (`alerting.evaluation.work_of`); batches are cut anywhere."""
    place = place_in(region)
    values = [event for _, event in events_of(start, steps) if isinstance(event, Observation)]

    def play(batches: list[list[Observation]], now: list[datetime]) -> tuple[RuleState | None, list[Transition]]:
        state: RuleState | None = None
        told: list[Transition] = []
        for batch, at in zip(batches, now, strict=True):
            for value in sorted(batch, key=lambda one: one.at):
                state, transition = evaluate(rule, state, value, at, place)
                told += [] if transition is None else [transition]
        return state, told

    batches = [values[index : index + size] for index in range(0, len(values), size)]
    now = [batch[-1].at for batch in batches]
    disturbed = []
    for index, batch in enumerate(batches):
        again = batch * 2 + (batches[index - 1] if index else [])
        shuffle.shuffle(again)
        disturbed.append(again)

    assert play(disturbed, now) == play(batches, now)


@given(RULES, STARTS, EVENTS, REGIONS)
def test_missing_data_ends_nothing_and_leads_nowhere_but_to_unknown(
    rule: Rule, start: datetime, steps: list[tuple[int, Any]], region: Region
) -> None:
    place = place_in(region)
    state: RuleState | None = None
    for at, event in events_of(start, steps):
        before = state
        state, transition = evaluate(rule, state, event, at, place)
        if before is None or isinstance(event, Observation):
            continue
        assert state is not None
        if isinstance(event, Missed):
            assert (state.condition, state.alerting, transition) == (Condition.UNKNOWN, before.alerting, None)
        elif before.condition is Condition.UNKNOWN:
            # However long it takes, the clock alone ends no silence.
            assert evaluate(rule, state, Due(), at + timedelta(days=400), place) == (before, None)


@given(RULES, STARTS, EVENTS, REGIONS)
def test_an_alert_opens_only_on_duty_and_only_a_value_or_its_own_deadline_ends_it(
    rule: Rule, start: datetime, steps: list[tuple[int, Any]], region: Region
) -> None:
    place = place_in(region)
    state: RuleState | None = None
    for at, event in events_of(start, steps):
        state, transition = evaluate(rule, state, event, at, place)
        if isinstance(transition, Opened):
            # A night's flow is judged when the night is over.
            assert rule.series == "night_minimum_flow" or is_on_duty(rule.schedule, place, transition.at)
            assert transition.since <= transition.at
        if isinstance(transition, Resolved):
            assert not isinstance(event, Missed)


@given(
    st.sampled_from(["open", "closed", "night"]),
    REGIONS,
    st.sampled_from([date(2026, 3, 28), date(2026, 10, 24), date(2026, 12, 25)]),
    st.integers(0, 3 * 24 * 60),
)
def test_the_next_duty_is_the_first_minute_of_duty(schedule: str, region: Region, day: date, minutes: int) -> None:
    place = place_in(region)
    after = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(minutes=minutes)
    found = next_duty(schedule, place, after)
    # Minute by minute, by the hours on the wall.
    expected = next(
        at
        for at in (after + timedelta(minutes=count) for count in range(1, 7 * 24 * 60))
        if is_on_duty(schedule, place, at) and (not is_on_duty(schedule, place, after) or at > after)
    )

    if not is_on_duty(schedule, place, after):
        assert found == expected


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 29), 7), (date(2026, 10, 25), 9), (date(2026, 6, 7), 8)], ids=str
)
def test_the_night_is_an_hour_shorter_in_march_and_longer_in_october(day: date, hours: int) -> None:
    first = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=12)
    minutes = [first + timedelta(minutes=count) for count in range(24 * 60)]

    assert sum(is_on_duty("night", Place(), at) for at in minutes) == hours * 60
    # Where the clocks do not change the night is as long as ever.
    assert sum(is_on_duty("night", Place(region=region_of("974", "Europe/Paris")), at) for at in minutes) == 480
