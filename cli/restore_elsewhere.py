"""`territoire restore --database-url`: a backup into a database that others run, as CloudNativePG does.

Its extension is a superuser's, who is lent to us; all else is its owner's, who is none. What the backup's own
installation called its owner is called so for as long as this takes.
"""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

import typer
from msgspec.structs import replace

from cli.account import Account, count, take_account
from cli.backup import Manifest, manifest_file
from cli.dump import Source, contents_of, fill, open_dump, prepare_database, read_manifest, require_digest
from cli.encryption import WrongKey, is_encrypted
from cli.owners import as_written, hand_over, lend, quoted, rights_wanted
from cli.place import demand_database
from cli.restored import (
    COUNTERS_AHEAD,
    Keys,
    entries_beside,
    make_good,
    require_counts,
    require_key,
    require_program,
    say_erased,
    say_restored,
)
from cli.running import actor, fail
from core.messages.topics import SHARD_COUNTS
from core.runtime.errors import OperatorError, describe
from core.runtime.postgres import DATABASE_AWAY, Connection, PostgresError, connect, database_reason
from registry.erasures import Entry, ErasedAgain
from registry.resharding import write_shards
from registry.schema import migrations
from registry.timescale import DumpRejected
from services.supervisor.launch import ServerMissing
from services.supervisor.postgres import database_of

if TYPE_CHECKING:
    from registry.keys import KeyWrap

APPLICATION = "territoire-restore"
# Every server has these, for who looks after it; what is made in a template is in every database made later.
MAINTENANCE = {"postgres", "template0", "template1"}
IS_TEMPLATE = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1 AND datistemplate)"
# Arbitrary, ours: one restore at a time on a server, whose accounts are lent to it. Ends with the connection.
LOCK = 0x7E44170172F
IS_SUPERUSER = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
ROLE_EXISTS = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)"
# Of a restore that has not ended: what is in it is nobody's, and the next one begins by dropping it.
MARK = "territoire restore"
IS_CUT = """
SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1 AND datconnlimit = 0
                                             AND shobj_description(oid, 'pg_database') = $2)
"""
READ_OWNER = "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = $1"
# What an extension brought is not somebody's.
HOLDS_TABLES = """
SELECT EXISTS (
    SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('public', 'observation') AND c.relkind IN ('r', 'p', 'v')
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                                                AND d.deptype = 'e'))
"""
END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = $1 AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
# Superusers enter none the less; services wait, as for a server that is not there yet.
CLOSED, OPEN = 0, -1


def restore_elsewhere(
    file: Path,
    url: str,
    owner: str,
    shards: int | None,
    keys: Keys,
    identity: Path | None,
    ledger: Path | None,
    without_ledger: bool,
    without_keys: bool,
) -> None:
    """The command; ends with what is wrong in French."""
    if shards is not None and shards not in SHARD_COUNTS:
        raise fail(f"--shards {shards} : attendu {', '.join(map(str, SHARD_COUNTS[:-1]))} ou 16", 2)
    name = _name_of(url)
    manifest = _manifest_of_before(file) or read_manifest(file)
    require_program(manifest.schema)
    require_key(manifest.sealed, manifest.kek_ids, keys, without_keys)
    dump = open_dump(file, manifest, identity)
    entries = entries_beside(file, manifest.erasures, ledger, without_ledger)
    again_from = "Commencée, elle reste fermée à tous ; relancez la même commande, qui la refait"

    def check(account: Account) -> None:
        require_key(account.sealed, sorted(account.sealed), keys, without_keys)

    try:
        counts, again = asyncio.run(
            _restore(_Target(url, name, owner, shards), dump, manifest, check, keys[0], entries, file.name)
        )
    except _NotBegun as refused:
        raise fail(f"rien n'est restauré : {refused.french}") from None
    except (*DATABASE_AWAY, PostgresError) as refused:
        raise fail(f"la base n'est pas restaurée : {database_reason(refused)}. {again_from}") from None
    except (DumpRejected, ServerMissing) as refused:
        said = refused.french if isinstance(refused, OperatorError) else str(refused)
        raise fail(f"rien n'est restauré : {said}", 2) from None
    except (OperatorError, WrongKey) as wrong:
        said = wrong.french if isinstance(wrong, OperatorError) else str(wrong)
        raise fail(f"la restauration n'est pas complète : {said}. {again_from}") from None
    say_restored(f"la base {name}, à {owner}", counts, compared=bool(manifest.counts))
    say_erased(entries, again)
    typer.echo(
        f"Les compteurs descendants ont été avancés de {COUNTERS_AHEAD}. Ensuite la migration, qui pose les mots "
        "de passe, puis les services (docs/demenagement.md)."
    )


class _NotBegun(OperatorError):
    """Nothing is changed yet on that server."""


@contextmanager
def _before_anything() -> Generator[None]:
    """A server that does not answer, or refuses, has nothing restored yet."""
    try:
        yield
    except (*DATABASE_AWAY, PostgresError) as refused:
        raise _NotBegun(f"nothing is restored: {describe(refused)}", database_reason(refused)) from None


def _name_of(url: str) -> str:
    """The database that the address names; ends the command where it is none to restore into."""
    name = database_of(demand_database("--database-url", url))
    if not name:
        raise fail("--database-url : l'adresse ne nomme aucune base, comme postgresql://…/territoire", 2)
    if name in MAINTENANCE:
        raise fail(f"--database-url : {name} est au serveur lui-même ; nommez une base neuve, comme territoire", 2)
    return name


