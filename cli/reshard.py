"""`territoire reshard`: the work divided in another number of shards, before one server becomes a cluster."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.running import actor, fail, log_nothing
from cli.session import REFUSALS
from core.runtime.errors import OperatorError

if TYPE_CHECKING:
    from services.supervisor.run_info import RunInfo

BUS_WITHIN_S = 10.0


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
    log_nothing()
    return await _divide(os.environ["TERRITOIRE_DATABASE_URL"], os.environ["TERRITOIRE_NATS_URL"], shards)


async def _divide(database_url: str, nats_url: str, shards: int) -> int:
    from core.runtime.bus import connect_bus
    from core.runtime.postgres import connect
    from registry.resharding import reshard as divide

    connection = await connect(database_url, "territoire-reshard")
    try:
        async with connect_bus(nats_url, "reshard", within_s=BUS_WITHIN_S) as bus:
            return await divide(connection, bus, shards, actor())
    finally:
        await connection.close()


async def _here(home: Path | None, shards: int) -> int:
    from cli.stopped import once_drained

    async def divide(run: "RunInfo") -> int:
        return await _divide(run.database_admin_url, run.nats_url, shards)

    return await once_drained(home, "reshard", divide)
