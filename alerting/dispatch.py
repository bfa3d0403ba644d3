"""Sends what waited: the digest after quiet hours, what had reached nobody, and escalation to the next contact.

All survive a crash and happen once: the transaction that queues the digest marks what it contains, as does the one
that queues what had reached nobody, and each rung of each opening has a notification whose id follows from both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4, uuid5

import msgspec

from alerting.notifications import (
    Notification,
    endpoints_of,
    enqueue_for,
    insert_notification,
    priority_of,
    quiet_hours_of,
    read_teams,
    recipients_of,
)
from alerting.operator_warnings import warn_of_held_feed, warn_of_unreached
from alerting.queue import WebhookMessage, enqueue, message_id_of
from alerting.rules.alert_lifecycle import ENDED
from core.model.identities import NO_TRACE
from core.runtime.postgres import Connection, Pool

# An advisory lock: one replica at a time looks, another one skips this turn.
TAKE_TURN = "SELECT pg_try_advisory_xact_lock(hashtext('alerting.dispatch'))"
DUE_TEAMS = """
SELECT DISTINCT tenant_id, team_id FROM alert_notice WHERE held_until <= $1 AND digested_at IS NULL
ORDER BY tenant_id, team_id NULLS FIRST
"""
TAKE_HELD = """
WITH taken AS (
    UPDATE alert_notice SET digested_at = $3, nobody_since = NULL
    WHERE tenant_id = $1 AND team_id IS NOT DISTINCT FROM $2::int AND held_until <= $3 AND digested_at IS NULL
    RETURNING id, tenant_id, number, alert_id, sequence, severity, at, message, body
), notified AS (
    INSERT INTO alert_notice_recipient (notice_id, endpoint_id, tenant_id, alert_id, sequence, message_id, state)
    SELECT t.id, e.id, t.tenant_id, t.alert_id, t.sequence, $5, 'queued'
    FROM taken t CROSS JOIN webhook_endpoint e WHERE e.id = ANY($4::int[])
    ON CONFLICT DO NOTHING
), last AS (
    SELECT DISTINCT ON (alert_id) * FROM taken ORDER BY alert_id, number DESC
)
SELECT n.alert_id, n.severity::text AS severity, n.at, n.message, n.body, a.workflow::text AS workflow
FROM last n JOIN alert a ON a.id = n.alert_id
ORDER BY n.severity DESC, n.at, n.alert_id
"""
# The digest waits with its notices while no address is in service.
DIGEST_REACHES_NOBODY = """
UPDATE alert_notice SET nobody_since = $3
WHERE tenant_id = $1 AND team_id IS NOT DISTINCT FROM $2::int AND held_until <= $3 AND digested_at IS NULL
  AND nobody_since IS NULL
"""
# Given up for every recipient, as when its only address was suspended: it has reached nobody.
MARK_UNREACHED = """
UPDATE alert_notice n SET nobody_since = $1
WHERE n.nobody_since IS NULL
  AND n.id IN (SELECT notice_id FROM alert_notice_recipient
               WHERE state = 'abandoned' AND message_id = notice_id AND changed_at > now() - interval '1 day')
  AND NOT EXISTS (SELECT FROM alert_notice_recipient o WHERE o.notice_id = n.id AND o.state <> 'abandoned')
"""
# Alerts with notifications that reached nobody, while some address of theirs may be in service again. In no order:
# what stays unreached, be it long, keeps no other waiting.
UNREACHED = """
SELECT a.id AS alert_id, a.workflow IN ('resolved', 'closed') AND a.resolved_by IS NOT NULL AS is_ended_by_person
FROM alert a
WHERE a.id IN (
    SELECT n.alert_id FROM alert_notice n
    WHERE n.nobody_since IS NOT NULL AND n.held_until IS NULL AND EXISTS (
        SELECT FROM webhook_endpoint e
        WHERE e.tenant_id = n.tenant_id AND e.state = 'enabled'
          -- An address that did not take it is back when it was resumed or has taken another message since.
          AND NOT EXISTS (SELECT FROM alert_notice_recipient r
                          WHERE r.notice_id = n.id AND r.endpoint_id = e.id AND r.state = 'abandoned'
                          AND r.changed_at > coalesce(e.recovered_at, '-infinity')) AND (
            e.form <> 'email' AND NOT e.for_operator AND e.purpose = 'events'
            OR EXISTS (SELECT FROM contact c WHERE c.webhook_endpoint_id = e.id AND c.team_id = n.team_id)
            OR EXISTS (SELECT FROM alert_notice_recipient r
                       WHERE r.alert_id = n.alert_id AND r.endpoint_id = e.id))))
ORDER BY random() LIMIT $1
FOR UPDATE OF a
"""
READ_UNREACHED = """
SELECT id, tenant_id, team_id, alert_id, event, severity::text AS severity, cadence, at, message, body,
       coalesce(trace_id, '') AS trace_id, sequence
