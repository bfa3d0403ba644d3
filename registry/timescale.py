"""TimescaleDB on a server: its version beside the database's, its edition beside what is compressed.

The version is read by a session that does not load it. Once a package is replaced, the library that the database
asks for may be gone, and then every other session fails at its first statement.
"""

import re
import shlex
from dataclasses import dataclass

import structlog

from core.runtime.errors import OperatorError, sql_reason
from core.runtime.postgres import (
    BareConnection,
    Connection,
    LockNotAvailableError,
    PostgresError,
    open_bare_connection,
)
from registry.rows import entity

# What all of this is tried with; deploy/postgresql.Containerfile asks for it.
TRIED = "2.19"
NOT_LOADED = {"timescaledb.disable_load": "on"}
# In such a session, once the version was found to be the server's.
LOAD = "SET timescaledb.disable_load = off"
CREATE, UPDATE = "CREATE EXTENSION timescaledb", "ALTER EXTENSION timescaledb UPDATE"
UPDATED_WITHIN_S = 300.0

READ_EXTENSION = """
SELECT e.extversion AS installed, a.default_version AS offered, current_database()::text AS database,
       split_part(current_setting('server_version'), '.', 1) AS major,
       r.rolsuper OR ((NOT v.superuser OR v.trusted AND has_database_privilege(current_database(), 'CREATE'))
                      AND (e.oid IS NULL OR pg_has_role(e.extowner, 'USAGE'))) IS TRUE AS may_change
FROM pg_roles r
LEFT JOIN pg_extension e ON e.extname = 'timescaledb'
LEFT JOIN pg_available_extensions a ON a.name = 'timescaledb'
LEFT JOIN pg_available_extension_versions v ON v.name = a.name AND v.version = a.default_version
WHERE r.rolname = current_user
"""
# The library may be loaded where the extension is not made yet.
READ_LICENSE = """
SELECT current_setting('timescaledb.license', true) FROM pg_extension WHERE extname = 'timescaledb'
"""
COUNT_COMPRESSED = "SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed"
DECOMPRESS = (
    "psql -X -c \"SELECT decompress_chunk(format('%I.%I', chunk_schema, chunk_name)::regclass) "
    'FROM timescaledb_information.chunks WHERE is_compressed" '
    "-c 'ALTER TABLE observation.measurement SET (timescaledb.compress = false)'"
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Extension:
    """`installed` in this database, `offered` by the server; None: not there. `may_change`: by this account."""

    installed: str | None
    offered: str | None
    database: str
    major: str
    may_change: bool


class TimescaleProblem(OperatorError):
    """The server's TimescaleDB is not one to work with: `what` is wrong, and the `remedy`, in French."""

    def __init__(self, message: str, what: str, remedy: str) -> None:
        super().__init__(message, f"{what} : {remedy}")
        self.what, self.remedy = what, remedy


class NotOffered(TimescaleProblem):
    """The server has PostgreSQL without TimescaleDB."""

    def __init__(self, extension: Extension) -> None:
        super().__init__(
            f"the server offers no TimescaleDB for PostgreSQL {extension.major}",
            f"ce serveur PostgreSQL {extension.major} n'a pas TimescaleDB",
            f"installez-y postgresql-{extension.major}-timescaledb, ajoutez timescaledb à "
            "shared_preload_libraries, redémarrez-le",
        )


class OlderThanDatabase(TimescaleProblem):
    """The database was written by a newer TimescaleDB than the server has."""

    def __init__(self, extension: Extension) -> None:
        super().__init__(
            f"the database has TimescaleDB {extension.installed}, the server {extension.offered}",
            f"la base est de TimescaleDB {extension.installed}, ce serveur n'a que la {extension.offered}",
            f"remettez-lui la {extension.installed} (on ne redescend que par une restauration)",
        )


class LeftToSuperuser(TimescaleProblem):
    """The extension has to be made or brought to the server's version, and this account may not."""

    def __init__(self, extension: Extension) -> None:
        if extension.installed is None:
            what, command = "l'extension timescaledb manque à la base", CREATE
        else:
            what = f"la base en est à TimescaleDB {extension.installed}, ce serveur à la {extension.offered}"
            command = UPDATE
        database = shlex.quote(extension.database)
        inside = f"psql -X -d {database} -c '{command}'"
        super().__init__(
            f"a superuser has to run: {command}",
            what,
            "la migration le fait si son compte en a le droit ; sinon un superutilisateur lance, dans une session "
            f"neuve, {inside} (sous CloudNativePG : kubectl cnpg psql database -n territoire -- -X "
            f"-d {database} -c '{command}'), puis vous relancez la migration",
        )


class UpdateFailed(TimescaleProblem):
    """PostgreSQL refused the extension's update; nothing of it stays."""

    def __init__(self, cause: PostgresError) -> None:
        why = (
            "une autre session tient ce qu'elle doit modifier ; terminez-la (ou attendez) et relancez"
            if isinstance(cause, LockNotAvailableError)
            else sql_reason(cause)
        )
        what = "TimescaleDB n'est pas mis à jour, et rien n'en reste"
        super().__init__(f"TimescaleDB was not updated: {cause}", what, why)


class CompressedUnderApache(TimescaleProblem):
    """Chunks were compressed under Timescale's licence; the server's edition cannot read them."""

    def __init__(self, chunks: int) -> None:
        super().__init__(
            f"{chunks} chunks are compressed, and TimescaleDB's Apache edition reads none of them",
            "ce serveur a l'édition Apache de TimescaleDB, et ne peut pas lire les mesures qui sont compressées "
            f"({chunks} tranches)",
            "remettez la base sous l'édition de Timescale (Compose : "
            "DATABASE_IMAGE=timescale/timescaledb:2.19.3-pg17 dans .env), et restez-y ; ou décompressez-les là, "
            f"maintenance arrêtée : {DECOMPRESS}, puis revenez à l'édition Apache",
        )


class DumpRejected(TimescaleProblem):
    """A backup is read only by the version and the edition that wrote it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"the backup is not restored: {what}", what, remedy)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def is_tried(version: str | None) -> bool:
    """Whether it is of the version that the tests run on; None: it is not there yet."""
    return version is None or _numbers(version)[:2] == _numbers(TRIED)


def problem_of(extension: Extension) -> TimescaleProblem | None:
    """What keeps this program from working with the extension; None: nothing."""
    if extension.offered is None:
        return NotOffered(extension)
    if extension.installed is None or _numbers(extension.installed) < _numbers(extension.offered):
        return LeftToSuperuser(extension)
    return OlderThanDatabase(extension) if _numbers(extension.installed) > _numbers(extension.offered) else None


async def read_extension(connection: Connection | BareConnection) -> Extension:
    """Of a session that was opened with `NOT_LOADED`, where the library may be gone."""
    row = await connection.fetchrow(READ_EXTENSION)
    assert row is not None  # noqa: S101 - The current role exists.
    return entity(Extension, row)


async def bring_up_to_date(connection: BareConnection, database_url: str, lock_timeout_s: float) -> None:
    """Update the extension where this account may; the first migration makes it where it is missing.

    `connection` was opened with `NOT_LOADED`; an update has to be the first statement of a session of its own.

    Raises:
        TimescaleProblem: this account may not, or the server's version is of no use; its text says what to do.
    """
    extension = await read_extension(connection)
    problem = problem_of(extension)
    if isinstance(problem, LeftToSuperuser) and extension.may_change:
        if extension.installed is not None:
            await _update(database_url, lock_timeout_s)
            log.info("timescaledb_updated", before=extension.installed, now=extension.offered, is_step=True)
        return
    if problem is not None:
        raise problem
    if not is_tried(extension.installed):
        log.warning("timescaledb_untried", installed=extension.installed, tried=TRIED)


async def _update(database_url: str, lock_timeout_s: float) -> None:
    waiting = {"lock_timeout": f"{round(lock_timeout_s * 1000)}ms"}
    async with open_bare_connection(
        database_url, "territoire-migrate", command_timeout=UPDATED_WITHIN_S, settings=waiting
    ) as connection:
        try:
            await connection.execute(UPDATE)
        except PostgresError as cause:
            raise UpdateFailed(cause) from cause


async def require_reader(connection: Connection, version: str, compressed: int) -> None:
    """Require that this database reads a dump of this version ("": not known) with so many compressed chunks.

    Raises:
        DumpRejected: it would fail in the middle, or worse, succeed.
    """
    extension = await read_extension(connection)
    if version and _numbers(version)[:2] != _numbers(extension.installed or "")[:2]:
        raise DumpRejected(
            f"cette sauvegarde est de TimescaleDB {version}, ce serveur a la {extension.installed}",
            f"restaurez-la sur un serveur qui a la {version}, mettez-y TimescaleDB à jour, sauvegardez à nouveau "
            "(docs/serveur.md, « Changer de version de PostgreSQL »)",
        )
    if compressed and await connection.fetchval(READ_LICENSE) == "apache":
        raise DumpRejected(
            f"{compressed} tranches de mesures y sont compressées, ce serveur a l'édition Apache de TimescaleDB",
            f"décompressez-les là d'où elle vient ({DECOMPRESS}), et sauvegardez à nouveau",
        )


async def compressed_under_apache(connection: Connection) -> CompressedUnderApache | None:
    """Whether there are chunks that this server's edition cannot read; None: it reads all of them."""
    if await connection.fetchval(READ_LICENSE) != "apache":
        return None
    chunks = await connection.fetchval(COUNT_COMPRESSED)
    return CompressedUnderApache(chunks) if chunks else None
