"""Evaluates one value against one rule: state in, state out, and an alert that opens, rises or resolves.

Conditions go by the devices' own time, missing data by ours (docs/alertes.md, "Ce qu'est une règle").
Two states are kept apart: the condition (ok, pending, firing, recovering, unknown), and what people do about its
alert.
"""

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from alerting.rules import forecast, series
from alerting.rules.conditions import RESTING, clears, holds, is_emptied, patience, resting_at, rung_of
from alerting.rules.duty import is_on_duty, next_duty
from alerting.rules.model import (
    LATE_AFTER,
    MOST_STEPS,
    NOWHERE,
    OUT_OF_ORDER,
    SETTLE,
    Condition,
    Doubt,
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
    Step,
    Transition,
)
from core.model.instants import AHEAD_AT_MOST
from core.model.unknown_time import known_for

# Each access by way of the enumeration costs more than a comparison of two values.
OK, PENDING, FIRING = Condition.OK, Condition.PENDING, Condition.FIRING
RECOVERING, UNKNOWN = Condition.RECOVERING, Condition.UNKNOWN
_FIRED = (FIRING, RECOVERING)
Outcome = tuple[RuleState | None, Transition | None]


def evaluate(rule: Rule, state: RuleState | None, event: Event, now: datetime, place: Place = NOWHERE) -> Outcome:
    """The state after `event`, and the alert that opens, rises or resolves with it.

    A value of an instant that was evaluated changes nothing: redelivery is harmless. One that comes minutes late
    is judged in its place. `state` None means that nothing was evaluated before.
    """
    if isinstance(event, Observation) and rule.kind != "silence":
        event = [event]
    if isinstance(event, list):
        return _observed(rule, state, event, now, place)
    match event:
        case Observation():
            return _received(state, event)
        case Missed() if rule.kind == "silence":
            return _silent(state, event)
        case Missed():
            return (None if state is None else _unknown(state, event)), None
        case Due():
            return (state, None) if state is None else _due(rule, state, now, place)
        case Seen():
            return _seen(rule, state, event, now)


def _silent(state: RuleState | None, missed: Missed) -> Outcome:
    silent = RuleState(FIRING, missed.due_at, 0, missed.due_at, None, alerting=True)
    if state is not None and state.alerting:
        return replace(silent, since=state.since), None
    return silent, Opened(missed.due_at, missed.due_at, None)


def _received(state: RuleState | None, sign: Observation) -> Outcome:
    # Any sign of life ends a silence, also one that was on its way when the deadline passed.
    if state is None or not state.alerting:
        return state, None
    return RuleState(OK, sign.at, 0, sign.at, None, alerting=False), Resolved(sign.at, None, "heard")


def _seen(rule: Rule, state: RuleState | None, seen: Seen, now: datetime) -> Outcome:
    """A gateway is down when not seen for `for_seconds`, and up again once seen for `keep_firing_seconds`."""
    is_gone = now - seen.at >= patience(rule)
    if state is None or not state.alerting:
        if not is_gone:
            return state, None
        down = RuleState(FIRING, seen.at, 0, seen.at, None, alerting=True)
        return down, Opened(now, seen.at, None)
    condition = FIRING if is_gone else RECOVERING
    if condition is not state.condition:
        return replace(state, condition=condition, since=seen.at, evaluated_until=seen.at), None
    if is_gone or seen.at - state.since < timedelta(seconds=rule.keep_firing_seconds):
        return state, None
    return RuleState(OK, seen.at, 0, seen.at, None, alerting=False), Resolved(now, None, "seen")


def _waits(state: RuleState) -> bool:
    """Whether it has fired, and is notified once no readings follow that end it."""
    return state.condition in (FIRING, UNKNOWN) and bool(state.due_at) and not state.alerting


def _unknown(state: RuleState, missed: Missed) -> RuleState:
    if state.condition is UNKNOWN:
        return state
    if _waits(state):  # What was learnt late is notified all the same.
        return replace(state, condition=UNKNOWN, recent=0, past=())
    if state.condition is OK and state.alerting and state.due_at is not None:
        return state  # So is its end.
    return replace(state, condition=UNKNOWN, since=missed.due_at, recent=0, due_at=None, past=())


