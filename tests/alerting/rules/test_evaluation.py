"""Rules against scripted traces (docs/alertes.md), and what holds whatever is measured."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.rules.evaluation import evaluate
from alerting.rules.model import (
    Condition,
    Due,
    Missed,
    Observation,
    Opened,
    Raised,
    Resolved,
    Rule,
    RuleState,
    Rung,
    Transition,
)

START = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)

BIN_75 = Rule(
    id=1,
    tenant_id=1,
    name="bin_75",
    kind="threshold",
    quantity="fill_level",
    fire_op=">=",
    fire_value=75,
    clear_op="<=",
    clear_value=60,
    for_readings=2,
    for_seconds=0,
    clear_on_emptying=True,
    silence_intervals=3,
    severity="warning",
    message="plein",
    enabled=True,
)
CO2_800 = replace(
    BIN_75,
    name="co2_800",
    quantity="co2",
    fire_value=800,
    clear_op="<",
    clear_value=700,
    for_readings=1,
    for_seconds=1800,
    clear_on_emptying=False,
)
SILENT = replace(BIN_75, name="device_silent", kind="silence", quantity=None, fire_op=None, clear_op=None)


def minute(count: float) -> datetime:
    return START + timedelta(minutes=count)


def play(
    rule: Rule, values: list[float], every_min: float = 10
) -> tuple[list[Condition], list[tuple[int, Transition]]]:
    """Each value at its instant, live; the conditions, and the transitions with the index of their value."""
    state: RuleState | None = None
    conditions: list[Condition] = []
    transitions: list[tuple[int, Transition]] = []
    for index, value in enumerate(values):
        at = minute(index * every_min)
        state, transition = evaluate(rule, state, Observation(at, value), at)
        assert state is not None
        conditions.append(state.condition)
        if transition is not None:
            transitions.append((index, transition))
    return conditions, transitions


def test_a_bin_alarms_at_its_second_reading_above_75_and_clears_at_60() -> None:
    conditions, transitions = play(BIN_75, [70, 76, 80, 74, 70, 78, 60, 50])

    assert conditions == ["ok", "pending", "firing", "recovering", "recovering", "firing", "ok", "ok"]
    assert transitions == [
        (2, Opened(minute(20), minute(10), 80)),
        (6, Resolved(minute(60), 60, "cleared")),
    ]


def test_one_reading_above_the_threshold_does_not_fire() -> None:
    conditions, transitions = play(BIN_75, [70, 90, 70, 90, 70])

    assert conditions == ["ok", "pending", "ok", "pending", "ok"]
    assert transitions == []


def test_an_emptied_bin_resolves_with_the_cause_emptied() -> None:
    _, transitions = play(BIN_75, [80, 85, 20])

    assert transitions[-1] == (2, Resolved(minute(20), 20, "emptied"))


def test_emptying_clears_even_when_the_clear_threshold_is_lower() -> None:
    strict = replace(BIN_75, clear_value=10)

    assert play(strict, [80, 85, 22])[1][-1] == (2, Resolved(minute(20), 22, "emptied"))
    assert len(play(strict, [80, 85, 50, 22])[1]) == 1


def test_co2_must_stay_high_for_half_an_hour_of_the_devices_own_time() -> None:
    conditions, transitions = play(CO2_800, [820, 830, 900, 850, 750, 690])

    assert conditions == ["pending", "pending", "pending", "firing", "recovering", "ok"]
    assert [index for index, _ in transitions] == [3, 5]
    assert transitions[0][1] == Opened(minute(30), minute(0), 850)


def test_an_old_observation_changes_the_condition_and_the_next_recent_one_notifies() -> None:
    now = minute(600)
    state, silent_1 = evaluate(BIN_75, None, Observation(minute(0), 80), now)
    state, silent_2 = evaluate(BIN_75, state, Observation(minute(10), 80), now)
    old = state
    state, told = evaluate(BIN_75, state, Observation(now, 82), now)

    assert silent_1 is silent_2 is None
    assert old is not None
    assert (old.condition, old.alerting) == (Condition.FIRING, False)
    assert told == Opened(now, minute(0), 82, learnt_at=now)


def test_an_instant_already_evaluated_is_ignored() -> None:
    state, _ = evaluate(BIN_75, None, Observation(minute(0), 80), minute(0))

    assert evaluate(BIN_75, state, Observation(minute(0), 90), minute(0)) == (state, None)
    assert evaluate(BIN_75, state, Observation(minute(-1), 90), minute(0)) == (state, None)


def test_an_instant_far_ahead_is_ignored() -> None:
    assert evaluate(BIN_75, None, Observation(minute(60), 80), minute(0)) == (None, None)


def test_silence_makes_a_firing_condition_unknown_and_resolves_nothing() -> None:
    state = RuleState(Condition.FIRING, minute(0), 2, minute(10), 80, alerting=True)
    unknown, transition = evaluate(BIN_75, state, Missed(minute(100)), minute(100))
    again, reopened = evaluate(BIN_75, unknown, Observation(minute(200), 85), minute(200))
    ended, resolved = evaluate(BIN_75, unknown, Observation(minute(200), 30), minute(200))

    assert transition is reopened is None
    assert unknown is not None
    assert again is not None
    assert ended is not None
    assert (unknown.condition, unknown.alerting) == (Condition.UNKNOWN, True)
    assert (again.condition, again.alerting) == (Condition.FIRING, True)
    assert (ended.condition, ended.alerting) == (Condition.OK, False)
    assert resolved == Resolved(minute(200), 30, "cleared")


def test_a_silent_device_alarms_once_and_resolves_when_it_is_received() -> None:
    silent, opened = evaluate(SILENT, None, Missed(minute(90)), minute(91))
    still, nothing = evaluate(SILENT, silent, Missed(minute(190)), minute(191))
    heard, resolved = evaluate(SILENT, still, Observation(minute(200), 0), minute(200))

    assert opened == Opened(minute(90), minute(90), None)
    assert nothing is None
    assert resolved == Resolved(minute(200), None, "heard")
    assert heard is not None
    assert (heard.condition, heard.alerting) == (Condition.OK, False)


values = st.floats(min_value=0, max_value=100)
events = st.lists(st.one_of(values, st.none()), max_size=60)
rules = st.builds(
    lambda clear, gap, readings, seconds, emptying: replace(
        BIN_75,
        fire_value=clear + gap,
        clear_value=clear,
        for_readings=readings,
        for_seconds=seconds,
        clear_on_emptying=emptying,
    ),
    st.floats(0, 60),
    st.floats(1, 40),
    st.integers(1, 5),
    st.sampled_from([0, 600, 3600]),
    st.booleans(),
)


@given(rules, events)
def test_alerts_open_and_resolve_in_turn_and_only_with_cause(rule: Rule, trace: list[float | None]) -> None:
    state: RuleState | None = None
    is_open = False
    for index, value in enumerate(trace):
        at = minute(index * 10)
        event = Missed(at) if value is None else Observation(at, value)
        before = state
        state, transition = evaluate(rule, state, event, at)
        if isinstance(transition, Opened):
            assert not is_open
            assert value is not None
            assert value >= (rule.fire_value or 0)
            is_open = True
        elif isinstance(transition, Resolved):
            assert is_open
            assert value is not None
            is_open = False
        if state is not None:
            assert state.alerting == is_open
            # What was evaluated is never evaluated again, and changes nothing.
            assert evaluate(rule, state, event, at) == (state, None)
        elif before is not None:
            pytest.fail("a state was lost")


@given(rules, st.lists(values, max_size=40))
def test_redelivery_of_the_whole_trace_changes_nothing(rule: Rule, trace: list[float]) -> None:
    state: RuleState | None = None
    for index, value in enumerate(trace):
        state, _ = evaluate(rule, state, Observation(minute(index), value), minute(index))
    final = state
    for index, value in enumerate(trace):
        state, transition = evaluate(rule, state, Observation(minute(index), value), minute(len(trace)))
        assert transition is None

    assert state == final


kinds = st.sampled_from(["threshold", "range", "rate", "boolean", "flat"])
any_rules = st.builds(
    lambda kind, readings, more, seconds, keep, emptying, rungs: replace(
        BIN_75,
        kind=kind,
        fire_value=1.0 if kind == "boolean" else 0.0 if kind == "flat" else 20.0 if kind == "range" else 75.0,
        fire_upper=90.0,
        clear_value=40.0 if kind == "range" else 60.0,
        clear_upper=70.0,
        for_readings=readings,
        of_readings=None if more is None else readings + more,
        for_seconds=seconds,
        keep_firing_seconds=keep,
        clear_on_emptying=emptying,
        ladder=rungs,
    ),
    kinds,
    st.integers(1, 4),
    st.one_of(st.none(), st.integers(0, 3)),
    st.sampled_from([0, 600, 3600]),
    st.sampled_from([0, 900]),
    st.booleans(),
    st.sampled_from(
        [(), (Rung("major", value=90.0),), (Rung("major", within_hours=24.0), Rung("critical", value=95))]
    ),
)
any_values = st.one_of(st.floats(0, 100), st.sampled_from([0.0, 1.0, 75.0, 92.0]))
# A value, a silence, or a look at the clock.
any_events = st.lists(st.one_of(any_values, st.just("missed"), st.just("due")), max_size=50)


def event_of(what: float | str, at: datetime) -> Observation | Missed | Due:
    match what:
        case "missed":
            return Missed(at)
        case "due":
            return Due()
        case value:
            return Observation(at, float(value))


@given(any_rules, any_events)
def test_whatever_happens_alerts_open_rise_and_end_in_turn_and_missing_data_ends_none(
    rule: Rule, trace: list[float | str]
) -> None:
    state: RuleState | None = None
    is_open, rung = False, 0
    for index, what in enumerate(trace):
        at = minute(index * 10)
        before = state
        state, transition = evaluate(rule, state, event_of(what, at), at)
        match transition:
            case Opened(rung=reached):
                assert not is_open
                is_open, rung = True, reached
            case Raised(rung=reached):
                assert is_open
                assert reached > rung
                rung = reached
            case Resolved():
                assert is_open
                # The clock alone ends what the last value had ended before it, never what is unknown.
                assert what != "missed"
                assert before is not None
                assert before.condition is not Condition.UNKNOWN or what != "due"
                is_open, rung = False, 0
            case None:
                pass
        if what == "missed" and state is not None:
            assert state.condition is Condition.UNKNOWN
        if state is not None:
            assert state.alerting == is_open


@given(any_rules, st.lists(st.one_of(any_values, st.just("missed")), max_size=50))
def test_a_replayed_observation_notifies_nobody_while_others_follow(rule: Rule, trace: list[float | str]) -> None:
    state: RuleState | None = None
    for index, what in enumerate(trace):
        at = minute(index)
        state, transition = evaluate(rule, state, event_of(what, at), at + timedelta(hours=3))

        assert transition is None


@given(any_rules, st.lists(any_values, max_size=40), st.integers(0, 40))
def test_an_owner_that_begins_again_from_any_written_state_comes_to_the_same(
    rule: Rule, trace: list[float], written: int
) -> None:
    def play(state: RuleState | None, since: int, transitions: list[Transition]) -> RuleState | None:
        for index, value in enumerate(trace[since:], since):
            state, transition = evaluate(rule, state, Observation(minute(index), value), minute(index))
            transitions += [transition] if transition is not None and index >= written else []
        return state

    first: list[Transition] = []
    second: list[Transition] = []
    final = play(None, 0, first)
    state: RuleState | None = None
    for index, value in enumerate(trace[:written]):
        state, _ = evaluate(rule, state, Observation(minute(index), value), minute(index))

    # Everything is delivered again; what the state has seen is passed over.
    assert play(state, 0, second) == final
    assert second == first
