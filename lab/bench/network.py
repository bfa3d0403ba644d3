"""`territoire bench network`: its parts, each measured on a stack that has what it needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import uvloop
from rich.console import Console

from lab.bench.answers import AnswersOptions, measure_answers
from lab.bench.network_report import print_answers, print_storm, print_throughput
from lab.bench.storm import StormOptions, measure_storm
from lab.bench.throughput import measure_throughput
from services.supervisor.run_info import RunInfo


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator chooses."""

    seconds: float = 60.0
    runs: int = 5
    rate: float = 2_000.0
    gateways: int = 507
    copies: float = 1.0


Measure = Callable[[RunInfo, Options, Console], dict[str, Any]]


def _answers(run: RunInfo, options: Options, console: Console) -> dict[str, Any]:
    chosen = AnswersOptions(options.seconds, options.rate, options.gateways, copies=options.copies)

    async def measure() -> dict[str, Any]:
        return (await measure_answers(run, chosen, console)).as_dict()

    figures = uvloop.run(measure())
    print_answers(console, figures)
    return figures


def _throughput(run: RunInfo, options: Options, console: Console) -> dict[str, Any]:
    figures = uvloop.run(measure_throughput(run, options.runs, console))
    print_throughput(console, figures)
    return figures


def _storm(run: RunInfo, _options: Options, console: Console) -> dict[str, Any]:
    async def measure() -> dict[str, Any]:
        # Not the whole storm: asyncio's runner looks at the representation of what its task returns.
        return (await measure_storm(run, StormOptions(), console)).as_dict()

    figures = uvloop.run(measure())
    print_storm(console, figures)
    return figures


PARTS: Mapping[str, Measure] = {"throughput": _throughput, "answers": _answers, "storm": _storm}
