"""What lies between something that happened and the rows that people see of it: one place, should the way change.

Alerting runs while it happens, so it makes no difference whether who saw it writes the alert itself, or only asks
for one that alerting's owner of the shard then writes.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from core.runtime.postgres import Pool
from tests.services.alerting.test_app import serving

# A machine under load takes its time.
PATIENCE_S = 60
# By when something that was seen would be an alert, if it were one.
ALERTS_WITHIN_S = 3.0

ALERTS = """
SELECT t.slug AS tenant, r.name AS rule, r.kind, g.gateway_id AS gateway, a.asset_id, a.device_id, a.datastream_id,
       a.subject, a.team_id, a.severity::text, a.message, a.condition::text, a.workflow::text, a.value,
       a.threshold, a.occurrences,
       a.notified_severity IS NOT NULL AS told, a.muted_by, a.muted_until, a.is_flapping, a.reopen_at, a.due_at,
       a.fired_at = a.opened_at AS fired_when_opened
FROM alert a JOIN tenant t ON t.id = a.tenant_id JOIN alert_rule r ON r.id = a.rule_id
LEFT JOIN gateway g ON g.id = a.gateway_id
ORDER BY a.id
"""
EVENTS = "SELECT actor, action, note FROM alert_event ORDER BY id"
NOTICES = """
SELECT t.slug AS tenant, n.team_id, n.event, n.severity::text, n.cadence, n.message, n.held_until, n.rung
FROM alert_notice n JOIN tenant t ON t.id = n.tenant_id ORDER BY n.number
"""


@asynccontextmanager
async def alerts_follow(pool: Pool, database_url: str, nats_url: str) -> AsyncGenerator[None]:
    """While the block runs, alert requests become alerts, and alerts are notified."""
    async with serving(pool, database_url, nats_url):
        yield


async def until(condition: Callable[[], Awaitable[Any]], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not await condition():  # noqa: ASYNC110 - Rows have no event to wait for.
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {PATIENCE_S} s: {what}") from None


async def rows(pool: Pool, statement: str) -> list[dict[str, Any]]:
    return [dict(row) for row in await pool.fetch(statement)]


async def alerts(pool: Pool, *, occurrences: int, count: int = 1) -> list[dict[str, Any]]:
    """The alerts once there are `count`, all notified, the last of which occurred so often."""

    async def are_there() -> bool:
        found = await rows(pool, ALERTS)
        return (
            len(found) >= count
            and all(alert["told"] and alert["due_at"] is None for alert in found)
            and found[-1]["occurrences"] >= occurrences
        )

    await until(are_there, f"{count} alerts, the last with {occurrences} occurrences")
    return await rows(pool, ALERTS)


async def no_more_than(pool: Pool, count: int) -> None:
    """There are no more alerts than that, nor will be."""
    await asyncio.sleep(ALERTS_WITHIN_S)
    assert len(await rows(pool, ALERTS)) == count
