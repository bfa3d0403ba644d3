"""The restore of every month: into a server of its own, against the account of an instant, and away again."""

import asyncio
import secrets
import shutil
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cli.account import Account, count, differences, mark_instant
from cli.drill_rows import Drill, record_drill
from cli.recovery import RECOVERING, NotRecovered, Target, make_empty, recovered
from cli.restored import make_good
from core.runtime.errors import OperatorError, describe_defect, located_reason, sql_reason
from registry.erasures import Entry
from services.supervisor.launch import ServerMissing
from services.supervisor.pgbackrest import PgBackRest, PgBackRestFailed
from services.supervisor.postgres import ClusterFailed, PrivatePostgres
from services.supervisor.supervisor import StartFailed

if TYPE_CHECKING:
    from registry.keys import KeyWrap

ROOM = 1.2
ARCHIVED_WITHIN_S, LOOKS_EVERY_S = 180.0, 0.5
DETAIL_LENGTH = 2000
SIZE = "SELECT sum(pg_database_size(oid))::bigint FROM pg_database"
# The segment of the mark is closed, and known by its name.
CLOSE_SEGMENT = "SELECT pg_walfile_name($1::text::pg_lsn) FROM pg_switch_wal()"
IS_ARCHIVED = 'SELECT coalesce(left(last_archived_wal, 24) COLLATE "C" >= $1, false) FROM pg_stat_archiver'


class Failed(Exception):
    """Why the drill ends, by its code, and what was seen."""

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome


# Of a mark in the log: the address of a server, as a superuser, that was restored to it. It raises `Failed`.
Restoring = Callable[[str], AbstractAsyncContextManager[str]]


@dataclass(frozen=True, slots=True)
class Ending:
    """What a restore ends with."""

    keys: "KeyWrap"
    entries: Sequence[Entry]


# How to restore, and what it ends with; None: with nothing more. It raises `Failed`, or OSError of files.
Preparing = Callable[[], tuple[Restoring, Ending | None]]


async def run_drill(url: str, prepare: Preparing) -> Drill:
    """Try a restore of the database at `url`, and write in it how it went, whatever it failed by.

    Raises:
        PostgresError, DATABASE_AWAY: that cannot be written.
    """
    from core.runtime.postgres import DATABASE_AWAY, PostgresError, database_reason

    began = datetime.now(UTC)
    try:
        restoring, ending = _prepared(prepare)
        outcome = await _drill(url, restoring, ending, began)
    except Failed as failed:
        outcome = _failed(began, failed.outcome, str(failed))
    except (*DATABASE_AWAY, PostgresError) as refused:
        outcome = _failed(began, "not_restored", database_reason(refused))
    except Exception as defect:
        await _record(url, _failed(began, "not_restored", describe_defect(defect)))
        raise
    await _record(url, outcome)
    return outcome


def _prepared(prepare: Preparing) -> tuple[Restoring, Ending | None]:
    try:
        return prepare()
    except OSError as refused:
        raise _of_a_file(refused) from refused


def _of_a_file(failure: OSError) -> Failed:
    """What the system says of a file or a folder, which is not the database's."""
    return Failed("not_restored", located_reason(failure))


def _failed(began: datetime, outcome: str, detail: str) -> Drill:
    return Drill(began, outcome, detail[:DETAIL_LENGTH])


async def _record(url: str, outcome: Drill) -> None:
    from core.runtime.postgres import connect

    connection = await connect(url, "territoire-drill")
    try:
        await record_drill(connection, outcome)
    finally:
        await connection.close()


async def _drill(url: str, restoring: Restoring, ending: Ending | None, began: datetime) -> Drill:
    octets = await size_of(url)
    name = f"drill-{began:%Y-%m-%dT%H%M%S}-{secrets.token_hex(4)}"
    account = await _mark(url, name)
    restoring_since = time.monotonic()
    async with restoring(name) as restored:
        restored_s = time.monotonic() - restoring_since
        wrong = await _compare(restored, account, ending)
        ready_s = time.monotonic() - restoring_since
    if wrong:
        raise Failed("counts_differ", " ; ".join(wrong))
    return Drill(began, "good", "", octets, restored_s, ready_s)


async def size_of(url: str) -> int:
    """Octets of all databases of this server."""
    from core.runtime.postgres import connect

    connection = await connect(url, "territoire-drill")
    try:
        return await connection.fetchval(SIZE)
    finally:
        await connection.close()


async def _mark(url: str, name: str) -> Account:
    """Name an instant, and wait until the archive has it."""
    from core.runtime.postgres import LockNotAvailableError, connect

    try:
        account, place = await mark_instant(url, name)
    except LockNotAvailableError as busy:
        raise Failed("not_marked", sql_reason(busy)) from busy
    connection = await connect(url, "territoire-drill")
    try:
        segment = await connection.fetchval(CLOSE_SEGMENT, place)
        deadline = time.monotonic() + ARCHIVED_WITHIN_S
        while not await connection.fetchval(IS_ARCHIVED, segment):
            if time.monotonic() > deadline:
                raise Failed("not_archived", segment)
            await asyncio.sleep(LOOKS_EVERY_S)
    finally:
        await connection.close()
    return account


async def _compare(url: str, account: Account, ending: Ending | None) -> list[str]:
    """What differs from the account; then all that a restore ends with, to see that it goes through."""
    from core.runtime.postgres import DATABASE_AWAY, PostgresError, connect, database_reason
    from registry.schema import bring_timescale

    try:
        await bring_timescale(url)
        connection = await connect(url, "territoire-drill")
        try:
            wrong = differences(account.counts, await count(connection))
            if ending is not None:
                await make_good(connection, url, ending.keys, ending.entries, "drill")
        finally:
            await connection.close()
    except OperatorError as refused:
        raise Failed("not_restored", refused.french) from refused
    except (PostgresError, *DATABASE_AWAY) as refused:
        raise Failed("not_restored", database_reason(refused)) from refused
    return wrong


def restoring_here(repository: PgBackRest, url: str, password: str, place: Path) -> Restoring:
    """Into a cluster of its own on this machine, below `place`."""

    @asynccontextmanager
    async def restoring(name: str) -> AsyncGenerator[str]:
        from services.supervisor.ports import free_tcp_port

        wanted = ROOM * await size_of(url)
        try:
            if (free := shutil.disk_usage(place).free) < wanted:
                raise Failed("no_room", f"{free / 1e9:.1f} Go libres dans {place}, {wanted / 1e9:.1f} demandés")
            with _temporary(place / "territoire-drill") as data:
                server = PrivatePostgres(data, free_tcp_port(), password, RECOVERING)
                apart = PgBackRest(repository.folder, data)
                async with recovered(apart, server, Target.named(name), data.parent / "postgres.log"):
                    yield server.url()
        except (ClusterFailed, NotRecovered, PgBackRestFailed, ServerMissing, StartFailed) as failed:
            raise Failed("not_restored", str(failed)) from failed
        except OSError as refused:
            raise _of_a_file(refused) from refused

    return restoring


@contextmanager
def _temporary(folder: Path) -> Generator[Path]:
    """A folder for a cluster; what a drill that was killed left there goes first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o711)
    make_empty(folder / "data")
    try:
        yield folder / "data"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
