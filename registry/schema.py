"""Runs the numbered migrations: forward only, one runner at a time, checksums kept (decision 111).

A file is one transaction, or steps that are committed one by one (`registry.migration_files`). Programs of before
go on beside it, and start on it, unless the ledger says that it needs a newer one.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files

import structlog

from core.runtime.errors import OperatorError, sql_reason
from core.runtime.lease import read_shards
from core.runtime.postgres import (
    DATABASE_AWAY,
    BareConnection,
    Connection,
    LockNotAvailableError,
    PostgresError,
    connect,
    open_bare_connection,
)
from registry.granting import apply_rights, close_shared_login
from registry.migration_files import Kind, Migration, Step, min_compatible, parse
from registry.policies import apply_policies, enforce_seal
from registry.releases import Program, hold_off, programs_before
from registry.rights import ALL_TENANTS, AS_TENANT, LOGINS, OWNER
from registry.timescale import NOT_LOADED, bring_up_to_date, compressed_under_apache
from registry.vouching import demand_vouching

# Arbitrary, ours: serialises concurrent runners. Ends with the connection.
LOCK = 0x7E44170172E
# Of the runner: services go on behind a migration that waits for a lock, but not for longer than this.
LOCK_TIMEOUT_S = 10.0
# A runner whose machine is frozen in the middle of a file keeps what it has locked for no longer than this.
IDLE_TIMEOUT_S = 5.0
FIRST_SHARDS = 4
ASK_LOCK_EVERY_S = 0.2

CREATE_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migration (
    number int PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
# The oldest program, by the number of files that it knows, that works since then. Looked for before it is made:
# that locks out the services, which read the ledger when they start.
HAS_MIN_COMPATIBLE = """
SELECT EXISTS (SELECT FROM pg_attribute
               WHERE attrelid = 'schema_migration'::regclass AND attname = 'min_compatible' AND NOT attisdropped)
