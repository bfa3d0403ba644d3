"""Sends one alert or a digest as a plain French e-mail through the operator's mail server."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, localtime, make_msgid, parseaddr
from urllib.parse import unquote, urlsplit

import aiosmtplib

from alerting.message_formats import Content, headline, is_list, plain_lines, read_content
from alerting.report_files import Attached
from core.runtime.errors import describe_defect
from core.runtime.tls import client_tls

SCHEMES = ("smtp", "smtps")
SUBJECT_MOST = 150
GOODBYE_WITHIN_S = 1.0
MAILTO = "mailto:"
FOOT = "Message automatique de Territoire : n'y répondez pas."


class MalformedSmtpUrl(ValueError):
    """This names no mail server."""


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed over; with a user name the connection must be encrypted, without, it is if it can."""

    host: str
    port: int
    is_tls: bool  # From the first octet.
    username: str | None
    password: str | None

    @classmethod
    def parse(cls, url: str) -> "MailServer":
        """From `smtp://[user:password@]host[:port]` (STARTTLS) or `smtps://...` (TLS from the beginning).

        Raises:
            MalformedSmtpUrl: anything else.
        """
        if any(letter.isspace() for letter in url):
            raise MalformedSmtpUrl("the address of the mail server has a blank")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as malformed:
            raise MalformedSmtpUrl("the address of the mail server is malformed") from malformed
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise MalformedSmtpUrl("expected smtp://host:587 or smtps://host:465")
        is_tls = parts.scheme == "smtps"
        username = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        return cls(parts.hostname, port or (465 if is_tls else 587), is_tls, username, password)


class MailRejected(Exception):
    """The server did not take the message; the message says why, `status` is its reply code."""

    def __init__(self, status: int | None, text: str) -> None:
        super().__init__(text)
        self.status = status


class Mailer:
    """Hands messages to `server`, from `sender`."""

    def __init__(self, server: MailServer, sender: str) -> None:
        self._server = server
        self._sender = sender

    async def send(
        self,
        address: str,
        message_id: str,
        body: bytes,
        at: datetime,
        timeout_s: float,
        files: Sequence[Attached] = (),
    ) -> str:
        """The server's answer to the message that it has taken, with these files.

        Raises:
            MailRejected: it was not taken, or nobody answered.
        """
        mail = compose(self._sender, address, message_id, body, at)
        for one in files:
            mail.add_attachment(one.content, maintype="application", subtype="pdf", filename=one.name)
        return await self._deliver(mail, address, timeout_s)

    async def send_text(self, address: str, subject: str, text: str, timeout_s: float) -> str:
        """A letter that is about no alert; the server's answer.

        Raises:
            MailRejected: it was not taken, or nobody answered.
        """
        mail = EmailMessage()
        mail["From"] = self._sender
        mail["To"] = address
        mail["Subject"] = subject
        mail["Date"] = localtime()
        mail["Message-ID"] = make_msgid(domain=_domain(self._sender))
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(text)
        return await self._deliver(mail, address, timeout_s)

    async def _deliver(self, mail: EmailMessage, address: str, timeout_s: float) -> str:
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            use_tls=server.is_tls,
            tls_context=client_tls(),
            start_tls=False if server.is_tls else (True if server.username else None),
            timeout=timeout_s,
        )
        try:
            async with asyncio.timeout(timeout_s):
                await client.connect()
                _, answer = await client.send_message(
                    mail, sender=parseaddr(self._sender)[1], recipients=[address]
                )
            await _leave(client)
        except aiosmtplib.SMTPRecipientsRefused as refused:
            first = refused.recipients[0]
            raise MailRejected(first.code, first.message) from refused
        except aiosmtplib.SMTPResponseException as refused:
            raise MailRejected(refused.code, refused.message) from refused
        except TimeoutError as silent:
            raise MailRejected(None, f"pas de réponse en {timeout_s:g} s") from silent
        except (aiosmtplib.SMTPException, OSError) as failed:
            raise MailRejected(None, describe_defect(failed)) from failed
        finally:
            client.close()
        return answer


async def _leave(client: aiosmtplib.SMTP) -> None:
    """Say goodbye: the message was taken, whatever the server answers to that, or does not."""
    with suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
        await client.quit(timeout=GOODBYE_WITHIN_S)


def compose(sender: str, address: str, message_id: str, body: bytes, at: datetime) -> EmailMessage:
    """A message whose Message-ID is the same at every attempt, so that a second copy is known as such."""
    content = read_content(body)
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = address
    mail["Subject"] = subject_of(content)
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = f"<{message_id}@{_domain(sender)}>"
    mail["Auto-Submitted"] = "auto-generated"
    paragraphs = [*plain_lines(content), FOOT]
    if is_list(content):
        paragraphs.insert(0, content.data.message)
    mail.set_content("\n\n".join(paragraphs) + "\n")
    return mail


def _domain(sender: str) -> str:
    return parseaddr(sender)[1].rpartition("@")[2] or "localhost"


def subject_of(content: Content) -> str:
    """One line; a digest's is its first sentence."""
    lead = "" if is_list(content) else f"{headline(content)} – "
    text = lead + content.data.message
    line = " ".join(text.split())
    return line if len(line) <= SUBJECT_MOST else line[: SUBJECT_MOST - 1] + "…"
