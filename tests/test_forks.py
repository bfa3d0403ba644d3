"""Workers that are forked after collection, on suites of a few lines: what ran, and what is said when one dies."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

pytestmark = pytest.mark.starts_processes

CHECKOUT = Path(__file__).resolve().parents[1]
HOOKS = f"""
import sys
from importlib.util import module_from_spec, spec_from_file_location

import pytest

spec = spec_from_file_location("forks", {str(CHECKOUT / "tests" / "forks.py")!r})
forks = module_from_spec(spec)
sys.modules["forks"] = forks
spec.loader.exec_module(forks)


def pytest_addoption(parser):
    parser.addoption("--forks", type=int, default=0)
    parser.addoption("--beside", type=int)


def pytest_runtestloop(session):
    forks.run_forked(session, session.config.getoption("forks"), session.config.getoption("beside"))
    return True


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    print("started", file=open("started", "a"))
    yield tmp_path_factory.mktemp("server")
    print("stopped", file=open("stopped", "a"))
"""
PASSES = """
import warnings, pytest

def test_first(server, tmp_path) -> None:
    assert server.parent == tmp_path.parent

@pytest.mark.parametrize("number", range(3))
def test_others(server, number) -> None:
    assert server.exists()
    warnings.warn("attention", stacklevel=1)

def test_skipped() -> None:
    pytest.skip("pas ici")
"""
FAILS = "def test_fails() -> None:\n    print('du texte')\n    assert False, 'pourquoi'\n"
DIES = """
import os

def test_before() -> None: ...

def test_dies() -> None: os._exit(0)

def test_after() -> None: ...
"""
BREAKS = """
import pytest

@pytest.fixture(scope="session")
def broken():
    yield
    raise ValueError("jamais fini")

def test_is_right(broken) -> None: ...
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Two files of what passes; a file for each way to fail is added by the test."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    (tmp_path / "conftest.py").write_text(HOOKS)
    for name in ("one", "two"):
        (tmp_path / f"test_{name}.py").write_text(PASSES)
    return tmp_path


def run(suite: Path, forks: int = 2, *options: str) -> tuple[int, str, dict[str, str]]:
    """The status, what was said, and each test's outcome as JUnit has it."""
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    argv = [sys.executable, "-m", "pytest", "-q", "-rs", "--forks", str(forks), "--junit-xml=junit.xml", *options]
    done = subprocess.run(argv, cwd=suite, env=environment, capture_output=True, text=True, check=False)
    cases = ET.parse(suite / "junit.xml").getroot().iter("testcase")
    outcomes = {f"{one.get('classname')}::{one.get('name')}": "".join(kind.tag for kind in one) for one in cases}
    return done.returncode, done.stdout, outcomes


def test_every_test_runs_once_in_a_worker_and_each_worker_stops_its_servers(suite: Path) -> None:
    status, said, outcomes = run(suite)

    assert status == 0, said
    assert "8 passed, 2 skipped, 6 warnings" in said
    assert "pas ici" in said
    assert sorted(outcomes.values()) == [""] * 8 + ["skipped"] * 2
    # A busy machine may give one worker both files.
    started = (suite / "started").read_text().count("started")
    assert (suite / "stopped").read_text().count("stopped") == started > 0


def test_one_more_worker_begins_when_what_runs_beside_has_ended(suite: Path) -> None:
    for file in suite.glob("test_*.py"):
        file.write_text(
            "from pathlib import Path\n\ndef test_is_later() -> None:\n    assert Path('over').exists()\n"
        )
    with subprocess.Popen("sleep 2; touch over", shell=True, cwd=suite) as beside:
        status, said, _ = run(suite, 0, f"--beside={beside.pid}")

    assert status == 0, said
    assert "2 passed" in said
    assert run(suite, 1, f"--beside={beside.pid}")[0] == 0  # Nobody waits for what has ended before.


def test_what_fails_in_a_worker_is_said_with_its_output_and_runs_first_when_asked_again(suite: Path) -> None:
    (suite / "test_three.py").write_text(FAILS)
    (suite / "test_four.py").write_text(BREAKS)

    status, said, outcomes = run(suite)

    assert status == 1
    assert "pourquoi" in said
    assert "du texte" in said
    assert "ValueError: jamais fini" in said
    assert outcomes["test_three::test_fails"] == "failure"
    assert "test_three.py::test_fails" in (suite / ".pytest_cache/v/cache/lastfailed").read_text()
    assert sorted(outcomes.values())[:9] == [""] * 9


@pytest.mark.parametrize("forks", [1, 2])
def test_a_worker_that_dies_fails_what_it_had_in_hand_and_no_test_is_left_out_in_silence(
    suite: Path, forks: int
) -> None:
    (suite / "test_a.py").write_text(DIES)

    status, said, outcomes = run(suite, forks)

    assert status != 0
    assert "died in this test" in said
    assert outcomes["test_a::test_before"] == ""
    assert outcomes["test_a::test_dies"] == outcomes["test_a::test_after"] == "failure"
    if forks > 1:  # Somebody takes the other files.
        assert sorted(outcomes.values()) == [""] * 9 + ["failure"] * 2 + ["skipped"] * 2
    else:
        assert "10 tests have not run" in said
