"""`territoire restore`: a backup into a new home; then its counts are compared with the manifest's."""

import asyncio
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from cli.backup import COUNTED, Manifest, digest_of, manifest_file
from cli.encryption import WrongKey, check_identities, decrypt, is_encrypted, read_identities, write_plain
from cli.running import actor, fail
from core.runtime.errors import OperatorError
from registry.erasures import LEDGER_NAME, Entry, UnreadableLedger, continue_ledger, read_ledger
from registry.timescale import DumpRejected, require_reader
from services.supervisor.home import Home, Secrets, UnusableHome
from services.supervisor.launch import ServerMissing
from services.supervisor.postgres import ClusterFailed, PrivatePostgres, binaries, libpq_environment
from services.supervisor.supervisor import ChildSpec, StartFailed, Supervisor

if TYPE_CHECKING:
    from registry.keys import KeyWrap

# Writes a dump in the clear.
Source = Callable[[BufferedIOBase], None]
# What was sent after the backup is not in it. Devices reject a counter that goes back, and take one that is ahead
# by less than 16,384 (MAX_FCNT_GAP, LoRaWAN 1.0.3); a JoinNonce likewise only rises.
COUNTERS_AHEAD = 4_096
RAISE_SESSIONS = "UPDATE session SET f_cnt_down = f_cnt_down + $1 WHERE closed_at IS NULL"
RAISE_GROUPS = "UPDATE multicast_group SET f_cnt = f_cnt + $1"
RAISE_JOINS = "UPDATE join_nonce SET last_join_nonce = least(last_join_nonce + $1, 16777215)"
# Cursors of readers of the feed name transactions of the database that was.
RENEW_FEED = "SELECT renew_feed()"


