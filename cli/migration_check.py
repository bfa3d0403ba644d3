"""`territoire migrate --check`: what an upgrade of the schema would do to what runs, before anything is done."""

from collections.abc import Sequence

import typer
from pydantic_settings import BaseSettings, SettingsConfigDict

from cli.running import database_away
from core.runtime.postgres import DATABASE_AWAY, Connection, connect
from core.runtime.settings import settings_or_exit
from registry.migration_files import FIRST_WITH_KIND, Held, Kind, Lock, Migration
from registry.releases import programs_before
from registry.schema import (
    LOCK_TIMEOUT_S,
    Ledger,
    OtherShards,
    SchemaMismatch,
    migrations,
    read_ledger,
    require_shards,
)
from registry.timescale import (
    LOAD,
    NOT_LOADED,
    UPDATE,
    LeftToSuperuser,
    compressed_under_apache,
    problem_of,
    read_extension,
)
from services.migrate.settings import Shards

# What one process of PostgreSQL reads, and writes, in a second on an ordinary disk: for an order of magnitude.
OCTETS_PER_S = {Held.SCAN: 200_000_000, Held.REWRITE: 40_000_000}
# With the partitions or chunks below it, as they stand on the disk.
READ_SIZE = """
WITH RECURSIVE below (oid) AS (
    SELECT to_regclass($1)::oid
    UNION ALL
    SELECT i.inhrelid FROM pg_inherits i JOIN below ON i.inhparent = below.oid
)
SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM below
"""
APPLICATION = "territoire-migrate-check"
HELD = {Held.INSTANT: "un instant", Held.SCAN: "le temps de la lire", Held.REWRITE: "le temps de la réécrire"}


class ShardsSetting(BaseSettings):
    """What the migration compares with the database."""

    model_config = SettingsConfigDict(env_prefix="TERRITOIRE_", extra="ignore", frozen=True)

    shards: Shards = None


async def check_migrations(database_url: str, shards: int | None = None) -> int:
    """Print what would be applied; returns 1 where it would be refused, 0 otherwise.

    `shards`: what TERRITOIRE_SHARDS says, where it is set.
    """
    connection = await connect(database_url, APPLICATION, NOT_LOADED)
    try:
        extension = await read_extension(connection)
        problem = problem_of(extension)
        if isinstance(problem, LeftToSuperuser) and extension.may_change:
            if extension.installed is not None:  # Its library may be gone: nothing else can be read before.
                typer.echo(
                    f"La migration met d'abord TimescaleDB à jour, de la {extension.installed} à la "
                    f"{extension.offered} : les sessions ouvertes se reconnectent. Le reste se vérifie ensuite ; "
                    f"d'avance : psql -X -c '{UPDATE}'"
                )
                return 0
        elif problem is not None:
            typer.echo(f"Refusé : {problem.french}.")
            return 1
        await connection.execute(LOAD)
        return await _check_files(connection, shards)
    finally:
        await connection.close()


async def _check_files(connection: Connection, shards: int | None) -> int:
    if (unreadable := await compressed_under_apache(connection)) is not None:
        typer.echo(f"Refusé : {unreadable.french}.")
        return 1
    known = migrations()
    ledger = await read_ledger(connection)
    try:
        await require_shards(connection, shards)
        pending = ledger.pending(known)
    except (OtherShards, SchemaMismatch) as refused:
        typer.echo(f"Refusé : {refused.french}.")
        return 1
    typer.echo(f"Schéma de la base : {ledger.number} ; ce programme connaît : {len(known)}.")
    if not pending:
        ahead = " La base est plus récente, et ce programme y fonctionne." * (ledger.number > len(known))
        typer.echo(f"Rien à appliquer.{ahead}")
        return 0
    for migration in pending:
        typer.echo(f"  {migration.name} : {_what(migration)}")
        for lock in migration.locks:
            typer.echo(f"    {await _lock(connection, lock)}")
    return await _outcome(connection, ledger, pending)


def _what(migration: Migration) -> str:
    match migration.kind:
        case None:
            return "d'avant les mises à jour sans arrêt"
        case Kind.EXPAND:
            what = "ajoute ; les programmes d'avant continuent"
        case Kind.CONTRACT:
            what = f"retire ; les programmes qui connaissent la {migration.needs} continuent"
    if not migration.steps:
        return what
    steps = len(migration.steps)
    return f"{what} ; {steps} étape{'s' * (steps > 1)} hors transaction, reprises si on les interrompt"


async def _lock(connection: Connection, lock: Lock) -> str:
    octets = await connection.fetchval(READ_SIZE, lock.table)
    what = f"bloque {lock.table} ({lock.mode}, {octets / 1e6:.0f} Mo) {HELD[lock.held]}"
    if lock.held is Held.INSTANT:
        return f"{what}, après {LOCK_TIMEOUT_S:.0f} s d'attente au plus"
    return f"{what} : environ {max(1, octets / OCTETS_PER_S[lock.held]):.0f} s"


async def _outcome(connection: Connection, ledger: Ledger, pending: Sequence[Migration]) -> int:
    if 0 < ledger.number < FIRST_WITH_KIND:
        typer.echo(
            f"Les programmes d'avant la migration {FIRST_WITH_KIND} ne redémarrent pas sur un schéma plus récent. "
            "Cette mise à jour-là arrête les services ; les suivantes non."
        )
        return 0
    needs = max((migration.needs or 0 for migration in pending), default=0)
    older = await programs_before(connection, needs)
    if older:
        names = ", ".join(f"{program.service} {program.instance} ({program.release})" for program in older)
        typer.echo(f"Refusé tant que tournent : {names}.")
        return 1
    typer.echo("Les services continuent pendant la mise à jour.")
    return 0


async def check_or_exit(database_url: str) -> None:
    """Exit status 1 where the upgrade would be refused, or the database does not answer."""
    shards = settings_or_exit("migrate", ShardsSetting).shards
    try:
        status = await check_migrations(database_url, shards)
    except DATABASE_AWAY as away:
        raise database_away(away) from None
    raise typer.Exit(status)
