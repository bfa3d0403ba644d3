"""`territoire backup`: the database in one file, beside it what must be in the database after a restore."""

import asyncio
import hashlib
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from cli.running import fail, find_run
from core.runtime.errors import describe
from services.supervisor.launch import ServerMissing
from services.supervisor.postgres import binaries, libpq_environment

MANIFEST_SUFFIX = ".json"
COUNTED = {
    "tenants": "SELECT count(*) FROM tenant",
    "devices": "SELECT count(*) FROM device",
    "sessions": "SELECT count(*) FROM session",
    "assets": "SELECT count(*) FROM asset",
    "datastreams": "SELECT count(*) FROM datastream",
    "uplinks": "SELECT count(*) FROM observation.uplink",
    "receptions": "SELECT count(*) FROM observation.reception",
    "measurements": "SELECT count(*) FROM observation.measurement",
    "rollup_hours": "SELECT count(*) FROM observation.rollup_hour",
    "rollup_days": "SELECT count(*) FROM observation.rollup_day",
    "alerts": "SELECT count(*) FROM alert",
    "downlinks": "SELECT count(*) FROM downlink",
}
SCHEMA_VERSION = "SELECT max(number) FROM schema_migration"
TIMESCALE_VERSION = "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"


class Manifest(msgspec.Struct, frozen=True):
    """The file beside a backup: a restore is compared with its counts."""

    made_at: datetime
    schema: int
    timescaledb: str
    kek_ids: list[str]
    counts: dict[str, int]
    octets: int
    sha256: str
    sealed: dict[str, list[str]] = {}
    """Of each key-encryption key what it has sealed, one example and its owner for each column that has some:
    whether a key opens this backup is known before anything is restored. Without a key it reveals nothing."""


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
        typer.Argument(help="Le fichier à écrire, ou un dossier : territoire-AAAA-MM-JJTHHMMSS.dump y est écrit."),
    ],
    home: Annotated[Path | None, typer.Option("--home", help="Dossier de la pile qui tourne.")] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            envvar="TERRITOIRE_BACKUP_DATABASE_URL",
            help="Adresse du propriétaire du schéma, pour une base hors pile.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option(help="Remplacer le fichier s'il existe.")] = False,
    keep: Annotated[
        int | None,
        typer.Option(min=1, help="Dans un dossier : n'y garder que les dernières, tant."),
    ] = None,
) -> None:
    """Sauvegarde la base pendant que tout tourne, et écrit à côté ce qu'une restauration devra retrouver."""
    folder = file if file.is_dir() else None
    if folder is not None:
        file = folder / f"territoire-{datetime.now(UTC):%Y-%m-%dT%H%M%S}.dump"
    if file.exists() and not force:
        raise fail(f"{file} existe déjà : choisissez un autre nom, ou --force", 2)
    url = database_url or find_run(home).database_admin_url
    try:
        manifest = asyncio.run(_back_up(url, file))
    except ServerMissing as missing:
        raise fail(str(missing)) from None
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


def former(folder: Path, keep: int) -> list[Path]:
    """The backups of this folder but the last so many; their names are in the order of time."""
    return sorted(folder.glob("territoire-????-??-??T??????.dump"))[:-keep]


def newest_backup(folder: Path) -> datetime | None:
    """When the last backup in this folder was made, by the manifests beside them; None: there is none."""
    newest: datetime | None = None
    for file in folder.glob(f"*.dump{MANIFEST_SUFFIX}"):
        try:
            made = msgspec.json.decode(file.read_bytes(), type=Manifest).made_at
        except (OSError, msgspec.DecodeError):
            continue
        if file.with_name(file.name.removesuffix(MANIFEST_SUFFIX)).exists():
            newest = made if newest is None else max(newest, made)
    return newest


async def _back_up(url: str, file: Path) -> Manifest:
    from core.runtime.postgres import DATABASE_AWAY, connect
    from registry.sealed_columns import read_sealed

    try:
        connection = await connect(url, "territoire-backup")
    except DATABASE_AWAY as away:
        raise fail(f"la base de données ne répond pas ({describe(away)})") from None
    draft = file.with_name(file.name + ".part")
    try:
        # One snapshot for the dump and for the counts, however long both take and whatever is written meanwhile.
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
            dump = asyncio.create_task(_dump(url, draft, snapshot))
            counts = {name: await connection.fetchval(statement) for name, statement in COUNTED.items()}
            schema = await connection.fetchval(SCHEMA_VERSION)
            timescaledb = await connection.fetchval(TIMESCALE_VERSION)
            sealed: dict[str, list[str]] = {}
            for one in await read_sealed(connection):
                sealed.setdefault(one.kek_id, []).append(f"{one.sample.hex()} {one.owner}")
            await dump
        made = Manifest(
            datetime.now(UTC),
            schema,
            timescaledb,
            sorted(sealed),
            counts,
            draft.stat().st_size,
            digest_of(draft),
            sealed,
        )
        manifest_file(file).write_bytes(msgspec.json.format(msgspec.json.encode(made)) + b"\n")
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
        await connection.close()
    return made


async def _dump(url: str, draft: Path, snapshot: str) -> None:
    # The custom format, compressed as it goes; it holds personal data: for our eyes only.
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        process = await asyncio.create_subprocess_exec(
            binaries() / "pg_dump", "--format=custom", "--compress=zstd:3", f"--snapshot={snapshot}",
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE, env=libpq_environment(url),
        )  # fmt: skip
        _, errors = await process.communicate()
        output.flush()
        os.fsync(output.fileno())
    if process.returncode != 0:
        raise fail(f"pg_dump a échoué : {errors.decode(errors='replace')[-1000:]}")
