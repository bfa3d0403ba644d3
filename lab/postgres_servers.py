"""PostgreSQL servers of which one leads and the others follow, as CloudNativePG has them: for chaos and bench."""

import asyncio
import os
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from core.runtime.postgres import DATABASE_AWAY, PostgresError, connect
from services.supervisor.launch import Launch
from services.supervisor.ports import LOOPBACK
from services.supervisor.postgres import SUPERUSER, PrivatePostgres, binaries, libpq_environment, server_account

LOOK_S, WITHIN_S = 0.02, 60.0
COUNT_STREAMING = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
RECEIVED = "SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0')::bigint"


@dataclass(slots=True)
class Server:
    """One of the three."""

    name: str
    postgres: PrivatePostgres
    process: subprocess.Popen[Any] | None = None

    def start(self) -> None:
        """Start it, or start it again."""
        launch = self.postgres.launch()
        self.process = subprocess.Popen(launch.argv, **launch.arguments(subprocess.DEVNULL))

    def kill(self) -> None:
        """Without a word of warning."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    async def ask(self, statement: str) -> Any:
        """One value, over a connection of its own."""
        connection = await connect(self.postgres.url("postgres"), "bench")
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    async def configure(self, **settings: str) -> None:
        """Set these from now on, without a restart."""
        for name, value in settings.items():
            quoted = value.replace("'", "''")
            await self.ask(f"ALTER SYSTEM SET {name} = '{quoted}'")
        await self.ask("SELECT pg_reload_conf()")

    def become_standby_of(self, primary: "Server") -> None:
        """Become its standby."""
        self.postgres.data.mkdir()
        account = server_account()
        if account is not None:
            os.chown(self.postgres.data, account.uid, account.gid)
        self.postgres.data.chmod(0o700)
        environment = libpq_environment(primary.postgres.url("postgres"))
        argv = (
            str(binaries() / "pg_basebackup"),
            "-D",
            str(self.postgres.data),
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
        )
        launch = Launch(argv, env=environment, account=server_account())
        subprocess.run(launch.argv, **launch.arguments(subprocess.DEVNULL), check=True)


async def until(condition: Callable[[], Awaitable[bool]]) -> float:
    """How long it took until it holds; a server that is away says no."""
    began = time.monotonic()
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                if await condition():
                    return time.monotonic() - began
            except (*DATABASE_AWAY, PostgresError):
                pass
            await asyncio.sleep(LOOK_S)


async def streaming(primary: Server, count: int) -> None:
    """Return once so many standbys follow."""

    async def follow() -> bool:
        return await primary.ask(COUNT_STREAMING) >= count

    await until(follow)


async def promote(standbys: Sequence[Server]) -> Server:
    """The one that has received most takes over, and the other follows it."""
    received = {one.name: await one.ask(RECEIVED) for one in standbys}
    chosen, other = sorted(standbys, key=lambda one: -received[one.name])
    await chosen.ask("SELECT pg_promote()")
    host = f"host={LOOPBACK} port={chosen.postgres.port} user={SUPERUSER} password={chosen.postgres.password}"
    await other.configure(primary_conninfo=host)
    return chosen
