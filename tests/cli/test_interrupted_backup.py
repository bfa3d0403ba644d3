"""A backup that is ended by a signal, or was killed, leaves nothing that fills the disk."""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pyrage.x25519 import Identity  # pyright: ignore[reportMissingModuleSource]
from typer.testing import CliRunner

from cli.app import app
from core.runtime.postgres import connect
from ingest.chunks import CHUNKS_LOCK
from tests.cli.on_call import CHECKOUT
from tests.conftest import Database

DUMPING = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_dump' AND datname = current_database()"
)


LOCKED_OUT = f"{DUMPING} AND wait_event_type = 'Lock'"
WAITS_FOR_CHUNKS = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'territoire-backup' AND datname = current_database() AND wait_event = 'advisory'
"""


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def begun(arguments: list[str]) -> "subprocess.Popen[str]":
    """A backup, in a process of its own."""
    return subprocess.Popen(
        # A shell that starts the tests behind itself has them ignore Ctrl-C, and whatever they start.
        ["env", "--default-signal=INT", sys.executable, "-P", "-m", "cli", "backup", *arguments],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        cwd=CHECKOUT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill_child_of(pid: int) -> None:
    [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    os.kill(int(child), signal.SIGKILL)


async def until(reached: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await reached():  # noqa: ASYNC110 - Neither the server nor a folder has an event.
            await asyncio.sleep(0.05)


@pytest.mark.starts_processes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
async def test_a_backup_that_is_told_to_end_leaves_nothing(
    database: Database, tmp_path: Path, number: signal.Signals, encrypted: bool
) -> None:
    recipients = str(Identity.generate().to_public())
    how = ["--recipients", recipients] if encrypted else ["--plain"]
    admin, forgotten = await connect(database.admin_url), await connect(database.admin_url)
    async with forgotten.transaction():
        await forgotten.execute("LOCK TABLE unknown_gateway")  # pg_dump waits, its file begun.
        run = begun([str(tmp_path), "--database-url", database.admin_url, *how])

        async def is_dumping() -> bool:
            return bool(await admin.fetchval(DUMPING) and files(tmp_path))

        async def is_over() -> bool:  # It waits for the lock no more, either.
            return not await admin.fetchval(DUMPING)

        await until(is_dumping)
        run.send_signal(number)
        _, said = run.communicate(timeout=60)
        await until(is_over)
        with pytest.raises(ProcessLookupError):
            os.killpg(run.pid, 0)
    for connection in (admin, forgotten):
        await connection.close()

    assert (run.returncode, files(tmp_path)) == (128 + number, [])
    assert "Traceback" not in said


@pytest.mark.starts_processes
async def test_a_dump_that_is_killed_while_it_waits_for_a_lock_leaves_no_session(
    database: Database, tmp_path: Path
) -> None:
    """As where a busy machine takes longer to cancel its query than is waited for that."""
    admin, forgotten = await connect(database.admin_url), await connect(database.admin_url)
    async with forgotten.transaction():
        await forgotten.execute("LOCK TABLE unknown_gateway")
        run = begun([str(tmp_path), "--database-url", database.admin_url, "--plain"])

        async def is_locked_out() -> bool:
            return await admin.fetchval(LOCKED_OUT) > 0

        async def is_over() -> bool:
            return not await admin.fetchval(DUMPING)

        await until(is_locked_out)
        kill_child_of(run.pid)
        run.communicate(timeout=60)
        await until(is_over)
    for connection in (admin, forgotten):
        await connection.close()

    assert (run.returncode, files(tmp_path)) == (1, [])


@pytest.mark.starts_processes
async def test_no_chunk_changes_from_before_the_snapshot_to_the_end_of_the_dump(
    database: Database, tmp_path: Path
) -> None:
    """Of one that is dropped in between pg_dump says that it does not exist, and fails."""
    admin, dropping, writing = [await connect(database.admin_url) for _ in range(3)]
    may_change = "SELECT pg_try_advisory_xact_lock($1)"

    async def waits() -> bool:
        return await admin.fetchval(WAITS_FOR_CHUNKS) > 0

    async def is_locked_out() -> bool:
        return await admin.fetchval(LOCKED_OUT) > 0

    async with writing.transaction():
        await writing.execute("LOCK TABLE unknown_gateway")
        async with dropping.transaction():
            assert await dropping.fetchval(may_change, CHUNKS_LOCK)
            run = begun([str(tmp_path), "--database-url", database.admin_url, "--plain"])
            await until(waits)
            assert not await admin.fetchval(DUMPING)
        await until(is_locked_out)
        assert not await admin.fetchval(may_change, CHUNKS_LOCK)
    _, said = run.communicate(timeout=60)
    assert await admin.fetchval(may_change, CHUNKS_LOCK)
    for connection in (admin, dropping, writing):
        await connection.close()

    assert run.returncode == 0, said


def test_what_killed_backups_have_left_is_deleted_and_what_another_one_writes_is_not(
    database: Database, tmp_path: Path
) -> None:
    dead, alive, other = (
        tmp_path / f"{name}.part"
        for name in ("territoire-2026-11-28T021500.dump.age", "territoire-2026-11-29T021500.dump", "autre.dump")
    )
    for file in (dead, alive, other):
        file.write_bytes(b"x")
    with alive.open("rb") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        done = CliRunner().invoke(app, ["backup", str(tmp_path), "--plain", "--database-url", database.admin_url])

    assert done.exit_code == 0, done.output
    assert f"Effacée, d'une sauvegarde interrompue : {dead.name}" in done.output
    assert sorted(tmp_path.glob("*.part")) == [other, alive]
