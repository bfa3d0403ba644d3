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
            raise fail("personne à prévenir : dites TERRITOIRE_ALARM_MAIL (avec TERRITOIRE_SMTP_URL) ou _URL", 2)
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
    now = datetime.now(UTC)
    if sudden:
        before = _read(folder).sudden
        report, found = news(before, sudden, now, at_once=True)
        if report.bad:
            # Known before it is sent: what nobody takes is sent with the next examination.
            _remember(folder, sudden=before | {one.subject: Known(one) for one in report.bad})
            failures = await _send(settings, News(report.bad, []))
            _remember(folder, sudden=_read(folder).sudden | found)
            _say(failures)
        return
    from cli.doctor import examine

    findings = await examine(folder, [], backups)
    before = _read(folder)
    report, known = news(before.known, findings, now)
    left = {subject: one.finding for subject, one in before.sudden.items() if one.notified_at is None}
    report = News([*left.values(), *report.bad], report.good)
    failures = await _send(settings, report) if report else []
    _remember(folder, known=known)
    if left:
        told = {subject: Known(finding, now) for subject, finding in left.items()}
        _remember(folder, sudden=_read(folder).sudden | told)
    _say(failures)


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
                failures.append(f"{address} : {refused}")
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
        except httpx.HTTPError as away:
            failures.append(f"TERRITOIRE_ALARM_URL : {type(away).__name__}")
    if len(failures) == settings.recipients:
        raise fail("astreinte pas prévenue : " + " ; ".join(failures))
    return failures


def _read(folder: Path) -> Remembered:
    try:
        return msgspec.json.decode((folder / STATE).read_bytes(), type=Remembered)
    except FileNotFoundError:
        return Remembered()
    except (msgspec.DecodeError, OSError) as unreadable:
        sys.stderr.write(f"territoire : {folder / STATE} est illisible, tout est redit : {unreadable}\n")
        return Remembered()


def _remember(folder: Path, **parts: dict[str, Known]) -> None:
    """Write these parts; the other one is as another process has just left it."""
    part = folder / f"{STATE}.{os.getpid()}.part"
    part.write_bytes(msgspec.json.encode(replace(_read(folder), **parts)))
    part.replace(folder / STATE)
