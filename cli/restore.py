"""`territoire restore`: a backup, or an instant of the archive, into a new home; then its counts are compared."""

import asyncio
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer

from cli.account import COUNTED, differences
from cli.backup import Manifest, digest_of, manifest_file
from cli.encryption import WrongKey, check_identities, decrypt, is_encrypted, read_identities, write_plain
from cli.restored import (
    key_wrap,
    make_good,
    read_entries,
    require_complete,
    require_key,
    require_new,
    require_program,
    say_how_to_start,
    say_without_ledger,
)
from cli.running import fail
from core.runtime.errors import OperatorError, system_reason
from registry.erasures import LEDGER_NAME, Entry, continue_ledger
from registry.timescale import DumpRejected, require_reader
from services.supervisor.home import Home, Secrets, UnusableHome
from services.supervisor.launch import ServerMissing
from services.supervisor.postgres import ClusterFailed, PrivatePostgres, binaries, libpq_environment
from services.supervisor.supervisor import ChildSpec, StartFailed, Supervisor

# Writes a dump in the clear.
Source = Callable[[BufferedIOBase], None]


Kind = TypeVar("Kind")


def restore(
    home: Annotated[Path, typer.Option("--home", help="Un dossier neuf, qui deviendra celui de la pile.")],
    secrets: Annotated[
        Path,
        typer.Option(help="Le secrets.json de la pile sauvegardée : il a la clé de chiffrement des équipements."),
    ],
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[SAUVEGARDE]", help="La sauvegarde ; le .json écrit avec elle doit être à côté."),
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
    place = Home(home)
    if (file is None) == (to is None):
        raise fail("attendu une sauvegarde, ou --to et un instant", 2)
    if to is not None:
        from cli.restore_instant import restore_instant

        restore_instant(to, place, repository, _kept(secrets), secrets, ledger, without_ledger, without_keys)
        return
    assert file is not None  # noqa: S101 - One of the two is given.
    kept = _kept(secrets)
    manifest = _manifest(file)
    require_new(home)
    require_program(manifest.schema)
    require_key(manifest.sealed, manifest.kek_ids, kept, secrets, without_keys)
    dump = _openable(file, manifest, identity)
    entries = _entries(file, manifest, ledger, without_ledger)
    try:
        with place.held():
            place.keep_secrets(kept)
            counted, again = asyncio.run(_restore(place, kept, dump, manifest, entries, file.name))
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
    wrong = differences(manifest.counts, counted)
    for line in wrong:
        typer.echo(f"  ✗ {line}")
    if wrong:
        raise fail("la restauration n'est pas complète : ne démarrez pas dessus", 1)
    typer.echo(
        f"Restauré dans {home} : {manifest.counts['measurements']} mesures, {manifest.counts['uplinks']} trames, "
        f"{manifest.counts['devices']} équipements, tous les comptes sont ceux de la sauvegarde."
    )
    say_how_to_start(home, entries, again)


def _kept(secrets: Path) -> Secrets:
    return _read(secrets, Secrets, "le secrets.json d'une pile")


def _read(file: Path, kind: type[Kind], what: str) -> Kind:
    """A file of ours; ends the command where it is none."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except OSError as refused:
        raise fail(f"{file} : {system_reason(refused)}", 2) from None
    except msgspec.DecodeError:
        raise fail(f"{file} n'est pas {what}", 2) from None


def _manifest(file: Path) -> Manifest:
    try:
        digest = digest_of(file)
    except OSError as refused:
        raise fail(f"{file} : {system_reason(refused)}", 2) from None
    manifest = _read(manifest_file(file), Manifest, "ce que backup écrit à côté d'une sauvegarde")
    if digest != manifest.sha256:
        raise fail(f"{file} a changé depuis qu'il a été écrit (empreinte différente) : prenez une autre copie", 2)
    return manifest


def _openable(file: Path, manifest: Manifest, identity: Path | None) -> Source:
    """What writes the dump in the clear to whoever restores it; ends the command where it cannot be read."""
    if not is_encrypted(file):
        if manifest.encrypted:
            raise fail(f"{file} n'est pas le fichier chiffré que son .json décrit", 2)
        return partial(write_plain, file)
    if identity is None:
        raise fail(f"{file} est chiffrée : donnez --identity, le fichier de la clé privée age", 2)
    try:
        identities = read_identities(identity)
        check_identities(file, identities)
    except WrongKey as wrong:
        raise fail(str(wrong), 2) from None
    return lambda target: decrypt(file, target, identities)


def _entries(file: Path, manifest: Manifest, ledger: Path | None, without: bool) -> list[Entry]:
    """The lines of the ledger; ends the command where it is missing, or older than the backup."""
    if without:
        say_without_ledger()
        return []
    place = ledger or file.with_name(LEDGER_NAME)
    if not place.exists() and ledger is None and manifest.erasures is None:
        typer.echo(
            f"  ! {place} n'existe pas : si des personnes ou des logements ont été effacés depuis cette "
            "sauvegarde, ils reviennent. Le registre se donne par --ledger"
        )
        return []
    found = read_entries(place)
    require_complete(found, manifest.erasures, place)
    return found


async def _restore(
    place: Home, kept: Secrets, dump: Source, manifest: Manifest, entries: list[Entry], name: str
) -> tuple[dict[str, int], int]:
    from core.runtime.postgres import connect
    from registry.schema import FINISH_ROLES, PREPARE_ROLES
    from services.supervisor.ports import free_tcp_port

    server = PrivatePostgres(place.postgres_data, free_tcp_port(), kept.postgres)
    await asyncio.to_thread(server.prepare)
    supervisor = Supervisor()
    try:
        await supervisor.start([ChildSpec("postgres", server.launch(), place.log("postgres"), server.ready)])
        await server.create_database()
        connection = await connect(server.url(), "territoire-restore")
        await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        await require_reader(connection, manifest.timescaledb, manifest.compressed_chunks)
        await connection.execute(PREPARE_ROLES)
        await connection.execute("SELECT timescaledb_pre_restore()")
        await connection.close()
        await _pg_restore(server, dump)
        connection = await connect(server.url(), "territoire-restore")
        await connection.execute("SELECT timescaledb_post_restore()")
        await connection.execute(FINISH_ROLES)
        # An older program counted less; what it made is brought to this one's schema once it has been counted.
        counted = {name: await connection.fetchval(COUNTED[name]) for name in manifest.counts if name in COUNTED}
        again = await make_good(connection, server.url(), key_wrap(kept), entries, name)
        await connection.close()
        return counted, again
    finally:
        await supervisor.stop()


async def _pg_restore(server: PrivatePostgres, dump: Source) -> None:
    environment = libpq_environment(server.url())
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        binaries() / "pg_restore", "--exit-on-error", f"--dbname={environment['PGDATABASE']}",
        stdin=reading, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env=environment,
    )  # fmt: skip
    os.close(reading)
    feeding = asyncio.create_task(asyncio.to_thread(_feed, dump, writing))
    _, errors = await process.communicate()
    await feeding
    if process.returncode != 0:
        raise fail(f"pg_restore a échoué : {errors.decode(errors='replace')[-2000:]}")


def _feed(dump: Source, writing: int) -> None:
    # Who reads says itself why it has ended before.
    with suppress(BrokenPipeError), os.fdopen(writing, "wb") as target:
        dump(target)
