"""`territoire status`: one screen of what runs here now."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.findings import BACKUP_OLD, SCARCE, STREAM_FILLING, days_left
from cli.running import NOTHING_RUNS, fail

if TYPE_CHECKING:
    from cli.state import Database, Service, State

SEVERITIES = {"critical": ("critique", "red"), "warning": ("avertissement", "yellow"), "info": ("information", "")}
PROBLEMS_SHOWN = 5


def status(
    home: Annotated[
        Path | None, typer.Option("--home", help="Dossier de la pile : base, flux, journaux, run.json.")
    ] = None,
    backups: Annotated[Path | None, typer.Option(help="Dossier des sauvegardes, pour dire leur âge.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Pour un programme.")] = False,
) -> None:
    """Ce qui tourne ici en ce moment, sur un écran. 0 : tout est prêt ; 1 : pas tout ; 3 : rien ne tourne.

    Sans pile sur cette machine, montre ce que disent TERRITOIRE_DATABASE_URL et TERRITOIRE_NATS_URL : dans un
    conteneur, par exemple.
    """
    from cli.place import find_installation
    from cli.state import read_state

    found = find_installation(home, backups)
    if found.missing is not None:
        missing = found.missing
        raise fail(f"{missing.what} ; {missing.remedy}", NOTHING_RUNS if found.is_stopped else 1)
    state = asyncio.run(read_state(found.place, found.backups, found.wrong))
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(state)) + b"\n")
    else:
        print_state(Console(), state, datetime.now(UTC))
    raise typer.Exit(0 if state.is_well else 1)


def print_state(console: Console, state: "State", now: datetime) -> None:
    """One screen of 80 columns and 24 lines; less where less is known."""
    title = f"[bold]Territoire {state.version}[/]"
    if state.started_at is not None:
        title += f" ({state.mode}), en marche depuis {ago(now - state.started_at)}"
    console.print(title, highlight=False)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    if state.url is not None:
        table.add_row("API", f"{state.url} (référence : /docs)")
        table.add_row("Dossier", escape(str(state.home)))
    if state.services:
        table.add_row("Processus", _services(state.services))
    table.add_row("Base", _database(state))
    if state.database is not None:
        _add_activity(table, state, state.database, now)
    table.add_row("Bus", _bus(state))
    if state.disk is not None:
        share = state.disk.left
        free = f"{size(state.disk.free)} libres sur {size(state.disk.total)} ({share * 100:.0f} %)"
        if state.disk.is_read_only:
            free = "en lecture seule"
        is_bad = share < SCARCE or state.disk.is_read_only
        table.add_row("Disque", _coloured(free, "red" if is_bad else ""))
    table.add_row("Sauvegarde", _backup(state, now))
    console.print(table, highlight=False)
    if state.is_well:
        console.print("[green]Tout est prêt.[/]")
    else:
        console.print("[bold red]Tout n'est pas prêt.[/] « ./territoire doctor » dit quoi faire.", highlight=False)


def _services(services: "list[Service]") -> str:
    ready = [
        f"{one.name} (redémarré {one.restarts} fois)" if one.restarts else one.name
        for one in services
        if one.ready
    ]
    lines = [f"[green]{len(ready)} prêts[/] : {', '.join(ready)}"] if ready else []
    unready = [one for one in services if not one.ready]
    lines += [f"[red]✗ {one.name}[/] : {escape(one.problem or 'pas prêt')}" for one in unready[:PROBLEMS_SHOWN]]
    if len(unready) > PROBLEMS_SHOWN:
        lines.append(f"[red]et {len(unready) - PROBLEMS_SHOWN} autres[/]")
    return "\n".join(lines)


def _database(state: "State") -> str:
    if "database" in state.problems:
        return f"[red]✗ {escape(state.problems['database'])}[/]"
    found = state.database
    if found is None:
        return "inconnue d'ici"
    schema = f"schéma {found.schema}"
    if found.schema < found.schema_wanted:
        schema = f"[red]schéma {found.schema}, ce programme veut {found.schema_wanted}[/]"
    extension = f", TimescaleDB {found.timescaledb}" if found.timescaledb else ""
    return f"PostgreSQL {found.postgresql}{extension}, {schema}, {size(found.octets)}"


def _add_activity(table: Table, state: "State", found: "Database", now: datetime) -> None:
    at = found.last_uplink_at
    last = "aucune encore" if at is None else f"la dernière il y a {ago(now - at)}"
    rates = [
        f"{rate:.1f}/s {what}".replace(".", ",")
        for rate, what in ((state.heard_per_s, "entendues"), (state.stored_per_s, "enregistrées"))
        if rate is not None
    ]
    table.add_row("Trames", ", ".join([*rates, last]))
    never = found.gateways_never_heard
    silent = found.gateways_registered - found.gateways_online - never
    parts = [f"{found.gateways_online} en ligne sur {found.gateways_registered}"]
    parts += [_coloured(f"{silent} muettes", "red")] if silent else []
    parts += [_coloured(f"{never} jamais entendues", "yellow")] if never else []
    if found.stations_unproved and found.stations_unproved_until is not None:
        left = "délai écoulé"
        if found.stations_unproved_until > now:
            left = f"encore {days_left(found.stations_unproved_until, now)}"
        parts.append(_coloured(f"{found.stations_unproved} sans jeton ({left})", "yellow"))
    table.add_row("Passerelles", ", ".join(parts))
    table.add_row("Équipements", str(found.devices))
    if found.classes_unconfirmed:
        to_confirm = f"{found.classes_unconfirmed} logements ou compteurs à confirmer en classe 2"
        table.add_row("Données personnelles", _coloured(to_confirm, "yellow"))
    alerts = [
        _coloured(f"{count} {french}{'s' if count > 1 else ''}", colour)
        for severity, (french, colour) in SEVERITIES.items()
        if (count := found.alerts_open.get(severity, 0))
    ]
    table.add_row("Alertes", ", ".join(alerts) or "aucune en cours")


def _bus(state: "State") -> str:
    if "bus" in state.problems:
        return f"[red]✗ {escape(state.problems['bus'])}[/]"
    if state.bus_version is None:
        return "inconnu d'ici"
    waiting = [
        _coloured(
            f"{one.name} {one.messages} en attente ({one.filled * 100:.0f} %)",
            "red" if one.filled > STREAM_FILLING else "",
        )
        for one in state.streams
    ]
    return ", ".join([f"NATS {state.bus_version}", *waiting])


def _backup(state: "State", now: datetime) -> str:
    if state.backups is None:
        return "inconnue (--backups DOSSIER la regarde)"
    if state.backup_at is None:
        return f"[red]aucune dans {escape(state.backups)}[/]"
    age = now - state.backup_at
    return _coloured(f"il y a {ago(age)}, dans {escape(state.backups)}", "red" if age > BACKUP_OLD else "")


def _coloured(text: str, colour: str) -> str:
    return f"[{colour}]{text}[/]" if colour else text


def ago(age: timedelta) -> str:
    """An age in the largest unit of which there are two, for people."""
    seconds = max(0, round(age.total_seconds()))
    for size, unit in ((86_400, "j"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def size(octets: int) -> str:
    """An amount on a disk, for people."""
    for unit, name in ((10**12, "To"), (10**9, "Go")):
        if octets >= unit:
            return f"{octets / unit:.{0 if octets >= 10 * unit else 1}f} {name}".replace(".", ",")
    return f"{octets / 10**6:.0f} Mo"
