"""Everything that CI runs, in one order, each check with its heading and all of them to the end."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from services.supervisor.launch import system_path

# Most tests wait for a server as long as they compute; whole stacks mostly wait, and go on beside all the rest.
WORKERS, STACK_WORKERS = "5", "2"
WHOLE_STACKS, ON_STACKS = "tests/system", "pytest on whole stacks"


PYTEST = [sys.executable, "-m", "pytest", "--dist", "loadfile", "--no-loadscope-reorder", "-n"]


def commands(pytest_arguments: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The checks, fastest first; with arguments pytest runs on what they choose."""
    tool = Path(sys.executable).parent
    chosen = [STACK_WORKERS, *pytest_arguments] if pytest_arguments else [WORKERS, "--ignore", WHOLE_STACKS]
    return [
        ("ruff check", [str(tool / "ruff"), "check", ".", "territoire"]),
        ("ruff format", [str(tool / "ruff"), "format", "--check", ".", "territoire"]),
        ("pyright", [sys.executable, "-m", "pyright"]),
        ("lint-imports", [str(tool / "lint-imports")]),
        ("pytest", [*PYTEST, *chosen]),
    ]


def run_checks(checkout: Path, pytest_arguments: Sequence[str]) -> int:
    """Run every check, also after one has failed; 0 when all hold."""
    failed: list[str] = []
    began = time.monotonic()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{system_path()}"}
    # Hundreds of processes are started: each would compile again what the last one did.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryFile() as output:
        stacks = None
        if not pytest_arguments:
            argv = [*PYTEST, STACK_WORKERS, WHOLE_STACKS]
            stacks = subprocess.Popen(argv, cwd=checkout, env=environment, stdout=output, stderr=output)
        for name, argv in commands(pytest_arguments):
            _head(name)
            if subprocess.run(argv, cwd=checkout, env=environment, check=False).returncode != 0:
                failed.append(name)
        if stacks is not None:
            _head(ON_STACKS)
            if stacks.wait() != 0:
                failed.append(ON_STACKS)
            output.seek(0)
            shutil.copyfileobj(output, sys.stdout.buffer)
    took = time.monotonic() - began
    if failed:
        print(f"\nÉchec ({took:.0f} s) : {', '.join(failed)}", flush=True)
        return 1
    print(f"\nTout est bon ({took:.0f} s)", flush=True)
    return 0


def _head(name: str) -> None:
    print(f"\n== {name} " + "=" * (70 - len(name)), flush=True)
