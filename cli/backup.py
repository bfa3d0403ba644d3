"""`territoire backup`: the database in one file, beside it what must be in the database after a restore."""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime
from io import BufferedWriter
from pathlib import Path
from typing import IO, Annotated

import msgspec
import typer

from cli.account import Account, take_account
from cli.programs import program
from cli.running import database_away, fail, find_run, require_replaceable, run_until_stopped
from core.runtime.errors import program_reason, system_reason
from registry.erasures import UnreadableLedger
from registry.ledger_file import LEDGER_NAME
from services.supervisor.launch import ServerMissing
from services.supervisor.postgres import libpq_environment

MANIFEST_SUFFIX = ".json"
# While it is written.
DRAFT_SUFFIX = ".part"
CANCELLED_WITHIN_S = 5.0
# A pg_dump that is gone leaves no session that waits for a lock.
MISSED_WITHIN_1_S = {"PGOPTIONS": "-c client_connection_check_interval=1s"}
NAMES = "territoire-????-??-??T??????.dump"


class Manifest(Account, frozen=True, kw_only=True, omit_defaults=True):
    """The file beside a backup: a restore is compared with its account."""

    made_at: datetime
    kek_ids: list[str]
    octets: int
    sha256: str
    encrypted: bool = False
    goes_on_plain: bool = False
    """In the clear because those of before were, and nobody has named a key since."""
    compressed_chunks: int = 0
    """TimescaleDB's Apache edition reads none of them."""


def manifest_file(backup: Path) -> Path:
    """The manifest beside a backup, under its name."""
    return backup.with_name(backup.name + MANIFEST_SUFFIX)


