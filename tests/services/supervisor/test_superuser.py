"""The superuser's password is the one that the home says, whatever the cluster had before."""

import os
import signal
import stat
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from core.runtime.postgres import InvalidPasswordError, connect
from services.supervisor.ports import free_tcp_port
from services.supervisor.postgres import SUPERUSER, ClusterFailed, PrivatePostgres
from tests.conftest import run_apart, running

FORMER, NEW = "0f" * 24, "1e' \\" * 4
pytestmark = pytest.mark.starts_processes


@pytest.fixture(scope="module")
def former(server_folder: Path) -> PrivatePostgres:
    """A cluster with a table in it, stopped."""
    folder = server_folder / "superuser"
    folder.mkdir(mode=0o711)
    server = PrivatePostgres(folder / "data", free_tcp_port(), FORMER, durable=False)
    server.prepare()
    with running(server.launch(), server.ready, folder / "log"):
        run_apart(done(server, "CREATE TABLE kept AS SELECT 7 AS number"))
    return server


async def done(server: PrivatePostgres, statement: str) -> object:
    connection = await connect(server.url("postgres"))
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def opened_by(server: PrivatePostgres) -> object:
    log = server.data.parent / "log"
    with running(server.launch(), server.answers, log):
        assert run_apart(server.answers()) is True
        try:
            return run_apart(done(server, "SELECT number FROM kept"))
        except InvalidPasswordError:
            return "refused"


def test_a_new_password_opens_and_the_former_one_is_refused(former: PrivatePostgres) -> None:
    changed = replace(former, password=NEW)

    changed.prepare()

    assert opened_by(changed) == 7
    assert opened_by(former) == "refused"
    note = changed.data.parent / "data.superuser"
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    assert NEW not in note.read_text()
    assert NEW not in (changed.data.parent / "log").read_text()


def test_a_cluster_that_has_the_password_is_not_touched(
    former: PrivatePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    former.prepare()
    monkeypatch.setattr(PrivatePostgres, "set_password", lambda _: pytest.fail("once more"))

    former.prepare()

    assert opened_by(former) == 7


def test_what_was_restored_from_another_time_has_the_password_of_today(former: PrivatePostgres) -> None:
    """The note goes with the folder that was there before; a cluster that is put there has none."""
    replace(former, password=NEW).prepare()
    (former.data.parent / "data.superuser").unlink()

    former.prepare()

    assert opened_by(former) == 7


@pytest.mark.parametrize("after_s", [0.0, 0.15, 0.3, 0.5])
def test_a_start_that_is_killed_while_it_sets_the_password_is_made_good_by_the_next(
    former: PrivatePostgres, after_s: float
) -> None:
    (former.data.parent / "data.superuser").unlink()
    changed = replace(former, password=f"{after_s}")
    starting = get_context("fork").Process(target=changed.prepare)
    starting.start()
    time.sleep(after_s)
    assert starting.pid is not None
    os.kill(starting.pid, signal.SIGKILL)
    starting.join()

    changed.prepare()

    assert opened_by(changed) == 7


def test_a_cluster_on_which_a_server_runs_is_left_to_it(
    former: PrivatePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.supervisor.postgres.ALONE_ATTEMPTS", 1)
    former.prepare()
    stranger = replace(former, password="a stranger's")

    with running(former.launch(), former.ready, former.data.parent / "log"):
        with pytest.raises(ClusterFailed, match=SUPERUSER) as refused:
            stranger.prepare()
        assert run_apart(former.ready()) is True
    assert "stranger's" not in str(refused.value)
