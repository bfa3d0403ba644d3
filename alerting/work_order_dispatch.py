"""Opens the work orders of rules that open some, and makes a webhook message of each change of a work order.

The messages go to software alone, every address of the tenant that receives Standard Webhooks or CloudEvents, in
the transaction that marks the changes as sent: each once, whatever crashes. People are notified of alerts.
"""

from datetime import datetime
from typing import Any

import msgspec

from alerting import work_orders
from alerting.queue import WebhookMessage, enqueue, message_id_of
from alerting.rules.work_order_states import PRIORITIES, PRIORITY_OF, event_of
from alerting.work_orders import DESCRIPTION_MOST, TITLE_MOST, Actor, EventToSend, WorkOrder
from core.runtime.postgres import Connection, Pool

# An advisory lock: one replica at a time looks, another one skips this turn.
TAKE_TURN = "SELECT pg_try_advisory_xact_lock(hashtext('alerting.work_order_dispatch'))"
SOFTWARE = """
SELECT id FROM webhook_endpoint
WHERE tenant_id = $1 AND state = 'enabled' AND form IN ('standard', 'cloudevents') AND NOT for_operator ORDER BY id
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
    work_order = await work_orders.read_work_order(connection, event.work_order_id)
    assert work_order is not None  # noqa: S101 - The history goes with its work order.
    body = message_body(event, work_order, link.replace("{work_order}", str(work_order.id)))
    endpoints = await connection.fetch(SOFTWARE, work_order.tenant_id)
    messages = [WebhookMessage(message_id_of(event.message_id), row["id"], 0, body) for row in endpoints]
    await enqueue(connection, messages, PRIORITIES.index(work_order.priority))


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
