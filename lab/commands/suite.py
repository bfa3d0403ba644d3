"""The test suite: which part runs in which process, and what is said of it at the end."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from lab.commands.checks import conclude, print_heading
from services.supervisor.launch import system_path

# Most tests wait for a server as long as they compute; whole stacks mostly wait, and go on beside all the rest.
WORKERS, FEW_WORKERS = "5", "2"
WHOLE_STACKS = "tests/system"
REST, SYSTEM = "pytest", "system"
RESULTS = Path(".test-results")
# Where a test leaves what its stack has written; tests/system/conftest.py reads it.
RESULTS_SETTING = "TERRITOIRE_TEST_RESULTS"
FAILURE = "ÉCHEC "  # How tests/conftest.py begins the line of a failure, when it happens.
SLOWEST = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """One test as JUnit has it."""

    name: str
    seconds: float
    failed: bool


def run_tests(checkout: Path, pytest_arguments: Sequence[str], *, unit: bool) -> int:
    """Run all tests, those that need no server, or what the arguments choose; 0 when all pass."""
    began = time.monotonic()
    results = checkout / RESULTS
    shutil.rmtree(results, ignore_errors=True)
    (results / SYSTEM).mkdir(parents=True)
    if unit:
        parts = {REST: [FEW_WORKERS, "-m", "unit", *pytest_arguments]}
    elif pytest_arguments:
        parts = {REST: [FEW_WORKERS, *pytest_arguments]}
    else:
        parts = {SYSTEM: [FEW_WORKERS, WHOLE_STACKS], REST: [WORKERS, "--ignore", WHOLE_STACKS]}
    running = {name: _start(checkout, results, name, arguments) for name, arguments in parts.items()}
    if SYSTEM in running:
        following = threading.Thread(target=_follow, args=(running[SYSTEM], results / SYSTEM / "output.log"))
        following.start()
        running[REST].wait()
        following.join()
    failed = [f"pytest ({name})" for name, process in running.items() if process.wait() != 0]
    _report(results, list(parts))
    return conclude(failed, time.monotonic() - began)


def _start(checkout: Path, results: Path, name: str, arguments: Sequence[str]) -> subprocess.Popen[str]:
    argv = [sys.executable, "-P", "-m", "pytest", "--dist", "loadfile", "--no-loadscope-reorder"]
    argv += [f"--junit-xml={results / name}.xml", "-n", *arguments]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{system_path()}"}
    environment[RESULTS_SETTING] = str(results)
    # Hundreds of processes are started: each would compile again what the last one did.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    output = subprocess.PIPE if name == SYSTEM else None
    return subprocess.Popen(
        argv, cwd=checkout, env=environment, stdout=output, stderr=subprocess.STDOUT if output else None, text=True
    )


def _follow(process: subprocess.Popen[str], log: Path) -> None:
    """Keep what the run beside says in a file, and show its failures when they happen."""
    with log.open("w", encoding="utf-8") as kept:
        for line in process.stdout or ():
            kept.write(line)
            kept.flush()
            if line.startswith(FAILURE):
                print(f"\n{line}", end="", flush=True)


def merge(junit: Path, parts: Sequence[Path]) -> list[Outcome]:
    """One JUnit file of several, and the tests in it; a part is absent when its pytest ended before writing it."""
    whole = ET.Element("testsuites")
    for part in parts:
        if part.exists():
            whole.extend(ET.parse(part).getroot())
            part.unlink()
    ET.ElementTree(whole).write(junit, encoding="utf-8", xml_declaration=True)
    return [
        Outcome(
            f"{case.get('classname', '')}::{case.get('name', '')}",
            float(case.get("time", "0")),
            case.find("failure") is not None or case.find("error") is not None,
        )
        for case in whole.iter("testcase")
    ]


def _report(results: Path, parts: Sequence[str]) -> None:
    """What failed, what took longest and where the rest is, over all parts."""
    junit = results / "junit.xml"
    tests = merge(junit, [results / f"{name}.xml" for name in parts])
    print_heading(f"les {SLOWEST} plus lents")
    for test in sorted(tests, key=lambda test: -test.seconds)[:SLOWEST]:
        print(f"{test.seconds:7.1f} s  {test.name}")
    failures = [test for test in tests if test.failed]
    if failures:
        print_heading("échecs")
    for test in failures:
        print(f"{FAILURE}{test.name}")
    print(f"\nJUnit : {junit}")
    if any((results / SYSTEM).iterdir()):
        print(f"Sorties et journaux des piles entières : {results / SYSTEM}")
