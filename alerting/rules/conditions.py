"""Whether a rule's condition holds, whether its clear condition holds, and which rung of its ladder is reached."""

import struct
from collections.abc import Sequence
from datetime import timedelta
from statistics import median

from alerting.rules.forecast import hours_until
from alerting.rules.model import Observation, Rule, RuleState
from core.model.comparisons import COMPARISONS
from core.model.emptyings import was_emptied

# "More than so many times the median" needs nights to compare with, and a house that uses next to nothing at night
# is measured against this much (litres per hour).
NIGHTS_AT_LEAST = 5
MEDIAN_AT_LEAST = 1.0
RESTING = struct.Struct("<d")


def holds(rule: Rule, state: RuleState, value: float) -> bool:
    """Whether the rule's condition holds for `value`, judged after `state`."""
    limit = rule.fire_value
    if limit is None:
        return False
    match rule.kind:
        case "range":
            return value < limit or (rule.fire_upper is not None and value > rule.fire_upper)
        case "boolean":
            return value == limit
        case "flat":
            resting = resting_at(state)
            return resting is not None and abs(value - resting) <= limit
        case _:
            return rule.fire_op is not None and COMPARISONS[rule.fire_op](value, limit)


def resting_at(state: RuleState) -> float | None:
    """Where a value came to rest: what creeps away from there is not flat, however small its steps.

    A rule that was of another kind has left something else there.
    """
    return RESTING.unpack(state.memo)[0] if len(state.memo) == RESTING.size else state.value


def clears(rule: Rule, value: float) -> bool:
    """Whether a value for which the condition does not hold ends an alert."""
    match rule.kind:
        case "boolean" | "flat":
            return True
        case "range":
            low, high = rule.clear_value, rule.clear_upper
            return low is not None and high is not None and low <= value <= high
        case _:
            op, limit = rule.clear_op, rule.clear_value
            return op is not None and limit is not None and COMPARISONS[op](value, limit)


def is_emptied(rule: Rule, state: RuleState, value: float) -> bool:
    """Whether the value shows that a bin was emptied since the last."""
    return rule.clear_on_emptying and state.value is not None and was_emptied(state.value, value)


def overlaps(rule: Rule) -> bool:
    """Whether values that open an alert would clear it too: without distance between them alerts flap."""
    if rule.fire_op is None or rule.fire_value is None or rule.clear_value is None:
        return False
    if rule.fire_op in (">=", ">"):
        return rule.clear_value > rule.fire_value
    return rule.clear_value < rule.fire_value


def rung_of(rule: Rule, observation: Observation, memo: bytes, nights: Sequence[float]) -> tuple[int, bool]:
    """The highest rung that this value reaches (0: none), and whether one of the rungs reached fires at once.

    Of several rungs with one severity it is the first. `nights`: the flows of the nights before.
    """
    reached, at_once = 0, False
    for number, rung in enumerate(rule.ladder, 1):
        value = observation.value
        if rung.value is not None:
            is_reached = COMPARISONS[rung.op](value, rung.value)
        elif rung.within_hours is not None:
            left = hours_until(rung.limit, memo, observation) if rule.forecasts else None
            is_reached = left is not None and left <= rung.within_hours
        else:
            is_reached = (
                rung.times_median is not None
                and len(nights) >= NIGHTS_AT_LEAST
                and value > rung.times_median * max(MEDIAN_AT_LEAST, median(nights))
            )
        if is_reached:
            is_as_grave = reached and rule.ladder[reached - 1].severity == rung.severity
            reached = reached if is_as_grave else number
            at_once = at_once or rung.at_once
    return reached, at_once


def patience(rule: Rule) -> timedelta:
    """How long the condition must hold."""
    return timedelta(seconds=rule.for_seconds)
