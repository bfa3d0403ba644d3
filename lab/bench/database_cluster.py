"""What a lost PostgreSQL costs when commits wait for a standby: `python -m lab.bench.database_cluster`.

Three servers on this machine, `synchronous_standby_names = ANY 1`, as CloudNativePG sets it up for `synchronous:
{method: any, number: 1, dataDurability: required}`. What an operator adds before it promotes (to notice, to
fence, to turn the service's address) is not here: these are PostgreSQL's own seconds.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.running import print_json
from core.runtime.postgres import DATABASE_AWAY, PostgresError, connect
from lab.postgres_servers import LOOK_S, Server, promote, streaming, until
from services.supervisor.ports import free_tcp_port
from services.supervisor.postgres import PrivatePostgres

NAMES = ("one", "two", "three")
ANY_ONE = f"ANY 1 ({', '.join(NAMES)})"
PASSWORD = "bench"
WRITE_EVERY_S, ALONE_S, FLOWS_S = 0.02, 5.0, 2.0


@dataclass(slots=True)
class Writer:
    """One row every 20 ms to the server that is primary, each until it is committed."""

    primary: Server
    written: int = 0
    slowest_s: float = 0.0
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Until asked to stop.

        A commit that was given up while it waited for a standby is there all the same, on this server: the second
        attempt must write, too, or one server alone says "committed". Ours do: each locks its lease's row.
        """
        write = "INSERT INTO written VALUES ($1) ON CONFLICT (n) DO UPDATE SET n = excluded.n"
        connection = None
        while not self._stopping.is_set():
            began = time.monotonic()
            while True:
                try:
                    if connection is None:
                        connection = await connect(self.primary.postgres.url("postgres"), "bench")
                    async with asyncio.timeout(1):
                        await connection.execute(write, self.written)
                    break
                except (*DATABASE_AWAY, PostgresError):
                    connection = None
                    await asyncio.sleep(LOOK_S)
            self.written += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            await asyncio.sleep(WRITE_EVERY_S)

    def stop(self) -> None:
        """After the row that is under way."""
        self._stopping.set()


async def measure(folder: Path) -> dict[str, Any]:
    """Kill the primary and promote; then take the last standby away, and give it back."""
    trio = [
        Server(name, PrivatePostgres(folder / name, free_tcp_port(), PASSWORD, {"cluster_name": name}))
        for name in NAMES
    ]
    primary, *standbys = trio
    try:
        primary.postgres.prepare()
        primary.start()
        await until(primary.postgres.ready)
        for standby in standbys:
            await asyncio.to_thread(standby.become_standby_of, primary)
            standby.start()
        await streaming(primary, 2)
        await primary.ask("CREATE TABLE written (n bigint PRIMARY KEY)")
        await primary.configure(synchronous_standby_names=ANY_ONE)
        return await _harm(primary, standbys)
    finally:
        for one in trio:
            one.kill()


async def _harm(primary: Server, standbys: Sequence[Server]) -> dict[str, Any]:
    writer = Writer(primary)
    writing = asyncio.create_task(writer.run())
    await asyncio.sleep(FLOWS_S)
    calm_s, writer.slowest_s = writer.slowest_s, 0.0
    primary.kill()
    began = time.monotonic()
    writer.primary = await promote(standbys)
    await writer.primary.configure(synchronous_standby_names=ANY_ONE)
    promoted_s = time.monotonic() - began
    await streaming(writer.primary, 1)
    await asyncio.sleep(FLOWS_S)
    failover_s, writer.slowest_s = writer.slowest_s, 0.0
    [last] = [one for one in standbys if one is not writer.primary]
    last.kill()
    await asyncio.sleep(LOOK_S)
    before = writer.written
    await asyncio.sleep(ALONE_S)
    written_alone = writer.written - before
    began = time.monotonic()
    last.start()

    async def written() -> bool:
        return writer.written > before + 1

    await until(written)
    resumed_s = time.monotonic() - began
    writer.stop()
    await writing
    kept = await writer.primary.ask("SELECT count(*) FROM written")
    return {
        "commit_longest_in_calm_s": round(calm_s, 3),
        "promotion_s": round(promoted_s, 2),
        "writer_longest_wait_s": round(failover_s, 2),
        "written_without_any_standby": written_alone,
        "resumed_after_standby_is_back_s": round(resumed_s, 2),
        "acknowledged": writer.written,
        "kept": kept,
    }


def main() -> int:
    """Print one JSON object; 1 when an acknowledged row is missing, or was one server's alone."""
    with tempfile.TemporaryDirectory(prefix="territoire-postgres-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o711)
        figures = asyncio.run(measure(Path(folder)))
    print_json(figures)
    return 0 if figures["kept"] >= figures["acknowledged"] and figures["written_without_any_standby"] <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
