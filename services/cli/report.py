"""What the command line shows about a running stack."""

import asyncio
import os
from pathlib import Path

from rich.console import Console
from rich.table import Table

from services.run_info import FILE_NAME, RunInfo, ServiceInfo


def access_table(run: RunInfo) -> Table:
    """Where everything is. Credentials stay in run.json, whose path is shown."""
    table = Table(title="Territoire", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("API", run.api_url)
    table.add_row("Référence de l'API", f"{run.api_url}/docs")
    table.add_row("Autres LNS (HTTP)", f"{run.intake_url}/lns/<source>")
    table.add_row("Passerelles (UDP Semtech)", f"{run.udp_host}:{run.udp_port}")
    table.add_row("Passerelles (Basics Station)", run.station_url)
    table.add_row("Passerelles (MQTT)", _without_credentials(run.mqtt_url))
    table.add_row("Bus interne (NATS)", _without_credentials(run.nats_url))
    table.add_row("Base de données", _without_credentials(run.database_url))
    table.add_row("Journaux", str(run.logs))
    table.add_row("Adresses et secrets", str(Path(run.home) / FILE_NAME))
    return table


def _without_credentials(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def print_ready(console: Console, run: RunInfo, api_key: str | None = None) -> None:
    """The one table, a key on a line of its own (to be copied whole), and the line that says it is ready."""
    console.print(access_table(run))
    # Under systemd what we print is kept in the journal, which many may read.
    shown = (api_key or run.api_key) if "NOTIFY_SOCKET" not in os.environ else f"dans {Path(run.home) / FILE_NAME}"
    console.print(f"Clé d'API : {shown}", soft_wrap=True, highlight=False)
    console.print(f"[bold green]Prêt[/] : {len(run.services)} processus, API sur {run.api_url}")


async def readiness(run: RunInfo) -> dict[str, bool]:
    """Every child's state at this instant: /readyz where there is one, else whether its process lives."""
    from services.supervisor.stack import answers_ok

    async def ready(service: ServiceInfo) -> bool:
        if service.health_url is not None:
            return await answers_ok(f"{service.health_url}/readyz")
        return service.pid is not None and _alive(service.pid)

    answers = await asyncio.gather(*(ready(service) for service in run.services))
    return {service.name: answer for service, answer in zip(run.services, answers, strict=True)}


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # It lives, under another account.
        return True
    return True


def status_table(run: RunInfo, ready: dict[str, bool]) -> Table:
    """One row for each process."""
    table = Table(title=f"Territoire ({run.mode}), {run.home}", title_justify="left")
    for heading in ("Processus", "État", "PID", "Redémarrages", "Journal"):
        table.add_column(heading, overflow="fold")
    for service in run.services:
        state = "[green]prêt[/]" if ready[service.name] else "[red]pas prêt[/]"
        pid = "" if service.pid is None else str(service.pid)
        table.add_row(service.name, state, pid, str(service.restarts), service.log)
    return table
