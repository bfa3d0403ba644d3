"""Sends what waited: the digest after quiet hours, and escalation to the next contact.

Both survive a crash and happen once: the transaction that queues the digest marks what it contains, and each
rung of each opening has a notification whose id follows from both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4, uuid5

import msgspec

from alerting.notifications import Notification, endpoints_of, enqueue_for, insert_notification, read_teams
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
    UPDATE alert_notice SET digested_at = $3
    WHERE tenant_id = $1 AND team_id IS NOT DISTINCT FROM $2::int AND held_until <= $3 AND digested_at IS NULL
    RETURNING number, alert_id, severity, at, message, body
), last AS (
    SELECT DISTINCT ON (alert_id) * FROM taken ORDER BY alert_id, number DESC
)
SELECT n.alert_id, n.severity::text AS severity, n.at, n.message, n.body, a.workflow::text AS workflow
FROM last n JOIN alert a ON a.id = n.alert_id
ORDER BY n.severity DESC, n.at, n.alert_id
"""
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
       l.message, l.trace_id, f.told_at AS first_told_at, n.rung
FROM alert a
CROSS JOIN LATERAL (
    SELECT id, number, cadence FROM alert_notice
    WHERE alert_id = a.id AND event IN ('alert.opened', 'alert.reopened', 'alert.flapping')
    ORDER BY number DESC LIMIT 1) AS o
CROSS JOIN LATERAL (
    SELECT min(coalesce(digested_at, CASE WHEN held_until IS NULL THEN at END)) AS told_at FROM alert_notice
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
WHERE a.workflow = 'open' AND a.told AND a.muted_by IS NULL AND a.team_id IS NOT NULL AND o.cadence = 'now'
  AND coalesce(e.at, f.told_at) + make_interval(secs => n.after_seconds) <= $1
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


async def dispatch(pool: Pool, now: datetime) -> Dispatched:
    """Send the digests and make the escalations due at `now`, unless another replica does so right now."""
    async with pool.acquire() as connection, connection.transaction():
        if not await connection.fetchval(TAKE_TURN):
            return Dispatched(0, 0)
        digests = 0
        for row in await connection.fetch(DUE_TEAMS, now):
            await _digest(connection, row["tenant_id"], row["team_id"], now)
            digests += 1
        quiet = [team for team, hours in (await read_teams(connection)).items() if hours.covers(now)]
        escalations = 0
        for row in await connection.fetch(UNANSWERED, now, quiet, BATCH):
            escalations += await _climb(connection, row, now)
        return Dispatched(digests, escalations)


async def _digest(connection: Connection, tenant_id: int, team_id: int | None, now: datetime) -> None:
    held = await connection.fetch(TAKE_HELD, tenant_id, team_id, now)
    names = await connection.fetchrow(READ_NAMES, tenant_id, team_id)
    assert names is not None  # noqa: S101 - A notification's tenant exists.
    body = digest_body(names["tenant"], names["team"], held, now)
    endpoints = await endpoints_of(connection, tenant_id, team_id, 0, 0)
    await enqueue_for(connection, endpoints, uuid4(), 0, body)


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
    text = f"Non prise en charge depuis {waited_text(now - row['first_told_at'])} : {row['message']}"
    content: dict[str, Any] = msgspec.json.decode(row["body"])
    content |= {"type": "alert.escalated", "timestamp": now}
    content["data"] |= {"message": text, "severity": row["severity"], "rung": rung}
    body = msgspec.json.encode(content)
    notice_id = uuid5(row["opening_id"], f"rung {rung}")
    tenant_id, team_id, alert_id = row["tenant_id"], row["team_id"], row["alert_id"]
    trace_id: bytes = row["trace_id"] or NO_TRACE
    notice = Notification(
        tenant_id, team_id, alert_id, "alert.escalated", row["severity"], "now", now, text, body, trace_id
    )
    if not await insert_notification(connection, notice_id, notice, rung=rung, opening_id=row["opening_id"]):
        return False
    endpoints = await endpoints_of(connection, tenant_id, team_id, rung, rung)
    await enqueue_for(connection, endpoints, notice_id, alert_id, body, trace_id)
    await connection.execute(ADD_EVENT, tenant_id, alert_id, now, f"échelon {rung}")
    return True


def waited_text(wait: timedelta) -> str:
    """How long: 45 min, 3 h."""
    minutes = int(wait.total_seconds() // 60)
    return f"{minutes} min" if minutes < MINUTES_MOST else f"{minutes // 60} h"
