"""`territoire pitr`: the log of the database, archived as it is written, and what is restored from it."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from cli.pitr_configure import configure
from cli.restored import key_wrap, say_trouble_at_end
from cli.running import database_away, fail, find_run, run_until_stopped
from registry.erasures import UnreadableLedger, read_ledger
from registry.ledger_file import LEDGER_NAME
from services.supervisor.home import Home, UnusableHome
from services.supervisor.launch import ServerMissing
from services.supervisor.pgbackrest import SUSPENDED, PgBackRest, PgBackRestFailed, owner_of
from services.supervisor.postgres import server_account

if TYPE_CHECKING:
    from cli.drill import Preparing
    from cli.drill_rows import Drill
    from services.supervisor.run_info import RunInfo

FULL_EVERY = timedelta(days=7)
HomeOption = Annotated[Path | None, typer.Option("--home", help="Dossier de la pile qui tourne.")]

pitr_app = typer.Typer(help="Sauvegarde continue : revenir à un instant près.", no_args_is_help=True)
pitr_app.command("configure")(configure)


class Size(msgspec.Struct, frozen=True):
    """Octets of the cluster."""

    size: int


class Timestamps(msgspec.Struct, frozen=True):
    """Seconds since the epoch."""

    stop: int


class Image(msgspec.Struct, frozen=True):
    """One backup, as `pgbackrest info --output=json` describes it."""

    label: str
    type: str
    timestamp: Timestamps
    info: Size

    @property
    def at(self) -> datetime:
        """When it was whole."""
        return datetime.fromtimestamp(self.timestamp.stop, UTC)


class Stanza(msgspec.Struct, frozen=True):
    """A cluster in a repository."""

    backup: list[Image] = []


def read_images(repository: PgBackRest) -> list[Image]:
    """Every backup of the repository, the oldest first.

    Raises:
        PgBackRestFailed, ServerMissing: it is not read.
    """
    stanzas = msgspec.json.decode(repository.run("info", "--output=json"), type=list[Stanza])
    return [image for stanza in stanzas for image in stanza.backup]


def repository_of(run: "RunInfo") -> PgBackRest:
    """That of a stack that runs; ends the command where there is none, or where it must not be written to."""
    repository = PgBackRest.beside(Home(Path(run.home)).postgres_data)
    if not repository.is_configured:
        raise fail("rien n'est configuré : ./territoire pitr configure dit où va l'archive", 2)
    if repository.is_suspended:
        raise fail(
            "l'archive est suspendue depuis la restauration : ./territoire pitr resume, quand cette base remplace "
            "l'autre",
            2,
        )
    return repository


@pitr_app.command("backup")
def back_up(home: HomeOption = None) -> None:
    """Fait une image de la base dans l'archive : entière une fois par semaine, sinon ce qui a changé."""
    run = find_run(home)
    repository = repository_of(run)
    try:
        # It makes what is missing, and says where another cluster has it.
        repository.run("stanza-create", url=run.database_admin_url)
        whole = [image.at for image in read_images(repository) if image.type == "full"]
        is_due = not whole or datetime.now(UTC) - whole[-1] > FULL_EVERY
        repository.run("backup", f"--type={'full' if is_due else 'diff'}", url=run.database_admin_url)
        image = read_images(repository)[-1]
    except (PgBackRestFailed, ServerMissing) as failed:
        raise fail(str(failed)) from None
    kind = "entière" if image.type == "full" else "de ce qui a changé"
    typer.echo(f"{image.label} : image {kind}, base de {image.info.size / 1e6:.0f} Mo.")


@pitr_app.command("drill")
def drill(
    home: HomeOption = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Où restaurer, le temps de l'essai : il y faut la place de la base. Absent : la pile."),
    ] = None,
    ledger: Annotated[Path | None, typer.Option(help="Le registre des effacements, à relire aussi.")] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="Dans un pod : le Cluster de CloudNativePG à essayer (TERRITOIRE_DATABASE_URL)."),
    ] = None,
) -> None:
    """Essaie une restauration à part, compare les comptes à ceux de l'instant, et note le résultat."""
    outcome = run_until_stopped(_drill_here(home, folder, ledger) if cluster is None else _drill_cluster(cluster))
    if outcome.outcome != "good":
        raise fail(f"l'essai de restauration a échoué ({outcome.outcome}) : {outcome.detail}")
    typer.echo(
        f"Restauration essayée : {outcome.octets / 1e6:.0f} Mo relus en {outcome.restored_s:.0f} s, prête à "
        f"démarrer en {outcome.ready_s:.0f} s, tous les comptes sont ceux de l'instant."
    )


async def _drill_here(home: Path | None, folder: Path | None, ledger: Path | None) -> "Drill":
    from cli.drill import Ending, Failed, Restoring, restoring_here

    run = find_run(home)
    repository, found = repository_of(run), Home(Path(run.home))
    if owner_of(repository.data) != server_account():
        raise fail("à lancer par le compte de la pile : sudo systemctl start territoire-drill.service", 2)
    url, file = run.database_admin_url, ledger or found.folder / LEDGER_NAME

    def prepare() -> tuple[Restoring, Ending]:
        try:
            kept = found.secrets()
            is_there = ledger is not None or file.exists()
            entries = list(read_ledger(file)) if is_there else []
            if is_there:
                say_trouble_at_end(file)
        except UnreadableLedger as wrong:
            raise Failed("not_restored", f"{file} : {wrong}") from wrong
        except UnusableHome as wrong:
            raise Failed("not_restored", str(wrong)) from wrong
        place = folder or repository.folder.parent
        return restoring_here(repository, url, kept.postgres, place), Ending(key_wrap(kept), entries)

    return await _run(url, prepare)


async def _drill_cluster(cluster: str) -> "Drill":
    from cli.drill_cluster import restoring_beside
    from cli.place import demand_addresses

    demand_addresses("TERRITOIRE_DATABASE_URL")  # Of the superuser, by the Cluster's service.
    url = os.environ["TERRITOIRE_DATABASE_URL"]
    return await _run(url, lambda: (restoring_beside(cluster, url), None))


async def _run(url: str, prepare: "Preparing") -> "Drill":
    from cli.drill import run_drill
    from core.runtime.postgres import DATABASE_AWAY

    try:
        return await run_drill(url, prepare)
    except DATABASE_AWAY as away:
        raise database_away(away) from None


@pitr_app.command("resume")
def resume(home: Annotated[Path, typer.Option("--home", help="Dossier de la pile restaurée.")]) -> None:
    """Après une restauration : cette base remplace l'autre, et archive à son tour."""
    repository = PgBackRest.beside(Home(home).postgres_data)
    if not (repository.is_configured and repository.is_suspended):
        raise fail(f"rien n'est suspendu dans {home}", 2)
    (repository.folder / SUSPENDED).unlink()
    typer.echo("Redémarrez la pile, puis : ./territoire pitr backup")
