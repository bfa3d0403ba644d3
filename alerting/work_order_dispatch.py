"""Opens the work orders of rules that open some, and makes a webhook message of each change of a work order.

The messages go to software, every address of the tenant that receives Standard Webhooks or CloudEvents, in the
transaction that marks the changes as sent: each once, whatever crashes. People are notified of alerts; of what no
alert tells them, a work order that somebody gives to their team, they are told here.
"""

from datetime import datetime
from typing import Any

import msgspec

from alerting import work_orders
from alerting.notifications import with_data
from alerting.queue import WebhookMessage, enqueue, message_id_of
from alerting.rules.work_order_states import ENDED, PRIORITIES, PRIORITY_OF, event_of
from alerting.work_orders import DESCRIPTION_MOST, TITLE_MOST, Actor, EventToSend, WorkOrder
from core.runtime.postgres import Connection, Pool

# An advisory lock: one replica at a time looks, another one skips this turn.
TAKE_TURN = "SELECT pg_try_advisory_xact_lock(hashtext('alerting.work_order_dispatch'))"
SOFTWARE = """
SELECT id FROM webhook_endpoint
WHERE tenant_id = $1 AND state = 'enabled' AND form IN ('standard', 'cloudevents') AND NOT for_operator
  AND purpose = 'events' ORDER BY id
"""
# By e-mail and chat: the team's first contacts.
PEOPLE = """
SELECT DISTINCT e.id FROM contact c JOIN webhook_endpoint e ON e.id = c.webhook_endpoint_id
WHERE c.team_id = $2 AND e.tenant_id = $1 AND c.rung = 0 AND e.state = 'enabled'
  AND e.form NOT IN ('standard', 'cloudevents') ORDER BY e.id
"""
AT_ONCE = 200
# What people type is cut: a message of Standard Webhooks stays under 20 kB.
TEXT_MOST = 2000
STATES_FR = {
    "open": "ouverte",
    "assigned": "confiée",
    "in_progress": "en cours",
    "done": "faite",
    "cancelled": "annulée",
}
LINK = "/interventions/{work_order}"


async def dispatch_work_orders(pool: Pool, link: str = LINK) -> tuple[int, int]:
    """How many work orders were opened for alerts, and of how many changes messages were queued."""
    async with pool.acquire() as connection, connection.transaction():
        if not await connection.fetchval(TAKE_TURN):
            return 0, 0
        opened = await work_orders.read_alerts_to_open_for(connection, AT_ONCE)
        for alert in opened:
            given = {
                "title": _cut(alert.message, TITLE_MOST),
                "description": alert.message[:DESCRIPTION_MOST],
                "priority": PRIORITY_OF[alert.severity],
                "team_id": alert.team_id,
                "alert_ids": [alert.id],
                "asset_ids": [] if alert.asset_id is None else [alert.asset_id],
            }
            origin = "lighting" if alert.is_of_lighting else "rule"
            await work_orders.create_work_order(connection, alert.tenant_id, Actor(None), given, origin)
        events = await work_orders.take_events_to_send(connection, AT_ONCE)
        for event in events:
            await _send(connection, event, link)
        return len(opened), len(events)


async def _send(connection: Connection, event: EventToSend, link: str) -> None:
    work_order = await work_orders.read_shown_work_order(connection, event.work_order_id)
    assert work_order is not None  # noqa: S101 - The history goes with its work order.
    body = message_body(event, work_order, link.replace("{work_order}", str(work_order.id)))
    endpoints = await connection.fetch(SOFTWARE, work_order.tenant_id)
    messages = [WebhookMessage(message_id_of(event.message_id), row["id"], 0, body) for row in endpoints]
    if is_given_to_a_team(event, work_order):
        people = await connection.fetch(PEOPLE, work_order.tenant_id, work_order.team_id)
        told = with_data(body, lines=lines_of(work_order))
        messages += [WebhookMessage(message_id_of(event.message_id), row["id"], 0, told) for row in people]
    await enqueue(connection, messages, PRIORITIES.index(work_order.priority))


def is_given_to_a_team(event: EventToSend, work_order: WorkOrder) -> bool:
    """Whether its team has not heard of it: somebody made it, or has just given it to this team."""
    if work_order.team_id is None or work_order.state in ENDED:
        return False
    if event.action == "opened":
        return work_order.origin == "person"
    return "team_id" in event.changes


def lines_of(work_order: WorkOrder) -> list[str]:
    """What people read below the title: what to do, where, until when, who."""
    place = ", ".join(one for one in (work_order.asset, work_order.street, work_order.commune) if one)
    due = work_order.due_at and f"À faire avant le {work_order.due_at:%d/%m/%Y %H:%M} UTC"
    who = work_order.assignee and f"Confiée à {work_order.assignee}"
    return [one for one in (_cut(work_order.description, TEXT_MOST), place, due, who) if one]


def message_body(event: EventToSend, work_order: WorkOrder, link: str) -> bytes:
    """The JSON of Standard Webhooks about one change, with the work order as it stands now."""
    data: dict[str, Any] = {
        "work_order": work_order.id,
        "tenant": event.tenant,
        "message": _cut(
            f"Intervention n° {work_order.id}, {STATES_FR[work_order.state]} : {work_order.title}", TEXT_MOST
        ),
        "action": event.action,
        "state": work_order.state,
        "origin": work_order.origin,
        "priority": work_order.priority,
        "title": work_order.title,
        "description": _cut(work_order.description, TEXT_MOST),
        "team": work_order.team,
        "assignee": work_order.assignee,
        "due_at": work_order.due_at,
        "external_reference": work_order.external_reference,
        "resolution": _cut(work_order.resolution, TEXT_MOST),
        "comment": _cut(event.note, TEXT_MOST),
        "by": event.actor,
        "event_source": event.source_id,
        "asset_ids": work_order.asset_ids[:100],
        "alert_ids": work_order.alert_ids[:100],
        "campaign_id": work_order.campaign_id,
        "asset": work_order.asset,
        "street": work_order.street,
        "commune": work_order.commune,
        "latitude": work_order.latitude,
        "longitude": work_order.longitude,
        "sequence": event.version,
        "link": link,
    }
    at: datetime = event.at
    return msgspec.json.encode({"type": event_of(event.action), "timestamp": at, "data": data})


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
