"""A cluster brought back from its repository to an instant: for a restore, and for the drill of every month."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from core.runtime.errors import system_words
from services.supervisor.pgbackrest import PgBackRest, known_reason
from services.supervisor.postgres import ClusterFailed, PrivatePostgres, server_account
from services.supervisor.supervisor import ChildSpec, StartFailed, Supervisor

LATEST = "latest"
# Nobody is let in before the instant is reached. What it archives would be the other installation's.
RECOVERING = {"hot_standby": "off", "archive_mode": "off", "jit": "off"}
# Years of a large town; what fails ends at once.
WITHIN_S = 48 * 3600.0
# PostgreSQL's own words, where what is archived ends before the instant.
ENDS_BEFORE = "recovery ended before configured recovery target was reached"
FORGET = ("restore_command", "recovery_target_time", "recovery_target_name", "recovery_target_action")


class NotRecovered(Exception):
    """The instant is not there; in French."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where recovery ends, in pgBackRest's words."""

    kind: str
    value: str = ""

    @classmethod
    def at(cls, instant: datetime) -> "Target":
        """After the last commit that is not later."""
        return cls("time", f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00")

    @classmethod
    def named(cls, name: str) -> "Target":
        """At a mark in the log."""
        return cls("name", name)

    @classmethod
    def latest(cls) -> "Target":
        """All that was archived."""
        return cls("default")

    @property
    def options(self) -> tuple[str, ...]:
        """On the command line."""
        goes_on = ("--target-action=promote",)
        return (f"--type={self.kind}", *((f"--target={self.value}", *goes_on) if self.value else ()))


def parse_instant(text: str) -> datetime:
    """An instant as people write it, by this machine's zone where none is named.

    Raises:
        ValueError: it is none.
    """
    instant = datetime.fromisoformat(text.strip())
    try:
        instant.astimezone(UTC)  # As pgBackRest is told it.
        return instant.astimezone()
    except OverflowError:
        raise ValueError(f"{text} is before the year 1, or after 9999") from None


def make_empty(data: Path) -> None:
    """Make the cluster's folder, empty, owned by the account that PostgreSQL runs as."""
    data.mkdir(mode=0o700, parents=True)
    account = server_account()
    if account is not None:
        os.chown(data, account.uid, account.gid)


@asynccontextmanager
async def recovered(
    repository: PgBackRest, server: PrivatePostgres, target: Target, log: Path
) -> AsyncGenerator[None]:
    """`server`, whose folder is empty, runs as it was at the target, by its own password; stopped at the end.

    Raises:
        NotRecovered: the archive does not reach so far.
        PgBackRestFailed, ServerMissing: the repository is not read.
        ClusterFailed, StartFailed: the server says why.
    """
    await asyncio.to_thread(repository.run, "restore", *target.options)
    supervisor = Supervisor()
    spec = ChildSpec("postgres", server.launch(), log, server.answers, ready_within=WITHIN_S, attempts=1)
    try:
        try:
            await supervisor.start([spec])
        except StartFailed as failed:
            if ENDS_BEFORE in str(failed):
                raise NotRecovered(
                    "l'archive ne va pas jusqu'à cet instant : --to latest reprend tout ce qu'elle a"
                ) from None
            why = known_reason(str(failed)) or system_words(str(failed))
            if why is not None:
                raise ClusterFailed(f"postgres ({server.data}) : {why}") from None
            raise
        if not await server.ready():  # The superuser had another password then.
            await supervisor.stop()
            await asyncio.to_thread(server.set_password)
            supervisor = Supervisor()
            await supervisor.start([replace(spec, ready=server.ready)])
        await _forget_target(server)
        yield
    finally:
        await supervisor.stop()


async def _forget_target(server: PrivatePostgres) -> None:
    """It is no replica of anything: the next recovery is another one's."""
    from core.runtime.postgres import connect

    connection = await connect(server.url("postgres"), "territoire-restore")
    try:
        for setting in FORGET:
            await connection.execute(f"ALTER SYSTEM RESET {setting}")
    finally:
        await connection.close()
