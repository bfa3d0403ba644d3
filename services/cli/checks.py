"""Everything that CI runs, in one order, each check with its heading and all of them to the end."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from services.supervisor.launch import system_path

XDIST_WORKERS = "2"


def commands(pytest_arguments: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The checks, fastest first."""
    tool = Path(sys.executable).parent
    return [
        ("ruff check", [str(tool / "ruff"), "check", ".", "territoire"]),
        ("ruff format", [str(tool / "ruff"), "format", "--check", ".", "territoire"]),
        ("pyright", [sys.executable, "-m", "pyright"]),
        ("lint-imports", [str(tool / "lint-imports")]),
        (
            "pytest",
            [sys.executable, "-m", "pytest", "-n", XDIST_WORKERS, "--dist", "loadgroup", *pytest_arguments],
        ),
    ]


def run_checks(checkout: Path, pytest_arguments: Sequence[str]) -> int:
    """Run every check, also after one has failed; 0 when all hold."""
    failed: list[str] = []
    began = time.monotonic()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{system_path()}"}
    for name, argv in commands(pytest_arguments):
        print(f"\n== {name} " + "=" * (70 - len(name)), flush=True)
        if subprocess.run(argv, cwd=checkout, env=environment, check=False).returncode != 0:
            failed.append(name)
    took = time.monotonic() - began
    if failed:
        print(f"\nÉchec ({took:.0f} s) : {', '.join(failed)}", flush=True)
        return 1
    print(f"\nTout est bon ({took:.0f} s)", flush=True)
    return 0
