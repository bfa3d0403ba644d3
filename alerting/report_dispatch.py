"""Sends a team its monthly reports, on the second of the month with its digest.

The transaction that queues the messages notes that the month was sent: after a crash it is sent once all the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import uuid4

import msgspec

from alerting.message_formats import REPORT
from alerting.notifications import endpoints_of, priority_of
from alerting.queue import WebhookMessage, enqueue, message_id_of
from core.model.calendar_buckets import moved, named
from core.model.region import region_of
from core.runtime.postgres import Connection, Pool
from registry.rows import fetch_all

SENT_ON = 2
LISTED_MOST = 30

# An advisory lock: one replica at a time looks, another one skips this turn.
TAKE_TURN = "SELECT pg_try_advisory_xact_lock(hashtext('alerting.report_dispatch'))"
# Of the last month of which all reports are made.
DUE = """
SELECT r.id, r.tenant_id, r.team_id, r.commune, r.service, r.created_at, t.name AS team, t.digest_at,
       o.slug AS tenant, o.department, (SELECT timezone FROM deployment) AS timezone, m.month
FROM report_recipient r JOIN team t ON t.id = r.team_id JOIN tenant o ON o.id = r.tenant_id
CROSS JOIN LATERAL (SELECT max(month) AS month FROM report_month WHERE tenant_id = r.tenant_id) AS m
WHERE o.closed_at IS NULL AND m.month IS NOT NULL
  AND NOT EXISTS (SELECT FROM report_sending s WHERE s.recipient_id = r.id AND s.month = m.month)
ORDER BY r.id
"""
REPORTS = """
SELECT DISTINCT ON (commune) id, commune, version, title, summary FROM report
WHERE tenant_id = $1 AND month = $2 AND service = $3 AND ($4::text IS NULL OR commune = $4)
ORDER BY commune, version DESC
"""
RECORD_SENT = "INSERT INTO report_sending (recipient_id, month, tenant_id, report_ids) VALUES ($1, $2, $3, $4)"
MARK_SENT = "UPDATE report SET sent_at = $2 WHERE id = ANY($1::int[]) AND sent_at IS NULL"


@dataclass(frozen=True, slots=True)
class _Report:
    id: int
    commune: str
    version: int
    title: str
    summary: tuple[str, ...]


async def send_reports(pool: Pool, now: datetime, link: str) -> int:
    """Queue what is due at `now`, unless another replica does so right now; to how many teams.

    `link`: an address with {query}, where people read reports.
    """
    async with pool.acquire() as connection, connection.transaction():
        if not await connection.fetchval(TAKE_TURN):
            return 0
        sent = 0
        for row in await connection.fetch(DUE):
            due = due_at(row["month"], row["digest_at"], row["department"], row["timezone"])
            if row["created_at"] <= due <= now:
                sent += await _send(connection, row, now, link)
        return sent


def due_at(month: date, digest_at: time, department: str | None, timezone: str) -> datetime:
    """The second of the month after, at the team's hour, by the clocks there."""
    day = moved(month, "month", 1).replace(day=SENT_ON)
    return datetime.combine(day, digest_at, region_of(department, timezone).zone).astimezone(UTC)


async def _send(connection: Connection, row: Any, now: datetime, link: str) -> bool:
    """False: no address of the team is in service; it waits for one."""
    reports = await fetch_all(
        connection, _Report, REPORTS, row["tenant_id"], row["month"], row["service"], row["commune"]
    )
    if reports:
        endpoints = await endpoints_of(connection, row["tenant_id"], row["team_id"], 0, 0)
        if not endpoints:
            return False
        body = report_body(row["tenant"], row["team"], row["month"], row["service"], reports, now, link)
        message_id = message_id_of(uuid4())
        messages = [WebhookMessage(message_id, one, 0, body) for one in endpoints]
        await enqueue(connection, messages, priority_of("info"))
    ids = [one.id for one in reports]
    await connection.execute(RECORD_SENT, row["id"], row["month"], row["tenant_id"], ids)
    await connection.execute(MARK_SENT, ids, now)
    return bool(reports)


def report_body(
    tenant: str, team: str, month: date, service: str, reports: Sequence[_Report], now: datetime, link: str
) -> bytes:
    """The JSON of the message: of one report what is to be remembered, of several their communes."""
    first = reports[0]
    message, query, lines = first.title, f"/{first.id}", list(first.summary)
    if len(reports) > 1:
        message = f"{first.title.rpartition(first.commune)[0]}{len(reports)} communes"
        query, lines = f"?mois={named(month)}", [one.commune for one in reports]
    data = {
        "tenant": tenant,
        "team": team,
        "message": f"{message}.",
        "month": named(month),
        "service": service,
        "lines": lines[:LISTED_MOST],
        "more": max(0, len(lines) - LISTED_MOST),
        "link": link.format(query=query),
        "reports": [one.id for one in reports],
    }
    return msgspec.json.encode({"type": REPORT, "timestamp": now, "data": data})
