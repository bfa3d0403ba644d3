"""A state that still holds is told, even when it is learnt late; what is already over never is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.defaults import DEFAULT_RULES
from alerting.rules.evaluation import Outcome, evaluate
from alerting.rules.model import (
    SETTLE,
    Condition,
    Due,
    Missed,
    Observation,
    Opened,
    Place,
    Raised,
    Resolved,
    Rule,
    RuleState,
    Rung,
    Transition,
)

RULES = {rule.name: rule for rule in DEFAULT_RULES}
DOOR = replace(RULES["intrusion"], schedule="always")
TEN_AT_NIGHT = datetime(2026, 11, 25, 21, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
PARIS = ZoneInfo("Europe/Paris")


def settled(rule: Rule, state: RuleState | None, learnt_at: datetime) -> Outcome:
    """What is told once no more readings follow."""
    assert evaluate(rule, state, Due(), learnt_at + SETTLE - timedelta(seconds=1))[1] is None
    return evaluate(rule, state, Due(), learnt_at + SETTLE)


def test_a_door_open_since_ten_whose_uplink_comes_three_hours_late_is_notified_with_both_instants() -> None:
    learnt_at = TEN_AT_NIGHT + 3 * HOUR
    state, at_once = evaluate(DOOR, None, Observation(TEN_AT_NIGHT, 1), learnt_at)
    after, told = settled(DOOR, state, learnt_at)

    assert at_once is None
    assert told == Opened(TEN_AT_NIGHT, TEN_AT_NIGHT, 1, learnt_at=learnt_at)
    assert after is not None
    assert after.alerting


@pytest.mark.parametrize("together", [True, False])
def test_a_door_that_was_open_and_is_known_to_be_closed_again_is_notified_to_nobody(together: bool) -> None:
    learnt_at = TEN_AT_NIGHT + 3 * HOUR
    values = [Observation(TEN_AT_NIGHT, 1), Observation(TEN_AT_NIGHT + HOUR, 0)]
    state: RuleState | None = None
    told: list[Transition | None] = []
    for event in [values] if together else values:
        state, transition = evaluate(DOOR, state, event, learnt_at)
        told.append(transition)
    state, transition = evaluate(DOOR, state, Due(), learnt_at + HOUR)

    assert {*told, transition} == {None}


def test_what_one_frame_shows_to_be_over_is_notified_to_nobody_however_fresh_it_is() -> None:
    now = TEN_AT_NIGHT + timedelta(minutes=10)
    values = [Observation(TEN_AT_NIGHT, 1), Observation(TEN_AT_NIGHT + timedelta(minutes=5), 0)]
    state, told = evaluate(DOOR, None, values, now)

    assert told is None
    assert state is not None
    assert state.condition is Condition.OK


def test_what_holds_still_when_the_newest_reading_comes_is_notified_at_once_and_marked() -> None:
    now = TEN_AT_NIGHT + 3 * HOUR
    rule = RULES["bin_fire"]
    values = [Observation(TEN_AT_NIGHT + count * HOUR, 80.0) for count in range(4)]
    _, told = evaluate(rule, None, values, now)

    assert told == Opened(now, TEN_AT_NIGHT, 80.0, learnt_at=now)


def test_a_fire_that_begins_with_the_reading_in_time_is_not_marked() -> None:
    now = TEN_AT_NIGHT + 3 * HOUR
    values = [Observation(TEN_AT_NIGHT, 20.0), Observation(now, 80.0)]
    _, told = evaluate(RULES["bin_fire"], None, values, now)

    assert told == Opened(now, now, 80.0)


def test_a_leak_through_ten_nights_is_notified_though_the_meter_sends_its_hourly_indexes_at_eight() -> None:
    rule, place = RULES["leak"], Place(interval=timedelta(days=1))
    state: RuleState | None = None
    told: list[tuple[int, Transition]] = []
    index = 0.0
    for day in range(10):
        now = datetime(2026, 11, 10, 8, 0, tzinfo=PARIS) + timedelta(days=day)
        values = []
        for hours in range(23, -1, -1):
            index += 20.0
            values.append(Observation((now - hours * HOUR).astimezone(UTC), index))
        state, transition = evaluate(rule, state, values, now.astimezone(UTC), place)
        told += [] if transition is None else [(day, transition)]

    # Two nights have to pass: the first day tells of the first, for its indexes begin before it.
    assert [(day, type(one)) for day, one in told] == [(1, Opened)]


@pytest.mark.parametrize(
    ("age", "interval", "is_notified"),
    [
        (timedelta(hours=47), HOUR, True),
        (timedelta(hours=49), HOUR, False),
        (timedelta(hours=49), None, False),
        (timedelta(days=13), timedelta(days=7), True),
        (timedelta(days=15), timedelta(days=7), False),
    ],
    ids=str,
)
def test_a_state_is_notified_for_two_days_or_two_intervals_whichever_is_longer(
    age: timedelta, interval: timedelta | None, is_notified: bool
) -> None:
    place, learnt_at = Place(interval=interval), TEN_AT_NIGHT + age
    state, _ = evaluate(DOOR, None, Observation(TEN_AT_NIGHT, 1), learnt_at, place)
    after, told = evaluate(DOOR, state, Due(), learnt_at + HOUR, place)

    assert (told is not None) == is_notified
    assert after is not None
    assert after.condition is Condition.FIRING  # It is known all the same, and the next reading tells.


def test_a_state_of_last_week_is_notified_when_a_reading_of_now_says_the_same() -> None:
    now = TEN_AT_NIGHT + timedelta(days=7)
    state, _ = evaluate(DOOR, None, Observation(TEN_AT_NIGHT, 1), now)
    _, told = evaluate(DOOR, state, Observation(now, 1), now)

    assert isinstance(told, Opened)
    assert told.since == TEN_AT_NIGHT


def test_the_end_of_an_open_alert_is_notified_however_late_it_is_learnt() -> None:
    for age in (3 * HOUR, timedelta(days=30)):
        firing = RuleState(Condition.FIRING, TEN_AT_NIGHT, 1, TEN_AT_NIGHT, 1, alerting=True)
        learnt_at = TEN_AT_NIGHT + age
        state, at_once = evaluate(DOOR, firing, Observation(TEN_AT_NIGHT + HOUR, 0), learnt_at)
        after, told = settled(DOOR, state, learnt_at)

        assert at_once is None
        assert told == Resolved(TEN_AT_NIGHT + HOUR, 0, "cleared")
        assert after is not None
        assert not after.alerting


def test_a_rise_that_is_learnt_late_is_notified_when_it_still_holds() -> None:
    rule = replace(RULES["bin_fire"], ladder=(Rung("critical", value=100.0),))
    firing = RuleState(Condition.FIRING, TEN_AT_NIGHT, 1, TEN_AT_NIGHT, 70.0, alerting=True)
    learnt_at = TEN_AT_NIGHT + 5 * HOUR
    state, at_once = evaluate(rule, firing, Observation(TEN_AT_NIGHT + HOUR, 120.0), learnt_at)
    _, risen = settled(rule, state, learnt_at)
    cooled, _ = evaluate(rule, state, Observation(TEN_AT_NIGHT + 2 * HOUR, 70.0), learnt_at)
    _, nothing = evaluate(rule, cooled, Due(), learnt_at + HOUR)

    assert at_once is None
    assert risen == Raised(TEN_AT_NIGHT + HOUR, 120.0, 1)
    assert nothing is None


def test_a_door_that_must_stay_open_for_a_while_is_judged_by_its_own_time_and_told_late() -> None:
    rule = replace(DOOR, for_seconds=900)
    learnt_at = TEN_AT_NIGHT + 3 * HOUR
    state, _ = evaluate(rule, None, Observation(TEN_AT_NIGHT, 1), learnt_at)
    _, told = settled(rule, state, learnt_at)

    assert told == Opened(TEN_AT_NIGHT + timedelta(minutes=15), TEN_AT_NIGHT, 1, learnt_at=learnt_at)


def test_a_device_that_misses_its_deadline_meanwhile_takes_nothing_back() -> None:
    learnt_at = TEN_AT_NIGHT + 3 * HOUR
    state, _ = evaluate(DOOR, None, Observation(TEN_AT_NIGHT, 1), learnt_at)
    unknown, _ = evaluate(DOOR, state, Missed(learnt_at), learnt_at)
    after, told = settled(DOOR, unknown, learnt_at)

    assert told == Opened(TEN_AT_NIGHT, TEN_AT_NIGHT, 1, learnt_at=learnt_at)
    assert after is not None
    assert (after.condition, after.alerting) == (Condition.UNKNOWN, True)


@given(
    st.sampled_from(["bin_75", "co2_800", "intrusion", "bin_fire"]),
    st.lists(st.tuples(st.integers(1, 90), st.sampled_from([0.0, 1.0, 40.0, 80.0, 90.0, 900.0])), max_size=30),
)
def test_a_buffer_that_is_replayed_in_a_row_tells_its_last_state_alone(
    name: str, steps: list[tuple[int, float]]
) -> None:
    rule = replace(RULES[name], schedule="always")
    at, values = TEN_AT_NIGHT, list[Observation]()
    for minutes, value in steps:
        at += timedelta(minutes=minutes)
        values.append(Observation(at, value))
    now = at + 3 * HOUR
    state: RuleState | None = None
    for value in values:
        now += timedelta(seconds=1)
        state, told = evaluate(rule, state, value, now)
        assert told is None
        state, told = evaluate(rule, state, Due(), now)
        assert told is None
    after, told = evaluate(rule, state, Due(), now + SETTLE)

    assert isinstance(told, Opened | None)
    if isinstance(told, Opened):
        assert after is not None
        assert after.condition is Condition.FIRING
