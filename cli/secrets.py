"""`territoire secrets`: every secret of this machine's stack, and new values for its servers' accounts."""

import asyncio
import os
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.installed import installed
from cli.running import COMMAND, NOTHING_RUNS, actor, fail, print_json, tables, usual_homes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.supervisor.credentials import Secrets
    from services.supervisor.home import Home
    from services.supervisor.run_info import RunInfo

RENEW = "./territoire secrets renew {}"
CONSOLE = "dans la console : {}"
PAGE = "docs/serveur.md, « {} »"
# What has a command of its own, or none: by name, how it is renewed.
OTHERS = {
    "kek": "./territoire keys new (" + PAGE.format("Les clés de chiffrement") + ")",
    "operator-key": CONSOLE.format("Clés"),
    "operator-password": CONSOLE.format("Mon compte"),
    "archive": "./territoire pitr configure … --force (" + PAGE.format("Revenir à un instant près") + ")",
    "backups": PAGE.format("Sauvegarder, restaurer"),
}
RECIPIENTS = "TERRITOIRE_BACKUP_RECIPIENTS"

secrets_app = typer.Typer(help="Secrets de ce serveur : les lister, les renouveler.", no_args_is_help=True)
HomeOption = Annotated[Path | None, typer.Option("--home", help="Dossier de la pile, en marche ou arrêtée.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Écrire le résultat en JSON.")]


@dataclass(frozen=True, slots=True)
class Secret:
    """One of them, without its value."""

    name: str
    used_by: str
    renew_with: str
    since: datetime | None = None
    """None: not known."""
    pending: bool = False
    """Whether the stack that runs still has the former one."""


@secrets_app.callback()
def secrets() -> None:
    """Les secrets de la pile de ce serveur, dans secrets.json. Aucune valeur n'est affichée.

    Avec Docker : sudo ./secrets.sh list et renew, dans deploy. Sur Kubernetes : docs/kubernetes.md.
    """


