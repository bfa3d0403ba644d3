"""Runs the numbered migrations: forward only, one transaction each, one runner at a time, checksums kept."""

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files

import structlog

from core.runtime.errors import OperatorError
from core.runtime.postgres import DATABASE_AWAY, Connection, LockNotAvailableError, PostgresError, connect
from registry.policies import apply_policies, enforce_seal
from registry.rights import ALL_TENANTS, LOGINS, OWNER, apply_rights, close_shared_login
from registry.vouching import demand_vouching

# Arbitrary, ours: serialises concurrent runners. Released with the transaction.
LOCK = 0x7E44170172E
# Of the runner: services go on behind a migration that waits for a lock, but not for longer than this.
LOCK_TIMEOUT_S = 10.0

CREATE_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migration (
    number int PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
# Before the first file and every other, so that the schema's owner need be no superuser: who gives something to a
# role must be its member, and the role must be allowed to create in the schema. As a member the owner is also seen
# by row security as the services are. Without the roles of single services an installation goes on as before.
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
    FOREACH role IN ARRAY ARRAY['{"', '".join((ALL_TENANTS, *LOGINS.values()))}'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I', role) || CASE role WHEN '{ALL_TENANTS}' THEN '' ELSE ' LOGIN' END;
            EXCEPTION WHEN insufficient_privilege THEN
                NULL;
            END;
        END IF;
    END LOOP;
    GRANT CREATE ON SCHEMA public TO {OWNER};
END
$$
"""
FINISH_ROLES = f"REVOKE CREATE ON SCHEMA public FROM {OWNER}"
# Every service compares the ledger with what it knows before it starts.
SHOW_LEDGER = "GRANT SELECT ON schema_migration TO territoire_service, territoire_api"
READ_LEDGER = "SELECT number, name, checksum FROM schema_migration ORDER BY number"
WRITE_LEDGER = "INSERT INTO schema_migration (number, name, checksum) VALUES ($1, $2, $3)"

log = structlog.get_logger()


class SchemaMismatch(OperatorError):
    """The database and this program do not belong together. The message says which is newer."""


class MigrationFailed(OperatorError):
    """A file was not applied, and nothing of it stays: run it again once the cause is gone."""

    def __init__(self, name: str, cause: PostgresError) -> None:
        if isinstance(cause, LockNotAvailableError):
            why = "une autre session tient ce qu'elle doit modifier ; terminez-la (ou attendez) et relancez"
        else:
            why = f"PostgreSQL répond : {cause}"
        super().__init__(
            f"migration {name} was not applied: {cause}",
            f"la migration {name} n'est pas appliquée, et rien n'en reste : {why}",
        )


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of registry/migrations."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """Every migration that this program knows, by number; numbers run from 1 without a gap."""
    found = [
        Migration(int(matched[1]), entry.name, entry.read_text("utf-8"))
        for entry in files("registry.migrations").iterdir()
        if (matched := re.fullmatch(r"(\d{4})_\w+\.sql", entry.name))
    ]
    found.sort(key=lambda migration: migration.number)
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise SchemaMismatch(
            f"migrations are not numbered 1 to {len(found)}",
            "installation incomplète : il manque des fichiers de migration, réinstallez le programme",
        )
    return found


def _pending(known: list[Migration], applied: dict[int, str]) -> Migration | None:
    for number, checksum in applied.items():
        if number > len(known):
            raise SchemaMismatch(
                f"the database is at migration {max(applied)}, this program knows {len(known)}: "
                "start a newer program",
                f"la base est à la version {max(applied)}, ce programme ne connaît que la {len(known)} : "
                "installez la version du programme qui l'a mise à jour (on ne redescend que par une restauration)",
            )
        if known[number - 1].checksum != checksum:
            raise SchemaMismatch(
                f"migration {known[number - 1].name} was changed after it was applied",
                f"la migration {known[number - 1].name} n'est pas celle qui a été appliquée à cette base : "
                "ce programme et cette base ne vont pas ensemble",
            )
    return next((migration for migration in known if migration.number not in applied), None)


async def _apply_next(
    connection: Connection, known: list[Migration], shards: int, lock_timeout_s: float
) -> Migration | None:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)  # However long another runner works.
        await connection.execute(
            "SELECT set_config('lock_timeout', $1, true)", f"{round(lock_timeout_s * 1000)}ms"
        )
        await connection.execute(CREATE_LEDGER)
        applied = {row["number"]: row["checksum"] for row in await connection.fetch(READ_LEDGER)}
        migration = _pending(known, applied)
        if migration is not None:
            try:
                await connection.execute(PREPARE_ROLES)
                await connection.execute(migration.sql.replace("{shards}", str(shards)))
                await connection.execute(FINISH_ROLES)
            except DATABASE_AWAY:
                raise
            except PostgresError as cause:
                raise MigrationFailed(migration.name, cause) from cause
            await connection.execute(WRITE_LEDGER, migration.number, migration.name, migration.checksum)
        return migration


async def migrate(
    database_url: str,
    *,
    shards: int = 4,
    passwords: dict[str, str] | None = None,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
) -> int:
    """Apply what is missing; returns how many files were applied.

    Each file is a transaction: a process that is killed in one leaves nothing of it, and all before it. Then every
    service's role has the rights of `registry.rights` and no others. `passwords` sets those of login roles
    (`territoire_network`...); once each service has its own, the login that all shared is closed.

    Raises:
        SchemaMismatch: the database is newer than this program, or an applied file was changed.
        MigrationFailed: a file failed, or waited longer than `lock_timeout_s` for what another session holds.
    """
    connection = await connect(database_url, "territoire-migrate")
    try:
        known = migrations()
        count = 0
        while (migration := await _apply_next(connection, known, shards, lock_timeout_s)) is not None:
            log.info("migration_applied", number=migration.number, name=migration.name, is_step=True)
            count += 1
        await _finish(connection, passwords or {}, lock_timeout_s)
        return count
    finally:
        await connection.close()


async def _finish(connection: Connection, passwords: dict[str, str], lock_timeout_s: float) -> None:
    await connection.execute("SELECT pg_advisory_lock($1)", LOCK)  # With the connection it ends.
    await connection.execute("SELECT set_config('lock_timeout', $1, false)", f"{round(lock_timeout_s * 1000)}ms")
    await connection.execute(SHOW_LEDGER)
    await connection.execute(PREPARE_ROLES + ";" + FINISH_ROLES)
    try:
        changed = await apply_rights(connection) + await apply_policies(connection)
    except LockNotAvailableError as cause:
        raise MigrationFailed("des droits", cause) from cause
    if changed:
        log.info("rights_applied", changed=changed, is_step=True)
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


async def require_schema(connection: Connection) -> None:
    """Require a schema that is exactly ours.

    Raises:
        SchemaMismatch: the database is behind or ahead of this program.
    """
    exists = await connection.fetchval("SELECT to_regclass('schema_migration') IS NOT NULL")
    rows = await connection.fetch(READ_LEDGER) if exists else []
    pending = _pending(migrations(), {row["number"]: row["checksum"] for row in rows})
    if pending is not None:
        raise SchemaMismatch(
            f"the database lacks migration {pending.name}: run `territoire migrate`",
            f"il manque la migration {pending.name} à la base : lancez « territoire migrate »",
        )
