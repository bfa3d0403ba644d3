"""What the command line shows of a running stack."""

import asyncio
import contextlib
import os
import re
from collections.abc import Mapping
from itertools import starmap
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from services.supervisor.notify import is_notified
from services.supervisor.process_identity import identity_of, started_at
from services.supervisor.run_info import FILE_NAME, RunInfo, ServiceInfo

ANSWERS_WITHIN_S = 3.0
LOG_END, LINE_MOST = 4_000, 300
# By so much a clock may have been set since a process was started.
CLOCK_SET_BY_S = 600.0
# What /readyz is asked of; maintenance has a check of each of its jobs.
CHECKS = {
    "bus": "bus",
    "cups": "réglages des Basics Station (CUPS)",
    "database": "base de données",
    "mqtt": "courtier MQTT",
    "shards": "parts",
    "stations": "port des Basics Station",
    "udp": "port UDP",
}
WITHOUT_A_SUBJECT = {"start", "stop"}
# Its own words; those of the database and of addresses are French where they are made.
SAID = (
    (re.compile("starting"), "démarre"),
    (re.compile("stopping"), "s'arrête"),
    (re.compile("not listening"), "n'écoute pas"),
    (re.compile(r"no answer within (\S+) s"), r"pas de réponse en \1 s"),
    (re.compile("has not asked for shards"), "pas encore demandées"),
    (re.compile(r"reads (\d+) of (\d+) shards"), r"en lit \1 sur \2"),
)


def access_table(run: RunInfo, visitors: Mapping[str, str]) -> Table:
    """Where everything is, first the console and its login, and those of `visitors` with the same password.

    Other secrets are in run.json, whose path is shown.
    """
    table = Table(title="Territoire", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("Console", run.api_url)
    if run.login_email:
        # Under systemd what we print is kept in the journal, which many may read.
        password = f"(mot de passe dans {FILE_NAME})" if is_notified() else run.login_password
        table.add_row("Connexion", f"{run.login_email}  {password}")
        for email, what in visitors.items():
            table.add_row("  même mot de passe", f"{email}  ({what})")
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
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def print_ready(
    console: Console,
    run: RunInfo,
    api_key: str | None = None,
    visitors: Mapping[str, str] | None = None,
    pages: Mapping[str, str] | None = None,
) -> None:
    """The one table, then what is opened or copied whole, each on one line: `pages` of the console, and a key."""
    console.print(access_table(run, visitors or {}))
    for what, path in (pages or {}).items():
        console.print(f"{what} : {run.api_url}{path}", soft_wrap=True, highlight=False)
    shown = (api_key or run.api_key) if not is_notified() else f"dans {Path(run.home) / FILE_NAME}"
    console.print(f"Clé d'API : {shown}", soft_wrap=True, highlight=False)
    console.print(f"[bold green]Prêt[/] : {len(run.services)} processus, API sur {run.api_url}")


async def print_missing(console: Console, run: RunInfo) -> None:
    """Who was not ready in time: under systemd the others start all the same."""
    for name in sorted(name for name, is_ready in (await readiness(run)).items() if not is_ready):
        log = run.logs / f"{name}.log"
        said = f"[bold yellow]Pas prêt[/] : {name}, relancé jusqu'à ce qu'il le soit, journal {log}"
        console.print(said, soft_wrap=True, highlight=False)


async def readiness(run: RunInfo) -> dict[str, bool]:
    """Whether each child is ready at this instant: by /readyz where there is one, else by its process."""
    from services.supervisor.loopback import answers_ok

    async def ready(service: ServiceInfo) -> bool:
        if service.health_url is not None:
            return await answers_ok(f"{service.health_url}/readyz")
        return service.pid is not None and alive(service.pid)

    answers = await asyncio.gather(*(ready(service) for service in run.services))
    return {service.name: answer for service, answer in zip(run.services, answers, strict=True)}


async def asked(url: str) -> bytes | None:
    """The body of an answer on the loopback, whatever its status; None when there is none."""
    import httpx

    try:
        async with httpx.AsyncClient(timeout=ANSWERS_WITHIN_S, trust_env=False) as client:
            return (await client.get(url)).content
    except httpx.HTTPError:
        return None


async def problem_of(service: ServiceInfo) -> str:
    """Why a process is not ready, in French: what its /readyz says, else its state."""
    if service.pid is None:
        return "arrêté"
    if service.health_url is None:
        return "ne répond pas"
    answer = await asked(f"{service.health_url}/readyz")
    if answer is None:
        return "démarre, ou ne répond plus"
    with contextlib.suppress(msgspec.DecodeError, KeyError, AttributeError):
        problems: dict[str, str] = msgspec.json.decode(answer)["problems"]
        return " | ".join(dict.fromkeys(starmap(_problem_in_french, problems.items()))) or "pas prêt"
    return "pas prêt"


def _problem_in_french(check: str, why: str) -> str:
    french = next((as_said.sub(words, why) for as_said, words in SAID if as_said.fullmatch(why)), why)
    if check in WITHOUT_A_SUBJECT:
        return french
    return f"{CHECKS.get(check, f'tâche {check}')} : {french}"


def alive(pid: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # It lives, under another account.
        return True
    return True


def is_running(run: RunInfo) -> bool:
    """Whether the supervisor that wrote this lives: a killed one's number may be another program's by now."""
    if not alive(run.supervisor_pid):
        return False
    found = identity_of(run.supervisor_pid)
    if run.supervisor_identity or found is None:
        return found in {None, run.supervisor_identity}
    # Written by a release that noted no identity: it was started before it wrote when it was.
    began = started_at(run.supervisor_pid)
    return began is None or began < run.started_at + CLOCK_SET_BY_S


def last_line(log: Path) -> str:
    """What a process said last, cut to a line of a terminal; its own message where the line is one of ours."""
    try:
        octets = log.read_bytes()[-LOG_END:]
    except OSError:
        return ""
    lines = octets.decode("utf-8", "replace").split("\n")
    said = next((line for line in reversed(lines) if line.strip() and not line.startswith("supervisor: ")), "")
    with contextlib.suppress(msgspec.DecodeError):
        line = msgspec.json.decode(said, type=dict[str, object])
        said = str(line.get("message") or line.get("error") or line.get("event") or said)
    return said.strip()[:LINE_MOST]
