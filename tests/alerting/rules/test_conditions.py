"""Every kind of condition against a scripted trace: what opens, rises and ends, and when."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from alerting.rules.calendar import Calendar, weekly_of
from alerting.rules.checks import InvalidRule, check_rule
from alerting.rules.evaluation import evaluate
from alerting.rules.forecast import hours_until, remember
from alerting.rules.model import (
    NOWHERE,
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
    Seen,
    Transition,
)

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)  # A Tuesday, 9 o'clock in Paris.
BASE = Rule(1, 1, "r", "threshold", "fill_level", "warning", "m", fire_op=">=", fire_value=75, clear_op="<=",
            clear_value=60)  # fmt: skip
OPENING = Calendar(weekly_of([[["07:30", "18:30"]]] * 5 + [[], []]))


def minute(count: float) -> datetime:
    return START + timedelta(minutes=count)


def play(
    rule: Rule, values: list[tuple[float, float]], place: Place = NOWHERE
) -> tuple[RuleState, list[Transition]]:
    """(minute, value), each live."""
    state: RuleState | None = None
    transitions: list[Transition] = []
    for at, value in values:
        state, transition = evaluate(rule, state, Observation(minute(at), value), minute(at), place)
        transitions += [transition] if transition is not None else []
    assert state is not None
    return state, transitions


def test_a_value_outside_its_range_fires_on_both_sides_and_ends_well_within() -> None:
    rule = replace(BASE, kind="range", fire_value=2, clear_value=4, clear_upper=6, fire_upper=8)

    _, told = play(rule, [(0, 5), (10, 1.9), (20, 3), (30, 4), (40, 8.1), (50, 7), (60, 6)])

    assert told == [
        Opened(minute(10), minute(10), 1.9),
        Resolved(minute(30), 4, "cleared"),
        Opened(minute(40), minute(40), 8.1),
        Resolved(minute(60), 6, "cleared"),
    ]


def test_a_rate_is_the_change_per_hour_since_the_reading_before() -> None:
    rule = replace(BASE, kind="rate", fire_op=">", fire_value=10, clear_op="<", clear_value=2)

    state, told = play(rule, [(0, 20), (30, 24), (60, 30), (120, 30)])

    assert told == [Opened(minute(60), minute(60), 12), Resolved(minute(120), 0, "cleared")]
    assert state.value == 0


def test_three_of_the_last_five_readings_are_enough_when_the_rule_says_so() -> None:
    rule = replace(BASE, for_readings=3, of_readings=5)

    _, told = play(rule, [(0, 80), (10, 50), (20, 80), (30, 50), (40, 80)])
    _, spread = play(rule, [(0, 80), (10, 50), (20, 50), (30, 80), (40, 50), (50, 80)])

    assert told == [Opened(minute(40), minute(0), 80)]
    assert spread == []


def test_what_is_too_long_ago_to_count_is_not_when_it_began() -> None:
    rule = replace(BASE, for_readings=2, of_readings=3)

    _, told = play(rule, [(0, 80), (10, 50), (20, 50), (30, 80), (40, 50), (50, 80)])

    assert told == [Opened(minute(50), minute(30), 80)]


def test_an_end_that_does_not_last_is_no_end() -> None:
    rule = replace(BASE, keep_firing_seconds=600)

    _, told = play(rule, [(0, 80), (5, 50), (10, 80), (15, 50), (20, 50), (25, 50)])

    assert told == [Opened(minute(0), minute(0), 80), Resolved(minute(25), 50, "cleared")]


def test_an_end_that_nothing_contradicts_comes_with_its_deadline_and_never_when_the_device_is_silent() -> None:
    rule = replace(BASE, keep_firing_seconds=600)
    ending, _ = play(rule, [(0, 80), (5, 50)])
    early = evaluate(rule, ending, Due(), minute(14))
    ended, told = evaluate(rule, ending, Due(), minute(16))
    silent, _ = evaluate(rule, ending, Missed(minute(10)), minute(10))
    later = evaluate(rule, silent, Due(), minute(600))

    assert ending.due_at == minute(15)
    assert early == (ending, None)
    assert ended is not None
    assert (ended.condition, ended.alerting) == (Condition.OK, False)
    assert told == Resolved(minute(15), 50, "cleared")
    assert later == (silent, None)


DOOR = replace(
    BASE, kind="boolean", quantity="open", fire_op=None, fire_value=1.0, clear_op=None, clear_value=None
)


def test_a_door_left_open_fires_by_the_clock_without_further_readings() -> None:
    rule = replace(DOOR, for_seconds=900)
    opened, nothing = play(rule, [(0, 1)])
    before = evaluate(rule, opened, Due(), minute(14))
    fired, told = evaluate(rule, opened, Due(), minute(15))
    _, ended = evaluate(rule, fired, Observation(minute(40), 0), minute(40))

    assert nothing == []
    assert before == (opened, None)
    assert told == Opened(minute(15), minute(0), 1)
    assert ended == Resolved(minute(40), 0, "cleared")


def test_a_door_open_in_opening_hours_alarms_at_closing_time_if_it_is_open_still() -> None:
    rule, place = replace(DOOR, schedule="closed"), Place(calendar=OPENING)
    state, nothing = play(rule, [(0, 1)], place)
    closing = datetime(2026, 11, 24, 17, 30, tzinfo=UTC)
    _, told = evaluate(rule, state, Due(), closing + timedelta(seconds=1), place)
    shut, _ = evaluate(rule, state, Observation(minute(30), 0), minute(30), place)

    assert nothing == []
    assert state.due_at == closing
    assert told == Opened(closing, closing, 1)
    assert shut is not None
    assert shut.due_at is None


def test_a_door_opened_at_night_alarms_at_once_and_its_alert_outlives_the_night() -> None:
    rule, place = replace(DOOR, schedule="closed"), Place(calendar=OPENING)
    night = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
    state, told = evaluate(rule, None, Observation(night, 1), night, place)
    morning, nothing = evaluate(rule, state, Observation(START, 1), START, place)
    _, ended = evaluate(rule, morning, Observation(minute(1), 0), minute(1), place)

    assert told == Opened(night, night, 1)
    assert nothing is None
    assert morning is not None
    assert morning.condition is Condition.RECOVERING
    assert ended == Resolved(minute(1), 0, "cleared")


def test_what_a_replay_shows_is_looked_at_once_no_more_of_it_follows() -> None:
    rule = replace(DOOR, for_seconds=900)
    state, told = evaluate(rule, None, Observation(minute(0), 1), minute(180))
    old, nothing = evaluate(rule, None, Observation(minute(0), 1), minute(49 * 60))

    assert told is nothing is None
    assert state is not None
    assert old is not None
    assert (state.condition, state.due_at) == (Condition.PENDING, minute(180) + SETTLE)
    assert (old.condition, old.due_at) == (Condition.PENDING, None)


def test_a_value_that_never_moves_is_a_dead_probe() -> None:
    rule = replace(BASE, kind="flat", fire_op=None, fire_value=0.0, for_seconds=3600)

    _, told = play(rule, [(0, 19.5), (30, 19.5), (60, 19.5), (90, 19.5), (120, 19.6)])

    assert told == [Opened(minute(90), minute(30), 19.5), Resolved(minute(120), 19.6, "cleared")]


def test_a_value_that_creeps_is_not_flat_however_small_its_steps() -> None:
    rule = replace(BASE, kind="flat", fire_op=None, fire_value=0.5, for_seconds=3600)

    _, creeping = play(rule, [(30 * step, 10 + 0.4 * step) for step in range(12)])
    _, trembling = play(rule, [(30 * step, 10 + 0.4 * (step % 2)) for step in range(12)])

    assert creeping == []
    assert [type(one) for one in trembling] == [Opened]


def test_a_door_left_open_at_dawn_is_no_break_in_by_the_time_the_place_is_open() -> None:
    rule, place = replace(DOOR, schedule="closed", for_seconds=900), Place(calendar=OPENING)
    dawn = datetime(2026, 11, 24, 6, 25, tzinfo=UTC)  # 7:25; it opens at 7:30.
    pending, nothing = evaluate(rule, None, Observation(dawn, 1), dawn, place)
    late = dawn + timedelta(minutes=16)
    after, told = evaluate(rule, pending, Due(), late, place)

    assert nothing is told is None
    assert after is not None
    assert (after.condition, after.due_at) == (Condition.OK, datetime(2026, 11, 24, 17, 30, tzinfo=UTC))


def test_a_rule_off_duty_counts_nothing() -> None:
    rule, place = replace(BASE, schedule="open"), Place(calendar=OPENING)
    evening = (datetime(2026, 11, 24, 18, 0, tzinfo=UTC) - START) / timedelta(minutes=1)

    assert play(rule, [(evening, 90), (evening + 60, 90)], place)[1] == []
    assert len(play(rule, [(0, 90)], place)[1]) == 1


LADDER = replace(BASE, for_readings=2, ladder=(Rung("major", within_hours=24.0), Rung("critical", value=95)))


LEFT_BEHIND = {
    "rate": replace(BASE, kind="rate"),
    "flat": replace(BASE, kind="flat", fire_value=0.1),
    "forecast": replace(BASE, ladder=(Rung("major", within_hours=24),)),
    "night": replace(BASE, series="night_minimum_flow", ladder=(Rung("major", times_median=3),)),
}


@pytest.mark.parametrize(("former", "present"), list(permutations(LEFT_BEHIND, 2)), ids="-".join)
def test_a_rule_whose_kind_was_changed_goes_on_from_what_the_former_kind_left(former: str, present: str) -> None:
    state: RuleState | None = None
    for hour in range(40):
        rule = LEFT_BEHIND[former if hour < 20 else present]
        state, _ = evaluate(rule, state, Observation(minute(60 * hour), 20.0 + hour / 10), minute(60 * hour))

    assert state is not None
    assert state.evaluated_until == minute(60 * 39)


def test_a_bin_becomes_graver_at_95_and_only_graver() -> None:
    _, told = play(LADDER, [(0, 76), (10, 77), (20, 96), (30, 80), (40, 97)])

    assert told == [Opened(minute(10), minute(0), 77), Raised(minute(20), 96, 2)]


def test_a_bin_that_will_be_full_within_a_day_opens_as_major() -> None:
    hourly = [(60 * hour, 60 + 2.5 * hour) for hour in range(9)]
    slowly = [(60 * hour, 74.5 + 0.1 * hour) for hour in range(9)]

    assert play(LADDER, hourly)[1] == [Opened(minute(7 * 60), minute(6 * 60), 77.5, 1)]
    assert play(LADDER, slowly)[1] == [Opened(minute(6 * 60), minute(5 * 60), 75.1, 0)]


def test_what_is_urgent_is_not_made_to_wait_by_what_is_graver_still() -> None:
    rule = replace(
        BASE, for_seconds=3600, ladder=(Rung("major", value=90, at_once=True), Rung("critical", value=98))
    )

    assert play(rule, [(0, 99)])[1] == [Opened(minute(0), minute(0), 99, 2)]
    assert play(rule, [(0, 80)])[1] == []


def test_one_wrong_reading_does_not_bend_the_forecast_and_an_emptying_begins_anew() -> None:
    memo, before = b"", None
    for hour, value in enumerate([10, 12, 14, 99, 18, 20, 22]):
        observation = Observation(minute(60 * hour), value)
        memo, before = remember(memo, observation, before), (None if value == 99 else value)
    last = Observation(minute(6 * 60), 22)
    emptied = remember(memo, Observation(minute(7 * 60), 5), 22)

    assert hours_until(100, memo, last) == pytest.approx(39, rel=0.1)
    assert hours_until(100, emptied, Observation(minute(7 * 60), 5)) is None
    assert hours_until(22, memo, last) == 0


GATEWAY = replace(BASE, kind="gateway", quantity=None, fire_op=None, clear_op=None, for_seconds=600,
                  keep_firing_seconds=300)  # fmt: skip


def test_a_gateway_is_down_after_ten_minutes_and_up_after_five_of_being_seen() -> None:
    state, nothing = evaluate(GATEWAY, None, Seen(minute(0)), minute(9.9))
    down, told = evaluate(GATEWAY, state, Seen(minute(0)), minute(10))
    still = evaluate(GATEWAY, down, Seen(minute(0)), minute(100))
    seen, _ = evaluate(GATEWAY, down, Seen(minute(120)), minute(120))
    early = evaluate(GATEWAY, seen, Seen(minute(124)), minute(124))
    _, up = evaluate(GATEWAY, seen, Seen(minute(125)), minute(125))

    assert state is nothing is None
    assert told == Opened(minute(10), minute(0), None)
    assert still == (down, None)
    assert early == (seen, None)
    assert up == Resolved(minute(125), None, "seen")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ({"kind": "guess"}, "le type"),
        ({"quantity": "happiness"}, "catalogue"),
        ({"clear_value": 80}, "au-delà"),
        ({"clear_op": ">="}, "au-delà"),
        ({"fire_value": None}, "seuil de déclenchement"),
        ({"for_readings": 5, "of_readings": 3}, "n'arrivent jamais"),
        ({"ladder": (Rung("info", value=90),)}, "montent"),
        ({"ladder": (Rung("major"),)}, "un seul des trois"),
        ({"series": "night_minimum_flow"}, "ne se calcule pas"),
        ({"kind": "boolean"}, "vrai ou faux"),
        ({"message": "{asset} est à {valeur}"}, r"\{valeur\} du message n'existe pas"),
        ({"kind": "range", "clear_value": 80, "clear_upper": 90, "fire_upper": 70}, "plage"),
    ],
)
def test_a_rule_that_contradicts_itself_is_rejected_in_french(spoil: dict[str, object], why: str) -> None:
    with pytest.raises(InvalidRule, match=why):
        check_rule(replace(BASE, **spoil))
