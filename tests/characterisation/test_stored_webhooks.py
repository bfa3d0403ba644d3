"""Messages that the former program left in the queue are delivered, signed with the secrets that it kept."""

from typing import Any

import pytest
from msgspec.structs import asdict
from standardwebhooks import Webhook

from alerting.dead_letters import list_dead, replay
from alerting.queue import WebhookMessage, decode_message, enqueue
from core.runtime.postgres import Pool
from tests.entering import tenant_transaction
from tests.services.alerting.test_app import serving, until

TRACE_ID = bytes.fromhex("101112131415161718191a1b1c1d1e1f")
MESSAGE_ID = "msg_018f3f2a7b4c7d8e9fa0b1c2d3e4f506"
BODY = b'{"type":"alert.opened"}'
PAYLOAD = bytes.fromhex(
    "85aa6d6573736167655f6964d9246d73675f3031386633663261376234633764386539666130623163326433653466353036ab656e64706f696e"
    "745f696429a8616c6572745f69644da4626f6479c4177b2274797065223a22616c6572742e6f70656e6564227da874726163655f6964c410"
    "101112131415161718191a1b1c1d1e1f"
)
# Of before traces.
PAYLOAD_WITHOUT_TRACE = b"\x84" + PAYLOAD[1 : PAYLOAD.index(b"\xa8trace_id")]
JOB = """
INSERT INTO jobs.pgqueuer (priority, created, updated, heartbeat, execute_after, status, entrypoint, payload,
                           attempts)
SELECT 0, ago, ago, ago, ago, $1::text::jobs.pgqueuer_status, 'webhook/41', $2, 1
FROM (SELECT now() - interval '1 hour' AS ago) AS job
"""
ENDPOINT = """
INSERT INTO webhook_endpoint (id, tenant_id, url, description, secret_wrapped, previous_secret_wrapped,
                              previous_until, kek_id, form)
OVERRIDING SYSTEM VALUE
VALUES (41, $1, $2, 'astreinte', $3, $4, now() + interval '1 day', 'kek-1', 'standard')
"""
# Wrapped by sixteen octets of zero: 00 01 ... 1f, and 01 02 ... 20.
WRAPPED = bytes.fromhex("c4e240a9ad78e4d865836e44058d3c826e0d578441aa536011537bca1a6c01b01a9478c4daa5d472")
FORMER_WRAPPED = bytes.fromhex("f00f1665c7ed3a49cc2918371694f02f8eb79b29068061c1dfc1ae465d4df8fb350097d2e63ddd27")
SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
FORMER_SECRET = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="


@pytest.fixture
async def endpoint(pool: Pool, place: Any, receiver: Any) -> int:
    await pool.execute(ENDPOINT, place.tenant_id, receiver.url, WRAPPED, FORMER_WRAPPED)
    receiver.secret = SECRET
    return 41


async def drained(pool: Pool) -> bool:
    return await pool.fetchval("SELECT count(*) = 0 FROM jobs.pgqueuer")


def test_queued_message_of_today_is_read_in_full() -> None:
    assert asdict(decode_message(PAYLOAD)) == {
        "message_id": MESSAGE_ID,
        "endpoint_id": 41,
        "alert_id": 77,
        "body": BODY,
        "trace_id": TRACE_ID,
        "sequence": 0,  # Of before messages were numbered.
    }


async def test_message_is_queued_in_the_form_of_today(pool: Pool) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await enqueue(connection, [WebhookMessage(MESSAGE_ID, 41, 77, BODY, TRACE_ID)])

    row = await pool.fetchrow("SELECT priority, status::text, entrypoint, payload, headers FROM jobs.pgqueuer")
    assert row is not None
    assert tuple(row) == (0, "queued", "webhook/41", PAYLOAD, None)


@pytest.mark.parametrize(
    ("payload", "trace_id"),
    # Without a trace of its own a message begins one under its own id.
    [(PAYLOAD, TRACE_ID), (PAYLOAD_WITHOUT_TRACE, bytes.fromhex("018f3f2a7b4c7d8e9fa0b1c2d3e4f506"))],
    ids=["today", "without trace"],
)
async def test_queued_message_of_today_is_delivered_with_both_secrets(
    pool: Pool, database_url: str, nats_url: str, receiver: Any, endpoint: int, payload: bytes, trace_id: bytes
) -> None:
    await pool.execute(JOB, "queued", payload)

    async with serving(pool, database_url, nats_url):
        await receiver.until(1)
        await until(lambda: drained(pool))

    (request,) = receiver.requests
    assert (request["id"], request["octets"]) == (MESSAGE_ID, BODY)
    Webhook(FORMER_SECRET).verify(BODY, request["headers"])  # Raises when only the new one signed it.
    row = await pool.fetchrow(
        "SELECT endpoint_id, message_id, alert_id, attempt, outcome, status, answer, next_at, trace_id "
        "FROM webhook_attempt"
    )
    assert row is not None
    assert tuple(row) == (41, MESSAGE_ID, 77, 1, "delivered", 204, "", None, trace_id)


async def test_dead_letter_of_today_is_listed_and_delivered_when_it_is_sent_again(
    pool: Pool, database_url: str, nats_url: str, place: Any, receiver: Any, endpoint: int
) -> None:
    await pool.execute(JOB, "failed", PAYLOAD)
    await pool.execute(
        "INSERT INTO webhook_attempt (tenant_id, endpoint_id, message_id, alert_id, attempt, at, outcome, status, "
        "duration_ms, answer) SELECT tenant_id, 41, $1, 77, 10, now() - interval '1 minute', 'failed', 503, 12, "
        "'non' FROM webhook_endpoint",
        MESSAGE_ID,
    )

    async with tenant_transaction(pool, place.tenant_id) as connection:
        (dead,) = await list_dead(connection, endpoint)
        replayed = await replay(connection, endpoint)
    assert (dead.message_id, dead.alert_id, dead.event) == (MESSAGE_ID, 77, "alert.opened")
    assert (dead.attempts, dead.status, dead.answer) == (10, 503, "non")
    assert replayed == 1
    async with serving(pool, database_url, nats_url):
        await receiver.until(1)
        await until(lambda: drained(pool))

    assert [request["id"] for request in receiver.requests] == [MESSAGE_ID]
    rows = await pool.fetch("SELECT attempt, outcome FROM webhook_attempt ORDER BY attempt")
    assert [tuple(row) for row in rows] == [(10, "failed"), (11, "delivered")]
