"""SQL of deliveries that wait or were given up, and of an endpoint's health.

The API uses them: row security and the functions of 0030_delivery.sql bound every statement.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import msgspec

from alerting.queue import WebhookMessage, decode_message
from core.messages.versions import encode_message
from core.runtime.postgres import Connection, Pool
from registry.rows import fetch_one

NEVER_TRIED = "jamais essayé : l'adresse était suspendue"
LIST_DEAD = "SELECT id, payload, queued_at, failed_at FROM dead_webhooks($1, $2, $3)"
LAST_ATTEMPTS = """
SELECT DISTINCT ON (message_id) message_id, attempt, at, status, answer FROM webhook_attempt
WHERE endpoint_id = $1 AND message_id = ANY($2::text[])
ORDER BY message_id, attempt DESC
"""
REPLAY = "SELECT replay_webhooks($1, $2::bigint[])"
DISCARD = "SELECT discard_webhooks($1, $2::bigint[])"
QUEUE_ONE = "SELECT queue_webhook($1, $2)"
READ_HEALTH = """
WITH last AS (
    SELECT max(id) FILTER (WHERE outcome = 'delivered') AS delivered, max(id) AS any
    FROM webhook_attempt WHERE endpoint_id = $1
), day AS (
    SELECT count(*) FILTER (WHERE outcome = 'delivered') AS delivered_24h,
           count(*) FILTER (WHERE outcome <> 'delivered') AS failed_24h,
           percentile_disc(0.5) WITHIN GROUP (ORDER BY duration_ms)
               FILTER (WHERE outcome = 'delivered') AS median_ms
    FROM webhook_attempt WHERE endpoint_id = $1 AND at > now() - interval '24 h'
)
SELECT CASE WHEN e.state <> 'enabled' THEN e.state WHEN last.any IS NULL THEN 'untried'
            WHEN last.any = last.delivered THEN 'healthy' ELSE 'failing' END AS state,
       b.waiting, b.dead, day.delivered_24h, day.failed_24h, day.median_ms,
       (SELECT at FROM webhook_attempt WHERE id = last.delivered) AS delivered_at,
       (SELECT count(*) FROM webhook_attempt
        WHERE endpoint_id = e.id AND id > coalesce(last.delivered, 0)) AS failed_in_a_row,
       CASE WHEN last.any <> last.delivered OR last.delivered IS NULL
            THEN (SELECT coalesce('HTTP ' || status, answer) FROM webhook_attempt WHERE id = last.any)
            END AS last_failure
FROM webhook_endpoint e, last, day, webhook_backlog($1) AS b WHERE e.id = $1
"""


@dataclass(frozen=True, slots=True)
class DeadWebhook:
    """A message that was given up: after the whole schedule, or because its endpoint was suspended."""

    id: int
    message_id: str
    alert_id: int | None  # None: a test, or a message of several alerts.
    event: str
    queued_at: datetime
    failed_at: datetime
    attempts: int
    status: int | None  # Of the last answer; None: there was none.
    answer: str


@dataclass(frozen=True, slots=True)
class Health:
    """How an endpoint does. States: untried, healthy, failing (the last attempt failed), disabled, unproved."""

    state: str
    waiting: int
    dead: int
    delivered_24h: int
    failed_24h: int
    median_ms: int | None
    delivered_at: datetime | None
    failed_in_a_row: int
    last_failure: str | None


async def list_dead(
    connection: Connection | Pool, endpoint_id: int, *, before: int | None = None, most: int = 100
) -> list[DeadWebhook]:
    """Dead letters of an endpoint, newest first; `before` is the last id of the former page."""
    rows = await connection.fetch(LIST_DEAD, endpoint_id, before, most)
    messages = {row["id"]: _message(row["payload"]) for row in rows}
    ids = [message.message_id for message in messages.values()]
    last = {row["message_id"]: row for row in await connection.fetch(LAST_ATTEMPTS, endpoint_id, ids)}
    return [_dead(row, messages[row["id"]], last.get(messages[row["id"]].message_id)) for row in rows]


def _message(payload: bytes) -> WebhookMessage:
    try:
        return decode_message(payload)
    except msgspec.MsgspecError:
        return WebhookMessage("", 0, 0, b"")


def _dead(row: Any, message: WebhookMessage, last: Any) -> DeadWebhook:
    return DeadWebhook(
        id=row["id"],
        message_id=message.message_id,
        alert_id=message.alert_id or None,
        event=event_of(message.body),
        queued_at=row["queued_at"],
        failed_at=row["failed_at"],
        attempts=0 if last is None else last["attempt"],
        status=None if last is None else last["status"],
        answer=NEVER_TRIED if last is None else last["answer"],
    )


class _Typed(msgspec.Struct):
    type: str = ""


def event_of(body: bytes) -> str:
    """The `type` of a message's JSON; empty when it has none."""
    try:
        return msgspec.json.decode(body, type=_Typed).type
    except msgspec.MsgspecError:
        return ""


async def replay(connection: Connection | Pool, endpoint_id: int, ids: Sequence[int] | None = None) -> int:
    """Send dead letters again, from the schedule's first attempt: those of `ids`, or all. How many."""
    return await connection.fetchval(REPLAY, endpoint_id, None if ids is None else list(ids))


async def discard(connection: Connection | Pool, endpoint_id: int, ids: Sequence[int] | None = None) -> int:
    """Throw dead letters away: those of `ids`, or all. How many."""
    return await connection.fetchval(DISCARD, endpoint_id, None if ids is None else list(ids))


async def read_health(connection: Connection | Pool, endpoint_id: int) -> Health | None:
    """How an endpoint does; None when there is no such endpoint."""
    return await fetch_one(connection, Health, READ_HEALTH, endpoint_id)


async def queue_test(connection: Connection | Pool, endpoint_id: int, body: bytes) -> str | None:
    """A message that is about no alert, by the very way of the others; its id, None when nobody would get it."""
    message = WebhookMessage(f"msg_{uuid4().hex}", endpoint_id, 0, body)
    queued = await connection.fetchval(QUEUE_ONE, endpoint_id, encode_message(message))
    return message.message_id if queued else None
