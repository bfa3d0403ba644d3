"""A backtest is what would have happened: it agrees with a plain evaluator written from docs/alertes.md alone.

Random traces of thirty days over both nights on which the clocks change: gaps, readings that come late, twice or
out of order, devices replaced, outages of ours. BACKTEST_TRACES says how many; 200 take a minute.
"""

import os
import random
from datetime import timedelta

import pytest

from alerting.rules.model import Opened, Resolved
from lab.bench.traces import PlainRule, Trace, backtest_of, random_rule, random_trace
from tests.alerting.rules.naive import Naive

TRACES = int(os.environ.get("BACKTEST_TRACES", "16"))


def backtest(plain: PlainRule, trace: Trace) -> list[tuple[str, int]]:
    return [
        (type(one).__name__.lower(), int((one.at - trace.start) / timedelta(minutes=1)))
        for one in backtest_of(plain, trace).run().transitions
        if isinstance(one, Opened | Resolved)
    ]


@pytest.mark.parametrize("seed", range(TRACES))
def test_a_backtest_gives_the_list_of_a_plain_evaluator_written_from_the_documentation(seed: int) -> None:
    chance = random.Random(seed)
    rule = random_rule(chance)
    trace = random_trace(chance, rule)

    assert backtest(rule, trace) == Naive(rule, trace).run()


def test_the_traces_open_and_end_alerts() -> None:
    told = 0
    for seed in range(8):
        chance = random.Random(seed)
        rule = random_rule(chance)
        told += len(backtest(rule, random_trace(chance, rule)))

    assert told > 100
