"""`territoire bi`: logins for tools that speak SQL, each bound to one tenant."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar
from urllib.parse import urlsplit

import typer

from cli.running import fail, find_run, print_json, tables

if TYPE_CHECKING:
    from core.runtime.postgres import Connection

bi_app = typer.Typer(
    help="Comptes SQL de lecture, pour Grafana ou un tableur : créer, lister, retirer.", no_args_is_help=True
)
HomeOption = Annotated[Path | None, typer.Option("--home", help="Dossier de la pile qui tourne.")]
UrlOption = Annotated[
    str | None,
    typer.Option("--database-url", help="Base, par un compte qui crée des rôles ; sinon celle de la pile."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Écrire le résultat en JSON.")]
Result = TypeVar("Result")


@bi_app.command("create")
def create(
    tenant: Annotated[str, typer.Argument(help="Identifiant court de la collectivité.")],
    name: Annotated[str, typer.Argument(help="Pour quel outil : grafana, excel…")],
    home: HomeOption = None,
    database_url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Crée un compte qui lit les vues du schéma bi, d'une seule collectivité, sans données personnelles.

    Le mot de passe n'est montré qu'ici. Statuts : 0 créé, 1 refusé, 3 aucune pile.
    """
    from registry.sql_logins import create_login

    url = _url(home, database_url)
    role, password = _run(url, lambda connection: create_login(connection, tenant, name))
    place = urlsplit(url)
    shown = {
        "host": place.hostname,
        "port": place.port or 5432,
        "database": place.path.strip("/"),
        "user": role,
        "password": password,
    }
    if as_json:
        print_json(shown, indent=2)
        return
    sys.stdout.write("".join(f"{name} : {value}\n" for name, value in shown.items()))


@bi_app.command("list")
def list_all(home: HomeOption = None, database_url: UrlOption = None, as_json: JsonOption = False) -> None:
    """Liste ces comptes, leur collectivité et leurs connexions ouvertes."""
    from registry.sql_logins import list_logins

    found = _run(_url(home, database_url), list_logins)
    if as_json:
        print_json([one._asdict() for one in found], indent=2)
        return
    from rich.table import Table

    table = Table("compte", "collectivité", "connexions")
    for one in found:
        table.add_row(one.role, one.tenant or "d'une autre base", str(one.connections))
    tables(beside_json=False).print(table)


@bi_app.command("drop")
def drop(
    role: Annotated[str, typer.Argument(help="Le compte, dans la liste.")],
    home: HomeOption = None,
    database_url: UrlOption = None,
) -> None:
    """Retire un compte ; ses connexions se ferment."""
    from registry.sql_logins import drop_login

    _run(_url(home, database_url), lambda connection: drop_login(connection, role))


def _url(home: Path | None, database_url: str | None) -> str:
    return database_url or find_run(home).database_admin_url


def _run(url: str, ask: "Callable[[Connection], Awaitable[Result]]") -> Result:
    from core.runtime.postgres import connect
    from registry.sql_logins import NotMade

    async def once() -> Result:
        connection = await connect(url, "territoire-bi")
        try:
            return await ask(connection)
        finally:
            await connection.close()

    try:
        return asyncio.run(once())
    except NotMade as why:
        raise fail(str(why)) from None
