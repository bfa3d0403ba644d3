"""A stack that is stopped: what waits on its bus is read, then something is done with its servers alone."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from cli.installed import installed
from cli.running import default_home, fail
from cli.session import run_stack
from services.supervisor.home import Home
from services.supervisor.run_info import RunInfo
from services.supervisor.stack_options import StackOptions

if TYPE_CHECKING:
    from core.runtime.bus import Bus

READERS = ("network", "ingest")
LOOKS_EVERY_S, SAYS_EVERY_S, WITHIN_S = 0.5, 10.0, 1800.0
Result = TypeVar("Result")


async def once_drained(home: Path | None, mode: str, work: Callable[[RunInfo], Awaitable[Result]]) -> Result:
    """What `work` returns, with database and bus, once nothing waits that a service has to read.

    Raises:
        UnusableHome, ServerMissing, PortTaken, ClusterFailed, StartFailed: it runs, or does not start.
    """
    server = installed()
    folder = home or (server.home if server is not None else default_home("up"))
    if not Home(folder).postgres_data.exists():
        raise fail(f"{folder} n'est le dossier d'aucune pile", 2)
    if status := await run_stack(folder, _only(mode, READERS), _read_what_waits):
        raise typer.Exit(status)
    done: list[Result] = []

    async def with_servers(run: RunInfo, _stopping: asyncio.Event) -> int:
        done.append(await work(run))
        return 0

    if status := await run_stack(folder, _only(mode, ()), with_servers):
        raise typer.Exit(status)
    return done[0]


def _only(mode: str, services: tuple[str, ...]) -> StackOptions:
    return StackOptions(mode, udp_port=0, api_port=0, services=services)


async def _read_what_waits(run: RunInfo, stopping: asyncio.Event) -> int:
    from core.runtime.bus import connect_bus

    async with connect_bus(run.nats_url, "territoire") as bus:
        began_at = said_at = time.monotonic()
        while waiting := await _waiting(bus):
            if stopping.is_set():
                return 1
            now = time.monotonic()
            if now - began_at > WITHIN_S:
                raise fail(
                    f"{waiting} messages attendent encore : regardez network.log et ingest.log dans {run.logs}"
                )
            if now - said_at >= SAYS_EVERY_S:
                typer.echo(f"  {waiting} messages à lire…")
                said_at = now
            await asyncio.sleep(LOOKS_EVERY_S)
    return 0


async def _waiting(bus: "Bus") -> int:
    from core.messages import topics

    return sum([await bus.stream_messages(stream) for stream in (topics.FRAMES, topics.UPLINKS)])