def _observed(
    rule: Rule, state: RuleState | None, observations: Sequence[Observation], now: datetime, place: Place
) -> Outcome:
    """New values in the order of time: each moves the state, and what holds after the last of them is notified."""
    before, fired_at, cause, doubt = state, None, "cleared", None
    for observation in observations:
        at = observation.at
        if not _counts(rule, state, observation, now):
            continue
        if state is None:
            state = _new(at)
            before = before or state
            after, emptied = _advance(rule, state, observation, place)
        elif at > state.evaluated_until:
            after, emptied = _advance(rule, state, observation, place)
            after = _remembering(rule, after, state, observation)
        else:
            after, emptied = _put_in_between(rule, state, observation, place)
            if after is state:
                continue
        if after.condition is FIRING and state.condition not in _FIRED:
            fired_at = at
        elif after.condition is OK and state.condition is not OK:
            cause = "emptied" if emptied else "cleared"
        state, doubt = after, observation.doubt
    if state is None or before is None or state is before:
        return state, None
    if state.condition is OK and not state.alerting and state.due_at is None:
        return state, None  # As nearly always.
    return _doubted(_conclude(rule, before, state, fired_at, cause, now, place), doubt)


def _doubted(outcome: Outcome, doubt: Doubt | None) -> Outcome:
    """The outcome, where it begins or raises an alert with the doubt about the value that does so."""
    state, transition = outcome
    if doubt is None or not isinstance(transition, Opened | Raised):
        return outcome
    return state, dataclasses.replace(transition, doubt=doubt)


def _remembering(rule: Rule, after: RuleState, before: RuleState, observation: Observation) -> RuleState:
    """The state with the reading that led to it, for as long as a late one may come in between.

    What comes late before a reading that ends all has led to nothing, unless hits are counted.
    """
    if (after.condition is OK and rule.of_readings is None) or not rule.is_patient:
        return after
    past = before.past
    if past:
        horizon = observation.at - OUT_OF_ORDER
        past = tuple(step for step in past[1 - MOST_STEPS :] if step.at > horizon)
        before = replace(before, past=())
    return replace(after, past=(*past, Step(observation.at, observation.value, before)))


def _put_in_between(rule: Rule, state: RuleState, late: Observation, place: Place) -> tuple[RuleState, bool]:
    """The state as it were had this reading come in time, and whether it shows that a bin was emptied.

    One that is there already, or is too far behind, changes nothing. An alert that is open stays so until what
    holds now is known to be over.
    """
    if late.at <= state.evaluated_until - OUT_OF_ORDER:
        return state, False
    after_it = [index for index, step in enumerate(state.past) if step.at >= late.at]
    if not after_it:
        return state, False
    first = after_it[0]
    steps = state.past[first:]
    rebuilt = steps[0].before
    if steps[0].at == late.at or late.at <= rebuilt.evaluated_until:
        return state, False
    rebuilt, emptied = replace(rebuilt, past=state.past[:first]), False
    for reading in (late, *(Observation(step.at, step.value) for step in steps)):
        after, emptied = _advance(rule, rebuilt, reading, place)
        rebuilt = _remembering(rule, after, rebuilt, reading)
    condition, rung = rebuilt.condition, rebuilt.rung
    if state.alerting:
        condition = FIRING if condition is PENDING else condition
        rung = max(rung, state.rung)
    due_at = None if condition is FIRING else rebuilt.due_at
    return replace(rebuilt, condition=condition, rung=rung, due_at=due_at, alerting=state.alerting), emptied


def _advance(rule: Rule, state: RuleState, observation: Observation, place: Place) -> tuple[RuleState, bool]:
    """The state after one more value, by the device's own time, and whether it shows that a bin was emptied.

    Of the series that is watched, when there is one.
    """
    at = observation.at
    memo, judged = state.memo, observation
    if rule.series is not None or rule.kind == "rate":
        memo, found = (
            series.rate(memo, observation)
            if rule.series is None
            else series.step(rule.series, memo, observation, place)
        )
        if found is None:
            return replace(state, evaluated_until=at, memo=memo), False
        judged = found
    elif rule.kind == "flat":
        resting = resting_at(state) if holds(rule, state, observation.value) else observation.value
        memo = memo if resting is None else RESTING.pack(resting)
    elif rule.forecasts:
        memo = forecast.remember(memo, observation, state.value)
    was_unknown = state.condition is not OK and _is_unknown(rule, state, at, place)
    after, emptied = _judged(rule, state, judged, place, memo, was_unknown=was_unknown)
    if judged is not observation:
        after = replace(after, evaluated_until=at)
    return after, emptied


