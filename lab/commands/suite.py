"""The test suite: which part runs in which process, and what is said of it at the end."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from lab.commands.checks import conclude, print_heading
from services.supervisor.launch import system_path

# Most tests wait for a server as long as they compute: four left a quarter of two cores idle. Whole stacks, one
# after the other, go on beside all the rest, and one more worker when they are over: seven processes in all took
# the cores from each other, and lost what they had to do in time.
WORKERS, FEW_WORKERS = "5", "2"
# xdist hands a crashed worker's file to nobody, and waits for it for ever.
BY_XDIST = ("--dist", "loadfile", "--no-loadscope-reorder", "--max-worker-restart", "0")
WHOLE_STACKS = "tests/system"
# Minutes of a demonstration to its balanced account, of the faults that take long, an upgrade among them, of a
# month of crashes and of restores to an instant, and a client that is generated of every operation: with what else
# people look at, after all the others.
LONG = (
    "tests/system/test_demo.py",
    "tests/system/test_long_chaos.py",
    "tests/system/test_upgrade.py",
    "tests/alerting/test_notified_once.py",
    "tests/cli/test_restored_instant.py",
    "tests/api/test_generated_client.py",
)
# One stack and one browser for all of them; nothing that is asked for by no name runs them: see pyproject.toml.
IN_A_BROWSER = "tests/browser"
REST, SYSTEM, BROWSER = "pytest", "system", "browser"
RESULTS = Path(".test-results")
# Where a test leaves what its stack has written; tests/system/conftest.py reads it.
RESULTS_SETTING = "TERRITOIRE_TEST_RESULTS"
FAILURE = "ÉCHEC "  # How tests/hooks.py begins the line of a failure, when it happens.
SLOWEST = 20
# More than these are no bad luck: docs/decisions/0049-a-test-that-lost-to-the-machine-is-run-alone.md.
RUN_AGAIN_AT_MOST = 3
UNSTABLE = "INSTABLE "
TESTS_FAILED = 1  # pytest's exit status; the others say that it could not run them all.


@dataclass(frozen=True, slots=True)
class Outcome:
    """One test as JUnit has it; an unstable one failed beside the others, and passed alone."""

    name: str
    seconds: float
    failed: bool
    alone_s: float | None = None
    """How long an unstable test took alone; None: it was not unstable."""


def run_tests(checkout: Path, pytest_arguments: Sequence[str], *, unit: bool, browser: bool = False) -> int:
    """Run all tests, those without servers, those of a browser, or what the arguments choose; 0 when all pass."""
    began = time.monotonic()
    # A browser's are beside the others': continuous integration runs both.
    results = checkout / RESULTS / BROWSER if browser else checkout / RESULTS
    shutil.rmtree(results, ignore_errors=True)
    (results / SYSTEM).mkdir(parents=True)
    if browser:
        arguments = (
            pytest_arguments
            if any(IN_A_BROWSER in word for word in pytest_arguments)
            else (*LONG, IN_A_BROWSER, *pytest_arguments)
        )
        parts = {BROWSER: arguments}
    elif unit:
        parts = {REST: ["--forks", FEW_WORKERS, "-m", "unit", *pytest_arguments]}
    elif pytest_arguments:
        parts = {REST: ["-n", FEW_WORKERS, *BY_XDIST, *pytest_arguments]}
    else:
        later = [f"--ignore={long}" for long in LONG]
        parts = {
            SYSTEM: [WHOLE_STACKS, *later],
            REST: ["--forks", WORKERS, "--ignore", WHOLE_STACKS, *later],
        }
    running: dict[str, subprocess.Popen[str]] = {}
    for name, arguments in parts.items():
        # Once whole stacks are done, the rest has the place that they had.
        beside = [f"--beside={running[SYSTEM].pid}"] if SYSTEM in running else []
        running[name] = _start(checkout, results, name, [*arguments, *beside])
    if SYSTEM in running:
        following = threading.Thread(target=_follow, args=(running[SYSTEM], results / SYSTEM / "output.log"))
        following.start()
        running[REST].wait()
        following.join()
    statuses = {name: process.wait() for name, process in running.items()}
    # Who chose what runs wants to see it fail.
    is_whole = not unit and not pytest_arguments
    passed_alone = _run_failed_alone(checkout, results, statuses) if is_whole else {}
    tests = merge(results / "junit.xml", [results / f"{name}.xml" for name in parts], passed_alone)
    _report(results, tests)
    unstable = [test for test in tests if test.alone_s is not None]
    if unstable and not any(test.failed for test in tests):
        statuses = {}
    failed = [f"pytest ({name})" for name, status in statuses.items() if status != 0]
    return conclude(failed, time.monotonic() - began, f"{len(unstable)} instable(s)" if unstable else "")


def _start(checkout: Path, results: Path, name: str, arguments: Sequence[str]) -> subprocess.Popen[str]:
    argv = [sys.executable, "-P", "-m", "pytest"]
    argv += [f"--junit-xml={results / name}.xml", "-o", f"cache_dir={_cache(results, name)}", *arguments]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{system_path()}"}
    environment[RESULTS_SETTING] = str(results)
    # Hundreds of processes are started: each would compile again what the last one did.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    output = subprocess.PIPE if name == SYSTEM else None
    return subprocess.Popen(
        argv, cwd=checkout, env=environment, stdout=output, stderr=subprocess.STDOUT if output else None, text=True
    )


def _cache(results: Path, name: str) -> Path:
    """Where pytest writes which tests failed, by the names that it takes as arguments."""
    return results / f"{name}.cache"


def _run_failed_alone(checkout: Path, results: Path, statuses: Mapping[str, int]) -> dict[str, float]:
    """Run each of a few failed tests again, with nothing beside it; how long those took that passed.

    A run that ended otherwise than by failed tests, or by many, is what it is.
    """
    if not set(statuses.values()) <= {0, TESTS_FAILED}:
        return {}
    failed: list[str] = []
    for name, status in statuses.items():
        noted = _cache(results, name) / "v" / "cache" / "lastfailed"
        if status == TESTS_FAILED and not noted.exists():
            return {}  # Which failed is not known.
        failed += json.loads(noted.read_text("utf-8")) if noted.exists() else []
    collected = all("::" in test for test in failed)
    if len(failed) > RUN_AGAIN_AT_MOST or not collected:
        return {}
    passed: dict[str, float] = {}
    for number, test in enumerate(failed, start=1):
        print_heading(f"seul, tout le reste étant fini : {test}")
        name = f"alone-{number}"
        status = _start(checkout, results, name, [test]).wait()
        ran = results / f"{name}.xml"
        if status == 0:
            cases = [case for case in ET.parse(ran).iter("testcase") if case.find("skipped") is None]
            passed |= {_name(case): _seconds(case) for case in cases}
        ran.unlink(missing_ok=True)
    return passed


def _follow(process: subprocess.Popen[str], log: Path) -> None:
    """Keep what the run beside says in a file, and show its failures when they happen."""
    with log.open("w", encoding="utf-8") as kept:
        for line in process.stdout or ():
            kept.write(line)
            kept.flush()
            if line.startswith(FAILURE):
                print(f"\n{line}", end="", flush=True)


def merge(junit: Path, parts: Sequence[Path], passed_alone: Mapping[str, float] | None = None) -> list[Outcome]:
    """One JUnit file of several, and the tests in it; a part is absent when its pytest ended before writing it.

    The failure of a test that passed alone is kept as a `flakyFailure`, as Surefire has it.
    """
    whole = ET.Element("testsuites")
    for part in parts:
        if part.exists():
            whole.extend(ET.parse(part).getroot())
            part.unlink()
    tests = [
        _outcome(suite, case, passed_alone or {})
        for suite in whole.iter("testsuite")
        for case in suite.iter("testcase")
    ]
    ET.ElementTree(whole).write(junit, encoding="utf-8", xml_declaration=True)
    return tests


def _name(case: ET.Element) -> str:
    return f"{case.get('classname', '')}::{case.get('name', '')}"


def _seconds(case: ET.Element) -> float:
    return float(case.get("time", "0"))


def _outcome(suite: ET.Element, case: ET.Element, passed_alone: Mapping[str, float]) -> Outcome:
    """One test; JUnit is rewritten where it failed beside the others only."""
    name, seconds = _name(case), _seconds(case)
    wrong = [(kind, found) for kind in ("failure", "error") for found in case.findall(kind)]
    if not wrong or name not in passed_alone:
        return Outcome(name, seconds, failed=bool(wrong))
    for kind, found in wrong:
        found.tag = f"flaky{kind.capitalize()}"
        count = f"{kind}s"
        suite.set(count, str(int(suite.get(count, "1")) - 1))
    properties = case.find("properties")
    if properties is None:
        properties = ET.SubElement(case, "properties")
    said = f"failed beside the others after {seconds:.1f} s, passed alone in {passed_alone[name]:.1f} s"
    ET.SubElement(properties, "property", name="unstable", value=said)
    return Outcome(name, seconds, failed=False, alone_s=passed_alone[name])


def _report(results: Path, tests: Sequence[Outcome]) -> None:
    """What failed, what took longest and where the rest is, over all parts."""
    print_heading(f"les {SLOWEST} plus lents")
    for test in sorted(tests, key=lambda test: -test.seconds)[:SLOWEST]:
        print(f"{test.seconds:7.1f} s  {test.name}")
    unstable = [test for test in tests if test.alone_s is not None]
    if unstable:
        print_heading("instables : échoués parmi les autres, réussis seuls")
    for test in unstable:
        print(f"{UNSTABLE}{test.name} : échec en {test.seconds:.1f} s, réussite en {test.alone_s:.1f} s")
    failures = [test for test in tests if test.failed]
    if failures:
        print_heading("échecs")
    for test in failures:
        print(f"{FAILURE}{test.name}")
    print(f"\nJUnit : {results / 'junit.xml'}")
    if any((results / SYSTEM).iterdir()):
        print(f"Sorties et journaux des piles entières : {results / SYSTEM}")
