"""`territoire alarm`: on a server of one's own, tells who is on call what turned bad, and what is good again."""

import asyncio
import os
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from msgspec.structs import replace

from cli.alarm_news import Known, News, news, subject_of, text_of
from cli.findings import Finding, critical
from cli.running import default_home, fail
from core.runtime.errors import system_reason

if TYPE_CHECKING:
    from cli.alarm_settings import AlarmSettings

STATE = "alarm.json"
SEND_WITHIN_S = 20.0


class Remembered(msgspec.Struct, frozen=True):
    """What the examination before found, and what ended suddenly: nothing says of that that it is good again."""

    known: dict[str, Known] = {}
    sudden: dict[str, Known] = {}


def alarm(
    home: Annotated[Path | None, typer.Option("--home", help="Dossier de la pile.")] = None,
    backups: Annotated[Path | None, typer.Option(help="Dossier des sauvegardes, pour juger leur âge.")] = None,
    failed: Annotated[
        str | None, typer.Option(help="Une unité systemd qui vient d'échouer, à dire aussitôt.")
    ] = None,
    stopped: Annotated[
        bool, typer.Option("--stopped", help="Le service s'est arrêté : SERVICE_RESULT dit comment (systemd).")
    ] = False,
    test: Annotated[bool, typer.Option("--test", help="Envoie un message d'essai, et rien d'autre.")] = False,
) -> None:
    """Examine l'installation et prévient l'astreinte de ce qui va mal, puis de ce qui est rétabli.

    TERRITOIRE_ALARM_MAIL (par TERRITOIRE_SMTP_URL) et TERRITOIRE_ALARM_URL disent qui. Le minuteur
    territoire-alarm la lance toutes les deux minutes.
    """
    from cli.alarm_settings import AlarmSettings
    from core.runtime.settings import settings_or_exit

    settings = settings_or_exit("alarm", AlarmSettings)
    if not settings.reaches_somebody:
        if test:
            raise fail(
                "personne à prévenir : dites TERRITOIRE_ALARM_MAIL (avec TERRITOIRE_SMTP_URL) ou "
                "TERRITOIRE_ALARM_URL",
                2,
            )
        return  # The installation is new: nobody has said whom yet, and doctor says so.
    folder = home or default_home("up")
    if test:
        _say(asyncio.run(_send(settings, News([critical("essai", "ceci est un essai", "rien")], []))))
        typer.echo("Message d'essai parti.")
        return
    if stopped and os.environ.get("SERVICE_RESULT", "success") == "success":
        return
    sudden = _sudden(failed, stopped=stopped)
    asyncio.run(_examine_and_notify(settings, folder, backups, sudden))


def _reason(error: BaseException) -> str:
    """Why nobody answered: libraries keep the cause, which says it, below exceptions of their own."""
    from core.runtime.waiting import network_reason

    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return network_reason(error)


def _sudden(failed: str | None, *, stopped: bool) -> list[Finding]:
    if stopped:
        how = f"{os.environ.get('SERVICE_RESULT')} ({os.environ.get('EXIT_STATUS', '?')})"
        remedy = "systemd le relance ; pourquoi : journalctl -u territoire -n 50"
        return [critical("territoire.service", f"s'est arrêté : {how}", remedy)]
    if failed is not None:
        return [critical(failed, "a échoué", f"journalctl -u {failed} -n 50")]
    return []


async def _examine_and_notify(
    settings: "AlarmSettings", folder: Path, backups: Path | None, sudden: list[Finding]
) -> None:
    place, now = _remembering(folder), datetime.now(UTC)
    notify = (
        _notify_of_sudden(settings, place, sudden, now)
        if sudden
        else _notify(settings, folder, backups, place, now)
    )
    failures = await notify
    if place is None:
        raise fail(f"{folder / STATE} ne s'écrit pas : tout est redit à chaque examen")
    _say(failures)


async def _notify_of_sudden(
    settings: "AlarmSettings", place: Path | None, sudden: list[Finding], now: datetime
) -> list[str]:
    before = _read(place).sudden
    report, found = news(before, sudden, now, at_once=True)
    if not report.bad:
        return []
    # Known before it is sent: what nobody takes is sent with the next examination.
    _remember(place, sudden=before | {one.subject: Known(one) for one in report.bad})
    failures = await _send(settings, News(report.bad, []))
    _remember(place, sudden=_read(place).sudden | found)
    return failures


