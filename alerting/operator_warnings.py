"""Warns the network's operator of alerts that reached nobody, and a tenant of what it does not get any more."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import uuid4

import msgspec

from alerting.measurement_cursors import LateWebhook
from alerting.measurement_webhooks import STOPPED_FOR
from alerting.notifications import OF_TENANT, priority_of
from alerting.queue import WebhookMessage, enqueue, message_id_of
from core.runtime.postgres import Connection, Pool

# What is critical is said at once, the rest of a tenant no more often.
WARN_EVERY = timedelta(hours=1)
OPERATOR_ENDPOINTS = "SELECT id FROM webhook_endpoint WHERE for_operator AND state = 'enabled' ORDER BY id"
COUNT_UNREACHED = "SELECT count(DISTINCT alert_id) FROM alert_notice WHERE nobody_since IS NOT NULL"
# By tenant, those that the operator was not warned of.
READ_UNWARNED = """
SELECT n.tenant_id, t.slug, t.name, max(n.severity)::text AS severity, count(DISTINCT n.alert_id) AS alerts
FROM alert_notice n JOIN tenant t ON t.id = n.tenant_id
WHERE n.nobody_since IS NOT NULL AND n.operator_warned_at IS NULL
GROUP BY n.tenant_id, t.slug, t.name
HAVING max(n.severity) = 'critical' OR NOT EXISTS (
    SELECT FROM alert_notice w WHERE w.tenant_id = n.tenant_id AND w.nobody_since IS NOT NULL
    AND w.operator_warned_at > $1::timestamptz - $2::interval)
ORDER BY n.tenant_id
"""
MARK_WARNED = """
UPDATE alert_notice SET operator_warned_at = $2
WHERE tenant_id = $1 AND nobody_since IS NOT NULL AND operator_warned_at IS NULL
"""
# The teams' contacts whose address it is, and the tenant's other addresses.
OF_SAME_TEAMS = """
SELECT DISTINCT e.id FROM contact mine JOIN contact other ON other.team_id = mine.team_id
JOIN webhook_endpoint e ON e.id = other.webhook_endpoint_id AND e.state = 'enabled'
WHERE mine.webhook_endpoint_id = $1
"""

# A transaction that the operator was not warned of holds the feed.
READ_HELD = """
SELECT held_xid, held_since, holder FROM observation.feed_state
WHERE held_xid IS NOT NULL AND held_xid IS DISTINCT FROM warned_xid
"""
MARK_HELD = "UPDATE observation.feed_state SET warned_xid = $1"


async def count_unreached(connection: Connection | Pool) -> int:
    """Alerts that wait for an address."""
    return await connection.fetchval(COUNT_UNREACHED)


async def warn_of_unreached(connection: Connection, now: datetime) -> None:
    """One message for each tenant whose alerts have reached nobody since the last one."""
    rows = await connection.fetch(READ_UNWARNED, now, WARN_EVERY)
    endpoints = [row["id"] for row in await connection.fetch(OPERATOR_ENDPOINTS)] if rows else []
    if not endpoints:
        return
    for row in rows:
        many = "1 alerte n'a prévenu" if row["alerts"] == 1 else f"{row['alerts']} alertes n'ont prévenu"
        text = (
            f"{row['name']} : {many} personne, aucune adresse n'est en service. Elles partiront dès qu'une "
            "adresse sera reprise ou ajoutée."
        )
        data = {"tenant": row["slug"], "severity": row["severity"], "message": text, "count": row["alerts"]}
        await _send(connection, endpoints, "operator.nobody_notified", now, data)
        await connection.execute(MARK_WARNED, row["tenant_id"], now)


async def warn_of_held_feed(connection: Connection, now: datetime) -> None:
    """One message for a transaction that keeps readers of the feed waiting."""
    row = await connection.fetchrow(READ_HELD)
    if row is None:
        return
    endpoints = [one["id"] for one in await connection.fetch(OPERATOR_ENDPOINTS)]
    holder = row["holder"] or "titulaire inconnu"
    text = (
        f"Une transaction qui écrit est ouverte depuis {row['held_since']:%H:%M:%S} UTC ({holder}) : le fil des "
        "mesures et les flux attendent sa fin. Rien n'est perdu ; terminez-la."
    )
    data = {"severity": "warning", "message": text, "holder": holder}
    await _send(connection, endpoints, "operator.feed_held", now, data)
    await connection.execute(MARK_HELD, row["held_xid"])


async def warn_of_gone_endpoint(
    connection: Connection, tenant_id: int, endpoint_id: int, address: str, now: datetime, *, is_suspended: bool
) -> None:
    """Notify the tenant's other addresses; if there are none, the operator."""
    others = {row["id"] for row in await connection.fetch(OF_TENANT, tenant_id)}
    others |= {row["id"] for row in await connection.fetch(OF_SAME_TEAMS, endpoint_id)}
    endpoints = sorted(others - {endpoint_id})
    if not endpoints:
        endpoints = [row["id"] for row in await connection.fetch(OPERATOR_ENDPOINTS) if row["id"] != endpoint_id]
    what = (
        "a encore répondu 410 (disparue) un jour plus tard : elle est suspendue. Reprenez-la une fois réparée, "
        "puis renvoyez ce qui a été abandonné."
        if is_suspended
        else "a répondu 410 (disparue) : ses messages sont réessayés ; si elle le répète dans un jour, elle sera "
        "suspendue."
    )
    event = "endpoint.suspended" if is_suspended else "endpoint.gone"
    text = f"L'adresse n° {endpoint_id} ({address}) {what}"
    data = {"endpoint": endpoint_id, "severity": "warning", "message": text}
    await _send(connection, endpoints, event, now, data)