FROM alert_notice WHERE alert_id = $1 AND nobody_since IS NOT NULL AND held_until IS NULL
ORDER BY sequence DESC LIMIT 1
"""
HOLD_UNREACHED = """
UPDATE alert_notice SET held_until = $2, nobody_since = NULL
WHERE alert_id = $1 AND nobody_since IS NOT NULL AND held_until IS NULL
"""
# `digested_at`: when it went out, later than it was written.
REACHED = "UPDATE alert_notice SET digested_at = $2, nobody_since = NULL WHERE id = $1"
# A person has ended it: it is known.
FORGET_UNREACHED = "UPDATE alert_notice SET nobody_since = NULL WHERE alert_id = $1 AND nobody_since IS NOT NULL"
READ_NAMES = """
SELECT t.slug AS tenant, coalesce(m.name, '') AS team FROM tenant t LEFT JOIN team m ON m.id = $2 WHERE t.id = $1
"""
# Alerts that nobody has acknowledged and whose next escalation is due at $1; teams in quiet hours ($2) are
# notified of critical ones only. The delay counts from the first notification of the last opening (o), or of a
# rise that was not held for the digest (f); for a flapping alert from the notification that it flaps, because its
# later openings are not notified. The text is that of the last notification (l). Steps without a usable contact
# are skipped. The rows are locked, so that an acknowledgement that is under way is waited for and the row is read
# again.
UNANSWERED = """
SELECT a.id AS alert_id, a.tenant_id, a.team_id, a.severity::text AS severity, o.id AS opening_id, l.body,
       l.message, l.trace_id, f.notified_at AS first_notified_at, n.rung
FROM alert a
CROSS JOIN LATERAL (
    SELECT id, number, cadence FROM alert_notice
    WHERE alert_id = a.id AND event IN ('alert.opened', 'alert.reopened', 'alert.flapping')
    ORDER BY number DESC LIMIT 1) AS o
CROSS JOIN LATERAL (
    SELECT min(coalesce(digested_at, CASE WHEN held_until IS NULL AND nobody_since IS NULL THEN at END))
               AS notified_at FROM alert_notice
    WHERE alert_id = a.id AND number >= o.number AND rung = 0) AS f
CROSS JOIN LATERAL (
    SELECT body, message, trace_id FROM alert_notice
    WHERE alert_id = a.id AND event IN ('alert.opened', 'alert.reopened', 'alert.flapping', 'alert.raised')
    ORDER BY number DESC LIMIT 1) AS l
CROSS JOIN LATERAL (
    SELECT max(rung) AS rung, max(at) AS at FROM alert_notice
    WHERE alert_id = a.id AND number > o.number AND rung > 0) AS e
CROSS JOIN LATERAL (
    SELECT c.rung, min(c.after_seconds) AS after_seconds FROM contact c
    JOIN webhook_endpoint w ON w.id = c.webhook_endpoint_id AND w.state = 'enabled'
    WHERE c.team_id = a.team_id AND c.rung > coalesce(e.rung, 0) GROUP BY c.rung ORDER BY c.rung LIMIT 1) AS n
WHERE a.workflow = 'open' AND a.notified_severity IS NOT NULL AND a.muted_by IS NULL AND a.team_id IS NOT NULL
  AND o.cadence = 'now'
  AND coalesce(e.at, f.notified_at) + make_interval(secs => n.after_seconds) <= $1
  AND (a.severity = 'critical' OR a.team_id <> ALL($2::int[]))
