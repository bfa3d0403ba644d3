"""Enqueues a notification to a team: a row and its delivery, in the caller's transaction.

During the team's quiet hours the row waits for the digest (`alerting.dispatch`); what is critical never waits.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from alerting.queue import WebhookMessage, enqueue
from alerting.rules.quiet_hours import ALWAYS_TOLD, Quiet
from alerting.rules.region import region_of
from core.model.identities import NO_TRACE
from core.runtime.postgres import Connection, Pool

INSERT_NOTICE = """
INSERT INTO alert_notice (id, tenant_id, team_id, alert_id, event, severity, cadence, at, message, body,
                          held_until, rung, opening_id, trace_id)
VALUES ($1, $2, $3, $4, $5, $6::alert_severity, $7, $8, $9, $10, $11, $12, $13, $14)
ON CONFLICT (id) DO NOTHING
RETURNING true
"""
QUIET = """
SELECT t.id, t.quiet_from, t.quiet_until, t.quiet_on_days_off, t.digest_at, o.department,
       (SELECT timezone FROM deployment) AS timezone
FROM team t JOIN tenant o ON o.id = t.tenant_id"""
READ_QUIET = f"{QUIET} WHERE t.id = $1 AND t.tenant_id = $2"
READ_TEAMS = f"{QUIET} ORDER BY t.id"
# Those of a team on these rungs; without a team, every endpoint that is no person's address.
OF_TEAM = """
SELECT DISTINCT e.id FROM contact c JOIN webhook_endpoint e ON e.id = c.webhook_endpoint_id
WHERE c.team_id = $2 AND e.tenant_id = $1 AND c.rung BETWEEN $3 AND $4 AND e.state = 'enabled'
ORDER BY e.id
"""
OF_TENANT = """
SELECT id FROM webhook_endpoint WHERE tenant_id = $1 AND state = 'enabled' AND form <> 'email' ORDER BY id
"""
# While the notification of an opening is held back, what follows it (a rise, the end) is held back as well.
OPENING_HELD = """
SELECT max(held_until) FROM alert_notice
WHERE alert_id = $1 AND team_id = $2 AND held_until IS NOT NULL AND digested_at IS NULL
"""
# How far up the ladder the alert had gone since it opened.
HIGHEST_RUNG = """
SELECT coalesce(max(e.rung), 0) FROM alert_notice e WHERE e.alert_id = $1 AND e.number > (
    SELECT max(o.number) FROM alert_notice o
    WHERE o.alert_id = $1 AND o.event IN ('alert.opened', 'alert.reopened'))
"""
# An opening notifies the first contacts; what follows notifies every rung that the alert had reached, too.
BEGINNINGS = ("alert.opened", "alert.reopened")


@dataclass(frozen=True, slots=True)
class Notification:
    """What a team is notified of; `body` is the JSON of Standard Webhooks, the same for every endpoint."""

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
    """Write `notification` with this transaction's commit; returns its id, `msg_<hex>` in every webhook."""
    notice_id = uuid4()
    held_until = None
    if notification.team_id is not None:
        row = await connection.fetchrow(READ_QUIET, notification.team_id, notification.tenant_id)
        held_until = (
            None
            if row is None
            else quiet_of(row).held_until(notification.severity, notification.cadence, notification.at)
        )
        if held_until is None and notification.event not in BEGINNINGS and notification.severity != ALWAYS_TOLD:
            held_until = await connection.fetchval(OPENING_HELD, notification.alert_id, notification.team_id)
    await insert_notification(connection, notice_id, notification, held_until)
    if held_until is None:
        highest = 0
        if notification.event not in BEGINNINGS and notification.team_id is not None:
            highest = await connection.fetchval(HIGHEST_RUNG, notification.alert_id)
        endpoints = await endpoints_of(connection, notification.tenant_id, notification.team_id, 0, highest)
        await enqueue_for(
            connection, endpoints, notice_id, notification.alert_id, notification.body, notification.trace_id
        )
    return notice_id


async def insert_notification(
    connection: Connection,
    notification_id: UUID,
    notification: Notification,
    held_until: datetime | None = None,
    rung: int = 0,
    opening_id: UUID | None = None,
) -> bool:
    """Write the row; False when there is one of this id."""
    return (
        await connection.fetchval(
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
            notification.body,
            held_until,
            rung,
            opening_id,
            notification.trace_id or None,
        )
        is True
    )


async def endpoints_of(
    connection: Connection, tenant_id: int, team_id: int | None, lowest: int, highest: int
) -> list[int]:
    """The endpoints of a team on these steps of escalation; the tenant's own without a usable first contact."""
    if team_id is not None:
        rows = await connection.fetch(OF_TEAM, tenant_id, team_id, lowest, highest)
        if rows or lowest > 0:
            return [row["id"] for row in rows]
    return [row["id"] for row in await connection.fetch(OF_TENANT, tenant_id)]


async def enqueue_for(
    connection: Connection,
    endpoint_ids: list[int],
    message: UUID,
    alert_id: int,
    body: bytes,
    trace_id: bytes = NO_TRACE,
) -> None:
    """One message for each of these endpoints, all of one id."""
    message_id = f"msg_{message.hex}"
    await enqueue(connection, [WebhookMessage(message_id, one, alert_id, body, trace_id) for one in endpoint_ids])


async def read_teams(connection: Connection | Pool) -> dict[int, Quiet]:
    """The quiet hours of every team."""
    return {row["id"]: quiet_of(row) for row in await connection.fetch(READ_TEAMS)}


def quiet_of(row: Any) -> Quiet:
    """A team's quiet hours."""
    region = region_of(row["department"], row["timezone"])
    return Quiet(row["quiet_from"], row["quiet_until"], row["quiet_on_days_off"], row["digest_at"], region)
