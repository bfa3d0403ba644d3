"""What alerting does by the clock, beside what measurements bring: sweeps, digests and escalations, counts."""

import asyncio
from datetime import UTC, datetime

from prometheus_client import Counter, Gauge

from alerting.alert_rows import count_open
from alerting.dispatch import dispatch
from alerting.engine import Engine
from alerting.health_report import report_health
from alerting.measurement_batches import count_webhooks, dispatch_measurements, warn_of_late_webhooks
from alerting.measurement_cursors import is_any_due
from alerting.operator_warnings import count_unreached
from alerting.queue import count_pending
from alerting.report_dispatch import send_reports
from alerting.rules.model import SEVERITIES
from alerting.work_order_dispatch import dispatch_work_orders
from core.runtime.ownership import ShardOwner
from core.runtime.postgres import DATABASE_AWAY, Pool, PostgresError
from core.runtime.repeating import repeat

COUNT_EVERY_S = 5.0
# The answers of receivers of measurements that are behind are waited for: so long, and looked for so often.
FOLLOWED_FOR_S, LOOKED_AT_EVERY_S = 2.0, 0.1

ALERTS_OPEN = Gauge("territoire_alerting_alerts_open", "Alerts that are not resolved", ["severity"])
DISPATCHED = Counter("territoire_alerting_dispatched_total", "What people were notified of later", ["what"])
OUTBOX_PENDING = Gauge("territoire_alerting_outbox_pending", "Webhook messages that wait or are on their way")
OUTBOX_OLDEST = Gauge("territoire_alerting_outbox_oldest_seconds", "Age of the oldest of them; 0: there is none")
NOTIFIED_NOBODY = Gauge(
    "territoire_alerting_notified_nobody", "Alerts that nobody was notified of: no address is in service"
)


async def keep_sweeping(engine: Engine, owner: ShardOwner, every_s: float) -> None:
    """Judge what is due by its deadline in the shards that are held, until cancelled."""
    await repeat(lambda: engine.sweep(owner.leases), every_s, "sweep_put_off")


async def keep_dispatching(pool: Pool, every_s: float, report_link: str) -> None:
    """Send digests, health and reports, and escalate, until cancelled. A turn that fails is rolled back."""

    async def turn() -> None:
        now = datetime.now(UTC)
        done = await dispatch(pool, now)
        DISPATCHED.labels("digest").inc(done.digests)
        DISPATCHED.labels("escalation").inc(done.escalations)
        DISPATCHED.labels("caught_up").inc(done.caught_up)
        DISPATCHED.labels("sensor_health").inc(await report_health(pool, now))
        DISPATCHED.labels("report").inc(await send_reports(pool, now, report_link))
        await warn_of_late_webhooks(pool, now)

    await repeat(turn, every_s, "dispatch_put_off", (*DATABASE_AWAY, PostgresError))


async def keep_dispatching_work_orders(pool: Pool, link: str, every_s: float) -> None:
    """Open work orders for alerts, and queue what software is to know of them, until cancelled."""

    async def turn() -> None:
        opened, sent = await dispatch_work_orders(pool, link)
        DISPATCHED.labels("work_order").inc(opened)
        DISPATCHED.labels("work_order_change").inc(sent)

    await repeat(turn, every_s, "work_orders_put_off", (*DATABASE_AWAY, PostgresError))


async def keep_dispatching_measurements(pool: Pool, every_s: float) -> None:
    """Queue what the feed has for webhooks of measurements, until cancelled.

    Who is behind is sent the next batch as soon as the last one was taken, for as long as its receiver answers
    within `FOLLOWED_FOR_S`; one that does not is looked at every `every_s`.
    """

    async def turn() -> None:
        loop = asyncio.get_running_loop()
        queued_at: float | None = None
        while True:
            if await dispatch_measurements(pool, datetime.now(UTC)):
                queued_at = loop.time()
            if queued_at is None or loop.time() - queued_at > FOLLOWED_FOR_S or not await is_any_due(pool):
                return
            await asyncio.sleep(LOOKED_AT_EVERY_S)

    await repeat(turn, every_s, "measurement_batches_put_off", (*DATABASE_AWAY, PostgresError))


async def keep_counting(pool: Pool) -> None:
    """Show open alerts and waiting messages in the metrics, until cancelled."""

    async def count() -> None:
        open_alerts = await count_open(pool)
        for severity in SEVERITIES:
            ALERTS_OPEN.labels(severity).set(open_alerts.get(severity, 0))
        pending, oldest_s = await count_pending(pool)
        OUTBOX_PENDING.set(pending)
        OUTBOX_OLDEST.set(oldest_s)
        NOTIFIED_NOBODY.set(await count_unreached(pool))
        await count_webhooks(pool)

    await repeat(count, COUNT_EVERY_S, "counts_not_read")
