"""What is wrong with a cabinet of lamps, and what explains what: one cause is one message. Pure.

A breaker that has tripped explains dark lamps, dark lamps a phase without current, a lost phase the lamps that it
feeds. A contract that is exceeded explains lamps that take too much. A door that was forced at night is not also a
door that somebody left open.
"""

from collections.abc import Mapping
from enum import StrEnum

from alerting.rules.model import Rule

LAMPS = ("lighting_cabinet", "lighting_circuit")


class Fault(StrEnum):
    """Rules that look at one thing from several sides, by what they watch: their names are people's."""

    BREAKER = "breaker"
    DARK = "dark"
    LOST_PHASE = "lost_phase"  # By its voltage.
    LOST_CURRENT = "lost_current"
    FEWER_LAMPS = "fewer_lamps"
    CONTRACT = "contract"
    OVER_POWER = "over_power"
    INTRUSION = "intrusion"
    DOOR = "door"


# The same as `fault_of`, of a row `r` of alert_rule, for the faults that explain others.
FAULT_SQL = """CASE
    WHEN r.kind = 'boolean' AND r.quantity = 'breaker_tripped' THEN 'breaker'
    WHEN r.series = 'power_ratio' AND r.schedule = 'lit' AND left(r.fire_op, 1) = '<' THEN 'dark'
    WHEN r.series = 'phase_voltage' THEN 'lost_phase'
    WHEN r.series = 'phase_current' THEN 'lost_current'
    WHEN r.series = 'contract_ratio' THEN 'contract'
    WHEN r.kind = 'boolean' AND r.quantity = 'open' AND r.schedule = 'closed' THEN 'intrusion' END"""
_OF_SERIES = {
    "phase_voltage": Fault.LOST_PHASE,
    "phase_current": Fault.LOST_CURRENT,
    "missing_lamps": Fault.FEWER_LAMPS,
    "contract_ratio": Fault.CONTRACT,
}
EXPLAINED_BY: Mapping[Fault, tuple[Fault, ...]] = {
    Fault.DARK: (Fault.BREAKER,),
    Fault.LOST_PHASE: (Fault.BREAKER, Fault.DARK),
    Fault.LOST_CURRENT: (Fault.BREAKER, Fault.DARK, Fault.LOST_PHASE),
    Fault.FEWER_LAMPS: (Fault.BREAKER, Fault.DARK, Fault.LOST_PHASE, Fault.LOST_CURRENT),
    Fault.OVER_POWER: (Fault.CONTRACT,),
    Fault.DOOR: (Fault.INTRUSION,),
}
# What is judged first of values that come together: causes before what they explain.
_ORDER = {fault: place for place, fault in enumerate(Fault)}
# A level that somebody has asked for explains lamps that give less, and dark ones only where it is about as low.
DARK_BY_ORDER_MARGIN = 5.0


def fault_of(rule: Rule) -> Fault | None:
    """What a rule finds wrong; None: something else than this."""
    if rule.kind == "boolean":
        if rule.quantity == "open" and rule.schedule == "closed":
            return Fault.INTRUSION
        if rule.quantity == "open" and all(kind in LAMPS for kind in rule.asset_kinds or ("",)):
            return Fault.DOOR
        return Fault.BREAKER if rule.quantity == "breaker_tripped" else None
    if rule.series == "power_ratio":
        below = (rule.fire_op or "").startswith("<")
        if below:
            return Fault.DARK if rule.schedule == "lit" else None
        return None if rule.schedule == "unlit" or rule.fire_op is None else Fault.OVER_POWER
    return None if rule.series is None else _OF_SERIES.get(rule.series)


def judged_first(rule: Rule) -> int:
    """A rule's place among those that are judged together."""
    fault = fault_of(rule)
    return len(_ORDER) if fault is None else _ORDER[fault]


def dimmed_to_at_most(rule: Rule) -> float:
    """Up to which level, in percent, an order to dim explains what this rule finds; 0: none does."""
    match fault_of(rule):
        case Fault.FEWER_LAMPS | Fault.LOST_CURRENT:
            return 100.0
        case Fault.DARK:
            return (rule.fire_value or 0.0) + DARK_BY_ORDER_MARGIN
        case _:
            return 0.0