def _is_unknown(rule: Rule, state: RuleState, at: datetime, place: Place) -> bool:
    """Whether nothing is known of just before this instant: the last reading is too long ago.

    What says itself when it changes holds until the device misses its deadline, a night's flow for the night.
    """
    if place.interval is None or rule.kind == "boolean" or rule.series == "night_minimum_flow":
        return False
    return at - state.evaluated_until > known_for(place.interval)


def _counts(rule: Rule, state: RuleState | None, observation: Observation, now: datetime) -> bool:
    """Whether a value is judged: not from the future, and what is not to be relied upon may only open an alert."""
    at = observation.at
    if at > now and at > now + AHEAD_AT_MOST:
        return False
    return observation.doubt is None or holds(rule, state or _new(at), observation.value)


def _new(at: datetime) -> RuleState:
    return RuleState(OK, at, 0, at, None, alerting=False)


def _judged(
    rule: Rule, state: RuleState, judged: Observation, place: Place, memo: bytes, *, was_unknown: bool
) -> tuple[RuleState, bool]:
    """The state after a value, and whether it shows that a bin was emptied."""
    does_hold = holds(rule, state, judged.value)
    if does_hold and (rule.schedule == "always" or is_on_duty(rule.schedule, place, judged.at)):
        return _holding(rule, state, judged, memo, was_unknown=was_unknown), False
    at, value = judged
    emptied = is_emptied(rule, state, value)
    fired = state.alerting or (state.condition in _FIRED and not was_unknown)
    recent = 0
    if rule.of_readings is not None and not emptied:
        recent = state.recent << 1 & ((1 << rule.of_readings) - 1)
    due_at: datetime | None = None
    since = at
    if fired:
        does_clear = emptied or (not does_hold and clears(rule, value))
        begun_at = None if was_unknown or state.condition is not RECOVERING else state.due_at
        condition, due_at = _recovering(rule, begun_at, at, does_clear=does_clear, emptied=emptied)
        if condition is OK:
            recent = 0  # What led to the alert that is over leads to no other.
    elif recent:
        condition, since = PENDING, at if was_unknown else state.since
    else:
        condition = OK
        if does_hold and rule.kind == "boolean":
            due_at = next_duty(rule.schedule, place, at)
    stays = condition is state.condition and not (was_unknown and condition is PENDING)
    if stays or (fired and condition is RECOVERING and not state.alerting):
        since = state.since  # Of what is not notified yet, since it fired.
    rung = 0 if condition is OK else state.rung
    return RuleState(condition, since, recent, at, value, state.alerting, rung, due_at, memo), emptied


def _holding(rule: Rule, state: RuleState, judged: Observation, memo: bytes, *, was_unknown: bool) -> RuleState:
    """The state after a value for which the rule's condition holds while it is on duty."""
    at, value = judged
    was = state.condition
    of = rule.of_readings or rule.for_readings
    before = state.recent << 1 & ((1 << of) - 1)
    recent = before | 1
    # Of N of M, what is too long ago to count has begun nothing; no duration runs through a time that is unknown.
    is_begun = was is PENDING and (before != 0 or rule.of_readings is None) and not was_unknown
    since = state.since if is_begun else at
    rung, at_once = _rung(rule, state, judged, memo)
    due_at: datetime | None = None
    if (
        at_once
        or state.alerting
        or (was in _FIRED and not was_unknown)
        or (recent.bit_count() >= rule.for_readings and at - since >= patience(rule))
    ):
        condition = FIRING
    else:
        condition = PENDING
        # What says itself when it changes is not said again while it lasts.
        if rule.kind == "boolean":
            due_at = since + patience(rule)
    stays = condition is was or (was is RECOVERING and not state.alerting)
    if stays and condition is FIRING and (state.alerting or not was_unknown):
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
    rule: Rule, begun: datetime | None, at: datetime, *, does_clear: bool, emptied: bool
) -> tuple[Condition, datetime | None]:
    """After a firing: whether it is over, or when it will be if nothing contradicts; `begun`: since before."""
    if not does_clear:
        return RECOVERING, None
    if emptied or not rule.keep_firing_seconds:
        return OK, None
    if begun is not None:
        return (OK, None) if at >= begun else (RECOVERING, begun)
    return RECOVERING, at + timedelta(seconds=rule.keep_firing_seconds)


