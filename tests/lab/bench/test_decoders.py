"""The measurement itself: what it measures is read without an error, and its figures are those of the goals."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from decoders.catalogue import CODECS
from lab.bench.decoders import FRAMES, NATIVE, NOW_US, Options, run, scripts

CHECKOUT = Path(__file__).parents[3]


@pytest.mark.parametrize(("codec", "f_port", "payload"), [case[:3] for case in NATIVE])
def test_every_frame_that_is_measured_is_read_whole(codec: str, f_port: int, payload: str) -> None:
    decoded = CODECS[codec].decode(f_port, bytes.fromhex(payload), NOW_US, {})

    assert decoded.readings
    assert decoded.warnings == []
    assert "unread" not in decoded.data


def test_every_script_has_frames() -> None:
    assert scripts().keys() == FRAMES.keys()


def test_figures_are_medians_with_a_verdict() -> None:
    figures, is_reached = run(Options(seconds=0.2, runs=1), Console(quiet=True))

    assert figures["scripts"]["decodes_per_second"] > 0
    assert figures["native"].keys() == {case[0] for case in NATIVE}
    assert is_reached == all(figures["reached"].values())


def test_the_command_prints_one_object() -> None:
    argv = [
        sys.executable,
        "-P",
        "-m",
        "lab",
        "bench",
        "decoders",
        "--seconds",
        "0.2",
        "--runs",
        "1",
        "--json",
    ]

    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=120)

    assert json.loads(done.stdout)["milesight_frames_per_second"] > 0
