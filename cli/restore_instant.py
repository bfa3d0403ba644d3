"""`territoire restore --to`: the database as it was at an instant, into a new home."""

import asyncio
import shlex
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.account import Account, take_account
from cli.installed import installed
from cli.recovery import LATEST, RECOVERING, NotRecovered, Target, make_empty, parse_instant, recovered
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
from core.runtime.errors import OperatorError
from registry.erasures import Entry, ErasedAgain, continue_ledger
from registry.ledger_file import LEDGER_NAME
from services.supervisor.credentials import Secrets
from services.supervisor.home import Home, UnusableHome
from services.supervisor.launch import ServerMissing
from services.supervisor.pgbackrest import CONFIGURATION, SUSPENDED, PgBackRest, PgBackRestFailed
from services.supervisor.postgres import ClusterFailed, PrivatePostgres
from services.supervisor.supervisor import StartFailed

if TYPE_CHECKING:
    from collections.abc import Callable


def restore_instant(
    to: str,
    place: Home,
    repository: Path | None,
    kept: Secrets,
    secrets: Path,
    ledger: Path | None,
    without_ledger: bool,
    without_keys: bool,
) -> None:
    """The command; ends with what is wrong in French."""
    if repository is None or not (repository / CONFIGURATION).is_file():
        raise fail(f"--to demande --repository, un dossier où est {CONFIGURATION}", 2)
    target, said = _target(to)
    require_new(place)
    entries, source = _entries(ledger, without_ledger)
    typer.echo(f"Restauration à l'instant : {said}")

    def check(account: Account) -> None:
        require_program(account.schema)
        require_key(account.sealed, sorted(account.sealed), (key_wrap(kept), str(secrets)), without_keys)
        if source is not None:
            require_complete(entries, account.erasures, source)

    began = done = False
    try:
        with place.restored():
            place.keep_secrets(kept)
            make_empty(place.postgres_data)
            began = True
            mine = PgBackRest.beside(place.postgres_data)
            mine.write({one.name: one.read_bytes() for one in repository.iterdir() if one.is_file()})
            mine.write({SUSPENDED: b""})
            account, again = asyncio.run(_restore(place, mine, kept, target, check, entries, said))
            if entries:
                continue_ledger(entries, place.folder / LEDGER_NAME)
        done = True
    except NotRecovered as unreached:
        raise fail(str(unreached)) from None
    except (UnusableHome, StartFailed, ServerMissing, ClusterFailed, PgBackRestFailed) as refused:
        raise fail(str(refused)) from None
    except OperatorError as wrong:
        raise fail(f"la restauration n'est pas complète : {wrong.french}") from None
    finally:
        if began and not done:
            place.forget_restored()
    counts = account.counts
    typer.echo(f"Restauré dans {place.folder}, à l'instant : {said}. Ce qui y était :")
    typer.echo("".join(f"  {name} : {number}\n" for name, number in counts.items()), nl=False)
    say_how_to_start(place.folder, entries, again)
    typer.echo(
        "L'archive y est suspendue, pour que deux bases n'y écrivent pas. Quand celle-ci remplace l'autre : "
        f"./territoire pitr resume --home {shlex.quote(str(place.folder))}, puis redémarrez-la"
    )


def _target(to: str) -> tuple[Target, str]:
    if to.strip() == LATEST:
        return Target.latest(), "tout ce que l'archive a"
    try:
        instant = parse_instant(to)
    except ValueError:
        raise fail(
            f"--to {to} : attendu un instant, 2026-11-28 10:30 ou 2026-11-28T10:30:00+01:00, ou latest", 2
        ) from None
    if instant > datetime.now(instant.tzinfo):
        raise fail(f"--to {to} : cet instant n'est pas encore venu ; latest reprend tout", 2)
    return Target.at(instant), f"{instant:%d/%m/%Y à %H:%M:%S} (UTC{instant:%z})"


def _entries(ledger: Path | None, without: bool) -> tuple[list[Entry], Path | None]:
    """The lines of the ledger and where they are; of an installed server beside its backups."""
    if without:
        say_without_ledger()
        return [], None
    server = installed()
    usual = None if server is None or server.backups is None else server.backups / LEDGER_NAME
    place = ledger or usual
    if place is None:
        raise fail("--ledger : le registre des effacements, effacements.jsonl (ou --without-ledger)", 2)
    return read_entries(place), place


async def _restore(
    place: Home,
    repository: PgBackRest,
    kept: Secrets,
    target: Target,
    check: "Callable[[Account], None]",
    entries: list[Entry],
    said: str,
) -> tuple[Account, ErasedAgain]:
    from core.runtime.postgres import connect
    from registry.schema import bring_timescale
    from services.supervisor.ports import free_tcp_port

    server = PrivatePostgres(place.postgres_data, free_tcp_port(), kept.postgres, RECOVERING)
    async with recovered(repository, server, target, place.log("postgres")):
        # At that instant its package may have been an older one.
        await bring_timescale(server.url())
        connection = await connect(server.url(), "territoire-restore")
        try:
            # Counted before anything is changed: an older program's rows are what they were.
            account = await take_account(connection)
            check(account)
            return account, await make_good(connection, server.url(), key_wrap(kept), entries, said)
        finally:
            await connection.close()
