"""`territoire reshard`: the work divided in another number of shards, before one server becomes a cluster."""

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.running import actor, default_home, fail
from cli.session import REFUSALS, run_stack
from core.runtime.errors import OperatorError
from services.supervisor.home import Home
from services.supervisor.run_info import RunInfo
from services.supervisor.stack_options import StackOptions

if TYPE_CHECKING:
    from core.runtime.bus import Bus

READERS = ("network", "ingest")
LOOKS_EVERY_S, SAYS_EVERY_S, WITHIN_S = 0.5, 10.0, 1800.0


def reshard(
    shards: Annotated[
        int, typer.Argument(metavar="PARTS", help="1, 2, 4, 8 ou 16 : une grappe en a 16, un serveur 4.")
    ],
    home: Annotated[Path | None, typer.Option("--home", help="Le dossier de la pile, arrêtée.")] = None,
) -> None:
    """Divise le travail en un autre nombre de parts ; la pile doit être arrêtée.

    Sur un serveur, ce qui attend encore sur le bus est d'abord lu, sans pont ni intake. Ailleurs
    (TERRITOIRE_DATABASE_URL et TERRITOIRE_NATS_URL, celles de la migration), rien ne doit plus attendre.
    """
    from core.messages.topics import SHARD_COUNTS
    from core.runtime.bus import BUS_AWAY
    from core.runtime.bus_connection import bus_reason
    from core.runtime.postgres import DATABASE_AWAY, database_reason

    if shards not in SHARD_COUNTS:
        raise fail(f"{shards} parts : attendu {', '.join(map(str, SHARD_COUNTS[:-1]))} ou 16", 2)
    os.environ.pop("TERRITOIRE_SHARDS", None)  # It is what this changes.
    dividing = _elsewhere(shards) if "TERRITOIRE_DATABASE_URL" in os.environ else _here(home, shards)
    try:
        former = asyncio.run(dividing)
    except REFUSALS as refused:
        raise fail(str(refused)) from None
    except OperatorError as refused:
        raise fail(f"rien n'est changé : {refused.french}") from None
    except DATABASE_AWAY as away:
        raise fail(f"rien n'est changé : la base ou le bus ne répond pas ({database_reason(away)})") from None
    except BUS_AWAY as away:
        raise fail(f"rien n'est changé : le bus ne répond pas ({bus_reason(away)})") from None
    typer.echo(f"Le travail est divisé en {shards} parts ({former} avant). Démarrez la pile.")
    typer.echo(f"Là où TERRITOIRE_SHARDS est réglé, il doit valoir {shards}.")


async def _elsewhere(shards: int) -> int:
    from cli.place import demand_addresses

    demand_addresses("TERRITOIRE_DATABASE_URL", "TERRITOIRE_NATS_URL")
    return await _divide(os.environ["TERRITOIRE_DATABASE_URL"], os.environ["TERRITOIRE_NATS_URL"], shards)


async def _divide(database_url: str, nats_url: str, shards: int) -> int:
    from core.runtime.bus import connect_bus
    from core.runtime.postgres import connect
    from registry.resharding import reshard as divide

    connection = await connect(database_url, "territoire-reshard")
    try:
        async with connect_bus(nats_url, "reshard") as bus:
            return await divide(connection, bus, shards, actor())
    finally:
        await connection.close()


async def _here(home: Path | None, shards: int) -> int:
    folder = home or default_home("up")
    if not Home(folder).postgres_data.exists():
        raise fail(f"{folder} n'est le dossier d'aucune pile", 2)
    if status := await run_stack(folder, _only(READERS), _read_what_waits):
        raise typer.Exit(status)
    former = 0

    async def with_servers(run: RunInfo, _stopping: asyncio.Event) -> int:
        nonlocal former
        former = await _divide(run.database_admin_url, run.nats_url, shards)
        return 0

    if status := await run_stack(folder, _only(()), with_servers):
        raise typer.Exit(status)
    return former


def _only(services: tuple[str, ...]) -> StackOptions:
    return StackOptions("reshard", udp_port=0, api_port=0, services=services)


async def _read_what_waits(run: RunInfo, stopping: asyncio.Event) -> int:
    from core.runtime.bus import connect_bus

    async with connect_bus(run.nats_url, "reshard") as bus:
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
