"""Where a rule stands with what it watches: state in, state out, and an alert that opens or resolves.

Conditions go by the devices' own time, silence by ours (reference/domain.md, section 6). Two states are kept
apart: the thing's condition (ok, pending, firing, recovering, unknown), and whether an alert is open about it.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

# An older observation (a gateway's or a network server's replay) moves the condition and alarms nobody.
MAX_NOTIFY_AGE = timedelta(hours=2)
# An instant further ahead than any honest clock would make every later observation look old.
MAX_AHEAD = timedelta(minutes=10)
# A bin that was emptied: so many points less than at the reading before, down to so many.
EMPTYING_DROP = 40.0
EMPTIED_AT_MOST = 25.0

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}


class Condition(StrEnum):
    """Of what a rule watches."""

    OK = "ok"
    PENDING = "pending"  # The rule's condition holds, not yet for long enough.
    FIRING = "firing"
    RECOVERING = "recovering"  # It no longer holds, but what clears it does not hold either.
    UNKNOWN = "unknown"  # The device is silent: that resolves nothing.


@dataclass(frozen=True, slots=True)
class Rule:
    """A tenant's rule (table alert_rule). A silence rule has no quantity and no thresholds."""

    id: int
    tenant_id: int
    name: str
    kind: str  # threshold or silence
    asset_kind: str | None
    quantity: str | None
    fire_op: str | None
    fire_value: float | None
    clear_op: str | None
    clear_value: float | None
    for_readings: int
    for_seconds: int
    clear_on_emptying: bool
    silence_intervals: float
    severity: str
    message: str
    enabled: bool


class RuleState(Struct, frozen=True, gc=False):
    """Where a rule stands with one datastream (threshold) or one device (silence)."""

    condition: Condition
    since: datetime
    readings: int
    evaluated_until: datetime
    value: float | None
    alerting: bool  # An alert is open.


class Observation(NamedTuple):
    """A measured value at its instant; for a silence rule, a sign of life when it reached us."""

    at: datetime
    value: float


@dataclass(frozen=True, slots=True)
class Missed:
    """Nothing was heard of the device until this deadline."""

    due_at: datetime


@dataclass(frozen=True, slots=True)
class Opened:
    """An alert opens; the condition has held since `since`."""

    at: datetime
    since: datetime
    value: float | None


@dataclass(frozen=True, slots=True)
class Resolved:
    """The open alert resolves by itself. Causes: cleared, emptied, heard."""

    at: datetime
    value: float | None
    cause: str


Transition = Opened | Resolved


def overlaps(rule: Rule) -> bool:
    """Whether values that open an alert would clear it too: without distance between them alerts flap."""
    if rule.fire_op is None or rule.fire_value is None or rule.clear_value is None:
        return False
    if rule.fire_op in (">=", ">"):
        return rule.clear_value > rule.fire_value
    return rule.clear_value < rule.fire_value


def evaluate(
    rule: Rule, state: RuleState | None, event: Observation | Missed, now: datetime
) -> tuple[RuleState | None, Transition | None]:
    """The state after `event`, and the alert that opens or resolves with it.

    A value observed at or before `state.evaluated_until` changes nothing: redelivery is harmless. `state` None
    means that nothing was evaluated before.
    """
    match event:
        case Missed() if rule.kind == "silence":
            return _silent(state, event)
        case Missed():
            return (None if state is None else _unknown(state, event)), None
        case Observation() if rule.kind == "silence":
            return _heard(state, event)
        case Observation():
            if event.at > now + MAX_AHEAD or (state is not None and event.at <= state.evaluated_until):
                return state, None
            return _conclude(*_measured(rule, state, event), event, now)


def _silent(state: RuleState | None, missed: Missed) -> tuple[RuleState, Transition | None]:
    silent = RuleState(Condition.FIRING, missed.due_at, 0, missed.due_at, None, alerting=True)
    if state is not None and state.alerting:
        return replace(silent, since=state.since), None
    return silent, Opened(missed.due_at, missed.due_at, None)


def _heard(state: RuleState | None, sign: Observation) -> tuple[RuleState | None, Transition | None]:
    # Any sign of life ends a silence, also one that was on its way when the deadline passed.
    if state is None or not state.alerting:
        return state, None
    return RuleState(Condition.OK, sign.at, 0, sign.at, None, alerting=False), Resolved(sign.at, None, "heard")


def _unknown(state: RuleState, missed: Missed) -> RuleState:
    if state.condition is Condition.UNKNOWN:
        return state
    return replace(state, condition=Condition.UNKNOWN, since=missed.due_at, readings=0)


def _measured(rule: Rule, state: RuleState | None, observation: Observation) -> tuple[RuleState, bool]:
    """The state after a value, and whether it shows that a bin was emptied."""
    at, value = observation.at, observation.value
    if state is None:
        state = RuleState(Condition.OK, at, 0, at, None, alerting=False)
    fired = state.alerting or state.condition in (Condition.FIRING, Condition.RECOVERING)
    emptied = (
        rule.clear_on_emptying
        and state.value is not None
        and state.value - value >= EMPTYING_DROP
        and value <= EMPTIED_AT_MOST
    )
    since, readings = at, 0
    if _holds(rule.fire_op, value, rule.fire_value):
        readings = min(state.readings + 1, rule.for_readings)
        if state.condition is Condition.PENDING:
            since = state.since
        lasting = readings >= rule.for_readings and at - since >= timedelta(seconds=rule.for_seconds)
        condition = Condition.FIRING if fired or lasting else Condition.PENDING
    elif emptied or _holds(rule.clear_op, value, rule.clear_value):
        condition = Condition.OK
    else:
        condition = Condition.RECOVERING if fired else Condition.OK
    if condition is state.condition:
        since = state.since
    return RuleState(condition, since, readings, at, value, state.alerting), emptied


def _holds(comparison: str | None, value: float, limit: float | None) -> bool:
    if comparison is None or limit is None:
        return False
    return COMPARISONS[comparison](value, limit)


def _conclude(
    after: RuleState, emptied: bool, observation: Observation, now: datetime
) -> tuple[RuleState, Transition | None]:
    """Only a recent observation opens or resolves an alert; what an old one showed, the next recent one tells."""
    if now - observation.at > MAX_NOTIFY_AGE:
        return after, None
    if after.condition is Condition.FIRING and not after.alerting:
        # Whoever reads the alert wants to know since when, not when it was certain.
        opened = Opened(observation.at, after.since, observation.value)
        return replace(after, alerting=True), opened
    if after.condition is Condition.OK and after.alerting:
        cause = "emptied" if emptied else "cleared"
        return replace(after, alerting=False), Resolved(observation.at, observation.value, cause)
    return after, None
