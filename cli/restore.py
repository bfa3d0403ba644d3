"""`territoire restore`: a backup, or an instant of the archive, into a new home; then its counts are compared."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.account import count
from cli.backup import Manifest
from cli.dump import Source, contents_of, fill, open_dump, prepare_database, read_manifest, read_of
from cli.encryption import WrongKey
from cli.owners import hand_over, lend
from cli.restored import (
    entries_beside,
    key_wrap,
    make_good,
    require_counts,
    require_key,
    require_new,
    require_program,
    say_how_to_start,
    say_restored,
)
from cli.running import fail
from core.runtime.errors import OperatorError
from registry.erasures import Entry, ErasedAgain, continue_ledger
from registry.ledger_file import LEDGER_NAME
from registry.timescale import DumpRejected
from services.supervisor.credentials import Secrets
from services.supervisor.home import Home, UnusableHome
from services.supervisor.launch import ServerMissing
from services.supervisor.postgres import SUPERUSER, ClusterFailed, PrivatePostgres
from services.supervisor.supervisor import ChildSpec, StartFailed, Supervisor

if TYPE_CHECKING:
    from cli.restored import Keys


def restore(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[SAUVEGARDE]", help="La sauvegarde ; le .json écrit avec elle doit être à côté."),
    ] = None,
    home: Annotated[
        Path | None, typer.Option("--home", help="Un dossier neuf, qui deviendra celui de la pile.")
    ] = None,
    secrets: Annotated[
        Path | None,
        typer.Option(
            help="Le secrets.json de la pile sauvegardée : il a la clé de chiffrement des équipements. Avec "
            "--database-url, sans lui : celle de TERRITOIRE_KEK, comme aux services."
        ),
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            help="Au lieu de --home, une base tenue ailleurs (Kubernetes), vide ou qui n'existe pas encore : "
            "l'adresse d'un superutilisateur. Sans elle ni --home : celle de TERRITOIRE_RESTORE_DATABASE_URL.",
        ),
    ] = None,
    owner: Annotated[
        str, typer.Option(help="Avec --database-url : le compte à qui la base est, et à qui tout sera.")
    ] = "territoire",
    shards: Annotated[
        int | None,
        typer.Option(
            help="Avec --database-url : le nombre de parts qu'aura cette base (reshard) ; une grappe en a 16."
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="Au lieu d'une sauvegarde, un instant de l'archive (pitr) : « 2026-11-28 10:30 », à l'heure de "
            "cette machine, ou avec son décalage ; latest : tout ce qu'elle a."
        ),
    ] = None,
    repository: Annotated[
        Path | None,
        typer.Option(help="Avec --to : le dossier pgbackrest de la pile sauvegardée, ou sa copie du coffre."),
    ] = None,
    identity: Annotated[
        Path | None,
        typer.Option(help="Le fichier de la clé privée age, d'une sauvegarde chiffrée ; il n'est pas gardé ici."),
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(help=f"Le registre des effacements ; absent : {LEDGER_NAME} à côté de la sauvegarde."),
    ] = None,
    without_ledger: Annotated[
        bool,
        typer.Option("--without-ledger", help="Restaurer sans lui : ce qui a été effacé depuis reviendrait."),
    ] = False,
    without_keys: Annotated[
        bool,
        typer.Option(
            "--without-keys",
            help="Restaurer même si cette clé n'ouvre rien : les mesures y sont, les équipements à réinscrire.",
        ),
    ] = False,
) -> None:
    """Restaure une sauvegarde, ou un instant, dans une base neuve, compte, et dit comment démarrer."""
    if (file is None) == (to is None):
        raise fail("attendu une sauvegarde, ou --to et un instant", 2)
    if home is None and database_url is None:
        database_url = os.environ.get("TERRITOIRE_RESTORE_DATABASE_URL") or None
    if (home is None) == (database_url is None):
        raise fail("attendu --home et un dossier neuf, ou --database-url et une base vide", 2)
    rest = (identity, ledger, without_ledger, without_keys)
    if database_url is not None:
        from cli.restore_elsewhere import restore_elsewhere

        if file is None:
            raise fail("--to ne se restaure que dans un dossier (--home)", 2)
        restore_elsewhere(file, database_url, owner, shards, _keys(secrets), *rest)
    elif home is None or secrets is None:
        raise fail("--home demande --secrets, le secrets.json de la pile sauvegardée", 2)
    elif file is not None:
        _restore_home(file, Home(home), secrets, *rest)
    elif to is not None:
        from cli.restore_instant import restore_instant

        restore_instant(to, Home(home), repository, _kept(secrets), secrets, *rest[1:])


def _restore_home(
    file: Path,
    place: Home,
    secrets: Path,
    identity: Path | None,
    ledger: Path | None,
    without_ledger: bool,
    without_keys: bool,
) -> None:
    kept, manifest = _kept(secrets), read_manifest(file)
    require_new(place)
    require_program(manifest.schema)
    require_key(manifest.sealed, manifest.kek_ids, (key_wrap(kept), str(secrets)), without_keys)
    dump = open_dump(file, manifest, identity)
    entries = entries_beside(file, manifest.erasures, ledger, without_ledger)
    try:
        with place.restored():
            place.keep_secrets(kept)
            again = asyncio.run(_restore(place, kept, dump, manifest, entries, file.name))
            if entries:
                continue_ledger(entries, place.folder / LEDGER_NAME)
    except WrongKey as damaged:
        raise fail(f"la restauration n'est pas complète, ne démarrez pas dessus : {damaged}") from None
    except (UnusableHome, StartFailed, ServerMissing, ClusterFailed) as refused:
        raise fail(str(refused)) from None
    except DumpRejected as refused:
        raise fail(f"rien n'est restauré : {refused.french}", 2) from None
    except OperatorError as wrong:
        raise fail(f"la restauration n'est pas complète, ne démarrez pas dessus : {wrong.french}") from None
    say_restored(place.folder, manifest.counts)
    say_how_to_start(place.folder, entries, again)


def _keys(secrets: Path | None) -> "Keys":
    """Of this file, or as the services are told theirs; and whence they are."""
    if secrets is not None:
        return key_wrap(_kept(secrets)), str(secrets)
    from cli.place import Place
    from registry.keys import KeyWrap

    try:
        keks = Place.of_environment(os.environ, ()).keks()
    except ValueError as wrong:
        raise fail(str(wrong), 2) from None
    if keks is None:
        raise fail("aucune clé de chiffrement : donnez --secrets, ou TERRITOIRE_KEK comme aux services", 2)
    return KeyWrap(keks.kek_id, keks.current, keks.former), "TERRITOIRE_KEK"


def _kept(secrets: Path) -> Secrets:
    return read_of(secrets, Secrets, "le secrets.json d'une pile")


async def _restore(
    place: Home, kept: Secrets, dump: Source, manifest: Manifest, entries: list[Entry], name: str
) -> ErasedAgain:
    from core.runtime.postgres import connect
    from services.supervisor.ports import free_tcp_port

    server = PrivatePostgres(place.postgres_data, free_tcp_port(), kept.postgres)
    await asyncio.to_thread(server.prepare)
    supervisor = Supervisor()
    try:
        await supervisor.start([ChildSpec("postgres", server.launch(), place.log("postgres"), server.ready)])
        await server.create_database()
        url = server.url()
        await prepare_database(url, url, manifest)
        connection = await connect(url, "territoire-restore")
        others = await lend(connection, (await contents_of(dump)).owners, SUPERUSER)
        await connection.close()
        await fill(url, dump)
        connection = await connect(url, "territoire-restore")
        await hand_over(connection, others, SUPERUSER)
        # An older program counted less; what it made is brought to this one's schema once it has been counted.
        require_counts(manifest.counts, await count(connection, manifest.counts))
        again = await make_good(connection, url, key_wrap(kept), entries, name)
        await connection.close()
        return again
    finally:
        await supervisor.stop()