async def warn_of_late_webhook(connection: Connection, late: LateWebhook, now: datetime) -> None:
    """Its receiver has taken nothing for long: what is still in the feed is sent once it does."""
    what = (
        "son dernier lot a été abandonné après tous ses essais : réparez le récepteur, puis relancez-le"
        if late.is_abandoned
        else f"il est en retard depuis le {late.reached_at:%d/%m/%Y à %H:%M} UTC : réparez le récepteur avant "
        "sept jours de retard, au-delà desquels des mesures seront à relire"
    )
    await _warn_of_webhook(connection, late.tenant_id, late.endpoint_id, late.id, "late", what, now)


async def warn_of_stopped_webhook(
    connection: Connection, tenant_id: int, endpoint_id: int, webhook_id: int, reason: str, now: datetime
) -> None:
    """It was stopped by no person: why, and what to do."""
    what = f"il est arrêté : {STOPPED_FOR[reason]}"
    await _warn_of_webhook(connection, tenant_id, endpoint_id, webhook_id, "stopped", what, now)


async def _warn_of_webhook(
    connection: Connection, tenant_id: int, endpoint_id: int, webhook_id: int, event: str, what: str, now: datetime
) -> None:
    endpoints = [row["id"] for row in await connection.fetch(OF_TENANT, tenant_id)]
    endpoints = endpoints or [row["id"] for row in await connection.fetch(OPERATOR_ENDPOINTS)]
    text = f"Webhook de mesures n° {webhook_id} (adresse n° {endpoint_id}) : {what}."
    data = {"endpoint": endpoint_id, "severity": "warning", "message": text}
    await _send(connection, endpoints, f"measurement_webhook.{event}", now, data)


async def _send(
    connection: Connection, endpoints: list[int], event: str, now: datetime, data: Mapping[str, object]
) -> None:
    body = msgspec.json.encode({"type": event, "timestamp": now, "data": data})
    message_id = message_id_of(uuid4())
    messages = [WebhookMessage(message_id, one, 0, body) for one in endpoints]
    await enqueue(connection, messages, priority_of(str(data["severity"])))
