"""Everything that CI runs, in one order, each check with its heading and all of them to the end."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from services.supervisor.launch import system_path

# Most tests wait for a server as long as they compute; whole stacks want the machine for themselves.
WORKERS, STACK_WORKERS = "4", "2"
WHOLE_STACKS = "tests/system"


def commands(pytest_arguments: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The checks, fastest first; with arguments pytest runs once, on what they choose."""
    tool = Path(sys.executable).parent
    pytest = [sys.executable, "-m", "pytest", "--dist", "loadfile", "--no-loadscope-reorder", "-n"]
    if pytest_arguments:
        tests = [("pytest", [*pytest, STACK_WORKERS, *pytest_arguments])]
    else:
        tests = [
            ("pytest", [*pytest, WORKERS, "--ignore", WHOLE_STACKS]),
            ("pytest on whole stacks", [*pytest, STACK_WORKERS, WHOLE_STACKS]),
        ]
    return [
        ("ruff check", [str(tool / "ruff"), "check", ".", "territoire"]),
        ("ruff format", [str(tool / "ruff"), "format", "--check", ".", "territoire"]),
        ("pyright", [sys.executable, "-m", "pyright"]),
        ("lint-imports", [str(tool / "lint-imports")]),
        *tests,
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
