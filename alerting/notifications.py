"""Enqueues a notification to its recipients: a row, theirs, and the messages, in the caller's transaction.

During the team's quiet hours the row waits for the digest, and what only goes out weekly waits for that of the
week (`alerting.dispatch`); what is critical never waits. A notification for which no address is in service waits
for one. Why recipients are rows: docs/decisions/0043-a-recipient-is-a-row.md.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
from msgspec.structs import replace

from alerting.queue import WebhookMessage, enqueue, message_id_of
from alerting.rules.model import SEVERITIES
from alerting.rules.quiet_hours import ALWAYS_NOTIFIED, Quiet
from core.model.identities import NO_TRACE
from core.model.region import region_of
from core.runtime.postgres import Connection, Pool

NEXT_SEQUENCE = "UPDATE alert SET sequence = sequence + 1 WHERE id = $1 RETURNING sequence"
INSERT_NOTICE = """
INSERT INTO alert_notice (id, tenant_id, team_id, alert_id, event, severity, cadence, at, message, body,
                          held_until, rung, opening_id, trace_id, sequence, nobody_since)
VALUES ($1, $2, $3, $4, $5, $6::alert_severity, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
ON CONFLICT (id) DO NOTHING
RETURNING true
"""
QUIET = """
SELECT t.id, t.quiet_from, t.quiet_until, t.quiet_on_days_off, t.digest_at, o.department,
       (SELECT timezone FROM deployment) AS timezone
FROM team t JOIN tenant o ON o.id = t.tenant_id"""
READ_QUIET = f"{QUIET} WHERE t.id = $1 AND t.tenant_id = $2"
READ_TEAMS = f"{QUIET} ORDER BY t.id"
READ_REGION = "SELECT department, (SELECT timezone FROM deployment) AS timezone FROM tenant WHERE id = $1"
# Those of a team on these rungs; without a team, every endpoint that is no person's address.
OF_TEAM = """
SELECT DISTINCT e.id FROM contact c JOIN webhook_endpoint e ON e.id = c.webhook_endpoint_id
WHERE c.team_id = $2 AND e.tenant_id = $1 AND c.rung BETWEEN $3 AND $4 AND e.state = 'enabled'
ORDER BY e.id
"""
OF_TENANT = """
SELECT id FROM webhook_endpoint
WHERE tenant_id = $1 AND state = 'enabled' AND form <> 'email' AND NOT for_operator
  AND purpose = 'events' ORDER BY id
"""
# While the notification of an opening is held back, what follows it (a rise, the end) is held back as well.
OPENING_HELD = """
SELECT max(held_until) FROM alert_notice
WHERE alert_id = $1 AND team_id IS NOT DISTINCT FROM $2::int AND held_until IS NOT NULL AND digested_at IS NULL
"""
# How far up the ladder the alert had gone since it opened.
HIGHEST_RUNG = """
SELECT coalesce(max(e.rung), 0) FROM alert_notice e WHERE e.alert_id = $1 AND e.number > (
    SELECT max(o.number) FROM alert_notice o WHERE o.alert_id = $1 AND o.phase = 'opening')
"""
# Since the last opening, in service or not: what an address that is suspended misses, it can be sent later.
NOTIFIED_SINCE_OPENING = """
SELECT DISTINCT e.id, e.state = 'enabled' AS is_enabled
FROM alert_notice_recipient r JOIN webhook_endpoint e ON e.id = r.endpoint_id
WHERE r.alert_id = $1 AND r.sequence >= (
    SELECT max(o.sequence) FROM alert_notice o WHERE o.alert_id = $1 AND o.phase = 'opening')
ORDER BY 1
"""
# An older state of the alert is not sent any more. What is on its way ends as it ends; a digest goes all the same.
REPLACE_OLDER = """
WITH older AS (
    UPDATE alert_notice_recipient SET state = 'replaced', changed_at = now()
    WHERE alert_id = $1 AND endpoint_id = ANY($2::int[]) AND state IN ('queued', 'abandoned')
    RETURNING endpoint_id, notice_id, message_id
), dropped AS (
    DELETE FROM jobs.pgqueuer j USING older
    WHERE older.message_id = older.notice_id AND j.status IN ('queued', 'failed')
      AND j.entrypoint = 'webhook/' || older.endpoint_id
      AND j.dedupe_key = 'msg_' || replace(older.message_id::text, '-', '') || '/' || older.endpoint_id
    RETURNING j.id, j.entrypoint, j.priority
)
INSERT INTO jobs.pgqueuer_log (job_id, status, entrypoint, priority)
SELECT id, 'deleted', entrypoint, priority FROM dropped
"""
ADD_RECIPIENTS = """
INSERT INTO alert_notice_recipient (notice_id, endpoint_id, tenant_id, alert_id, sequence, message_id, state)
SELECT $1, id, $2, $3, $4, $1, 'queued' FROM webhook_endpoint WHERE id = ANY($5::int[]) ORDER BY id FOR KEY SHARE
ON CONFLICT (notice_id, endpoint_id) DO UPDATE SET state = 'queued', changed_at = now()
"""
# What had reached nobody goes with what does, as its story.
JOIN_PENDING = """
WITH pending AS (
    UPDATE alert_notice SET nobody_since = NULL
    WHERE alert_id = $1 AND nobody_since IS NOT NULL AND held_until IS NULL AND id <> $3
    RETURNING id, tenant_id, alert_id, sequence
)
INSERT INTO alert_notice_recipient (notice_id, endpoint_id, tenant_id, alert_id, sequence, message_id, state)
SELECT p.id, e.id, p.tenant_id, p.alert_id, p.sequence, p.id, 'replaced'
FROM pending p CROSS JOIN webhook_endpoint e WHERE e.id = ANY($2::int[])
ON CONFLICT DO NOTHING
"""
# A beginning is for the first contacts; those who were called since are notified of how it goes on.
BEGINNINGS = ("alert.opened", "alert.reopened")
END = "alert.resolved"
HIGHEST = 9


@dataclass(frozen=True, slots=True)
class Notification:
    """What a team is notified of; `body` is the JSON of Standard Webhooks, without the sequence."""

    tenant_id: int
    team_id: int | None  # None: every endpoint of the tenant.
    alert_id: int
    event: str  # See alerting.rules.alert_lifecycle.NotificationEvent; alert.escalated besides.
    severity: str
    cadence: str  # now or weekly
    at: datetime
    message: str
    body: bytes
    trace_id: bytes = NO_TRACE  # Of the frame that caused it; empty: the clock did.


async def enqueue_notification(connection: Connection, notification: Notification) -> UUID:
    """Hand it over with this transaction's commit; returns its id, `msg_<hex>` in every webhook."""
    notification_id = uuid4()
    held_until = await _held_until(connection, notification)
    endpoints: list[int] = [] if held_until is not None else await recipients_of(connection, notification)
    nobody_since = notification.at if held_until is None and not endpoints else None
    message = await insert_notification(
        connection, notification_id, notification, held_until, nobody_since=nobody_since
    )
    if message is not None and endpoints:
        await enqueue_for(connection, endpoints, notification_id, notification, message)
    return notification_id


async def _held_until(connection: Connection, notification: Notification) -> datetime | None:
    held_until = (await quiet_hours_of(connection, notification.tenant_id, notification.team_id)).held_until(
        notification.severity, notification.cadence, notification.at
    )
    if held_until is None and notification.event not in BEGINNINGS and notification.severity != ALWAYS_NOTIFIED:
        held_until = await connection.fetchval(OPENING_HELD, notification.alert_id, notification.team_id)
    return held_until


async def recipients_of(connection: Connection, notification: Notification) -> list[int]:
    """Of an opening the first contacts; of the end exactly those who were notified of what has ended.

    Empty when none of them is in service; with one that is, those that are suspended get a dead letter.
    """
    tenant_id, team_id, alert_id = notification.tenant_id, notification.team_id, notification.alert_id
    if notification.event in BEGINNINGS:
        return await endpoints_of(connection, tenant_id, team_id, 0, 0)
    rows = await connection.fetch(NOTIFIED_SINCE_OPENING, alert_id)
    notified: list[int] = [row["id"] for row in rows]
    is_one_enabled = any(row["is_enabled"] for row in rows)
    if notification.event == END and notified:
        return notified if is_one_enabled else []
    highest = 0 if team_id is None else await connection.fetchval(HIGHEST_RUNG, alert_id)
    in_service = await endpoints_of(connection, tenant_id, team_id, 0, highest)
    return sorted({*in_service, *notified}) if in_service or is_one_enabled else []


async def insert_notification(
    connection: Connection,
    notification_id: UUID,
    notification: Notification,
    held_until: datetime | None = None,
    rung: int = 0,
    opening_id: UUID | None = None,
    *,
    nobody_since: datetime | None = None,
) -> WebhookMessage | None:
    """Write the row; returns the message to its recipients, or None when there is a row of this id."""
    sequence: int = await connection.fetchval(NEXT_SEQUENCE, notification.alert_id)
    body = with_data(notification.body, sequence=sequence)
    is_new = await connection.fetchval(
        INSERT_NOTICE,
        notification_id,
        notification.tenant_id,
        notification.team_id,
        notification.alert_id,
        notification.event,
        notification.severity,
        notification.cadence,
        notification.at,
        notification.message,
        body,
        held_until,
        rung,
        opening_id,
        notification.trace_id or None,
        sequence,
        nobody_since,
    )
    message_id = message_id_of(notification_id)
    return (
        WebhookMessage(message_id, 0, notification.alert_id, body, notification.trace_id, sequence)
        if is_new
        else None
    )


def with_data(body: bytes, **fields: object) -> bytes:
    """A message's JSON with these fields in its data."""
    content: dict[str, Any] = msgspec.json.decode(body)
    content["data"] |= fields
    return msgspec.json.encode(content)


async def endpoints_of(
    connection: Connection, tenant_id: int, team_id: int | None, lowest: int, highest: int
) -> list[int]:
    """The endpoints of a team on these steps of escalation.

    Without a usable first contact: the tenant's own; if there is none either, whichever the team has.
    """
    if team_id is not None:
        rows = await connection.fetch(OF_TEAM, tenant_id, team_id, lowest, highest)
        if rows or lowest > 0:
            return [row["id"] for row in rows]
    rows = await connection.fetch(OF_TENANT, tenant_id)
    if not rows and team_id is not None:
        rows = await connection.fetch(OF_TEAM, tenant_id, team_id, 0, HIGHEST)
    return [row["id"] for row in rows]


async def enqueue_for(
    connection: Connection,
    endpoint_ids: list[int],
    notification_id: UUID,
    notification: Notification,
    message: WebhookMessage,
    *,
    is_again: bool = False,
) -> None:
    """One message for each of these endpoints, all of one id, in place of what they did not get of this alert.

    `is_again`: it was given up before.
    """
    alert_id = notification.alert_id
    if message.sequence > 1 or is_again:
        await connection.execute(REPLACE_OLDER, alert_id, endpoint_ids)
        await connection.execute(JOIN_PENDING, alert_id, endpoint_ids, notification_id)
    await connection.execute(
        ADD_RECIPIENTS, notification_id, notification.tenant_id, alert_id, message.sequence, endpoint_ids
    )
    messages = [replace(message, endpoint_id=one) for one in endpoint_ids]
    await enqueue(connection, messages, priority_of(notification.severity))


def priority_of(severity: str) -> int:
    """A message's priority in its endpoint's queue."""
    return SEVERITIES.index(severity)


async def read_teams(connection: Connection | Pool) -> dict[int, Quiet]:
    """The quiet hours of every team."""
    return {row["id"]: quiet_of(row) for row in await connection.fetch(READ_TEAMS)}


async def quiet_hours_of(connection: Connection, tenant_id: int, team_id: int | None) -> Quiet:
    """A team's quiet hours; without a team there are none, but a weekly digest."""
    row = None if team_id is None else await connection.fetchrow(READ_QUIET, team_id, tenant_id)
    if row is not None:
        return quiet_of(row)
    region: Any = await connection.fetchrow(READ_REGION, tenant_id)
    return Quiet(region=region_of(region["department"], region["timezone"]))


def quiet_of(row: Any) -> Quiet:
    """A team's quiet hours."""
    region = region_of(row["department"], row["timezone"])
    return Quiet(row["quiet_from"], row["quiet_until"], row["quiet_on_days_off"], row["digest_at"], region)