def _conclude(
    rule: Rule,
    before: RuleState,
    after: RuleState,
    fired_at: datetime | None,
    cause: str,
    now: datetime,
    place: Place,
) -> Outcome:
    """What comes of the state after new values; of a state that is learnt late once no more values follow.

    `fired_at`: when it began to fire with these values.
    """
    if after.condition is RECOVERING and after.due_at is None and not after.alerting:
        after = replace(after, condition=FIRING)  # It has fired, and is not over.
    age = now - after.evaluated_until
    if age <= LATE_AFTER or rule.kind == "loss":  # Which is weighed at the full hour.
        is_late = _waits(before) if fired_at is None else now - fired_at > LATE_AFTER
        return _transition(before, after, after.evaluated_until, cause, now if is_late else None)
    kept = replace(after, rung=before.rung) if after.alerting else after
    is_firing, is_over = after.condition is FIRING, after.condition is OK
    concerns = is_over if after.alerting else is_firing
    concerns = concerns or (after.alerting and is_firing and after.rung > before.rung)
    if age > place.notify_up_to and not (is_over and after.alerting):
        return replace(kept, due_at=None), None
    settled = now + SETTLE
    if concerns:
        return replace(kept, due_at=settled), None
    return (kept if after.due_at is None else replace(kept, due_at=max(after.due_at, settled))), None


def _transition(
    before: RuleState, after: RuleState, at: datetime, cause: str, learnt_at: datetime | None
) -> Outcome:
    """The alert that opens, rises or resolves with this state."""
    if after.condition is FIRING:
        if not after.alerting:
            # Whoever reads the alert wants to know since when, not when it was certain.
            return replace(after, alerting=True), Opened(at, after.since, after.value, after.rung, learnt_at)
        if after.rung > before.rung:
            return after, Raised(at, after.value, after.rung)
    elif after.condition is OK and after.alerting:
        return replace(after, alerting=False), Resolved(at, after.value, cause)
    return after, None


def _held(rule: Rule, state: RuleState, at: datetime, place: Place) -> RuleState:
    """The state at an instant until which the last value has held."""
    held = Observation(at, state.value or 0.0)
    after, _ = _judged(rule, state, held, place, state.memo, was_unknown=False)
    return replace(after, evaluated_until=state.evaluated_until, past=state.past)


def _due(rule: Rule, state: RuleState, now: datetime, place: Place) -> Outcome:
    """The state's own deadline has passed, and what was measured last still stands."""
    due_at = state.due_at
    if due_at is None or due_at > now or state.value is None:
        return state, None
    at = due_at
    match state.condition:
        case Condition.RECOVERING:
            if _is_unknown(rule, state, due_at, place):
                return replace(state, due_at=None), None
            after = replace(state, condition=OK, since=due_at, recent=0, rung=0, due_at=None)
        case Condition.PENDING:
            at = min(due_at, state.since + patience(rule))
            if is_on_duty(rule.schedule, place, at):
                lasting = state.recent.bit_count() >= rule.for_readings
                after = replace(state, condition=FIRING if lasting else PENDING, due_at=None)
            else:
                after = _held(rule, state, at, place)
        case Condition.OK if not state.alerting:
            at = next_duty(rule.schedule, place, state.evaluated_until) or due_at
            if at > due_at:  # The hours were changed meanwhile.
                return replace(state, due_at=at), None
            after = _held(rule, state, at, place)
        case Condition.UNKNOWN:
            at = state.evaluated_until
            after = replace(state, alerting=True, due_at=None)
            return after, Opened(at, state.since, state.value, state.rung, due_at - SETTLE)
        case _:  # Learnt late, and nothing has followed that says otherwise.
            at = state.evaluated_until
            rung, _ = _rung(rule, state, Observation(at, state.value), state.memo)
            is_firing = state.condition is FIRING
            after = replace(state, due_at=None, rung=rung if is_firing else 0)
    learnt_at = due_at - SETTLE if due_at - SETTLE - at > LATE_AFTER else None
    return _transition(state, after, at, "cleared", learnt_at)