ORDER BY a.id LIMIT $3
FOR UPDATE OF a
"""
ADD_EVENT = """
INSERT INTO alert_event (tenant_id, alert_id, at, action, note) VALUES ($1, $2, $3, 'escalated', $4)
"""
BATCH = 200
# A message of Standard Webhooks stays under 20 kB: so many alerts, so many characters of each.
LISTED_MOST = 30
TEXT_MOST = 240
MINUTES_MOST = 120


@dataclass(frozen=True, slots=True)
class Dispatched:
    """How many digests were sent and how many steps of escalation were made in one turn."""

    digests: int
    escalations: int
    caught_up: int = 0  # Alerts that had reached nobody and now have somebody.


async def dispatch(pool: Pool, now: datetime) -> Dispatched:
    """Send the digests and make the escalations due at `now`, unless another replica does so right now."""
    async with pool.acquire() as connection, connection.transaction():
        if not await connection.fetchval(TAKE_TURN):
            return Dispatched(0, 0)
        digests = 0
        for row in await connection.fetch(DUE_TEAMS, now):
            digests += await _digest(connection, row["tenant_id"], row["team_id"], now)
        await connection.execute(MARK_UNREACHED, now)
        caught_up = 0
        for row in await connection.fetch(UNREACHED, BATCH):
            caught_up += await _catch_up(connection, row["alert_id"], now, is_known=row["is_ended_by_person"])
        await warn_of_unreached(connection, now)
        await warn_of_held_feed(connection, now)
        quiet = [team for team, hours in (await read_teams(connection)).items() if hours.covers(now)]
        escalations = 0
        for row in await connection.fetch(UNANSWERED, now, quiet, BATCH):
            escalations += await _climb(connection, row, now)
        return Dispatched(digests, escalations, caught_up)


async def _digest(connection: Connection, tenant_id: int, team_id: int | None, now: datetime) -> bool:
    endpoints = await endpoints_of(connection, tenant_id, team_id, 0, 0)
    if not endpoints:
        await connection.execute(DIGEST_REACHES_NOBODY, tenant_id, team_id, now)
        return False
    digest_id = uuid4()
    held = await connection.fetch(TAKE_HELD, tenant_id, team_id, now, endpoints, digest_id)
    names = await connection.fetchrow(READ_NAMES, tenant_id, team_id)
    assert names is not None  # noqa: S101 - A notification's tenant exists.
    body = digest_body(names["tenant"], names["team"], held, now)
    messages = [WebhookMessage(message_id_of(digest_id), one, 0, body) for one in endpoints]
    await enqueue(connection, messages, max(priority_of(row["severity"]) for row in held))
    return True


async def _catch_up(connection: Connection, alert_id: int, now: datetime, *, is_known: bool) -> bool:
    """Send what had reached nobody, the last state with the earlier ones as its story, now or with the digest."""
    row = await connection.fetchrow(READ_UNREACHED, alert_id)
    if is_known or row is None:
        await connection.execute(FORGET_UNREACHED, alert_id)
        return False
    notification = Notification(
        row["tenant_id"], row["team_id"], alert_id, row["event"], row["severity"], row["cadence"], row["at"],
        row["message"], row["body"], row["trace_id"],
    )  # fmt: skip
    endpoints = await recipients_of(connection, notification)
    if not endpoints:
        return False
    quiet = await quiet_hours_of(connection, notification.tenant_id, notification.team_id)
    held_until = quiet.held_until(notification.severity, notification.cadence, now)
    if held_until is not None:
        await connection.execute(HOLD_UNREACHED, alert_id, held_until)
        return False
    message = WebhookMessage(message_id_of(row["id"]), 0, alert_id, row["body"], row["trace_id"], row["sequence"])
    await enqueue_for(connection, endpoints, row["id"], notification, message, is_again=True)
    await connection.execute(REACHED, row["id"], now)
    return True


def digest_body(tenant: str, team: str, held: Sequence[Any], now: datetime) -> bytes:
    """The JSON of a digest of these held notifications, gravest first."""
    ended = sum(row["workflow"] in ENDED for row in held)
    count = "1 alerte" if len(held) == 1 else f"{len(held)} alertes"
    over = "" if not ended else f", dont {ended} déjà terminée{'s' if ended > 1 else ''}"
    whose = f" pour l'équipe {team}" if team else ""
    data = {
        "tenant": tenant,
        "team": team,
        "message": f"{count} en attente{whose}{over}.",
        "count": len(held),
        "more": max(0, len(held) - LISTED_MOST),
        "alerts": [_line(row) for row in held[:LISTED_MOST]],
    }
    return msgspec.json.encode({"type": "team.digest", "timestamp": now, "data": data})


def _line(row: Any) -> dict[str, Any]:
    text: str = row["message"]
    return {
        "alert": row["alert_id"],
        "severity": row["severity"],
        "message": text if len(text) <= TEXT_MOST else text[: TEXT_MOST - 1] + "…",
        "at": row["at"],
        "is_over": row["workflow"] in ENDED,
        "link": msgspec.json.decode(row["body"])["data"].get("link", ""),
    }


async def _climb(connection: Connection, row: Any, now: datetime) -> bool:
    """Notify the contacts of the alert's next rung, once for this opening; False when that was done before."""
    rung: int = row["rung"]
    text = f"Non prise en charge depuis {waited_text(now - row['first_notified_at'])} : {row['message']}"
    content: dict[str, Any] = msgspec.json.decode(row["body"])
    content |= {"type": "alert.escalated", "timestamp": now}
    content["data"] |= {"message": text, "severity": row["severity"], "rung": rung}
    body = msgspec.json.encode(content)
    notification_id = uuid5(row["opening_id"], f"rung {rung}")
    tenant_id, team_id, alert_id = row["tenant_id"], row["team_id"], row["alert_id"]
    trace_id: bytes = row["trace_id"] or NO_TRACE
    notification = Notification(
        tenant_id, team_id, alert_id, "alert.escalated", row["severity"], "now", now, text, body, trace_id
    )
    message = await insert_notification(
        connection, notification_id, notification, rung=rung, opening_id=row["opening_id"]
    )
    if message is None:
        return False
    endpoints = await endpoints_of(connection, tenant_id, team_id, rung, rung)
    await enqueue_for(connection, endpoints, notification_id, notification, message)
    await connection.execute(ADD_EVENT, tenant_id, alert_id, now, f"échelon {rung}")
    return True


def waited_text(wait: timedelta) -> str:
    """How long: 45 min, 3 h."""
    minutes = int(wait.total_seconds() // 60)
    return f"{minutes} min" if minutes < MINUTES_MOST else f"{minutes // 60} h"