async def _notify(
    settings: "AlarmSettings", folder: Path, backups: Path | None, place: Path | None, now: datetime
) -> list[str]:
    from cli.doctor import examine

    findings = await examine(folder, [], backups)
    before = _read(place)
    # What cannot be remembered would never be seen twice in a row, and nobody would be told.
    report, known = news(before.known, findings, now, at_once=place is None)
    left = {subject: one.finding for subject, one in before.sudden.items() if one.notified_at is None}
    report = News([*left.values(), *report.bad], report.good)
    failures = await _send(settings, report) if report else []
    _remember(place, known=known)
    if left:
        told = {subject: Known(finding, now) for subject, finding in left.items()}
        _remember(place, sudden=_read(place).sudden | told)
    return failures


def _say(failures: list[str]) -> None:
    """Raises typer.Exit: somebody was not reached, though somebody else was."""
    if failures:
        raise fail("une partie de l'astreinte n'est pas prévenue : " + " ; ".join(failures))


async def _send(settings: "AlarmSettings", report: News) -> list[str]:
    """To everybody; who was not reached, where somebody was: the others are not told the same every two minutes.

    Raises:
        typer.Exit: nobody was reached.
    """
    host = socket.gethostname()
    subject, text = subject_of(host, report), text_of(report)
    failures: list[str] = []
    if settings.mailer is not None:
        from alerting.mail import MailRejected

        for address in settings.addresses:
            try:
                await settings.mailer.send_text(address, subject, text, SEND_WITHIN_S)
            except MailRejected as refused:
                failures.append(f"{address} : {refused if refused.status else _reason(refused)}")
    if settings.alarm_url is not None:
        import httpx

        body = {"text": f"{subject}\n{text}", "host": host, "bad": report.bad, "good": report.good}
        try:
            # The operator's own address, from the operator's own file: not one that a tenant chose.
            async with httpx.AsyncClient(timeout=SEND_WITHIN_S) as client:
                answer = await client.post(
                    settings.alarm_url.get_secret_value(),
                    content=msgspec.json.encode(body),
                    headers={"Content-Type": "application/json"},
                )
                answer.raise_for_status()
        except httpx.HTTPStatusError as refused:
            failures.append(f"TERRITOIRE_ALARM_URL : répond {refused.response.status_code}")
        except httpx.TimeoutException:
            failures.append(f"TERRITOIRE_ALARM_URL : pas de réponse en {SEND_WITHIN_S:.0f} s")
        except httpx.HTTPError as away:
            failures.append(f"TERRITOIRE_ALARM_URL : {_reason(away)}")
    if len(failures) == settings.recipients:
        raise fail("astreinte pas prévenue : " + " ; ".join(failures))
    return failures


def _remembering(folder: Path) -> Path | None:
    """Where it is remembered what was told: the home, or memory that systemd keeps when its disk takes nothing."""
    in_memory = os.environ.get("RUNTIME_DIRECTORY")
    for place in (folder, *([Path(in_memory)] if in_memory else [])):
        try:
            _draft(place).write_bytes(b"{}")  # A disk that is full makes a file, and fills none.
            _draft(place).unlink()
        except OSError as refused:
            sys.stderr.write(f"territoire : {place / STATE} ne s'écrit pas : {system_reason(refused)}\n")
        else:
            return place
    return None


def _read(folder: Path | None) -> Remembered:
    if folder is None:
        return Remembered()
    try:
        return msgspec.json.decode((folder / STATE).read_bytes(), type=Remembered)
    except FileNotFoundError:
        return Remembered()
    except (msgspec.DecodeError, OSError) as unreadable:
        sys.stderr.write(f"territoire : {folder / STATE} est illisible, tout est redit : {unreadable}\n")
        return Remembered()


def _remember(folder: Path | None, **parts: dict[str, Known]) -> None:
    """Write these parts, where that is possible; the other one is as another process has just left it."""
    if folder is None:
        return
    draft = _draft(folder)
    draft.write_bytes(msgspec.json.encode(replace(_read(folder), **parts)))
    draft.replace(folder / STATE)


def _draft(folder: Path) -> Path:
    return folder / f"{STATE}.{os.getpid()}.part"
