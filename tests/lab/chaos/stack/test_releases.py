"""What cannot be upgraded from fails the case, and is never passed over."""

from pathlib import Path

import pytest

from lab.chaos.outcome import CaseFailed
from lab.chaos.stack import releases
from lab.chaos.stack.releases import prepared_upgrade
from lab.programs import NotInstalled, Program, install_commit
from lab.release.last import Release, UnusableRelease
from registry.schema import migrations
from services.supervisor.stack_options import SERVICES


async def test_a_release_that_is_not_there_fails_the_case(monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(_checkout: Path) -> Release:
        raise UnusableRelease("le commit n'est pas dans cette copie partielle")

    monkeypatch.setattr(releases, "last_release", reject)

    with pytest.raises(CaseFailed, match="copie partielle"):
        async with prepared_upgrade():
            pass


async def test_a_commit_that_cannot_be_archived_fails_the_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "last_release", lambda _checkout: Release("1.0.0", "0" * 40))

    with pytest.raises(CaseFailed, match="git archive 0000"):
        async with prepared_upgrade():
            pass


async def test_libraries_that_cannot_be_had_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.programs.INSTALL", ("no-such-command",))

    with pytest.raises(NotInstalled, match="commande inconnue : no-such-command"):
        await install_commit("HEAD", tmp_path / "former")


def test_the_program_that_is_checked_out_knows_its_migrations_and_services() -> None:
    this = Program.this()

    assert this.migrations == len(migrations())
    assert all(map(this.has_service, SERVICES))
    assert not this.has_service("of_tomorrow")
