"""Hands the alarm's messages to everybody at once, and remembers each that was taken as soon as it was."""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from cli.alarm_letter import TEST_SUBJECT, TEST_TEXT, headline, subject_of, text_of
from cli.alarm_news import News, news, notified_after, settled
from core.runtime.errors import describe_defect
from core.runtime.tls import client_tls

if TYPE_CHECKING:
    from cli.alarm_memory import Memory, Recipient
    from cli.alarm_settings import AlarmSettings

# Whoever refuses, or is so slow that he may have taken it, is not tried with the same every two minutes, but once
# more, and then after these.
HELD_FOR = (timedelta(), timedelta(), timedelta(minutes=15), timedelta(minutes=30), timedelta(hours=1))
# Of the time that there is: who never answered is told from who may have taken it.
OF_ONE_STEP = 0.8

NO_ANSWER = "pas de réponse"
# Of httpx, which is loaded only where there is a chat.
LATE = {"ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout"}


class NotTaken(Exception):
    """Why, in French. `is_away`: nobody was there who could have taken it: trying again doubles nothing."""

    def __init__(self, reason: str, *, is_away: bool) -> None:
        super().__init__(reason)
        self.is_away = is_away


@dataclass(frozen=True, slots=True)
class Letter:
    """What is sent: a mail's subject and text, and what a program reads in a POST."""

    subject: str
    text: str
    report: News


@dataclass(frozen=True, slots=True)
class Channel:
    """One whom a message reaches. `key` names him in what is remembered, `name` to people, without a secret."""

    key: str
    name: str
    settings: "AlarmSettings"
    is_mail: bool = False

    async def send(self, letter: Letter, within_s: float) -> None:
        """Hand it over.

        Raises:
            NotTaken: it was not taken, or nothing says that it was.
        """
        try:
            async with asyncio.timeout(within_s):
                await (self._mail if self.is_mail else self._post)(letter, within_s)
        except TimeoutError:
            raise NotTaken(NO_ANSWER, is_away=False) from None
        except NotTaken:
            raise
        except Exception as defect:  # The others are told whatever is wrong with this one.
            raise NotTaken(describe_defect(defect), is_away=False) from defect

    async def _mail(self, letter: Letter, within_s: float) -> None:
        from aiosmtplib import SMTPConnectError, SMTPException

        from alerting.mail import MailRejected

        assert self.settings.mailer is not None  # noqa: S101 - Else nobody has an address.
        try:
            await self.settings.mailer.send_text(self.name, letter.subject, letter.text, OF_ONE_STEP * within_s)
        except MailRejected as refused:
            if refused.status:
                raise NotTaken(f"refusé ({refused.status} {refused})", is_away=False) from None
            cause = refused.__cause__
            is_away = isinstance(cause, SMTPConnectError) or (
                isinstance(cause, OSError) and not isinstance(cause, SMTPException)
            )
            raise NotTaken(_reason(refused), is_away=is_away) from None

    async def _post(self, letter: Letter, within_s: float) -> None:
        import httpx

        assert self.settings.alarm_url is not None  # noqa: S101 - Else there is no such channel.
        body = {
            "text": f"{letter.subject}\n{letter.text}",
            "host": socket.gethostname(),
            "bad": list(letter.report.bad.values()),
            "good": list(letter.report.good.values()),
        }
        try:
            # The operator's own address, from the operator's own file: not one that a tenant chose.
            async with (
                httpx.AsyncClient(timeout=OF_ONE_STEP * within_s, verify=client_tls()) as client,
                client.stream(
                    "POST",
                    self.settings.alarm_url.get_secret_value(),
                    content=msgspec.json.encode(body),
                    headers={"Content-Type": "application/json"},
                ) as answer,
            ):
                answer.raise_for_status()  # What it says besides, however slowly, is not read.
        except httpx.HTTPStatusError as refused:
            raise NotTaken(f"répond {refused.response.status_code}", is_away=False) from None
        except httpx.HTTPError as away:
            is_away = isinstance(away, (httpx.ConnectError, httpx.ConnectTimeout))
            raise NotTaken(_reason(away), is_away=is_away) from None


