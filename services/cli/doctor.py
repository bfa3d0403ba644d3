"""`territoire doctor`: what is wrong with an installation, in French, and what to do about it."""

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import structlog
import typer
from rich.console import Console

from services.cli.findings import Finding, critical, print_findings, worst
from services.cli.running import default_home

if TYPE_CHECKING:
    from services.cli.examination import Place


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
    from services.cli import examination, machine

    places = [home] if home else [default_home("up"), default_home("demo")]
    place, findings = _find(places)
    findings += machine.examine_machine(place.folder)
    for file in [*certificates, *_told_certificates()]:
        findings.append(machine.examine_certificate(file))
    if backups is not None:
        findings.append(machine.examine_backups(backups))
    findings += await examination.examine_services(place)
    findings += await examination.examine_database(place)
    findings += await examination.examine_bus(place)
    findings += await examination.examine_broker(place)
    return findings


def _find(places: list[Path]) -> "tuple[Place, list[Finding]]":
    from services.cli.examination import Place
    from services.run_info import read_run_info

    for folder in places:
        try:
            return Place.of_run(read_run_info(folder)), []
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (msgspec.DecodeError, PermissionError) as wrong:
            told = critical("pile", f"{folder} ne se lit pas : {wrong}", "lancez doctor sous le compte de la pile")
            return Place(folder), [told]
    told_place = Place.of_environment(os.environ)
    if told_place.database_url is not None:
        return told_place, []
    missing = critical(
        "pile", f"aucune pile ne tourne dans {places[0]}", "./territoire up (ou systemctl start territoire)"
    )
    return Place(places[0]), [missing]


def _told_certificates() -> list[Path]:
    return [Path(told) for told in (os.environ.get("TERRITOIRE_STATION_CERTIFICATE"),) if told]
