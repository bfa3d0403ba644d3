"""How `chaos` ends: what was not shown is no success."""

from typing import Any

import pytest
from typer import Exit

from lab.chaos.outcome import Outcome
from lab.commands import chaos
from lab.simulator.account import Account


def ended(name: str) -> Outcome:
    return Outcome(name, name, account=Account(sent=1, heard=1, stored=1), drained=True)


@pytest.mark.parametrize(("not_run", "status"), [("", 0), ("le paquet faketime manque", 1)])
def test_a_case_that_could_not_be_played_here_is_no_success(
    not_run: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def play(_cases: Any, _play: Any, _console: Any, outcomes: list[Outcome]) -> None:
        outcomes += [ended("kill-ingest"), ended("clock-jumps")]
        outcomes[1].not_run = not_run

    monkeypatch.setattr(chaos, "_run", play)

    with pytest.raises(Exit) as left:
        chaos.chaos(["kill-ingest", "clock-jumps"])

    assert left.value.exit_code == status
    assert ("non exécuté" in capsys.readouterr().out) == bool(not_run)
