"""The benchmark of backtests plays each trace to its end, and its figures are those of the goal."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from lab.bench.backtests import Options, run

CHECKOUT = Path(__file__).parents[3]


def test_figures_are_of_all_readings_and_compared_with_a_ceiling() -> None:
    few, _ = run(Options(traces=1, runs=1), Console(quiet=True))
    more, is_reached = run(Options(traces=3, runs=2), Console(quiet=True))

    assert more["readings"] > few["readings"] > 500
    assert more["alerts"] > few["alerts"] > 0
    assert 0 < more["ratio"] < 1
    assert more["readings_per_second"] < more["ceiling_readings_per_second"]
    assert is_reached == more["reached"]


@pytest.mark.starts_processes
def test_the_command_prints_one_object() -> None:
    argv = [sys.executable, "-P", "-m", "lab", "bench", "backtests", "--traces", "2", "--runs", "1", "--json"]

    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=120)

    assert json.loads(done.stdout)["traces"] == 2