"""
ADD_MIN_COMPATIBLE = """
ALTER TABLE schema_migration ADD COLUMN min_compatible int;
UPDATE schema_migration SET min_compatible = number;
"""
LET_CREATE = f"GRANT CREATE ON SCHEMA public TO {OWNER}"
# Before the first file, so that the schema's owner need be no superuser: who gives something to a role must be its
# member, and the role must be allowed to create in the schema (of a later file, nothing else is missing). As a
# member the owner is also seen by row security as the services are. Without the roles of single services an
# installation goes on as before.
PREPARE_ROLES = f"""
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['{OWNER}', 'territoire_api', 'territoire_views'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I', role) || CASE role WHEN 'territoire_api' THEN ' LOGIN' ELSE '' END;
        END IF;
        IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
            BEGIN
                EXECUTE format('GRANT %I TO %I', role, current_user);
            EXCEPTION WHEN insufficient_privilege THEN
                NULL;  -- Whoever made the roles has granted them, or the file says what is missing.
            END;
        END IF;
    END LOOP;
    FOREACH role IN ARRAY ARRAY['{"', '".join((ALL_TENANTS, AS_TENANT, *LOGINS.values()))}'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I', role)
                    || CASE WHEN role IN ('{ALL_TENANTS}', '{AS_TENANT}') THEN '' ELSE ' LOGIN' END;
            EXCEPTION WHEN insufficient_privilege THEN
                NULL;
            END;
        END IF;
    END LOOP;
    {LET_CREATE};
END
$$
"""
FINISH_ROLES = f"REVOKE CREATE ON SCHEMA public FROM {OWNER}"
# Every service compares the ledger with what it knows before it starts.
SHOW_LEDGER = "GRANT SELECT ON schema_migration TO territoire_service, territoire_api"
# Of a ledger of before the column, too.
READ_LEDGER = """
SELECT number, name, checksum, coalesce((to_jsonb(m) ->> 'min_compatible')::int, number) AS min_compatible
FROM schema_migration m ORDER BY number
"""
WRITE_LEDGER = """
INSERT INTO schema_migration (number, name, checksum, min_compatible) VALUES ($1, $2, $3, $4)
"""
# Before a contract step is applied: none that is too old starts beside it.
RAISE_MIN_COMPATIBLE = """
UPDATE schema_migration SET min_compatible = greatest(min_compatible, $1)
WHERE number = (SELECT max(number) FROM schema_migration)
"""
FIND_INVALID = """
SELECT c.oid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE c.relname = $1 AND NOT i.indisvalid
"""

log = structlog.get_logger()


class SchemaMismatch(OperatorError):
    """The database and this program do not belong together. The message says which is newer."""


class MigrationFailed(OperatorError):
    """A file was not applied, and nothing of it stays: run it again once the cause is gone."""

    def __init__(self, name: str, cause: PostgresError, *, before: int = 0) -> None:
        if isinstance(cause, LockNotAvailableError):
            why = "une autre session tient ce qu'elle doit modifier ; terminez-la (ou attendez) et relancez"
        else:
            why = sql_reason(cause)
        left = f"{before} étapes avant elle sont faites" if before else "rien n'en reste"
        super().__init__(
            f"migration {name} was not applied: {cause}",
            f"la migration {name} n'est pas appliquée, et {left} : {why}",
        )


class OtherShards(OperatorError):
    """The setting and the database disagree in how many shards the work is divided."""

    def __init__(self, wanted: int, found: int) -> None:
        super().__init__(
            f"TERRITOIRE_SHARDS is {wanted}, the database has {found}",
            f"TERRITOIRE_SHARDS vaut {wanted}, et la base est divisée en {found} parts : rien n'est appliqué. "
            f"Retirez le réglage (ou mettez {found}) ; pour changer de nombre, ./territoire reshard {wanted}",
        )


class OlderProgramsRun(OperatorError):
    """A contract step waits: programs that use what it takes away are alive."""

    def __init__(self, migration: Migration, older: Sequence[Program]) -> None:
        names = ", ".join(f"{program.service} {program.instance} ({program.release})" for program in older)
        super().__init__(
            f"migration {migration.name} waits for older programs to end: {names}",
            f"la migration {migration.name} retire ce dont se servent encore des programmes plus anciens : "
            f"{names}. Remplacez-les ou arrêtez-les, attendez une minute, relancez ; ce qui précède est appliqué",
        )


def migrations() -> list[Migration]:
    """Every migration that this program knows, by number; numbers run from 1 without a gap."""
    found = [
        migration
        for entry in files("registry.migrations").iterdir()
        if entry.name.endswith(".sql") and (migration := parse(entry.name, entry.read_text("utf-8")))
    ]
    found.sort(key=lambda migration: migration.number)
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise SchemaMismatch(
            f"migrations are not numbered 1 to {len(found)}",
            "installation incomplète : il manque des fichiers de migration, réinstallez le programme",
        )
    return found


@dataclass(frozen=True, slots=True)
class Ledger:
    """What was applied: the checksum of each number, and the oldest program that works since (0: nothing was)."""

    checksums: dict[int, str]
    min_compatible: int

    @property
    def number(self) -> int:
        """The newest, 0 for none."""
        return max(self.checksums, default=0)

    def pending(self, known: Sequence[Migration]) -> list[Migration]:
        """What this program knows and the database lacks.

        Raises:
            SchemaMismatch: the database is newer and needs a newer program, or an applied file was changed.
        """
        if self.min_compatible > len(known):
            raise SchemaMismatch(
                f"the database is at migration {self.number} and needs a program that knows "
                f"{self.min_compatible}, this one knows {len(known)}: start a newer program",
                f"la base est à la version {self.number}, ce programme ne connaît que la {len(known)}, et elle en "
                f"demande au moins la {self.min_compatible} : "
                "installez la version du programme qui l'a mise à jour (on ne redescend que par une restauration)",
            )
        for migration in known:
            if self.checksums.get(migration.number, migration.checksum) != migration.checksum:
                raise SchemaMismatch(
                    f"migration {migration.name} was changed after it was applied",
                    f"la migration {migration.name} n'est pas celle qui a été appliquée à cette base : "
                    "ce programme et cette base ne vont pas ensemble",
                )
        return [migration for migration in known if migration.number not in self.checksums]


async def read_ledger(connection: Connection) -> Ledger:
    """What the database says was applied to it; nothing where it has no ledger."""
    exists = await connection.fetchval("SELECT to_regclass('schema_migration') IS NOT NULL")
    rows = await connection.fetch(READ_LEDGER) if exists else []
    return Ledger(
        {row["number"]: row["checksum"] for row in rows}, max((row["min_compatible"] for row in rows), default=0)
    )


async def _alone(connection: Connection | BareConnection) -> None:
    """Wait for another runner, however long it works, and keep the next ones waiting.

    Asked again and again: a statement that waits is a transaction, and an index that is made beside writers waits
    for every transaction to end.
    """
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):  # noqa: ASYNC110
        await asyncio.sleep(ASK_LOCK_EVERY_S)


async def bring_timescale(database_url: str, lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
    """Bring the extension to the server's version, before any other session: its former library may be gone.

    Raises:
        TimescaleProblem: it cannot be, or somebody else has to.
    """
    async with open_bare_connection(database_url, "territoire-migrate", settings=NOT_LOADED) as connection:
        await _alone(connection)
        await bring_up_to_date(connection, database_url, lock_timeout_s)


async def _prepare_ledger(connection: Connection) -> None:
    async with connection.transaction():
        await connection.execute(CREATE_LEDGER)
        if not await connection.fetchval(HAS_MIN_COMPATIBLE):
            await connection.execute(ADD_MIN_COMPATIBLE)


async def require_shards(connection: Connection, wanted: int | None) -> None:
    """Raises OtherShards where the database has another number of them than is set; None: none is."""
    if wanted is None or await connection.fetchval("SELECT to_regclass('deployment') IS NULL"):
        return
    if (found := await read_shards(connection)) != wanted:
        raise OtherShards(wanted, found)


async def _apply(connection: Connection, migration: Migration, compatible: int, prepare: str, shards: int) -> None:
    """Apply a file that is missing; from then on the database needs the program `compatible`."""
    if migration.kind is Kind.CONTRACT:
        await _require_nobody_older(connection, migration)
    in_ledger = migration.number, migration.name, migration.checksum, compatible
    if migration.steps:
        await _apply_steps(connection, migration)
        await connection.execute(WRITE_LEDGER, *in_ledger)
        return
    async with connection.transaction():
        try:
            await connection.execute(prepare)
            await connection.execute(migration.sql.replace("{shards}", str(shards)))
            await connection.execute(FINISH_ROLES)
        except DATABASE_AWAY:
            raise
        except PostgresError as cause:
            raise MigrationFailed(migration.name, cause) from cause
        await connection.execute(WRITE_LEDGER, *in_ledger)


async def _require_nobody_older(connection: Connection, migration: Migration) -> None:
    """Nobody older starts from here on: one that announces itself just now either is seen, or learns it."""
    async with connection.transaction():
        await hold_off(connection)
        older = await programs_before(connection, migration.needs or 0)
        if older:
            raise OlderProgramsRun(migration, older)
        await connection.execute(RAISE_MIN_COMPATIBLE, migration.needs)


async def _apply_steps(connection: Connection, migration: Migration) -> None:
    for place, step in enumerate(migration.steps, 1):
        try:
            rows = await apply_step(connection, step)
        except DATABASE_AWAY:
            raise
        except PostgresError as cause:
            raise MigrationFailed(f"{migration.name}, étape {place}", cause, before=place - 1) from cause
        log.info("migration_step", name=migration.name, step=place, rows=rows, is_step=True)


async def apply_step(connection: Connection, step: Step) -> int:
    """Do one step of a file outside a transaction; returns how many rows it changed in all."""
    if step.index is not None:
        async with _patience(connection):
            return await _make_index(connection, step, step.index)
    changed = 0
    while True:
        status = await connection.execute(step.sql)
        rows = int(last) if step.repeats and (last := status.rpartition(" ")[2]).isdecimal() else 0
        changed += rows
        if not rows:
            return changed


@asynccontextmanager
async def _patience(connection: Connection) -> AsyncGenerator[None]:
    """An index made beside writers waits for every transaction, a backup's of an hour too, and nobody for it."""
    before = await connection.fetchval("SELECT current_setting('lock_timeout')")
    await connection.execute("SELECT set_config('lock_timeout', '0', false)")
    try:
        yield
    finally:
        await connection.execute("SELECT set_config('lock_timeout', $1, false)", before)


async def _make_index(connection: Connection, step: Step, index: str) -> int:
    for (left_over,) in await connection.fetch(FIND_INVALID, index):
        await connection.execute(f"DROP INDEX CONCURRENTLY {left_over}")  # Of a runner that was killed in it.
    await connection.execute(step.sql)
    return 0


async def migrate(
    database_url: str,
    *,
    shards: int | None = None,
    passwords: dict[str, str] | None = None,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
    idle_timeout_s: float = IDLE_TIMEOUT_S,
    known: list[Migration] | None = None,
) -> int:
    """Apply what is missing; returns how many files were applied.

    Each file is a transaction, or steps that may be done again: a process that is killed in one leaves nothing
    that hinders the next. Then every service's role has the rights of `registry.rights` and no others, once no
    older program is alive. `passwords` sets those of login roles (`territoire_network`...); once each service has
    its own, the login that all shared is closed. `known`: the files, this program's by default. `shards` is what
    the first migration writes; None: FIRST_SHARDS, and later whatever it is.

    Raises:
        OtherShards: the database has another number of shards.
        SchemaMismatch: the database needs a newer program, or an applied file was changed.
        MigrationFailed: a file failed, or waited longer than `lock_timeout_s` for what another session holds.
        OlderProgramsRun: a contract step waits for programs that use what it takes away.
        TimescaleProblem: TimescaleDB is missing, of another version, or cannot read what is compressed.
    """
    await bring_timescale(database_url, lock_timeout_s)
    connection = await connect(database_url, "territoire-migrate")
    try:
        known = migrations() if known is None else known
        await _alone(connection)
        if (unreadable := await compressed_under_apache(connection)) is not None:
            raise unreadable
        limits = {"lock_timeout": lock_timeout_s, "idle_in_transaction_session_timeout": idle_timeout_s}
        for name, seconds in limits.items():
            await connection.execute("SELECT set_config($1, $2, false)", name, f"{round(seconds * 1000)}ms")
        await _prepare_ledger(connection)
        await require_shards(connection, shards)
        ledger = await read_ledger(connection)
        pending, compatible, prepare = ledger.pending(known), ledger.min_compatible, PREPARE_ROLES
        for migration in pending:
            compatible = min_compatible(migration, compatible)
            await _apply(connection, migration, compatible, prepare, shards or FIRST_SHARDS)
            if not migration.steps:
                prepare = LET_CREATE
            log.info("migration_applied", number=migration.number, name=migration.name, is_step=True)
        await _finish(connection, known, passwords or {})
        return len(pending)
    finally:
        await connection.close()


async def _finish(connection: Connection, known: list[Migration], passwords: dict[str, str]) -> None:
    await connection.execute(SHOW_LEDGER)
    await connection.execute(PREPARE_ROLES + ";" + FINISH_ROLES)
    if (await read_ledger(connection)).number > len(known):
        # A program that was put back: rights and policies are those of the newer one, which ours are part of.
        log.warning("rights_left_to_the_newer_program")
    else:
        await _apply_rights(connection, len(known))
    if not await enforce_seal(connection):
        log.warning("seal_not_enforced_yet")
    if LOGINS["api"] in passwords and not await demand_vouching(connection, passwords[LOGINS["api"]]):
        log.warning("vouching_not_demanded_yet")
    for role, password in passwords.items():
        # ALTER ROLE takes no parameters: the server itself quotes the two values.
        statement = await connection.fetchval(
            "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)", role, password
        )
        if role == OWNER:  # An installation whose services still share it: else nobody logs in by it.
            statement += " LOGIN"
        await connection.execute(statement)
    if set(LOGINS.values()) <= passwords.keys():
        await close_shared_login(connection)


async def _apply_rights(connection: Connection, known: int) -> None:
    older = await programs_before(connection, known)
    try:
        changed = await apply_rights(connection, withdraw=not older) + await apply_policies(connection)
    except LockNotAvailableError as cause:
        raise MigrationFailed("des droits", cause) from cause
    if changed:
        log.info("rights_applied", changed=changed, is_step=True)
    if older:
        log.warning("rights_not_withdrawn_yet", older=[program.instance for program in older])


async def require_schema(connection: Connection, known: list[Migration] | None = None) -> int:
    """Require a schema that this program works on, with all the migrations that it knows; returns how many.

    Raises:
        SchemaMismatch: the database is behind this program, or needs a newer one.
    """
    known = migrations() if known is None else known
    pending = (await read_ledger(connection)).pending(known)
    if pending:
        raise SchemaMismatch(
            f"the database lacks migration {pending[0].name}: run `territoire migrate`",
            f"il manque la migration {pending[0].name} à la base : lancez « territoire migrate »",
        )
    return len(known)
