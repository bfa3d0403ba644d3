"""`territoire alarm`: on a server of one's own, tells who is on call what turned bad, and what is good again."""

import asyncio
import os
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec.structs import replace

from cli.finding_kinds import Kind
from cli.findings import Finding, critical
from cli.running import fail
from core.runtime.errors import describe_defect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cli.alarm_delivery import Channel
    from cli.alarm_memory import Memory
    from core.runtime.settings import WrongSetting

# Together below the TimeoutStartSec of the units: a run that is ended from outside says nothing.
EXAMINED_WITHIN_S = 40.0
ALONE_WITHIN_S = 30.0
SENT_WITHIN_S = 30.0
# The service starts again once this run is over: it does not wait for a mail server.
SENT_ON_STOP_WITHIN_S = 8.0


def alarm(
    home: Annotated[Path | None, typer.Option("--home", help="Dossier de la pile.")] = None,
    backups: Annotated[Path | None, typer.Option(help="Dossier des sauvegardes, pour juger leur âge.")] = None,
    failed: Annotated[
        str | None, typer.Option(help="Une unité systemd qui vient d'échouer, à dire aussitôt.")
    ] = None,
    succeeded: Annotated[
        str | None, typer.Option(help="Une unité systemd qui vient de réussir : elle n'est plus en échec.")
    ] = None,
    stopped: Annotated[
        bool, typer.Option("--stopped", help="Le service s'est arrêté : SERVICE_RESULT dit comment (systemd).")
    ] = False,
    test: Annotated[bool, typer.Option("--test", help="Envoie un message d'essai, et rien d'autre.")] = False,
) -> None:
    """Examine l'installation et prévient l'astreinte de ce qui va mal, puis de ce qui est rétabli.

    TERRITOIRE_ALARM_MAIL (par TERRITOIRE_SMTP_URL) et TERRITOIRE_ALARM_URL disent qui, dans territoire.env sur un
    serveur installé. Le minuteur territoire-alarm la lance toutes les deux minutes.
    """
    folder, environment = _installation(home, demands_settings=test)
    to, wrong = _whom(environment)
    if not to:
        if test or wrong:
            raise fail("personne à prévenir : " + (_said(wrong) or NOBODY), 2)
        return  # The installation is new: nobody has said whom yet, and doctor says so.
    if test:
        _try_out(to, wrong)
        return
    if stopped and os.environ.get("SERVICE_RESULT", "success") == "success":
        return
    sudden = _sudden(failed, stopped=stopped)
    if sudden or succeeded:
        failures, is_lost = _notify_of(sudden, succeeded, folder, to, in_a_hurry=stopped)
    else:
        failures, is_lost = _notify(folder, backups, to)
    if is_lost is not None:
        raise fail(f"{is_lost} ne s'écrit pas : tout est redit à chaque examen")
    _say(failures + [one.french for one in wrong])


NOBODY = (
    "dites TERRITOIRE_ALARM_MAIL (avec TERRITOIRE_SMTP_URL) ou TERRITOIRE_ALARM_URL dans territoire.env, ou dans "
    "l'environnement"
)


def _installation(home: Path | None, *, demands_settings: bool) -> "tuple[Path, Mapping[str, str]]":
    """The stack's home, and what this process and territoire.env say whom to tell, as doctor reads them."""
    from cli.installed import installed
    from cli.running import usual_homes

    server = installed()
    if server is None or (home is not None and home != server.home):
        return home or usual_homes()[0], os.environ
    if demands_settings and not server.is_readable:
        raise fail(f"{server.settings} n'est lisible que par root : sudo ./territoire alarm --test", 2)
    return server.home, {**server.environment, **os.environ}


def _whom(environment: "Mapping[str, str]") -> "tuple[list[Channel], tuple[WrongSetting, ...]]":
    """Everybody whom the right settings name: a wrong one keeps nobody else from being told."""
    from cli.alarm_delivery import channels
    from cli.alarm_settings import AlarmSettings
    from core.runtime.settings import InvalidSettings, read_settings

    try:
        return channels(read_settings(AlarmSettings, environment)), ()
    except InvalidSettings as refused:
        wrong = refused.wrong
    names = {one.name for one in wrong}
    left = {name: value for name, value in environment.items() if name.upper() not in names}
    try:
        return channels(read_settings(AlarmSettings, left)), wrong
    except InvalidSettings:
        return [], wrong


