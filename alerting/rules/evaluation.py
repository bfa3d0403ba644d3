"""Evaluates one value against one rule: state in, state out, and an alert that opens, rises or resolves.

Conditions go by the devices' own time, missing data by ours (docs/alertes.md, "Ce qu'est une règle").
Two states are kept apart: the condition (ok, pending, firing, recovering, unknown), and what people do about its
alert.
"""

from datetime import datetime, timedelta

from msgspec.structs import replace

from alerting.rules import forecast, series
from alerting.rules.conditions import RESTING, clears, holds, is_emptied, patience, resting_at, rung_of
from alerting.rules.duty import is_on_duty, next_duty
from alerting.rules.model import (
    MAX_NOTIFY_AGE,
    NOWHERE,
    Condition,
    Due,
    Event,
    Missed,
    Observation,
    Opened,
    Place,
    Raised,
    Resolved,
    Rule,
    RuleState,
    Seen,
    Transition,
)
from core.model.instants import AHEAD_AT_MOST

_FIRED = (Condition.FIRING, Condition.RECOVERING)
Outcome = tuple[RuleState | None, Transition | None]


def evaluate(rule: Rule, state: RuleState | None, event: Event, now: datetime, place: Place = NOWHERE) -> Outcome:
    """The state after `event`, and the alert that opens, rises or resolves with it.

    A value observed at or before `state.evaluated_until` changes nothing: redelivery is harmless. `state` None
    means that nothing was evaluated before.
    """
    if isinstance(event, Observation):
        return _observed(rule, state, event, now, place)
    match event:
        case Missed() if rule.kind == "silence":
            return _silent(state, event)
        case Missed():
            return (None if state is None else _unknown(state, event)), None
        case Due():
            return (state, None) if state is None else _due(rule, state, now, place)
        case Seen():
            return _seen(rule, state, event, now)


def _silent(state: RuleState | None, missed: Missed) -> Outcome:
    silent = RuleState(Condition.FIRING, missed.due_at, 0, missed.due_at, None, alerting=True)
    if state is not None and state.alerting:
        return replace(silent, since=state.since), None
    return silent, Opened(missed.due_at, missed.due_at, None)


def _received(state: RuleState | None, sign: Observation) -> Outcome:
    # Any sign of life ends a silence, also one that was on its way when the deadline passed.
    if state is None or not state.alerting:
        return state, None
    return RuleState(Condition.OK, sign.at, 0, sign.at, None, alerting=False), Resolved(sign.at, None, "heard")


def _seen(rule: Rule, state: RuleState | None, seen: Seen, now: datetime) -> Outcome:
    """A gateway is down when not seen for `for_seconds`, and up again once seen for `keep_firing_seconds`."""
    is_gone = now - seen.at >= patience(rule)
    if state is None or not state.alerting:
        if not is_gone:
            return state, None
        down = RuleState(Condition.FIRING, seen.at, 0, seen.at, None, alerting=True)
        return down, Opened(now, seen.at, None)
    condition = Condition.FIRING if is_gone else Condition.RECOVERING
    if condition is not state.condition:
        return replace(state, condition=condition, since=seen.at, evaluated_until=seen.at), None
    if is_gone or seen.at - state.since < timedelta(seconds=rule.keep_firing_seconds):
        return state, None
    return RuleState(Condition.OK, seen.at, 0, seen.at, None, alerting=False), Resolved(now, None, "seen")


def _unknown(state: RuleState, missed: Missed) -> RuleState:
    if state.condition is Condition.UNKNOWN:
        return state
    return replace(state, condition=Condition.UNKNOWN, since=missed.due_at, recent=0, due_at=None)


def _observed(
    rule: Rule, state: RuleState | None, observation: Observation, now: datetime, place: Place
) -> Outcome:
    """A new value: of the series that is watched, when there is one."""
    if rule.kind == "silence":
        return _received(state, observation)
    at = observation.at
    if observation.doubt is not None and not holds(rule, state or _new(at), observation.value):
        return state, None  # What is not to be relied upon may open an alert, and ends none.
    if at > now + AHEAD_AT_MOST or (state is not None and at <= state.evaluated_until):
        return state, None
    if state is None:
        state = _new(at)
    memo, judged = state.memo, observation
    if rule.series is not None or rule.kind == "rate":
        memo, found = (
            series.rate(memo, observation)
            if rule.series is None
            else series.step(rule.series, memo, observation, place)
        )
        if found is None:
            return replace(state, evaluated_until=at, memo=memo), None
        judged = found
    elif rule.kind == "flat":
        resting = resting_at(state) if holds(rule, state, observation.value) else observation.value
        memo = memo if resting is None else RESTING.pack(resting)
    elif rule.forecasts:
        memo = forecast.remember(memo, observation, state.value)
    is_live = now - at <= MAX_NOTIFY_AGE
    after, emptied = _judged(rule, state, judged, place, memo, is_live=is_live)
    if judged is not observation:
        after = replace(after, evaluated_until=at)
    return _conclude(state, after, judged, at, "emptied" if emptied else "cleared", is_live=is_live)


def _new(at: datetime) -> RuleState:
    return RuleState(Condition.OK, at, 0, at, None, alerting=False)


