"""`./territoire test` on suites of a few lines: what it says while it runs, at its end, and leaves behind."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from lab.commands import suite
from lab.commands.suite import LONG, RESULTS, RESULTS_SETTING, merge, run_tests
from tests.cli.in_process import territoire
from tests.system.conftest import new_home

pytestmark = pytest.mark.starts_processes

CHECKOUT = Path(__file__).resolve().parents[3]
OUR_HOOKS = f"""
import sys
from importlib.util import module_from_spec, spec_from_file_location

import pytest

sys.modules.pop("tests", None)  # This suite's own folder has the name of ours.
spec = spec_from_file_location("our_hooks", {str(CHECKOUT / "tests" / "hooks.py")!r})
module = module_from_spec(spec)
spec.loader.exec_module(module)
globals().update({{name: value for name, value in vars(module).items() if not name.startswith("__")}})


@pytest.fixture
def server_folder() -> None: ...
"""
PASSES = "def test_passes() -> None: ...\n"
FAILS = "def test_fails() -> None: assert False, 'pourquoi'\n"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One module of unit tests, one of a test that needs a server, one of whole stacks; our own hooks."""
    monkeypatch.setattr(suite, "WORKERS", "1")  # Each is a process more, for tests of nothing.
    monkeypatch.setattr(suite, "FEW_WORKERS", "0")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # Half of what a pytest takes to start.
    monkeypatch.setenv("PYTEST_PLUGINS", "xdist.plugin")
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = ["--import-mode=importlib"]\n')
    (tmp_path / "tests" / "system").mkdir(parents=True)
    (tmp_path / "tests" / "conftest.py").write_text(OUR_HOOKS)
    (tmp_path / "tests" / "test_unit.py").write_text(PASSES)
    (tmp_path / "tests" / "test_server.py").write_text("def test_asks(server_folder) -> None: assert False\n")
    (tmp_path / "tests" / "system" / "test_stack.py").write_text("def test_stack() -> None: ...\n")
    return tmp_path


def run(checkout: Path, capfd: pytest.CaptureFixture[str], *arguments: str, unit: bool = False) -> tuple[int, str]:
    status = run_tests(checkout, arguments, unit=unit)
    return status, capfd.readouterr().out


