"""`territoire bench backtests`: rules tried on thirty days each, through the code of the live engine.

The ceiling is what no trial can leave out: each reading, as it was received, compared with its rule's limits.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from alerting.rules.conditions import clears, holds
from alerting.rules.model import Condition, Opened, RuleState
from lab.bench.report import median_of
from lab.bench.traces import Backtest, backtest_of, random_rule, random_trace

GOAL_S, GOAL_TRACES = 120.0, 200


@dataclass(frozen=True, slots=True)
class Options:
    """So many traces, played again in each of `runs`."""

    traces: int = GOAL_TRACES
    runs: int = 3


def run(options: Options, console: Console) -> tuple[dict[str, Any], bool]:
    """The medians, and whether the goal is reached."""
    backtests = [_backtest(seed) for seed in range(options.traces)]
    readings = sum(len(one.stream.arrivals) for one in backtests)
    runs: list[dict[str, Any]] = []
    for number in range(options.runs):
        ceiling_s, _ = _timed(_compare, backtests)
        cpu_s, alerts = _timed(_play, backtests)
        runs.append(
            {
                "cpu_s": round(cpu_s, 3),
                "us_per_reading": round(cpu_s * 1e6 / readings, 2),
                "readings_per_second": round(readings / cpu_s),
                "ceiling_readings_per_second": round(readings / ceiling_s),
                "ratio": round(ceiling_s / cpu_s, 3),
                "alerts": alerts,
            }
        )
        console.print(f"  mesure {number + 1} : {cpu_s:.2f} s de CPU, {alerts} alertes", highlight=False)
    figures = {"traces": options.traces, "readings": readings, **median_of(runs)}
    figures["reached"] = figures["cpu_s"] / options.traces <= GOAL_S / GOAL_TRACES
    return figures, figures["reached"]


def print_table(console: Console, figures: dict[str, Any]) -> None:
    """The figures, for people."""
    table = Table("grandeur", "mesuré", "objectif", title="Essais de règles sur trente jours")
    goal_s = GOAL_S * figures["traces"] / GOAL_TRACES
    table.add_row("essais de trente jours", str(figures["traces"]), str(GOAL_TRACES))
    table.add_row("secondes de CPU", f"{figures['cpu_s']:.2f}", f"{goal_s:.1f} au plus")
    table.add_row("mesures rejouées", str(figures["readings"]), "")
    table.add_row("µs de CPU par mesure", f"{figures['us_per_reading']:.1f}", "")
    table.add_row("mesures/s sur un cœur", f"{figures['readings_per_second']}", "")
    table.add_row("plafond, mesures/s", f"{figures['ceiling_readings_per_second']}", "")
    table.add_row("rapport au plafond", f"{figures['ratio']:.3f}", "")
    table.add_row("alertes ouvertes", str(figures["alerts"]), "")
    console.print(table)


def _backtest(seed: int) -> Backtest:
    chance = random.Random(seed)
    rule = random_rule(chance)
    return backtest_of(rule, random_trace(chance, rule))


def _timed(work: Callable[[Sequence[Backtest]], int], backtests: Sequence[Backtest]) -> tuple[float, int]:
    """Seconds of this thread's CPU, and what the work has counted."""
    began = time.thread_time()
    counted = work(backtests)
    return time.thread_time() - began, counted


def _play(backtests: Sequence[Backtest]) -> int:
    """How many alerts open."""
    return sum(isinstance(one, Opened) for backtest in backtests for one in backtest.run().transitions)


def _compare(backtests: Sequence[Backtest]) -> int:
    """How many readings fire or clear."""
    counted = 0
    for backtest in backtests:
        rule, begin = backtest.rule, backtest.until
        state = RuleState(Condition.OK, begin, 0, begin, None, alerting=False)
        for _, observation in sorted(backtest.stream.arrivals):
            value = observation.value
            counted += holds(rule, state, value) or clears(rule, value)
    return counted
