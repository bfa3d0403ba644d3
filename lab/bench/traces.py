# ruff: noqa: PLR2004 - How often something happens is said where it happens.
"""Random traces of thirty days, and a backtest of each: for its benchmark, and for the test that it agrees with a
plain evaluator. All in whole minutes, over both nights on which the clocks change. Pure.
"""

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from alerting.rules.calendar import Calendar, weekly_of
from alerting.rules.model import Observation, Place, Rule
from alerting.rules.replay import Arrival, Deadline, Replay, Span, Stream

OPEN = Calendar(weekly_of([[["07:30", "18:30"]]] * 5 + [[], []]), closed_on_holidays=False)
STARTS = [datetime(2026, 3, 14, tzinfo=UTC), datetime(2026, 10, 10, tzinfo=UTC)]
MONTH = 30 * 24 * 60


@dataclass(frozen=True)
class PlainRule:
    """`boolean`: it fires at 1 and the sensor speaks on change; otherwise at `fire` or more, until `clear`."""

    boolean: bool = False
    fire: float = 75
    clear: float = 60
    hits: int = 1
    of: int | None = None
    lasting: int = 0  # Minutes.
    keep: int = 0  # Minutes.
    schedule: str = "always"


@dataclass(frozen=True)
class Trace:
    """What happened, in minutes since `start`: (received, measured, value), missed deadlines, outages of ours."""

    start: datetime
    length: int
    interval: int
    arrivals: list[tuple[int, int, float]]
    signs: list[tuple[int, list[int], int | None]]  # Of each device: its period, when it was heard, when replaced.
    outages: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])


@dataclass(frozen=True, slots=True)
class Backtest:
    """A rule, and what it would have met."""

    rule: Rule
    place: Place
    stream: Stream
    outages: list[Span]
    until: datetime

    def run(self) -> Replay:
        """Played to the end: what the rule decided is in `transitions`."""
        played = Replay(self.rule, self.place, self.outages)
        for _ in played.notifications({1: self.stream}, self.until):
            pass
        return played


def random_rule(chance: random.Random) -> PlainRule:
    """A threshold or a state, patient in one way or another."""
    if chance.random() < 0.35:
        return PlainRule(
            boolean=True,
            lasting=chance.choice([0, 10, 20]),
            keep=chance.choice([0, 0, 30]),
            schedule=chance.choice(["always", "closed", "open", "night"]),
        )
    hits = chance.choice([1, 1, 2, 3])
    return PlainRule(
        hits=hits,
        of=chance.choice([None, None, hits + 1, hits + 2]),
        lasting=chance.choice([0, 0, 45, 180]),
        keep=chance.choice([0, 0, 60, 150]),
        schedule=chance.choice(["always", "always", "open", "night"]),
    )


def random_trace(chance: random.Random, rule: PlainRule) -> Trace:
    """A sensor's thirty days; its gateway keeps what it cannot send, now and then for days."""
    interval = chance.choice([10, 30, 60])
    start, minute, level = chance.choice(STARTS), chance.randrange(interval), 50.0
    outages: list[tuple[int, int]] = []
    if chance.random() < 0.7:
        began = chance.randrange(MONTH - 3000)
        outages = [(began, began + chance.choice([3, 200, 2000]))]
    replaced_at = chance.randrange(MONTH) if chance.random() < 0.3 else None
    arrivals: list[tuple[int, int, float]] = []
    kept_until = 0
    while minute < MONTH:
        if chance.random() < 0.003:
            minute += chance.choice([3, 8, 40]) * interval
        if chance.random() < 0.004:
            kept_until = minute + chance.choice([40, 300, 3500])
        level = min(100.0, max(0.0, level + chance.uniform(-14, 14)))
        value = float(level > 60) if rule.boolean else round(level)
        if chance.random() > 0.05:
            received = max(minute, kept_until)
            if received == minute and chance.random() < 0.08:
                received += chance.choice([1, 7, 14, 90, 1000])
            arrivals += [(received, minute, value)] * (2 if chance.random() < 0.03 else 1)
        minute += chance.choice([4, 5, 9]) if chance.random() < 0.08 else interval + chance.choice([-1, 0, 0, 1])
    arrivals = [one for one in arrivals if one[0] < MONTH]
    chance.shuffle(arrivals)
    period = 3 * interval
    signs: list[tuple[int, list[int], int | None]] = []
    if chance.random() < 0.8:
        heard = [one[0] for one in arrivals]
        if replaced_at is None:
            signs = [(period, heard, None)]
        else:
            signs = [
                (period, [at for at in heard if at < replaced_at], replaced_at),
                (period, [at for at in heard if at >= replaced_at], None),
            ]
    return Trace(start, MONTH, interval, arrivals, signs, outages)


def rule_of(plain: PlainRule) -> Rule:
    """The rule as alerting knows it."""
    rule = Rule(1, 1, "r", "threshold", "q", "warning", "m", fire_op=">=", clear_op="<=")
    rule = replace(rule, fire_value=plain.fire, clear_value=plain.clear, for_readings=plain.hits)
    if plain.boolean:
        rule = replace(rule, kind="boolean", fire_value=1.0)
    return replace(
        rule,
        of_readings=plain.of,
        for_seconds=plain.lasting * 60,
        keep_firing_seconds=plain.keep * 60,
        schedule=plain.schedule,
    )


def backtest_of(plain: PlainRule, trace: Trace) -> Backtest:
    """The trial of this rule on this trace."""

    def at(minute: float) -> datetime:
        return trace.start + timedelta(minutes=minute)

    arrivals = [Arrival(at(got), Observation(at(measured), value)) for got, measured, value in trace.arrivals]
    deadlines = [
        Deadline(timedelta(minutes=period), [at(sign) for sign in signs], None if until is None else at(until))
        for period, signs, until in trace.signs
    ]
    return Backtest(
        rule_of(plain),
        Place(calendar=OPEN, interval=timedelta(minutes=trace.interval)),
        Stream(arrivals, deadlines),
        [(at(began), at(ended)) for began, ended in trace.outages],
        at(trace.length),
    )