def test_unit_runs_what_asks_for_no_server(checkout: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, said = run(checkout, capfd, "tests/test_unit.py", "tests/test_server.py", unit=True)

    assert status == 0, said
    assert "1 passed" in said
    assert "Tout est bon" in said


def test_those_of_a_browser_run_where_they_are_asked_for_and_leave_the_others_results(
    checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (checkout / "tests" / "browser").mkdir()
    (checkout / "tests" / "browser" / "test_page.py").write_text(PASSES + FAILS)
    for long in LONG:
        (checkout / long).parent.mkdir(exist_ok=True)
        (checkout / long).write_text(PASSES)
    (checkout / RESULTS).mkdir()
    (checkout / RESULTS / "junit.xml").write_text("")

    status = run_tests(checkout, ["-k", "passes"], unit=False, browser=True)

    assert (status, f"{len(LONG) + 1} passed, 1 deselected" in capfd.readouterr().out) == (0, True)
    assert (checkout / RESULTS / "browser" / "junit.xml").exists()
    assert (checkout / RESULTS / "junit.xml").exists()


def test_arguments_choose_what_pytest_runs(checkout: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (checkout / "tests" / "test_other.py").write_text(PASSES + FAILS)

    status, said = run(checkout, capfd, "tests/test_other.py", "-k", "passes")

    assert status == 0, said
    assert "1 passed" in said


def test_a_failure_is_named_when_it_happens_and_at_the_end(
    checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (checkout / "tests" / "test_server.py").unlink()
    (checkout / "tests" / "test_other.py").write_text(FAILS)

    status, said = run(checkout, capfd, "tests")

    assert status == 1
    first, _, rest = said.partition("FAILURES")
    assert "ÉCHEC tests/test_other.py::test_fails (call)" in first
    assert "ÉCHEC tests.test_other::test_fails" in rest.partition("plus lents")[2]
    assert "Échec (" in rest


def test_whole_stacks_run_beside_the_rest_and_their_output_is_kept(
    checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (checkout / "tests" / "test_server.py").unlink()
    (checkout / "tests" / "system" / "test_stack.py").write_text(f"print('du texte')\n{FAILS}")

    status, said = run(checkout, capfd)

    results = checkout / RESULTS
    assert status == 1
    assert "Échec" in said
    assert "pytest (system)" in said
    assert "pytest (pytest)" not in said
    beside, alone = said.split("== seul, tout le reste étant fini : tests/system/test_stack.py::test_fails")
    assert beside.count("ÉCHEC tests/system/test_stack.py::test_fails (call)") == 1
    assert alone.count("ÉCHEC tests/system/test_stack.py::test_fails (call)") == 1
    assert f"piles entières : {results / 'system'}" in said
    assert "pourquoi" in (results / "system" / "output.log").read_text("utf-8")
    tests = merge(results / "copy.xml", [results / "junit.xml"])
    assert {(test.name.rpartition("::")[2], test.failed) for test in tests} == {
        ("test_passes", False),
        ("test_fails", True),
    }


ONCE = """
from pathlib import Path

def test_loses_once() -> None:
    lost = Path("lost")
    first, _ = not lost.exists(), lost.touch()
    assert not first, "trop tard"
"""


def test_a_test_that_passes_alone_is_listed_as_unstable_with_its_failure_and_does_not_fail_the_run(
    checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (checkout / "tests" / "test_server.py").unlink()
    (checkout / "tests" / "test_once.py").write_text(ONCE)

    status, said = run(checkout, capfd)

    assert status == 0, said
    assert "trop tard" in said  # The first failure's own output.
    assert "== seul, tout le reste étant fini : tests/test_once.py::test_loses_once" in said
    instable = said.partition("== instables")[2]
    assert "INSTABLE tests.test_once::test_loses_once : échec en " in instable
    assert "ÉCHEC" not in instable
    assert "1 instable(s))" in said.splitlines()[-1]
    junit = ET.parse(checkout / RESULTS / "junit.xml").getroot()
    (case,) = [case for case in junit.iter("testcase") if case.get("name") == "test_loses_once"]
    assert "trop tard" in (case.findtext("flakyFailure") or "")
    assert [found.get("name") for found in case.iter("property")] == ["unstable"]
    assert {suite.get("failures") for suite in junit.iter("testsuite")} == {"0"}


def test_a_test_that_fails_alone_too_fails_the_run_beside_an_unstable_one(
    checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (checkout / "tests" / "test_server.py").unlink()
    (checkout / "tests" / "test_other.py").write_text(ONCE + FAILS)

    status, said = run(checkout, capfd)

    assert status == 1
    assert "INSTABLE tests.test_other::test_loses_once" in said
    assert "ÉCHEC tests.test_other::test_fails" in said.partition("== échecs")[2]
    assert "Échec (" in said.splitlines()[-1]
    assert "1 instable(s)" in said.splitlines()[-1]


@pytest.mark.parametrize(
    ("failed", "status"),
    [
        ([f"tests/test_other.py::test_fails[{n}]" for n in range(4)], 1),
        (["tests/test_that_cannot_be_imported.py"], 1),
        (["tests/test_other.py::test_fails"], 2),
    ],
    ids=["four", "not collected", "interrupted"],
)
def test_what_is_no_bad_luck_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failed: list[str], status: int
) -> None:
    noted = tmp_path / "pytest.cache" / "v" / "cache" / "lastfailed"
    noted.parent.mkdir(parents=True)
    noted.write_text(json.dumps(dict.fromkeys(failed, True)))
    started: list[str] = []
    monkeypatch.setattr(suite, "_start", lambda *arguments: started.append(arguments[2]))

    assert suite._run_failed_alone(tmp_path, tmp_path, {"system": 0, "pytest": status}) == {}
    assert started == []


def test_what_a_stack_wrote_outlives_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RESULTS_SETTING, str(tmp_path / "results"))

    for line in ("une ligne\n", "une autre\n"):  # The next run's take the place of the first's.
        with new_home("outlived") as home:
            (home / "logs").mkdir(parents=True)
            (home / "logs" / "network.log").write_text(line)

        assert not home.exists()
        assert (tmp_path / "results" / "system" / "outlived" / "network.log").read_text() == line


def test_a_pytest_that_wrote_no_results_is_not_taken_for_one_without_failures(
    checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status, said = run(checkout, capfd, "--no-such-option")

    assert status == 1
    assert "Échec" in said


def test_the_command_hands_to_pytest_what_is_not_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, list[str], bool, bool]] = []

    def record(checkout: Path, arguments: list[str], *, unit: bool, browser: bool) -> int:
        asked.append((checkout, arguments, unit, browser))
        return 3

    monkeypatch.setattr(suite, "run_tests", record)
    ran = territoire("test", "--unit", "tests/test_dependencies.py", "-k", "by_hash")

    assert ran.returncode == 3
    assert asked == [(CHECKOUT, ["tests/test_dependencies.py", "-k", "by_hash"], True, False)]


def test_a_part_whose_failures_are_not_known_is_not_passed_by_those_of_another(checkout: Path) -> None:
    results = checkout / RESULTS
    noted = results / "pytest.cache" / "v" / "cache" / "lastfailed"
    noted.parent.mkdir(parents=True)
    noted.write_text(json.dumps({"tests/test_unit.py::test_passes": True}))

    assert suite._run_failed_alone(checkout, results, {"pytest": 1, "system": 1}) == {}
    assert suite._run_failed_alone(checkout, results, {"pytest": 1, "system": 0}).keys() == {
        "tests.test_unit::test_passes"
    }
