"""E-mail handed to a real mail server."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP

from alerting import store
from alerting.mail import Mailer, MailServer, MalformedSmtpUrl, compose
from core.runtime.postgres import Pool
from tests.alerting.sending import KEYS, emptied, held, send, until, working
from tests.alerting.test_message_formats import DIGEST, LINK, OPENED
from tests.proved import proved_address

SENDER = "Territoire <alertes@brest.example>"


@dataclass
class Mailbox:
    """Takes mail; answers RCPT with `refusals` in turn before."""

    port: int = 0
    refusals: list[str] = field(default_factory=list[str])
    envelopes: list[Any] = field(default_factory=list[Any])
    says_goodbye: Callable[[], Awaitable[object]] | None = None

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.says_goodbye is not None:
            await self.says_goodbye()
        return "221 Bye"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if self.refusals:
            return self.refusals.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.envelopes.append(envelope)
        return "250 2.0.0 queued as 4Zx"

    def message(self, number: int = 0) -> Any:
        return message_from_bytes(self.envelopes[number].content.replace(b"\r\n", b"\n"), policy=policy.default)

    @property
    def mailer(self) -> Mailer:
        return Mailer(MailServer.parse(f"smtp://127.0.0.1:{self.port}"), SENDER)


@pytest.fixture
async def mailbox() -> AsyncGenerator[Mailbox]:
    box = Mailbox()
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(box), "127.0.0.1", 0)
    box.port = server.sockets[0].getsockname()[1]
    yield box
    server.close()
    await server.wait_closed()


async def address(pool: Pool, place: Any, to: str = "astreinte@brest.example") -> int:
    async with pool.acquire() as connection, connection.transaction():
        return await proved_address(connection, KEYS, place.tenant_id, to)


async def test_an_alert_is_one_plain_mail_in_french(
    pool: Pool, database_url: str, place: Any, mailbox: Mailbox
) -> None:
    endpoint_id = await address(pool, place)
    async with working(pool, database_url, mailer=mailbox.mailer):
        message_id = await send(pool, endpoint_id, body=OPENED)
        await until(lambda: emptied(pool))
    mail = mailbox.message()
    attempts = await store.list_attempts(pool, endpoint_id)

    assert (mailbox.envelopes[0].mail_from, mailbox.envelopes[0].rcpt_tos) == (
        "alertes@brest.example",
        ["astreinte@brest.example"],
    )
    assert mail["Subject"] == "Alerte : majeure – Bac <12> & co : plein à 92 %. À vider."
    assert (mail["From"], mail["Message-ID"]) == (SENDER, f"<{message_id}@brest.example>")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content().split("\n\n") == [
        "Bac <12> & co : plein à 92 %. À vider.",
        LINK,
        "Message automatique de Territoire : n'y répondez pas.\n",
    ]
    assert [(one.outcome, one.status, one.answer) for one in attempts] == [
        ("delivered", 250, "2.0.0 queued as 4Zx")
    ]


async def test_a_digest_is_one_mail_with_a_paragraph_for_each_alert(
    pool: Pool, database_url: str, place: Any, mailbox: Mailbox
) -> None:
    endpoint_id = await address(pool, place)
    async with working(pool, database_url, mailer=mailbox.mailer):
        await send(pool, endpoint_id, body=DIGEST)
        await until(lambda: emptied(pool))
    mail = mailbox.message()

    assert mail["Subject"] == "2 alertes pendant les heures calmes de Voirie."
    assert mail.get_content().split("\n\n")[:4] == [
        "2 alertes pendant les heures calmes de Voirie.",
        f"Majeure : Bac 12 plein. {LINK}",
        f"Avertissement (terminée depuis) : Bac 13 plein. {LINK}",
        "… et 4 autres, dans la liste des alertes.",
    ]


async def test_a_server_that_asks_for_patience_gets_the_same_mail_again(
    pool: Pool, database_url: str, place: Any, mailbox: Mailbox
) -> None:
    mailbox.refusals = ["451 4.7.1 Greylisted", "550 5.1.1 unknown"]
    endpoint_id = await address(pool, place)
    async with working(pool, database_url, mailer=mailbox.mailer):
        message_id = await send(pool, endpoint_id, body=OPENED)
        await until(lambda: emptied(pool))
    attempts = await store.list_attempts(pool, endpoint_id)

    assert [(one.status, one.outcome) for one in reversed(attempts)] == [
        (451, "failed"),
        (550, "failed"),
        (250, "delivered"),
    ]
    assert "Greylisted" in attempts[2].answer
    assert [mailbox.message()["Message-ID"]] == [f"<{message_id}@brest.example>"]


async def test_without_a_mail_server_a_mail_waits_and_says_why(pool: Pool, database_url: str, place: Any) -> None:
    endpoint_id = await address(pool, place)
    async with working(pool, database_url):
        await send(pool, endpoint_id, body=OPENED)
        await until(lambda: held(pool))
    attempts = await store.list_attempts(pool, endpoint_id)

    assert "TERRITOIRE_SMTP_URL" in attempts[0].answer


async def test_line_breaks_in_a_message_write_no_header(
    pool: Pool, database_url: str, place: Any, mailbox: Mailbox
) -> None:
    content = json.loads(OPENED)
    content["data"]["message"] = "Bac\r\nBcc: tous@example.org\r\n\r\nfin"
    endpoint_id = await address(pool, place)
    async with working(pool, database_url, mailer=mailbox.mailer):
        await send(pool, endpoint_id, body=json.dumps(content).encode())
        await until(lambda: emptied(pool))

    assert mailbox.message()["Bcc"] is None
    assert len(mailbox.envelopes[0].rcpt_tos) == 1


async def test_an_address_is_one_endpoint_however_it_is_written(pool: Pool, place: Any) -> None:
    assert await address(pool, place) == await address(pool, place, "Astreinte@BREST.example")
    with pytest.raises(store.RejectedUrl, match="adresse de courrier"):
        await address(pool, place, "pas une adresse")


@pytest.mark.parametrize("url", ["http://mail.example", "smtp://", "mail.example:25", "smtp://a:99999"])
def test_what_names_no_mail_server_is_rejected(url: str) -> None:
    with pytest.raises(MalformedSmtpUrl):
        MailServer.parse(url)


def test_a_mail_server_is_read_from_its_url() -> None:
    assert MailServer.parse("smtps://u%40x:p%3A1@mail.example") == MailServer(
        "mail.example", 465, True, "u@x", "p:1"
    )
    assert MailServer.parse("smtp://mail.example") == MailServer("mail.example", 587, False, None, None)


async def test_a_password_is_never_sent_in_the_clear(
    pool: Pool, database_url: str, place: Any, mailbox: Mailbox
) -> None:
    """This server has no STARTTLS."""
    mailer = Mailer(MailServer.parse(f"smtp://u:p@127.0.0.1:{mailbox.port}"), SENDER)
    endpoint_id = await address(pool, place)
    async with working(pool, database_url, mailer=mailer):
        await send(pool, endpoint_id, body=OPENED)
        await until(lambda: held(pool))
    attempts = await store.list_attempts(pool, endpoint_id)

    assert mailbox.envelopes == []
    assert "STARTTLS" in attempts[0].answer


def test_sending_is_at_an_instant() -> None:
    mail = compose(SENDER, "a@b.example", "msg_1", OPENED, datetime(2026, 11, 25, 6, 5, tzinfo=UTC))

    assert mail["Date"] == "Wed, 25 Nov 2026 06:05:00 +0000"


async def test_a_mail_is_taken_however_the_server_answers_to_the_goodbye(
    pool: Pool, database_url: str, place: Any, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer to QUIT was waited for as long as all may take: the mail had failed, and was sent ten times."""
    monkeypatch.setattr("alerting.delivery.MAIL_TIMEOUT_S", 2.0)
    monkeypatch.setattr("alerting.mail.GOODBYE_WITHIN_S", 0.1)
    answers = asyncio.Event()
    mailbox.says_goodbye = answers.wait
    endpoint_id = await address(pool, place)
    async with working(pool, database_url, mailer=mailbox.mailer):
        await send(pool, endpoint_id, body=OPENED)
        await until(lambda: emptied(pool))
    attempts = await store.list_attempts(pool, endpoint_id)
    answers.set()

    assert [attempt.outcome for attempt in attempts] == ["delivered"]
    assert len(mailbox.envelopes) == 1
