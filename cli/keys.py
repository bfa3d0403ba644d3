"""`territoire keys new|rotate|check|retire`: the key-encryption keys of an installation."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from cli.running import actor, database_away, fail, find_run, log_apart, print_json

if TYPE_CHECKING:
    from datetime import datetime

    from cli.place import Place
    from core.runtime.postgres import Connection
    from registry.key_rotation import Check, Rotation
    from registry.keys import KeyWrap
    from services.supervisor.credentials import Secrets
    from services.supervisor.home import Home

CLOSED_SHOWN = 20
FORMER_REJECTED = "Le format d'avant, sans propriétaire, est refusé depuis le {}."

keys_app = typer.Typer(help="Clés de chiffrement : vérifier, changer, tout resceller.", no_args_is_help=True)
HomeOption = Annotated[Path | None, typer.Option("--home", help="Dossier de la pile qui tourne.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Écrire le résultat en JSON.")]
Result = TypeVar("Result")


@keys_app.callback()
def keys() -> None:
    """Les clés de chiffrement (KEK) sous lesquelles la base garde clés d'équipements et secrets.

    Sur un serveur seul : keys new, redémarrer, keys rotate, keys check, keys retire. Ailleurs la clé neuve est
    d'abord donnée à tous les services (TERRITOIRE_KEK, TERRITOIRE_KEK_ID, et l'ancienne : TERRITOIRE_KEK_FORMER).
    """


@keys_app.command("rotate")
def rotate_keys(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Rescelle tout sous la clé de chiffrement en cours, pendant que tout tourne.

    Tuée, la commande se relance : elle reprend où elle en était. Les valeurs d'avant, scellées sans propriétaire
    (RFC 3394), le sont pour le leur ; quand il n'en reste aucune, ce format n'est plus accepté. Elle prend son
    temps, pour que les trames n'en sentent rien : un peu plus de quatre minutes pour 100 000 lignes.

    Statuts : 0 tout est rescellé, 1 il reste quelque chose, 3 aucune pile.
    """
    place, keys = installation(home)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from alerting.addresses import seal_addresses
    from registry.audit import write_audit
    from registry.key_rotation import count_stale, rotate

    columns = TextColumn("resceller"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    hidden = as_json or not sys.stderr.isatty()

    async def work(connection: "Connection") -> "Rotation":
        total = await count_stale(connection, keys)
        with Progress(*columns, console=Console(stderr=True), disable=hidden, transient=True) as progress:
            task = progress.add_task("rotate", total=total)
            await seal_addresses(connection, keys)
            done = await rotate(connection, keys, on_progress=lambda rows: progress.advance(task, rows))
        after = {"sealed": done.sealed, "closed": len(done.closed), "left": done.left}
        await write_audit(connection, None, actor(), "rotate", "kek", keys.kek_id, {"after": after})
        return done

    done = asyncio.run(connected(place, work))
    complete = not done.closed and not done.left
    if as_json:
        shown = {
            "kek_id": keys.kek_id,
            "sealed": done.sealed,
            "closed": done.closed,
            "left": done.left,
            "former_rejected_since": _instant(done.former_rejected_since),
        }
        print_json(shown)
    else:
        typer.echo(f"{done.sealed} lignes rescellées sous {keys.kek_id}.")
        if done.left:
            typer.echo(
                f"  ! {done.left} lignes étaient occupées à chaque fois : relancez ./territoire keys rotate"
            )
        _show_closed(done.closed)
        if done.former_rejected_since is not None:
            typer.echo(FORMER_REJECTED.format(f"{done.former_rejected_since:%d/%m/%Y}"))
    if not complete:
        raise typer.Exit(1)


@keys_app.command("check")
def check_keys(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Ouvre tout ce qui est scellé, et dit combien l'est sous quelle clé, et ce qui ne s'ouvre pas.

    Statuts : 0 tout s'ouvre, 1 quelque chose ne s'ouvre pas, 3 aucune pile.
    """
    place, keys = installation(home)
    from registry.key_rotation import check

    found = asyncio.run(connected(place, lambda connection: check(connection, keys)))
    if as_json:
        shown = {
            "kek_id": keys.kek_id,
            "counts": dict(found.counts),
            "unowned": found.unowned,
            "closed": found.closed,
            "former_rejected": found.former_rejected,
            "former_rejected_since": _instant(found.former_rejected_since),
        }
        print_json(shown)
    else:
        _show_check(found, keys)
    if found.closed:
        raise typer.Exit(1)


@keys_app.command("new")
def new_kek(home: HomeOption = None) -> None:
    """Serveur seul : tire une clé neuve, qui scellera après le redémarrage ; l'ancienne ouvre encore."""
    from datetime import UTC, datetime

    folder, _ = _kept(home)
    renewed = folder.change_secrets(lambda kept: kept.with_new_kek(datetime.now(UTC)))
    typer.echo(
        f"{renewed.kek_id} est dans secrets.json : gardez-en une copie à part dès maintenant. Puis redémarrez la "
        "pile, et lancez ./territoire keys rotate."
    )


@keys_app.command("retire")
def retire_kek(
    kek_id: Annotated[str, typer.Argument(help="La clé que plus rien ne demande, comme kek-1.")],
    home: HomeOption = None,
) -> None:
    """Serveur seul : oublie une ancienne clé de chiffrement, si plus rien n'est scellé sous elle.

    Les sauvegardes d'avant la rotation la demandent encore : gardez-la à part aussi longtemps qu'elles.
    """
    folder, kept = _kept(home)
    if kek_id not in kept.former_keks:
        raise fail(f"{kek_id} n'est pas une ancienne clé ; il y a : {', '.join(kept.former_keks) or 'aucune'}", 2)
    place, keys = installation(home)
    from registry.audit import write_audit
    from registry.key_rotation import check, count_stale

    async def left(connection: "Connection") -> int:
        found = await check(connection, keys)
        count = found.counts[kek_id] + await count_stale(connection, keys)
        if not count:
            await write_audit(connection, None, actor(), "retire", "kek", kek_id, {"after": None})
        return count

    remaining = asyncio.run(connected(place, left))
    if remaining:
        raise fail(f"{remaining} valeurs sont encore à resceller : lancez d'abord ./territoire keys rotate")
    folder.change_secrets(lambda kept: kept.without_former_kek(kek_id))
    typer.echo(f"{kek_id} n'est plus dans secrets.json ; les services l'oublient au prochain redémarrage.")


@keys_app.command("allow-export")
def allow_key_export(
    key_id: Annotated[str, typer.Argument(help="L'identifiant d'une clé d'API (GET /v1/api-keys).")],
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Retirer ce droit.")] = False,
    home: HomeOption = None,
) -> None:
    """Donne à une clé d'API le droit de sortir les clés des équipements de sa collectivité, ou le retire.

    Personne ne l'a d'office. L'audit de la collectivité le consigne ; effet en 5 secondes.
    """
    place, _ = installation(home)
    from registry.tenants import allow_export

    async def allow(connection: "Connection") -> bool:
        return await allow_export(connection, key_id, actor(), allowed=not withdraw)

    if not asyncio.run(connected(place, allow)):
        raise fail(f"aucune clé d'API {key_id} en cours de validité", 2)
    typer.echo(f"{key_id} {'ne peut plus' if withdraw else 'peut'} sortir des clés d'équipements.")


def installation(home: Path | None) -> "tuple[Place, KeyWrap]":
    """The installation and its key-encryption keys; ends the command when there are none."""
    from cli.place import find_place
    from registry.keys import KeyWrap

    found = find_place(home)
    place = found.place
    if place.database_url is None:
        nothing = "aucune pile, et pas de TERRITOIRE_DATABASE_URL"
        raise fail(nothing if found.missing is None else found.missing.what, 3)
    try:
        keks = place.keks()
    except ValueError as wrong:
        raise fail(str(wrong), 2) from None
    if keks is None:
        raise fail("aucune clé de chiffrement : donnez TERRITOIRE_KEK, comme aux services", 2)
    if place.run is not None:
        log_apart(place.run, "keys")
    return place, KeyWrap(keks.kek_id, keks.current, keks.former)


def _kept(home: Path | None) -> "tuple[Home, Secrets]":
    """The secrets of this machine's stack; ends the command when there is none."""
    from services.supervisor.home import Home

    folder = Home(home or Path(find_run(home).home))
    if not (folder.folder / "secrets.json").exists():
        raise fail(f"{folder.folder} n'a pas de secrets.json", 3)
    return folder, folder.secrets()


async def connected(place: "Place", work: "Callable[[Connection], Awaitable[Result]]") -> Result:
    """What the work says, with a connection of the schema's owner."""
    from core.runtime.postgres import DATABASE_AWAY, connect

    assert place.database_url is not None  # noqa: S101 - `installation` looked.
    url = place.database_url if place.run is None else place.run.database_admin_url
    try:
        connection = await connect(url, "territoire-keys")
    except DATABASE_AWAY as away:
        raise database_away(away) from None
    try:
        return await work(connection)
    finally:
        await connection.close()


def _show_check(found: "Check", keys: "KeyWrap") -> None:
    for kek_id, count in sorted(found.counts.items()):
        role = "celle en cours" if kek_id == keys.kek_id else "ancienne : ./territoire keys rotate"
        typer.echo(f"{kek_id} ({role}) : {count} valeurs s'ouvrent")
    if found.unowned:
        typer.echo(f"  ! {found.unowned} ne nomment pas leur propriétaire (RFC 3394) : ./territoire keys rotate")
    if not found.total:
        typer.echo("Rien n'est scellé dans cette base.")
    elif not found.closed:
        typer.echo("Tout s'ouvre.")
    _show_closed(found.closed)
    if found.former_rejected:
        typer.echo(
            f"  ✗ dont {found.former_rejected} au format d'avant, mises là depuis : qui écrit dans cette base ?"
        )
    if found.former_rejected_since is not None:
        typer.echo(FORMER_REJECTED.format(f"{found.former_rejected_since:%d/%m/%Y}"))
    elif found.total:
        typer.echo("Le format d'avant (RFC 3394) s'ouvre encore : ./territoire keys rotate y met fin.")


def _instant(at: "datetime | None") -> str | None:
    return None if at is None else at.isoformat()


def _show_closed(closed: list[str]) -> None:
    if not closed:
        return
    typer.echo(f"  ✗ {len(closed)} valeurs ne s'ouvrent avec aucune clé donnée, pour leur propriétaire :")
    for owner in closed[:CLOSED_SHOWN]:
        typer.echo(f"      {owner}")
    if len(closed) > CLOSED_SHOWN:
        typer.echo(f"      … et {len(closed) - CLOSED_SHOWN} autres (--json les donne toutes)")
    typer.echo(
        "    Une clé manque-t-elle (TERRITOIRE_KEK_FORMER) ? Sinon ces clés ont été copiées d'une autre ligne, ou "
        "altérées : à saisir à nouveau."
    )
