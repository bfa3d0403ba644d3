"""A backtest is what would have happened: it agrees with a plain evaluator written from docs/alertes.md alone.

Random traces of thirty days over both nights on which the clocks change: gaps, readings that come late, twice or
out of order, devices replaced, outages of ours. BACKTEST_TRACES says how many; 200 take a minute.
"""

import os
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alerting.rules.calendar import Calendar, weekly_of
from alerting.rules.model import Observation, Opened, Place, Resolved, Rule
from alerting.rules.replay import Arrival, Deadline, Replaced, Replay, Stream
from tests.alerting.rules.naive import Naive, NaiveRule, Trace

TRACES = int(os.environ.get("BACKTEST_TRACES", "16"))
OPEN = Calendar(weekly_of([[["07:30", "18:30"]]] * 5 + [[], []]), closed_on_holidays=False)
STARTS = [datetime(2026, 3, 14, tzinfo=UTC), datetime(2026, 10, 10, tzinfo=UTC)]
MONTH = 30 * 24 * 60


def random_rule(chance: random.Random) -> NaiveRule:
    if chance.random() < 0.35:
        return NaiveRule(
            boolean=True,
            lasting=chance.choice([0, 10, 20]),
            keep=chance.choice([0, 0, 30]),
            schedule=chance.choice(["always", "closed", "open", "night"]),
        )
    hits = chance.choice([1, 1, 2, 3])
    return NaiveRule(
        hits=hits,
        of=chance.choice([None, None, hits + 1, hits + 2]),
        lasting=chance.choice([0, 0, 45, 180]),
        keep=chance.choice([0, 0, 60, 150]),
        schedule=chance.choice(["always", "always", "open", "night"]),
    )


def random_trace(chance: random.Random, rule: NaiveRule) -> Trace:
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
    return Trace(start, MONTH, interval, arrivals, signs, outages, replaced_at)


def rule_of(naive: NaiveRule) -> Rule:
    rule = Rule(1, 1, "r", "threshold", "q", "warning", "m", fire_op=">=", clear_op="<=")
    rule = replace(rule, fire_value=naive.fire, clear_value=naive.clear, for_readings=naive.hits)
    if naive.boolean:
        rule = replace(rule, kind="boolean", fire_value=1.0)
    return replace(
        rule,
        of_readings=naive.of,
        for_seconds=naive.lasting * 60,
        keep_firing_seconds=naive.keep * 60,
        schedule=naive.schedule,
    )


def backtest(naive: NaiveRule, trace: Trace) -> list[tuple[str, int]]:
    def at(minute: float) -> datetime:
        return trace.start + timedelta(minutes=minute)

    arrivals = [Arrival(at(got), Observation(at(measured), value)) for got, measured, value in trace.arrivals]
    deadlines = [
        Deadline(timedelta(minutes=period), [at(sign) for sign in signs], None if until is None else at(until))
        for period, signs, until in trace.signs
    ]
    place = Place(calendar=OPEN, interval=timedelta(minutes=trace.interval))
    played = Replay(rule_of(naive), place, [(at(began), at(ended)) for began, ended in trace.outages])
    replaced = [] if trace.replaced is None else [Replaced(at(trace.replaced))]
    list(played.notifications({1: Stream(arrivals, deadlines, replaced)}, at(trace.length)))
    return [
        (type(one).__name__.lower(), int((one.at - trace.start) / timedelta(minutes=1)))
        for one in played.transitions
        if isinstance(one, Opened | Resolved)
    ]


@pytest.mark.parametrize("seed", range(TRACES))
def test_a_backtest_gives_the_list_of_a_plain_evaluator_written_from_the_documentation(seed: int) -> None:
    chance = random.Random(seed)
    naive = random_rule(chance)
    trace = random_trace(chance, naive)

    assert backtest(naive, trace) == Naive(naive, trace).run()


def test_the_traces_open_and_end_alerts() -> None:
    told = 0
    for seed in range(8):
        chance = random.Random(seed)
        naive = random_rule(chance)
        told += len(backtest(naive, random_trace(chance, naive)))

    assert told > 100
