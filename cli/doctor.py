"""`territoire doctor`: what is wrong with an installation, in French, and what to do about it."""

import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import structlog
import typer
from rich.console import Console

from cli.findings import Finding, critical, print_findings, warning, worst
from cli.running import COMMAND, usual_homes

if TYPE_CHECKING:
    from cli.examination import Place

START = (
    "démarrez-la : sudo systemctl start territoire sur un serveur installé (pourquoi elle s'est arrêtée : "
    "journalctl -u territoire -n 50), sinon ./territoire up"
)


def doctor(
    home: Annotated[Path | None, typer.Option("--home", help="Dossier de la pile.")] = None,
    certificate: Annotated[
        list[Path] | None,
        typer.Option(help="Un certificat PEM à surveiller ; répétable.", exists=True, dir_okay=False),
    ] = None,
    backups: Annotated[Path | None, typer.Option(help="Dossier des sauvegardes, pour juger leur âge.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Un objet JSON au lieu du texte.")] = False,
) -> None:
    """Examine l'installation et dit ce qui ne va pas et quoi faire. Statut : 0 rien, 1 à surveiller, 2 en panne.

    Sans pile sur cette machine, examine ce que disent les variables TERRITOIRE_DATABASE_URL, TERRITOIRE_NATS_URL,
    TERRITOIRE_MQTT_URL et TERRITOIRE_KEK : dans un conteneur, par exemple.
    """
    # What the libraries have to say about their attempts is in the findings.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    findings = asyncio.run(_examine(home, certificate or [], backups))
    if as_json:
        told = {"severity": int(worst(findings)), "findings": findings}
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(told)) + b"\n")
    else:
        print_findings(Console(), findings)
    raise typer.Exit(int(worst(findings)))


async def _examine(home: Path | None, certificates: list[Path], backups: Path | None) -> list[Finding]:
    from cli import examination, machine
    from cli.installed import installed

    server = installed()
    place, findings = _find([home] if home else usual_homes())
    is_installed = server is not None and place.folder == server.home
    told = {**server.environment, **os.environ} if server is not None and is_installed else os.environ
    findings += _examine_settings(told)
    findings += machine.examine_machine(place.folder)
    for file in [*certificates, *_told_certificates(told)]:
        findings.append(machine.examine_certificate(file))
    folder = backups or (server.backups if server is not None and is_installed else None)
    if folder is not None:
        findings.append(machine.examine_backups(folder))
    findings += await examination.examine_services(place)
    findings += await examination.examine_database(place)
    findings += await examination.examine_bus(place)
    findings += await examination.examine_broker(place)
    return findings


def _find(places: list[Path]) -> "tuple[Place, list[Finding]]":
    from cli.examination import Place
    from cli.report import alive, last_line
    from services.supervisor.run_info import read_run_info

    for folder in places:
        try:
            run = read_run_info(folder)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError:
            what = f"{folder} n'est lisible que par le compte de la pile et par root"
            return Place(folder), [critical("pile", what, f"relancez avec sudo : sudo {COMMAND}")]
        except msgspec.DecodeError as wrong:
            what = f"run.json de {folder} n'est pas de cette version du programme : {wrong}"
            remedy = (
                "redémarrez la pile avec ce programme : sudo systemctl restart territoire (ou ./territoire up)"
            )
            return Place(folder), [critical("pile", what, remedy)]
        if alive(run.supervisor_pid):
            return Place.of_run(run), []
        what = f"celle de {folder} a été tuée, ou la machine a redémarré : rien ne tourne"
        return Place(folder), [critical("pile", what, START)]
    told_place = Place.of_environment(os.environ)
    if told_place.database_url is not None:
        return told_place, []
    logs = sorted((places[0] / "logs").glob("*.log"), key=lambda log: log.stat().st_mtime)
    said = f" ; dernière ligne de {logs[-1].name} : {last_line(logs[-1])}" if logs else ""
    return Place(places[0]), [critical("pile", f"aucune ne tourne dans {places[0]}{said}", START)]


def _examine_settings(told: Mapping[str, str]) -> list[Finding]:
    """What the operator wrote for the services, before they are restarted with it."""
    from cli.settings_check import CLASSES, wrong_settings
    from core.runtime.settings import unknown_settings

    remedy = "corrigez-le dans /etc/territoire/territoire.env (ou là où il est écrit), puis redémarrez"
    return [
        *(critical("réglages", line, remedy) for line in wrong_settings(CLASSES, told)),
        *(warning("réglages", unknown.french, remedy) for unknown in unknown_settings(told)),
    ]


def _told_certificates(told: Mapping[str, str]) -> list[Path]:
    return [Path(file) for file in (told.get("TERRITOIRE_STATION_CERTIFICATE"),) if file]
