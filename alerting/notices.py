"""The one door by which a team is told of an alert: a row, and what delivers it, in the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from alerting.queue import WebhookMessage, enqueue
from core.runtime.postgres import Connection

INSERT_NOTICE = """
INSERT INTO alert_notice (id, tenant_id, team_id, alert_id, event, severity, cadence, at, message, body)
VALUES ($1, $2, $3, $4, $5, $6::alert_severity, $7, $8, $9, $10)
"""
# A team's first rung; without a team, every endpoint of the tenant.
ENDPOINTS = """
SELECT e.id FROM webhook_endpoint e
WHERE e.tenant_id = $1 AND e.state = 'enabled'
  AND ($2::int IS NULL OR EXISTS (SELECT FROM contact c WHERE c.team_id = $2 AND c.webhook_endpoint_id = e.id
                                  AND c.rung = 0))
ORDER BY e.id
"""


@dataclass(frozen=True, slots=True)
class Notice:
    """What a team is told; `body` is the JSON of Standard Webhooks, the same for everybody."""

    tenant_id: int
    team_id: int | None  # None: every endpoint of the tenant.
    alert_id: int
    event: str  # See alerting.rules.life.Tell.
    severity: str
    cadence: str  # now or weekly
    at: datetime
    message: str
    body: bytes


async def tell(connection: Connection, notice: Notice) -> UUID:
    """Hand over `notice` with this transaction's commit; returns its id, `msg_<hex>` in every webhook."""
    notice_id = uuid4()
    await connection.execute(
        INSERT_NOTICE,
        notice_id,
        notice.tenant_id,
        notice.team_id,
        notice.alert_id,
        notice.event,
        notice.severity,
        notice.cadence,
        notice.at,
        notice.message,
        notice.body,
    )
    endpoints = await connection.fetch(ENDPOINTS, notice.tenant_id, notice.team_id)
    await enqueue(
        connection,
        [WebhookMessage(f"msg_{notice_id.hex}", row["id"], notice.alert_id, notice.body) for row in endpoints],
    )
    return notice_id