def _try_out(to: "Sequence[Channel]", wrong: "Sequence[WrongSetting]") -> None:
    from cli.alarm_delivery import try_out

    missed = asyncio.run(try_out(to, SENT_WITHIN_S))
    reached = [channel.name for channel in to if channel.name not in missed]
    if reached:
        typer.echo(f"Message d'essai parti : {', '.join(reached)}.")
    _say([f"{name} : {reason}" for name, reason in missed.items()] + [one.french for one in wrong])


def _sudden(failed: str | None, *, stopped: bool) -> list[Finding]:
    from cli.alarm_letter import how_it_ended

    if stopped:
        how = how_it_ended(os.environ["SERVICE_RESULT"], os.environ.get("EXIT_STATUS", ""))
        remedy = "systemd le relance ; pourquoi : journalctl -u territoire -n 50"
        return [critical(Kind.UNIT_STOPPED, how, remedy, ["territoire.service"])]
    if failed is not None:
        return [critical(Kind.UNIT_FAILED, "a échoué", f"journalctl -u {failed} -n 50", [failed])]
    return []


def _notify_of(
    sudden: list[Finding], succeeded: str | None, folder: Path, to: "Sequence[Channel]", *, in_a_hurry: bool
) -> tuple[list[str], Path | None]:
    from cli.alarm_delivery import utc_now
    from cli.alarm_memory import Memory
    from cli.alarm_news import happened

    memory = Memory(folder)
    with memory.alone(SENT_ON_STOP_WITHIN_S if in_a_hurry else ALONE_WITHIN_S):
        now = utc_now()
        over = {f"{Kind.UNIT_FAILED}/{succeeded}"}
        events = {key: one for key, one in memory.state.events.items() if key not in over}
        # Known before it is sent: what nobody takes is sent with the next examination.
        memory.save(replace(memory.state, events=happened(events, sudden, now)))
        failures = _deliver(memory, to, SENT_ON_STOP_WITHIN_S if in_a_hurry else SENT_WITHIN_S)
    return failures, memory.place if memory.is_lost else None


def _notify(folder: Path, backups: Path | None, to: "Sequence[Channel]") -> tuple[list[str], Path | None]:
    from cli.alarm_delivery import utc_now
    from cli.alarm_memory import Memory, identified, taken_over
    from cli.alarm_news import going_on, watch

    findings = _examine(folder, backups)
    memory = Memory(folder)
    with memory.alone(ALONE_WITHIN_S):
        now = utc_now()
        known = identified(memory.state, findings)
        memory.state = taken_over(known, [channel.key for channel in to], findings, now)
        state = memory.state
        watched = watch(state.watched, findings, now)
        keys = {channel.key for channel in to}
        recipients = {key: one for key, one in state.recipients.items() if key in keys}
        events = going_on(state.events, watched, now)
        memory.save(replace(state, watched=watched, events=events, recipients=recipients))
        if memory.is_lost:
            # What cannot be remembered would never be seen twice in a row, and nobody would be told.
            memory.state = replace(memory.state, watched=watch(state.watched, findings, now, at_once=True))
        failures = _deliver(memory, to, SENT_WITHIN_S)
    return failures, memory.place if memory.is_lost else None


def _examine(folder: Path, backups: Path | None) -> list[Finding]:
    """What `doctor` finds; that it fails, or never ends, is a finding too."""
    from cli.doctor import examine, interrupted

    found: list[list[Finding]] = []

    def look() -> None:
        try:
            found.append(asyncio.run(examine(folder, [], backups)))
        except Exception as defect:  # noqa: BLE001 - As the docstring says.
            found.append([interrupted(None, describe_defect(defect))])

    looking = Thread(target=look, name="examination", daemon=True)
    looking.start()
    looking.join(EXAMINED_WITHIN_S)
    hangs = f"rien en {EXAMINED_WITHIN_S:.0f} s (un disque qui ne répond plus, une machine surchargée)"
    return found[0] if found else [interrupted(None, hangs)]


def _deliver(memory: "Memory", to: "Sequence[Channel]", within_s: float) -> list[str]:
    from cli.alarm_delivery import deliver, utc_now

    failures = asyncio.run(deliver(memory, to, utc_now(), within_s))
    memory.save(memory.state)
    return failures


def _said(wrong: "Sequence[WrongSetting]") -> str:
    return " ; ".join(one.french for one in wrong)


def _say(failures: list[str]) -> None:
    """Raises typer.Exit: somebody was not reached, though somebody else was."""
    if failures:
        raise fail("une partie de l'astreinte n'est pas prévenue : " + " ; ".join(failures))