def _manifest_of_before(file: Path) -> Manifest | None:
    """Of what deploy/backup.sh of before wrote: a digest beside it, and no manifest."""
    digest = file.with_name(f"{file.name}.sha256")
    if manifest_file(file).exists() or not digest.exists():
        return None
    sha256 = digest.read_text("ascii", "replace").partition(" ")[0]
    require_digest(file, sha256)
    typer.echo(f"  ! {file.name} ne dit ni ses comptes ni ses clés (backup.sh d'avant) : rien n'est comparé")
    return Manifest(
        0,
        "",
        {},
        erasures=0,  # The ledger has always been beside it.
        made_at=datetime.fromtimestamp(file.stat().st_mtime, UTC),
        kek_ids=[],
        octets=file.stat().st_size,
        sha256=sha256,
        encrypted=is_encrypted(file),
    )


@dataclass(frozen=True, slots=True)
class _Target:
    """The database, by the addresses of those who come to it."""

    url: str
    name: str
    owner: str
    shards: int | None

    @property
    def server(self) -> str:
        """The superuser, in the database that every server has."""
        return urlunsplit(urlsplit(self.url)._replace(path="/postgres"))

    @property
    def as_owner(self) -> str:
        """The superuser, with the rights of the owner and no others."""
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, f"role={quote(self.owner)}")))))


async def _restore(
    target: _Target,
    dump: Source,
    manifest: Manifest,
    check: Callable[[Account], None],
    keys: "KeyWrap",
    entries: list[Entry],
    what: str,
) -> tuple[dict[str, int], ErasedAgain]:
    contents = await contents_of(dump)
    counts = manifest.counts
    if not counts:
        manifest = replace(manifest, compressed_chunks=contents.compressed_chunks)
    with _before_anything():
        server = await connect(target.server, APPLICATION)
    try:
        with _before_anything():
            await _require_rights(server, target, manifest)
            await _close_empty(server, target)
        try:
            await prepare_database(target.url, target.as_owner, manifest)
        except DumpRejected:
            await _open(server, target)
            raise
        others = await lend(server, contents.owners, target.owner)
        await fill(target.url, dump)
        connection = await connect(target.url, APPLICATION)
        try:
            await hand_over(connection, others, target.owner)
            require_counts(manifest.counts, await count(connection, manifest.counts))
            again = await make_good(connection, target.as_owner, keys, entries, what)
            if not counts:
                account = await take_account(connection)
                check(account)
                counts = account.counts
            if target.shards is not None:
                await write_shards(connection, target.shards, actor())
        finally:
            await connection.close()
        await _open(server, target)
    finally:
        await server.close()
    return counts, again


async def _require_rights(server: Connection, target: _Target, manifest: Manifest) -> None:
    """End the command where it would fail in the middle for want of a right, or beside another restore."""
    if not await server.fetchval(IS_SUPERUSER):
        raise fail("--database-url : il faut un superutilisateur, à qui l'extension timescaledb est", 2)
    if not await server.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
        raise _NotBegun(
            "another restore is at work on this server",
            "une autre restauration est en cours sur ce serveur : attendez qu'elle finisse",
        )
    if await server.fetchval(IS_TEMPLATE, target.name):
        raise fail(f"la base {target.name} est un modèle pour d'autres (datistemplate) : nommez une base neuve", 2)
    if not await server.fetchval(ROLE_EXISTS, target.owner):
        raise fail(f"le compte {target.owner} n'existe pas là-bas : --owner nomme celui à qui la base est", 2)
    make, change = await rights_wanted(server, target.owner)
    is_older = manifest.schema < len(migrations())
    wanted = [statement for statement in (make, change if is_older else None) if statement is not None]
    if wanted:
        raise fail(
            f"le compte {target.owner} n'a pas les droits que la migration demande. Un superutilisateur "
            f"lance, puis relancez : {' ; '.join(wanted)}",
            2,
        )
    if change is not None:
        typer.echo(f"  ! avant qu'une migration change leurs mots de passe, un superutilisateur lance : {change}")


async def _close_empty(server: Connection, target: _Target) -> None:
    """The database is there, empty, its owner's, and closed to all but us; ends the command where it cannot be."""
    name = quoted(target.name)
    if await server.fetchval(IS_CUT, target.name, MARK):
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    found = await server.fetchval(READ_OWNER, target.name)
    if found is None:
        await server.execute(
            f"CREATE DATABASE {name} OWNER {quoted(target.owner)} TEMPLATE template0 "
            f"ENCODING 'UTF8' LOCALE 'C.UTF-8' CONNECTION LIMIT {CLOSED}"
        )
    else:
        await _require_empty(target, found)
        await server.execute(f"ALTER DATABASE {name} CONNECTION LIMIT {CLOSED}")
    await server.execute(f"COMMENT ON DATABASE {name} IS '{MARK}'")
    await server.execute(END_OTHERS, target.name)


async def _open(server: Connection, target: _Target) -> None:
    await server.execute(f"COMMENT ON DATABASE {quoted(target.name)} IS NULL")
    await server.execute(f"ALTER DATABASE {quoted(target.name)} CONNECTION LIMIT {OPEN}")


async def _require_empty(target: _Target, owner: str) -> None:
    if owner != target.owner:
        raise fail(f"la base {target.name} est à {owner}, pas à {target.owner} (--owner)", 2)
    connection = await connect(target.url, APPLICATION)
    try:
        if await connection.fetchval(HOLDS_TABLES):
            raise fail(
                f"la base {target.name} n'est pas vide : une restauration ne se fait que dans une base neuve. "
                f"Services arrêtés, mettez-la de côté (ALTER DATABASE {as_written(target.name)} RENAME TO "
                f"{as_written(target.name + '_ancienne')}), ou, si rien n'y est à garder, DROP DATABASE "
                f"{as_written(target.name)} WITH (FORCE) "
                "; elle est refaite ici",
                2,
            )
    finally:
        await connection.close()
