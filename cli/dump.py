"""A backup's file: its manifest beside it, opened with the private key, and given to pg_restore."""

import asyncio
import os
import re
import subprocess
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from cli.backup import Manifest, digest_of, manifest_file
from cli.encryption import WrongKey, check_identities, decrypt, is_encrypted, read_identities, write_plain
from cli.programs import program
from cli.running import fail
from core.runtime.errors import program_reason, system_reason
from services.supervisor.postgres import libpq_environment

if TYPE_CHECKING:
    from core.runtime.postgres import Connection

Kind = TypeVar("Kind")
# Writes a dump in the clear.
Source = Callable[[BufferedIOBase], None]
COMPRESSED = re.compile(r" TABLE DATA _timescaledb_internal compress_hyper_\d+_\d+_chunk ")


def read_of(file: Path, kind: type[Kind], what: str) -> Kind:
    """A file of ours; ends the command where it is none."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except OSError as refused:
        raise fail(f"{file} : {system_reason(refused)}", 2) from None
    except msgspec.DecodeError:
        raise fail(f"{file} n'est pas {what}", 2) from None


def read_manifest(file: Path) -> Manifest:
    """What is beside the backup; ends the command where it is not of this file."""
    if not file.exists():
        raise fail(f"{file} : n'existe pas", 2)
    manifest = read_of(manifest_file(file), Manifest, "ce que backup écrit à côté d'une sauvegarde")
    require_digest(file, manifest.sha256)
    return manifest


def require_digest(file: Path, wanted: str) -> None:
    """End the command where the file is not the one that was written."""
    try:
        digest = digest_of(file)
    except OSError as refused:
        raise fail(f"{file} : {system_reason(refused)}", 2) from None
    if digest != wanted:
        raise fail(f"{file} a changé depuis qu'il a été écrit (empreinte différente) : prenez une autre copie", 2)


def open_dump(file: Path, manifest: Manifest, identity: Path | None) -> Source:
    """What writes the dump in the clear for pg_restore; ends the command where it cannot be read."""
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


async def prepare_database(url: str, owner_url: str, manifest: Manifest) -> None:
    """Make an empty database take what this manifest is of: its extension, and the roles that it grants to.

    `url` is of a superuser, `owner_url` of whom the schema is to belong to: who makes a role may give it to
    others, and set its password, which the owner does at every migration.

    Raises:
        DumpRejected: the server's TimescaleDB does not read what another one wrote.
    """
    from registry.schema import PREPARE_ROLES
    from registry.sql_logins import PREPARE_GROUP
    from registry.timescale import require_reader

    async with _session(url) as connection:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        await require_reader(connection, manifest.timescaledb, manifest.compressed_chunks)
    async with _session(owner_url) as connection:
        await connection.execute(PREPARE_ROLES)
        await connection.execute(PREPARE_GROUP)


async def fill(url: str, dump: Source) -> None:
    """All of it, into a prepared database, as its superuser; ends the command where pg_restore fails."""
    # Each in a session of its own: what is set for the database holds for the next.
    async with _session(url) as connection:
        await connection.execute("SELECT timescaledb_pre_restore()")
    environment = libpq_environment(url)
    name = environment["PGDATABASE"].replace("\\", r"\\").replace("'", r"\'")
    await _pg_restore(("--exit-on-error", f"--dbname=dbname='{name}'"), environment, dump)
    async with _session(url) as connection:
        await connection.execute("SELECT timescaledb_post_restore()")


@asynccontextmanager
async def _session(url: str) -> AsyncGenerator["Connection"]:
    from core.runtime.postgres import connect

    connection = await connect(url, "territoire-restore")
    try:
        yield connection
    finally:
        await connection.close()


@dataclass(frozen=True, slots=True)
class Contents:
    """What the table of contents of a dump says."""

    lines: list[str]

    @property
    def owners(self) -> set[str]:
        """The accounts that own what is in it."""
        return {line.rpartition(" ")[2] for line in self.lines} - {"", "-"}

    @property
    def compressed_chunks(self) -> int:
        """What another edition of TimescaleDB compressed lies in tables of these names."""
        return sum(COMPRESSED.search(line) is not None for line in self.lines)


async def contents_of(dump: Source) -> Contents:
    """Read it."""
    contents = await _pg_restore(("--list",), {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}, dump)
    return Contents([line for line in contents.splitlines() if line and not line.startswith(";")])


async def _pg_restore(arguments: tuple[str, ...], environment: dict[str, str], dump: Source) -> str:
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *program("pg_restore"), *arguments,
        stdin=reading, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
    )  # fmt: skip
    os.close(reading)
    feeding = asyncio.create_task(asyncio.to_thread(_feed, dump, writing))
    said, errors = await process.communicate()
    await feeding
    if process.returncode != 0:
        raise fail(f"pg_restore a échoué : {program_reason(errors.decode(errors='replace')[-2000:])}")
    return said.decode(errors="replace")


def _feed(dump: Source, writing: int) -> None:
    # Who reads says itself why it has ended before.
    with suppress(BrokenPipeError), os.fdopen(writing, "wb") as target:
        dump(target)