def _judged(
    rule: Rule, state: RuleState, judged: Observation, place: Place, memo: bytes, *, is_live: bool
) -> tuple[RuleState, bool]:
    """The state after a value, and whether it shows that a bin was emptied."""
    does_hold = holds(rule, state, judged.value)
    if does_hold and (rule.schedule == "always" or is_on_duty(rule.schedule, place, judged.at)):
        return _holding(rule, state, judged, memo, is_live=is_live), False
    at, value = judged
    emptied = is_emptied(rule, state, value)
    fired = state.alerting or state.condition in _FIRED
    recent = 0
    if rule.of_readings is not None:
        recent = state.recent << 1 & ((1 << rule.of_readings) - 1)
    due_at: datetime | None = None
    since = at
    if fired:
        does_clear = emptied or (not does_hold and clears(rule, value))
        condition, due_at = _recovering(rule, state, at, does_clear=does_clear, emptied=emptied)
    elif recent:
        condition, since = Condition.PENDING, state.since
    else:
        condition = Condition.OK
        if does_hold and rule.kind == "boolean":
            due_at = next_duty(rule.schedule, place, at)
    if condition is state.condition:
        since = state.since
    rung = 0 if condition is Condition.OK else state.rung
    if not is_live:
        due_at = None
    return RuleState(condition, since, recent, at, value, state.alerting, rung, due_at, memo), emptied


def _holding(rule: Rule, state: RuleState, judged: Observation, memo: bytes, *, is_live: bool) -> RuleState:
    """The state after a value for which the rule's condition holds while it is on duty."""
    at, value = judged
    was = state.condition
    of = rule.of_readings or rule.for_readings
    before = state.recent << 1 & ((1 << of) - 1)
    recent = before | 1
    # Of N of M, what is too long ago to count has begun nothing.
    is_begun = was is Condition.PENDING and (before != 0 or rule.of_readings is None)
    since = state.since if is_begun else at
    rung, at_once = _rung(rule, state, judged, memo)
    due_at: datetime | None = None
    if (
        at_once
        or state.alerting
        or was in _FIRED
        or (recent.bit_count() >= rule.for_readings and at - since >= patience(rule))
    ):
        condition = Condition.FIRING
    else:
        condition = Condition.PENDING
        # What says itself when it changes is not said again while it lasts.
        if rule.kind == "boolean" and is_live:
            due_at = since + patience(rule)
    if condition is was and condition is Condition.FIRING:
        since = state.since
    return RuleState(condition, since, recent, at, value, state.alerting, rung, due_at, memo)


def _rung(rule: Rule, state: RuleState, judged: Observation, memo: bytes) -> tuple[int, bool]:
    """The highest rung that was reached, and whether this one fires at once."""
    if not rule.ladder:
        return 0, False
    nights = series.nights_before(memo) if rule.series == "night_minimum_flow" else ()
    reached, at_once = rung_of(rule, judged, memo, nights)
    return (max(state.rung, reached) if state.alerting else reached), at_once


def _recovering(
    rule: Rule, state: RuleState, at: datetime, *, does_clear: bool, emptied: bool
) -> tuple[Condition, datetime | None]:
    """After a firing: whether it is over, or when it will be if nothing contradicts."""
    if not does_clear:
        return Condition.RECOVERING, None
    if emptied or not rule.keep_firing_seconds:
        return Condition.OK, None
    if state.condition is Condition.RECOVERING and state.due_at is not None:
        return (Condition.OK, None) if at >= state.due_at else (Condition.RECOVERING, state.due_at)
    return Condition.RECOVERING, at + timedelta(seconds=rule.keep_firing_seconds)


def _due(rule: Rule, state: RuleState, now: datetime, place: Place) -> Outcome:
    """The state's own deadline has passed, and what was measured last still stands."""
    due_at = state.due_at
    if due_at is None or due_at > now or state.value is None:
        return state, None
    held = Observation(due_at, state.value)
    if state.condition is Condition.RECOVERING:
        after = replace(state, condition=Condition.OK, since=due_at, recent=0, rung=0, due_at=None)
    elif state.condition is Condition.PENDING and is_on_duty(rule.schedule, place, due_at):
        lasting = state.recent.bit_count() >= rule.for_readings
        after = replace(state, condition=Condition.FIRING if lasting else Condition.PENDING, due_at=None)
    else:
        after, _ = _judged(rule, state, held, place, state.memo, is_live=True)
        after = replace(after, evaluated_until=state.evaluated_until)
    return _conclude(state, after, held, due_at, "cleared", is_live=True)


def _conclude(
    before: RuleState, after: RuleState, judged: Observation, at: datetime, cause: str, *, is_live: bool
) -> Outcome:
    """Only a recent observation opens or resolves an alert; a late one only changes the state."""
    if not is_live:
        return (after if after.rung == before.rung else replace(after, rung=before.rung)), None
    if after.condition is Condition.FIRING:
        if not after.alerting:
            # The alert counts from when the condition began to hold, and not from when it was certain.
            return replace(after, alerting=True), Opened(at, after.since, judged.value, after.rung, judged.doubt)
        if after.rung > before.rung:
            return after, Raised(at, judged.value, after.rung, judged.doubt)
    elif after.condition is Condition.OK and after.alerting:
        return replace(after, alerting=False), Resolved(at, judged.value, cause)
    return after, None
