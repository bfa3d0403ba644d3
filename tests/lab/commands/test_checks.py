"""`./territoire check`, and what continuous integration runs."""

import shutil
import subprocess
from pathlib import Path

import pytest

from lab.commands import checks

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def test_every_check_runs_also_after_one_has_failed(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    tools = [("first", ["sh", "-c", "echo one; exit 1"]), ("second", ["sh", "-c", "echo two"])]
    monkeypatch.setattr(checks, "commands", lambda: tools)

    status = checks.run_checks(checkout)

    said = capfd.readouterr().out
    assert status == 1
    assert said.index("== first") < said.index("one") < said.index("== second") < said.index("two")
    assert said.rstrip().endswith(" : first")


def test_a_link_that_leads_nowhere_fails_the_check(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "commands", list)
    (checkout / "README.md").write_text("[là](gone.md)\n")
    subprocess.run(["git", "add", "."], cwd=checkout, check=True)

    status = checks.run_checks(checkout)

    assert status == 1
    assert "README.md:1: gone.md : fichier introuvable" in capfd.readouterr().out


def test_where_everything_holds_the_status_is_0(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "commands", lambda: [("first", ["true"])])

    assert checks.run_checks(checkout) == 0
    assert "Tout est bon" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("check", "test", "status"), [(0, 0, 0), (1, 0, 1), (0, 1, 1)], ids=["both hold", "check fails", "test fails"]
)
def test_continuous_integration_runs_check_and_then_test_whatever_check_says(
    tmp_path: Path, check: int, test: int, status: int
) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(CHECKOUT / ".ci" / "run", tmp_path / ".ci" / "run")
    (tmp_path / "territoire").write_text(
        "import os, sys\nprint(os.environ['CI'], *sys.argv[1:])\n"
        f"sys.exit({{'check': {check}, 'test': {test}}}[sys.argv[1]])\n"
    )

    ran = subprocess.run([tmp_path / ".ci" / "run", "-k", "x"], capture_output=True, text=True, check=False)

    assert ran.stdout.splitlines() == ["true check", "true test -k x"]
    assert ran.returncode == status
