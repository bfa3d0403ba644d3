"""`territoire doctor`: what is wrong with an installation, in French, and what to do about it."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console

from cli.finding_kinds import Kind, Subject
from cli.findings import Finding, critical, print_findings, warning, worst
from core.runtime.errors import describe_defect

if TYPE_CHECKING:
    from core.runtime.settings import WrongSetting

REMEDY = "corrigez-le dans /etc/territoire/territoire.env (ou là où il est écrit), puis redémarrez"


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
    findings = asyncio.run(examine(home, certificate or [], backups))
    if as_json:
        answer = {"severity": int(worst(findings)), "findings": findings}
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(answer)) + b"\n")
    else:
        print_findings(Console(), findings)
    raise typer.Exit(int(worst(findings)))


async def examine(home: Path | None, certificates: list[Path], backups: Path | None) -> list[Finding]:
    """Everything that `doctor` looks at."""
    from cli import archive_examination, backup_examination, examination, machine, process_examination
    from cli.place import find_installation

    found = find_installation(home, backups)
    place = found.place
    findings = [] if found.missing is None else [found.missing]
    findings += _examine_settings(found.environment)
    findings += _examine_alarm(found.environment) if found.is_server else []
    findings += [critical(_wrong_kind(wrong), wrong.french, REMEDY) for wrong in found.wrong]
    findings += machine.examine_machine(place.folder, found.backups)
    findings += _examine_options(found.environment.get("TERRITOIRE_OPTIONS", ""), is_stopped=found.is_stopped)
    station = found.environment.get("TERRITOIRE_STATION_CERTIFICATE")
    findings += map(machine.examine_certificate, [*certificates, *([Path(station)] if station else [])])
    examined = await asyncio.gather(
        *(
            _examined(subject, partial(examination_of, place))
            for subject, examination_of in (
                (Subject.BACKUP, partial(backup_examination.examine_backups, found.backups)),
                (Subject.PROCESS, process_examination.examine_services),
                (Subject.DATABASE, examination.examine_database),
                (Subject.ARCHIVE, archive_examination.examine_archive),
                (Subject.BUS, examination.examine_bus),
                (Subject.BROKER, examination.examine_broker),
            )
        )
    )
    return [*findings, *chain.from_iterable(examined)]


async def _examined(subject: Subject, examination: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    """An unexpected exception is a finding as well: the other examinations are shown all the same."""
    try:
        return await examination()
    except Exception as defect:  # noqa: BLE001 - As the line above says.
        return [interrupted(subject, describe_defect(defect))]


def interrupted(subject: Subject | None, reason: str) -> Finding:
    """An examination that has not come to its end; None: all of it."""
    kind = Kind.EXAMINATION_ENDED if subject is None else Kind.EXAMINATION_ENDED.of(subject)
    of_what = "" if subject is None else f" ({subject.french})"
    remedy = "lancez ./territoire doctor sur le serveur ; si c'est un défaut, prévenez-nous, avec cette ligne"
    return critical(kind, f"ne va pas à son terme{of_what} : {reason}", remedy)


def _examine_settings(environment: Mapping[str, str]) -> list[Finding]:
    """What the operator wrote for the services, before they are restarted with it."""
    from cli.settings_check import CLASSES, wrong_settings
    from core.runtime.settings import unknown_settings

    open_to_all = [
        warning(
            Kind.CREDENTIALS_NONE,
            "TERRITOIRE_STATION_CREDENTIALS=none : qui connaît l'EUI d'une station sans jeton parle en son nom",
            "faites un jeton pour chacune (POST /v1/gateways/{EUI}/tokens), puis retirez ce réglage",
        )
        for value in [environment.get("TERRITOIRE_STATION_CREDENTIALS", "")]
        if value == "none"
    ]
    return [
        *open_to_all,
        *(critical(_wrong_kind(wrong), line, REMEDY) for wrong, line in wrong_settings(CLASSES, environment)),
        *(
            warning(Kind.SETTINGS_UNKNOWN.of(unknown.name), unknown.french, REMEDY)
            for unknown in unknown_settings(environment)
        ),
    ]


def _wrong_kind(wrong: "WrongSetting") -> str:
    return Kind.SETTINGS_WRONG.of(wrong.name or "together")


def _examine_alarm(environment: Mapping[str, str]) -> list[Finding]:
    """Whether the timer of an installed server would tell anybody."""
    from cli.alarm_settings import AlarmSettings
    from core.runtime.settings import InvalidSettings, read_settings

    try:
        settings = read_settings(AlarmSettings, environment)
    except InvalidSettings as refused:
        return [
            critical(
                Kind.ALARM_WRONG.of(one.name or "together"),
                f"une partie n'est pas prévenue : {one.french}",
                REMEDY,
            )
            for one in refused.wrong
        ]
    if settings.reaches_somebody:
        return []
    remedy = (
        "dites TERRITOIRE_ALARM_MAIL (avec TERRITOIRE_SMTP_URL) ou TERRITOIRE_ALARM_URL dans "
        "/etc/territoire/territoire.env, puis essayez : sudo ./territoire alarm --test"
    )
    return [warning(Kind.ALARM_NOBODY, "personne n'est prévenu quand cette installation va mal", remedy)]


def _examine_options(text: str, *, is_stopped: bool) -> list[Finding]:
    """Whether `up` would start with them; of a stack that does not run, whether it would get its ports as well."""
    from cli.machine import examine_ports
    from cli.up import WrongOptions, read_start_options

    try:
        options = read_start_options(text)
    except WrongOptions as wrong:
        return [critical(Kind.SETTINGS_OPTIONS, f"TERRITOIRE_OPTIONS ne se lit pas : {wrong}", REMEDY)]
    return examine_ports(options) if is_stopped else []