def digest_of(file: Path) -> str:
    """SHA-256 in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def backup(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FICHIER",
            help="Le fichier à écrire, ou un dossier : territoire-AAAA-MM-JJTHHMMSS.dump y est écrit.",
        ),
    ],
    home: Annotated[Path | None, typer.Option("--home", help="Dossier de la pile qui tourne.")] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            envvar="TERRITOIRE_BACKUP_DATABASE_URL",
            help="Adresse du propriétaire du schéma, pour une base hors pile.",
        ),
    ] = None,
    recipients: Annotated[
        str,
        typer.Option(
            envvar="TERRITOIRE_BACKUP_RECIPIENTS",
            help="Clés publiques age (age1…, de age-keygen) pour qui chiffrer ; leur clé privée reste ailleurs.",
        ),
    ] = "",
    plain: Annotated[
        bool, typer.Option("--plain", envvar="TERRITOIRE_BACKUP_PLAIN", help="En clair, sans chiffrer.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Remplacer le fichier s'il existe.")] = False,
    stopped: Annotated[
        bool,
        typer.Option(
            "--stopped",
            help="D'une pile arrêtée, qu'une autre va remplacer : ce qui attend sur le bus est d'abord lu.",
        ),
    ] = False,
    keep: Annotated[
        int | None,
        typer.Option(min=1, help="Dans un dossier : n'y garder que les dernières, tant."),
    ] = None,
) -> None:
    """Sauvegarde la base pendant que tout tourne, et écrit à côté ce qu'une restauration devra retrouver.

    Chiffrée (age) pour les clés publiques nommées, sauf --plain. À côté aussi, le registre des effacements :
    gardez-le avec les sauvegardes, restore le lit et efface à nouveau ce qui l'a été depuis.
    """
    folder = file if file.is_dir() else None
    for_whom, goes_on_plain = _recipients(recipients, plain, folder)
    if folder is not None:
        suffix = ".dump.age" if for_whom else ".dump"
        file = folder / f"territoire-{datetime.now(UTC):%Y-%m-%dT%H%M%S}{suffix}"
    require_replaceable(file, _draft_of(file), manifest_file(file))
    if file.exists() and not force:
        raise fail(f"{file} existe déjà : choisissez un autre nom, ou --force", 2)
    if stopped and database_url:
        raise fail("--stopped est d'une pile de cette machine, sans --database-url", 2)
    if folder is not None:
        _delete_abandoned(folder)
    try:
        if stopped:
            manifest = _of_stopped(home, lambda url: _back_up(url, file, for_whom, goes_on_plain))
        else:
            url = _address(database_url) if database_url else find_run(home).database_admin_url
            manifest = run_until_stopped(_back_up(url, file, for_whom, goes_on_plain))
    except UnreadableLedger as wrong:
        raise fail(f"{file.parent / LEDGER_NAME} ne se lit pas ({wrong}) : mettez-le de côté") from None
    except ServerMissing as missing:
        raise fail(str(missing)) from None
    except OSError as refused:
        raise fail(f"{refused.filename or file} : {system_reason(refused)}") from None
    typer.echo(
        f"{file} : {manifest.octets / 1e6:.1f} Mo, {manifest.counts['measurements']} mesures, "
        f"{manifest.counts['uplinks']} trames, {manifest.counts['devices']} équipements."
    )
    for old in former(folder, keep) if folder is not None and keep is not None else []:
        old.unlink()
        manifest_file(old).unlink(missing_ok=True)
        typer.echo(f"Effacée : {old.name}")
    typer.echo(
        "La clé de chiffrement n'y est pas, et sans elle aucune clé d'équipement ne se relit : gardez ailleurs "
        "secrets.json du dossier de la pile (ou TERRITOIRE_KEK)."
    )


def _address(database_url: str) -> str:
    from cli.place import demand_database

    return demand_database("--database-url", database_url)


def _of_stopped(home: Path | None, back_up: Callable[[str], Awaitable[Manifest]]) -> Manifest:
    from cli.session import REFUSALS
    from cli.stopped import once_drained

    try:
        return asyncio.run(once_drained(home, "backup", lambda run: back_up(run.database_admin_url)))
    except REFUSALS as refused:
        raise fail(str(refused)) from None


def _recipients(text: str, plain: bool, folder: Path | None) -> tuple[list[str], bool]:
    """For whom to encrypt, and whether it goes on in the clear as before; ends the command when nobody said."""
    from cli.encryption import WrongKey, check_recipients

    try:
        found = check_recipients(text)
    except WrongKey as wrong:
        raise fail(f"--recipients : {wrong}", 2) from None
    if found or plain:
        return ([] if plain else found), False
    last = None if folder is None else newest_manifest(folder)
    goes_on = _plain_of_before(folder) if last is None else last.goes_on_plain or last.erasures is None
    if goes_on:
        typer.echo(
            "  ! en clair, comme celles d'avant : nommez une clé publique (TERRITOIRE_BACKUP_RECIPIENTS=age1…, de "
            "age-keygen sur une autre machine), ou dites que c'est voulu (TERRITOIRE_BACKUP_PLAIN=true)"
        )
        return [], True
    raise fail(
        "une sauvegarde contient des données personnelles, et se chiffre : sur une autre machine, age-keygen -o "
        "cle.txt ; ici TERRITOIRE_BACKUP_RECIPIENTS=age1… (ou --recipients). En clair quand même : "
        "TERRITOIRE_BACKUP_PLAIN=true (ou --plain)",
        2,
    )


def _plain_of_before(folder: Path | None) -> bool:
    """Whether deploy/backup.sh of before, which wrote no manifest, has left backups in the clear and no others."""
    backups = [] if folder is None else former(folder, 0)
    return bool(backups) and not any(one.suffix == ".age" for one in backups)


def _draft_of(file: Path) -> Path:
    return file.with_name(file.name + DRAFT_SUFFIX)


def _delete_abandoned(folder: Path) -> None:
    """What runs that were killed have left here: it is as large as a backup."""
    for draft in folder.glob(f"{NAMES}*{DRAFT_SUFFIX}"):
        with contextlib.suppress(OSError), draft.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)  # Whoever writes one has this.
            draft.unlink()
            typer.echo(f"Effacée, d'une sauvegarde interrompue : {draft.name}")


def former(folder: Path, keep: int) -> list[Path]:
    """The backups of this folder but the last so many; their names are in the order of time."""
    return sorted([*folder.glob(NAMES), *folder.glob(f"{NAMES}.age")])[: -keep or None]


def newest_manifest(folder: Path) -> Manifest | None:
    """What the last backup in this folder says of itself; None: there is none."""
    newest: Manifest | None = None
    for file in (*folder.glob(f"*.dump{MANIFEST_SUFFIX}"), *folder.glob(f"*.dump.age{MANIFEST_SUFFIX}")):
        try:
            one = msgspec.json.decode(file.read_bytes(), type=Manifest)
        except (OSError, msgspec.DecodeError):
            continue
        exists = file.with_name(file.name.removesuffix(MANIFEST_SUFFIX)).exists()
        if exists and (newest is None or one.made_at > newest.made_at):
            newest = one
    return newest


def newest_backup(folder: Path) -> datetime | None:
    """When the last backup in this folder was made, by the manifests beside them; None: there is none."""
    newest = newest_manifest(folder)
    return None if newest is None else newest.made_at


@contextlib.asynccontextmanager
async def _holding_chunks(url: str) -> AsyncGenerator[None]:
    """No chunk is dropped or compressed meanwhile: one that is gone once a snapshot lists it fails the dump."""
    from core.runtime.postgres import DATABASE_AWAY, connect
    from ingest.chunks import CHUNKS_LOCK, HOLD_CHUNKS

    try:
        connection = await connect(url, "territoire-backup")
    except DATABASE_AWAY as away:
        raise database_away(away) from None
    try:
        async with connection.transaction():
            await connection.execute(HOLD_CHUNKS, CHUNKS_LOCK)
            yield
    finally:
        await connection.close()


async def _back_up(url: str, file: Path, recipients: list[str], goes_on_plain: bool) -> Manifest:
    async with _holding_chunks(url):
        return await _write_backup(url, file, recipients, goes_on_plain)


async def _write_backup(url: str, file: Path, recipients: list[str], goes_on_plain: bool) -> Manifest:
    from core.runtime.postgres import DATABASE_AWAY, connect
    from registry.erasures import write_missing
    from registry.timescale import COUNT_COMPRESSED

    try:
        connection = await connect(url, "territoire-backup")
    except DATABASE_AWAY as away:
        raise database_away(away) from None
    draft = _draft_of(file)
    try:
        # One snapshot for the dump and for the counts, however long both take and whatever is written meanwhile.
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
            dump = asyncio.create_task(_dump(url, draft, snapshot, recipients))
            try:
                account = await take_account(connection)
                compressed = await connection.fetchval(COUNT_COMPRESSED)
                await dump
            finally:
                dump.cancel()
                await asyncio.gather(dump, return_exceptions=True)
        if account.erasures is not None:
            ledger = file.parent / LEDGER_NAME
            ledger.touch(mode=0o600)  # Nothing erased so far is no ledger that is missing.
            await write_missing(connection, ledger)
        made = Manifest(
            **msgspec.structs.asdict(account),
            made_at=datetime.now(UTC),
            kek_ids=sorted(account.sealed),
            octets=draft.stat().st_size,
            sha256=digest_of(draft),
            encrypted=bool(recipients),
            goes_on_plain=goes_on_plain,
            compressed_chunks=compressed,
        )
        manifest_file(file).write_bytes(msgspec.json.format(msgspec.json.encode(made)) + b"\n")
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
        await connection.close()
    return made


async def _dump(url: str, draft: Path, snapshot: str, recipients: list[str]) -> None:
    # The custom format, compressed as it goes; it holds personal data: for our eyes only.
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        with contextlib.suppress(OSError):  # A share without locks.
            fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status, errors = await _dump_into(output, url, snapshot, recipients)
        output.flush()
        os.fsync(output.fileno())
    if status != 0:
        raise fail(f"pg_dump a échoué : {program_reason(errors.decode(errors='replace')[-1000:])}")


async def _dump_into(
    output: BufferedWriter, url: str, snapshot: str, recipients: list[str]
) -> tuple[int | None, bytes]:
    """The status of pg_dump, and what it complains of. Nothing of it goes on once this has returned."""
    if not recipients:
        return await _pg_dump(output, url, snapshot)
    reading, writing = os.pipe()
    encrypting = asyncio.create_task(asyncio.to_thread(_encrypt, reading, output, recipients))
    try:
        with os.fdopen(writing, "wb") as into:
            return await _pg_dump(into, url, snapshot)
    finally:
        await encrypting


async def _pg_dump(output: IO[bytes], url: str, snapshot: str) -> tuple[int | None, bytes]:
    process = await asyncio.create_subprocess_exec(
        *program("pg_dump"), "--format=custom", "--compress=zstd:3", f"--snapshot={snapshot}",
        "--exclude-table-data=export_part",  # What can be asked for again.
        stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE,
        env=libpq_environment(url) | MISSED_WITHIN_1_S,
    )  # fmt: skip
    try:
        _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()  # It cancels its query, which may wait for a lock.
            try:
                async with asyncio.timeout(CANCELLED_WITHIN_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
    return process.returncode, errors


def _encrypt(reading: int, output: BufferedWriter, recipients: list[str]) -> None:
    from cli.encryption import encrypt

    with os.fdopen(reading, "rb") as source:
        encrypt(source, output, recipients)