@secrets_app.command("list")
def list_all(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Liste les secrets : ce qui s'en sert, depuis quand, et ce qui les renouvelle ; jamais leur valeur.

    Statuts : 0 listés, 1 illisibles, 3 aucune pile ici.
    """
    place, kept = _find(home)
    found = _describe(place, kept, _run_of(place))
    if as_json:
        shown = [asdict(one) | {"since": None if one.since is None else one.since.isoformat()} for one in found]
        print_json(shown, indent=2)
        return
    from rich.table import Table

    table = Table("secret", "qui s'en sert", "depuis", "pour le renouveler")
    for one in found:
        table.add_row(one.name, one.used_by, _since(one), one.renew_with.removesuffix(f" {one.name}"))
    tables(beside_json=False).print(table)


@secrets_app.command("renew")
def renew(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NOM]...", help="Ceux de la liste, comme bus-network.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Tous ceux que cette commande renouvelle.")] = False,
    home: HomeOption = None,
) -> None:
    """Tire une nouvelle valeur des secrets nommés ; le prochain démarrage la donne aux serveurs et aux services.

    D'ici là, la pile qui tourne garde l'ancienne. Interrompue, la commande n'a rien changé, ou a fini. La clé de
    chiffrement a sa commande : keys new. L'audit consigne les noms.

    Statuts : 0 renouvelés, 1 refusé, 2 nom inconnu, 3 aucune pile ici.
    """
    chosen = _chosen(names or [], everything)
    place, _ = _find(home)
    run = _run_of(place)
    is_audited = asyncio.run(_renew(place, run, chosen))
    sys.stdout.write(f"Renouvelés dans {place.secrets_file} : {', '.join(chosen)}.\n")
    if run is None:
        sys.stdout.write("La pile est arrêtée : son prochain démarrage les emploie.\n")
    else:
        sys.stdout.write(f"La pile qui tourne garde les anciens jusqu'à son redémarrage : {_restart(place)}\n")
    if not is_audited:
        sys.stdout.write("La base ne tourne pas : l'audit n'a pas cette ligne.\n")


def _chosen(names: "Sequence[str]", everything: bool) -> list[str]:
    """What is to be renewed; ends the command where that is nothing, or nothing of ours."""
    from services.supervisor.credentials import RENEWABLE

    if everything == bool(names):
        raise fail("attendu des noms (./territoire secrets list), ou --all", 2)
    for name in names:
        if name in OTHERS:
            raise fail(f"{name} ne se renouvelle pas ainsi : {OTHERS[name]}", 2)
        if name not in RENEWABLE:
            near = get_close_matches(name, (*RENEWABLE, *OTHERS), 1)
            meant = f" ; est-ce {near[0]} ?" if near else ""
            raise fail(f"{name} n'est pas un secret d'ici{meant} (./territoire secrets list)", 2)
    return [name for name in RENEWABLE if everything or name in names]


async def _renew(place: "Home", run: "RunInfo | None", names: "Sequence[str]") -> bool:
    """Write the new values, and the line of the audit where there is a database; whether there is that line."""
    from core.runtime.postgres import DATABASE_AWAY, connect
    from registry.audit import write_audit

    if run is None:
        _write(place, names)
        return False
    try:
        connection = await connect(run.database_admin_url, "territoire-secrets")
    except DATABASE_AWAY:
        _write(place, names)
        return False
    try:
        async with connection.transaction():
            for name in names:
                await write_audit(connection, None, actor(), "rotate", "secret", name)
            _write(place, names)  # In the transaction: where the disk takes nothing, nothing was renewed.
    finally:
        await connection.close()
    return True


def _write(place: "Home", names: "Sequence[str]") -> None:
    from core.runtime.errors import system_reason

    now = datetime.now(UTC)
    try:
        place.change_secrets(lambda kept: kept.completed(now).renewed(names, now))
    except OSError as refused:
        raise fail(f"rien n'est changé : {place.secrets_file} : {system_reason(refused)}") from None


def _find(home: Path | None) -> "tuple[Home, Secrets]":
    """The stack's folder, running or stopped, and what its secrets.json has; ends the command without one."""
    from msgspec import DecodeError

    from core.runtime.errors import system_reason
    from services.supervisor.home import Home

    folders = [home] if home else usual_homes()
    for folder in folders:
        found = Home(folder)
        try:
            return found, found.read_secrets()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError:
            raise fail(
                f"seuls le compte de la pile et root lisent {found.secrets_file} : sudo {COMMAND}"
            ) from None
        except OSError as refused:
            raise fail(f"{found.secrets_file} : {system_reason(refused)}") from None
        except DecodeError:
            raise fail(f"{found.secrets_file} n'est pas le secrets.json d'une pile", 2) from None
    raise fail(
        f"aucune pile ici : {folders[0]} n'a pas de secrets.json. Avec Docker : sudo ./secrets.sh list, dans "
        "deploy ; sur Kubernetes : docs/kubernetes.md",
        NOTHING_RUNS,
    )


def _run_of(place: "Home") -> "RunInfo | None":
    """The stack that runs there; ends the command where that cannot be known."""
    from cli.place import find_place

    found = find_place(place.folder)
    if found.missing is not None and not found.is_stopped:
        raise fail(f"{found.missing.what} ; {found.missing.remedy}")
    return found.place.run


def _restart(place: "Home") -> str:
    server = installed()
    if server is not None and server.home == place.folder:
        return "sudo systemctl restart territoire"
    return "arrêtez-la, et relancez-la"


def _describe(place: "Home", kept: "Secrets", run: "RunInfo | None") -> list[Secret]:
    from services.supervisor.credentials import (
        BUS_OWNER,
        DATABASE_OWNER,
        KEK,
        OF_BROKER,
        OF_BUS,
        OF_DATABASE,
    )
    from services.supervisor.mosquitto import ACCOUNTS, BRIDGE
    from services.supervisor.pgbackrest import PgBackRest

    users = {
        DATABASE_OWNER: "superviseur et migration, à la base",
        **{name: f"{service}, à la base" for service, name in OF_DATABASE.items()},
        BUS_OWNER: "migration et commandes, au bus",
        **{name: f"{service}, au bus" for service, name in OF_BUS.items()},
        OF_BROKER[BRIDGE]: "gateway_bridge, au courtier",
        OF_BROKER[ACCOUNTS]: "intake, au courtier : comptes des passerelles",
    }
    started_at = None if run is None else datetime.fromtimestamp(run.started_at, UTC)

    def noted(name: str, used_by: str, renew_with: str) -> Secret:
        since = kept.since.get(name)
        pending = since is not None and started_at is not None and since > started_at
        return Secret(name, used_by, renew_with, since, pending)

    found = [noted(name, used_by, RENEW.format(name)) for name, used_by in users.items()]
    found += [
        noted(KEK, f"ce qui est scellé dans la base ({kept.kek_id})", OTHERS[KEK]),
        Secret("operator-key", "la première clé d'API, de l'exploitant", OTHERS["operator-key"]),
        Secret("operator-password", "la première personne, à la console", OTHERS["operator-password"]),
    ]
    if PgBackRest.beside(place.postgres_data).is_configured:
        found.append(Secret("archive", "archive continue : accès et phrase", OTHERS["archive"]))
    server = installed()
    environment = os.environ if server is None or server.home != place.folder else server.environment
    if environment.get(RECIPIENTS):
        found.append(Secret("backups", "les sauvegardes ; la clé privée est ailleurs", OTHERS["backups"]))
    return found


def _since(one: Secret) -> str:
    if one.since is None:
        return "inconnu"
    when = f"{one.since.astimezone():%d/%m/%Y %H:%M}"
    return f"{when}, au prochain démarrage" if one.pending else when
