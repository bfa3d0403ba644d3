"""Rates have a least span, N of M forgets what is over, readings that are minutes late count in their place."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.rules.evaluation import evaluate
from alerting.rules.model import (
    NOWHERE,
    Condition,
    Due,
    Observation,
    Opened,
    Place,
    Resolved,
    Rule,
    RuleState,
    Transition,
    past_of,
)
from core.model.unknown_time import known_for

START = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)
HIGH = Rule(
    1, 1, "high", "threshold", "q", "warning", "m", fire_op=">=", fire_value=75, clear_op="<=", clear_value=60
)
RISE = replace(HIGH, kind="rate", fire_op=">", fire_value=10, clear_op="<", clear_value=5)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def play(
    rule: Rule, values: list[tuple[float, float]], place: Place = NOWHERE, arrivals: list[float] | None = None
) -> tuple[RuleState | None, list[Transition]]:
    """Values by minute, each arriving at its own instant unless said otherwise."""
    state: RuleState | None = None
    told: list[Transition] = []
    for (minute, value), arrival in zip(values, arrivals or [minute for minute, _ in values], strict=True):
        state, transition = evaluate(rule, state, Observation(at(minute), value), at(arrival), place)
        told += [] if transition is None else [transition]
    return state, told


def test_a_tenth_of_a_degree_in_two_seconds_is_no_ten_degrees_per_hour() -> None:
    seconds = [0, 2, 4, 6, 8, 600, 602, 604]
    values = [(second / 60, 20.0 + 0.1 * (place % 2)) for place, second in enumerate(seconds)]

    assert play(RISE, values)[1] == []


def test_a_rate_is_found_by_readings_of_every_minute_too() -> None:
    _, told = play(RISE, [(minute, 20 + minute * 0.5) for minute in range(20)])

    assert [type(one) for one in told] == [Opened]
    assert told[0].value == pytest.approx(30)


def test_n_of_m_forgets_hits_from_before_a_clear() -> None:
    rule = replace(HIGH, for_readings=3, of_readings=5)
    state, told = play(rule, [(0, 80), (10, 80), (20, 80), (30, 50), (40, 80)])

    assert [type(one) for one in told] == [Opened, Resolved]
    assert state is not None
    assert (state.condition, state.recent) == (Condition.PENDING, 1)


def test_n_of_m_forgets_hits_from_before_a_bin_was_emptied() -> None:
    rule = replace(HIGH, for_readings=3, of_readings=5, clear_on_emptying=True)

    assert play(rule, [(0, 80), (10, 80), (20, 5), (30, 80)])[1] == []
    assert len(play(rule, [(0, 80), (10, 80), (20, 70), (30, 80)])[1]) == 1


def test_a_reading_that_is_minutes_late_counts_where_two_in_a_row_are_needed() -> None:
    rule = replace(HIGH, for_readings=2)
    _, told = play(rule, [(0, 50), (10, 80), (5, 80)], arrivals=[0, 10, 12])

    assert told == [Opened(at(10), at(5), 80)]


def test_a_late_reading_that_says_otherwise_breaks_a_row() -> None:
    rule = replace(HIGH, for_readings=3)
    values: list[tuple[float, float]] = [(0, 80), (10, 80), (5, 50), (15, 80), (20, 80)]
    _, told = play(rule, values, arrivals=[0, 10, 11, 15, 20])

    assert told == [Opened(at(20), at(10), 80)]


def test_a_late_reading_restarts_a_duration_that_it_interrupts() -> None:
    rule = replace(HIGH, for_seconds=1800)
    values: list[tuple[float, float]] = [(0, 80), (10, 80), (20, 80), (15, 50), (30, 80), (40, 80), (50, 80)]
    _, told = play(rule, values, arrivals=[0, 10, 20, 22, 30, 40, 50])

    assert told == [Opened(at(50), at(20), 80)]


def test_a_late_reading_fills_the_gap_that_a_duration_does_not_run_through() -> None:
    rule, place = replace(HIGH, for_seconds=1500), Place(interval=timedelta(minutes=5))
    values: list[tuple[float, float]] = [(0, 80), (12, 80), (6, 80), (20, 80), (25, 80)]
    _, told = play(rule, values, place, arrivals=[0, 12, 13, 20, 25])

    assert told == [Opened(at(25), at(0), 80)]


def test_a_late_reading_ends_an_alert_that_it_shows_to_be_none_only_when_that_is_over() -> None:
    rule = replace(HIGH, for_readings=2)
    state, told = play(rule, [(0, 80), (10, 80), (5, 50)], arrivals=[0, 10, 11])

    assert [type(one) for one in told] == [Opened]
    assert state is not None
    assert (state.condition, state.alerting) == (Condition.FIRING, True)


def test_a_reading_that_is_later_than_a_quarter_of_an_hour_changes_nothing() -> None:
    rule = replace(HIGH, for_readings=2)
    state, _ = play(rule, [(0, 50), (20, 80)])

    assert evaluate(rule, state, Observation(at(4), 80), at(21)) == (state, None)


def test_what_was_heard_lately_is_kept_in_the_table() -> None:
    rule = replace(HIGH, for_readings=2)
    state, _ = play(replace(rule, of_readings=3), [(0, 50), (5, 50), (10, 80)])
    assert state is not None
    stored = past_of(state.past_octets)

    assert stored == state.past
    assert [step.at for step in stored] == [at(5), at(10)]


@given(
    st.integers(1, 3),
    st.one_of(st.none(), st.integers(1, 3)),
    st.sampled_from([0, 600, 1800]),
    st.sampled_from([0, 900]),
    st.lists(st.sampled_from([20.0, 55.0, 70.0, 80.0, 90.0]), min_size=1, max_size=30),
    st.integers(0, 2**32),
)
def test_readings_that_are_minutes_late_lead_to_the_same_condition_as_in_time(
    readings: int, more: int | None, seconds: int, keep: int, values: list[float], seed: int
) -> None:
    """As long as nobody was told meanwhile: what was told is not taken back before it is over."""
    chance = random.Random(seed)
    rule = replace(
        HIGH,
        for_readings=readings,
        of_readings=None if more is None else readings + more,
        for_seconds=seconds,
        keep_firing_seconds=keep,
    )
    place = Place(interval=timedelta(minutes=4))
    in_time = [(float(count * 3), value) for count, value in enumerate(values)]
    late = sorted(in_time, key=lambda one: one[0] + chance.uniform(0, 12))
    whole, told = play(rule, in_time, place)
    mixed, told_late = play(rule, late, place, arrivals=[minute + 12 for minute, _ in in_time])
    if told or told_late or late[0] != in_time[0]:
        return

    assert whole is not None
    assert mixed is not None
    assert (mixed.condition, mixed.recent) == (whole.condition, whole.recent)
    # Since when nothing is wrong is no matter: a late reading before one that ends all is not put in between.
    assert whole.condition is Condition.OK or mixed.since == whole.since


def test_durations_do_not_run_through_unknown_time() -> None:
    rule, place = replace(HIGH, for_seconds=3600), Place(interval=timedelta(hours=1))
    _, told = play(rule, [(0, 80), (6000, 80)], place)
    later, told_later = play(rule, [(0, 80), (6000, 80), (6060, 80)], place)

    assert told == []
    assert told_later == [Opened(at(6060), at(6000), 80)]
    assert later is not None


def test_two_readings_exactly_two_intervals_apart_are_known_in_between() -> None:
    interval = timedelta(hours=1)
    rule, place = replace(HIGH, for_seconds=3600), Place(interval=interval)
    minutes = known_for(interval) / timedelta(minutes=1)

    assert play(rule, [(0, 80), (minutes, 80)], place)[1] == [Opened(at(minutes), at(0), 80)]
    assert play(rule, [(0, 80), (minutes + 0.1, 80)], place)[1] == []


def test_a_return_to_normal_does_not_last_through_unknown_time() -> None:
    rule, place = replace(HIGH, keep_firing_seconds=3 * 3600), Place(interval=timedelta(hours=1))
    state, _ = play(rule, [(0, 80), (60, 50)], place)
    waiting, nothing = evaluate(rule, state, Due(), at(60 + 181), place)
    again, still = evaluate(rule, waiting, Observation(at(300), 50), at(300), place)
    assert again is not None
    for hour in (6, 7, 8):
        again, still = evaluate(rule, again, Observation(at(hour * 60), 50), at(hour * 60), place)

    assert nothing is None
    assert isinstance(still, Resolved)


def test_a_sensor_that_speaks_on_change_holds_its_state_until_its_no_data_deadline() -> None:
    rule = replace(HIGH, kind="boolean", fire_value=1.0, for_seconds=24 * 3600)
    place = Place(interval=timedelta(hours=1))
    state, _ = play(rule, [(0, 1)], place)
    _, told = evaluate(rule, state, Due(), at(24 * 60), place)

    assert told == Opened(at(24 * 60), at(0), 1)