def channels(settings: "AlarmSettings") -> list[Channel]:
    """Everybody who is to be told, once each."""
    from hashlib import sha256

    mails = dict.fromkeys(settings.addresses) if settings.mailer is not None else {}
    found = [Channel(address, address, settings, is_mail=True) for address in mails]
    if settings.alarm_url is not None:
        digest = sha256(settings.alarm_url.get_secret_value().encode()).hexdigest()[:16]
        found.append(Channel(f"url/{digest}", "TERRITOIRE_ALARM_URL", settings))
    return found


async def deliver(memory: "Memory", to: Sequence[Channel], now: datetime, within_s: float) -> list[str]:
    """Notify everybody of what he does not know yet; who does not know it still, and why."""
    return [
        missed
        for missed in await asyncio.gather(*(_deliver(memory, channel, now, within_s) for channel in to))
        if missed
    ]


async def _deliver(memory: "Memory", channel: Channel, now: datetime, within_s: float) -> str | None:
    from cli.alarm_memory import Recipient

    state = memory.state
    known = state.recipients.get(channel.key, Recipient())
    notified = settled(known.notified, state.watched, now)
    known = replace(known, notified=notified)
    report = news(notified, state.watched, state.events, now)
    if not report:
        _keep(memory, channel, replace(known, failures=0, reason=""))
        return None
    keys = sorted([*report.bad, *report.good])
    if _is_held(known, keys, now):
        return f"{channel.name} : {known.reason}"
    letter = Letter(subject_of(socket.gethostname(), report), text_of(report), report)
    try:
        await channel.send(letter, within_s)
    except NotTaken as refused:
        failures = 0 if refused.is_away else known.failures + 1
        _keep(memory, channel, replace(known, failures=failures, tried_at=now, tried=keys, reason=str(refused)))
        return f"{channel.name} : {refused}"
    notified = notified_after(notified, report, state.watched, state.events, now)
    _keep(memory, channel, Recipient(notified))
    # The next one may take so long that this run is ended: what was taken is not sent again.
    memory.save(memory.state)
    return None


def _is_held(known: "Recipient", keys: Sequence[str], now: datetime) -> bool:
    held_for = HELD_FOR[min(known.failures, len(HELD_FOR) - 1)]
    is_recent = known.tried_at is not None and timedelta() <= now - known.tried_at < held_for
    return is_recent and set(keys) <= set(known.tried)


def _keep(memory: "Memory", channel: Channel, recipient: "Recipient") -> None:
    memory.state = replace(memory.state, recipients=memory.state.recipients | {channel.key: recipient})


async def try_out(to: Sequence[Channel], within_s: float) -> dict[str, str]:
    """A message that says that it is a trial, to everybody; why it did not reach some, by their names."""
    letter = Letter(headline(socket.gethostname(), TEST_SUBJECT), TEST_TEXT, News({}, {}))

    async def send(channel: Channel) -> str | None:
        try:
            await channel.send(letter, within_s)
        except NotTaken as refused:
            return str(refused)
        return None

    reasons = await asyncio.gather(*map(send, to))
    return {channel.name: reason for channel, reason in zip(to, reasons, strict=True) if reason is not None}


def _reason(error: BaseException) -> str:
    """Why nobody answered: libraries keep the cause, which says it, below exceptions of their own."""
    from core.runtime.errors import CUT
    from core.runtime.waiting import network_reason

    last = error
    for cause in _causes(error):
        if isinstance(cause, TimeoutError) or type(cause).__name__ in LATE:
            return NO_ANSWER
        if type(cause).__name__ in {"SMTPServerDisconnected", "RemoteProtocolError"}:
            return CUT
        if type(cause).__name__ == "SMTPNotSupported":
            return f"ce serveur de courrier ne sait pas faire cela ({cause})"
        last = cause
    return network_reason(last)


def _causes(error: BaseException) -> Iterator[BaseException]:
    yield error
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
        yield error


def utc_now() -> datetime:
    """The instant that everything of one run is judged by."""
    return datetime.now(UTC)