def restore(
    file: Annotated[Path, typer.Argument(help="La sauvegarde ; le .json écrit avec elle doit être à côté.")],
    home: Annotated[Path, typer.Option("--home", help="Un dossier neuf, qui deviendra celui de la pile.")],
    secrets: Annotated[
        Path,
        typer.Option(help="Le secrets.json de la pile sauvegardée : il a la clé de chiffrement des équipements."),
    ],
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
    """Restaure une sauvegarde dans une base neuve, compare les comptes, et dit comment démarrer."""
    manifest, kept = _inputs(file, secrets)
    place = Home(home)
    if home.exists() and any(home.iterdir()):
        raise fail(f"{home} n'est pas vide : une restauration ne se fait que dans un dossier neuf", 2)
    _require_program(manifest)
    _require_key(manifest, kept, secrets, without_keys)
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
    wrong = {name: (manifest.counts[name], counted.get(name)) for name in manifest.counts}
    wrong = {name: both for name, both in wrong.items() if both[0] != both[1]}
    for name, (expected, found) in wrong.items():
        typer.echo(f"  ✗ {name} : {found} au lieu de {expected}")
    if wrong:
        raise fail("la restauration n'est pas complète : ne démarrez pas dessus", 1)
    typer.echo(
        f"Restauré dans {home} : {manifest.counts['measurements']} mesures, {manifest.counts['uplinks']} trames, "
        f"{manifest.counts['devices']} équipements, tous les comptes sont ceux de la sauvegarde."
    )
    if entries:
        typer.echo(f"Registre des effacements : {len(entries)} lignes, {again} effacements faits à nouveau.")
    typer.echo(
        f"Les compteurs descendants ont été avancés de {COUNTERS_AHEAD}. Démarrez : ./territoire up --home {home}"
    )


def _inputs(file: Path, secrets: Path) -> tuple[Manifest, Secrets]:
    try:
        manifest = msgspec.json.decode(manifest_file(file).read_bytes(), type=Manifest)
        kept = msgspec.json.decode(secrets.read_bytes(), type=Secrets)
        digest = digest_of(file)
    except (OSError, msgspec.DecodeError) as wrong:
        raise fail(f"illisible : {wrong}", 2) from None
    if digest != manifest.sha256:
        raise fail(f"{file} a changé depuis qu'il a été écrit (empreinte différente) : prenez une autre copie", 2)
    return manifest, kept


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
        typer.echo("  ! sans registre des effacements : ce qui a été effacé depuis cette sauvegarde revient")
        return []
    place = ledger or file.with_name(LEDGER_NAME)
    insist = "--without-ledger restaure sans lui : ce qui a été effacé depuis cette sauvegarde reviendrait"
    if not place.exists():
        if ledger is None and manifest.erasures is None:
            typer.echo(
                f"  ! {place} n'existe pas : si des personnes ou des logements ont été effacés depuis cette "
                "sauvegarde, ils reviennent. Le registre se donne par --ledger"
            )
            return []
        raise fail(
            f"{place} n'existe pas : le registre des effacements se garde avec les sauvegardes, et se donne par "
            f"--ledger. {insist}",
            2,
        )
    try:
        found = list(read_ledger(place))
    except (OSError, UnreadableLedger) as wrong:
        raise fail(f"{place} ne se lit pas ({wrong}). {insist}", 2) from None
    if len(found) < (manifest.erasures or 0):
        raise fail(
            f"{place} a {len(found)} effacements, cette sauvegarde en connaît {manifest.erasures} : ce registre "
            f"n'est pas complet, cherchez le bon. {insist}",
            2,
        )
    return found


def _require_program(manifest: Manifest) -> None:
    from registry.schema import migrations

    known = len(migrations())
    if manifest.schema > known:
        raise fail(
            f"cette sauvegarde est d'un programme plus récent (schéma {manifest.schema}, celui-ci connaît "
            f"{known}) : rien n'est restauré. Installez la version du programme qui l'a faite",
            2,
        )


def _key_wrap(kept: Secrets) -> "KeyWrap":
    from registry.keys import KeyWrap

    former = {kek_id: bytes.fromhex(kek) for kek_id, kek in kept.former_keks.items()}
    return KeyWrap(kept.kek_id, bytes.fromhex(kept.kek), former)


def _sample(written: str) -> tuple[bytes, str]:
    """A sealed value of a manifest and its owner; a manifest of before names none."""
    octets, _, owner = written.partition(" ")
    return bytes.fromhex(octets), owner


def _require_key(manifest: Manifest, kept: Secrets, secrets: Path, without_keys: bool) -> None:
    """Rejects a backup whose wrapped keys none of these secrets opens, unless `without_keys`."""
    keys = _key_wrap(kept)
    closed = {
        kek_id: sum(not keys.opens(*_sample(sample)) for sample in samples)
        for kek_id, samples in manifest.sealed.items()
    }
    unknown = [kek_id for kek_id in manifest.kek_ids if kek_id not in manifest.sealed]
    if unknown:
        typer.echo(
            f"  ! cette sauvegarde ne dit pas si la clé de {secrets} ouvre {', '.join(unknown)} : après le "
            "démarrage, ./territoire doctor le dira"
        )
    if not any(closed.values()):
        return
    names = ", ".join(kek_id for kek_id, count in closed.items() if count)
    opens_some = any(count < len(manifest.sealed[kek_id]) for kek_id, count in closed.items())
    if not opens_some and not without_keys:
        raise fail(
            f"la clé de {secrets} n'ouvre aucune clé d'équipement de cette sauvegarde ({names}) : rien n'est "
            "restauré. Donnez le secrets.json de l'installation sauvegardée (il se garde à part des sauvegardes). "
            "S'il est perdu, --without-keys restaure les mesures ; chaque équipement sera à réinscrire",
            2,
        )
    typer.echo(f"  ! la clé de {secrets} n'ouvre pas tout ce qui est sous {names} : ces équipements seront muets")


async def _restore(
    place: Home, kept: Secrets, dump: Source, manifest: Manifest, entries: list[Entry], name: str
) -> tuple[dict[str, int], int]:
    from core.runtime.postgres import connect
    from registry.audit import write_audit
    from registry.erasures import erase_again
    from registry.schema import FINISH_ROLES, PREPARE_ROLES, migrate
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
        await migrate(server.url())
        async with connection.transaction():
            for statement in (RAISE_SESSIONS, RAISE_GROUPS, RAISE_JOINS):
                await connection.execute(statement, COUNTERS_AHEAD)
            await connection.execute(RENEW_FEED)
        again = await erase_again(connection, _key_wrap(kept), entries)
        await write_audit(connection, None, actor(), "restore", "backup", name, {"after": {"erased_again": again}})
        await connection.execute("ANALYZE")
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
