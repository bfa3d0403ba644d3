"""Makes batches of the feed for webhooks of measurements: the cursor moves in the transaction that queues one.

So a crash at any point leaves both or neither. A subscription has one batch under way: the next one is made when
it was taken. What is not read waits in the feed, and what its owner may see is asked anew with each batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import msgspec
import structlog
from prometheus_client import Counter, Gauge

from alerting import measurement_cursors as cursors
from alerting.measurement_cursors import DueWebhook, SentBatch, Step
from alerting.message_formats import MEASUREMENTS
from alerting.operator_warnings import warn_of_late_webhook, warn_of_stopped_webhook
from alerting.queue import WebhookMessage, enqueue, message_id_of
from core.runtime.errors import describe
from core.runtime.postgres import DATABASE_AWAY, Connection, Pool, PostgresError
from registry.audit import audit_personal_reads
from registry.changed_measurements import OF_MEASUREMENTS, ChangedMeasurement, changed_measurements
from registry.cursors import feed_cursor
from registry.feed import Entry, FeedState, Part, Position, Standing, WantedChanges, read_changes, read_state

AT_ONCE = 200  # Subscriptions in one turn.
# The feed keeps seven days.
LATE_AFTER = timedelta(days=5)
REASONS = {Standing.FORGOTTEN: "forgotten", Standing.RESTORED: "restored"}
# What a subscription may not be sent, though it names it: for its class, or for want of the right.
PERSONAL, WITHDRAWN = "personal", "withdrawn"

BATCHES = Counter("territoire_alerting_measurement_batches_total", "Batches of measurements that were queued")
READINGS = Counter("territoire_alerting_measurements_queued_total", "Changes of measurements in them")
STOPPED = Counter("territoire_alerting_measurement_webhooks_stopped_total", "Subscriptions stopped", ["reason"])
WEBHOOKS = Gauge("territoire_alerting_measurement_webhooks", "Webhooks of measurements", ["state"])
LAG = Gauge("territoire_alerting_measurement_webhook_lag_seconds", "Of the one furthest behind", ["state"])
STATES = ("active", "waiting", "abandoned", "suspended", "stopped")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Readable:
    """Which of the datastreams that a subscription names may be sent now; None: it names none."""

    streams: tuple[int, ...] | None = None
    withheld: int = 0
    reason: str | None = None  # Why nothing of them may.


class Overtaken(Exception):
    """Somebody has stopped the subscription, or begun it elsewhere, meanwhile: nothing of the batch stays."""


def batch_id(run: UUID, epoch: str, position: Position) -> UUID:
    """Of the batch that begins after this position, at whatever attempt; another run has others."""
    return uuid5(run, f"{epoch}:{position.xid}.{position.number}.{position.place}")


def message_body(
    webhook: DueWebhook, items: Sequence[ChangedMeasurement], following: Position, now: datetime, *, has_more: bool
) -> bytes:
    """The JSON of Standard Webhooks about one batch."""
    data: dict[str, Any] = {
        "measurement_webhook": webhook.id,
        "tenant": webhook.tenant,
        "sequence": webhook.batches + 1,
        "items": items,
        "next": feed_cursor(webhook.epoch, webhook.tenant_id, following),
        "has_more": has_more,
    }
    return msgspec.json.encode({"type": MEASUREMENTS, "timestamp": now, "data": data})


async def dispatch_measurements(pool: Pool, now: datetime) -> int:
    """Queue the batches that are due; how many."""
    if not await cursors.is_any_active(pool):
        return 0
    await _stop_lost(pool, now)
    count = 0
    for webhook_id in await cursors.due_ids(pool, AT_ONCE):
        try:
            async with pool.acquire() as connection, connection.transaction():
                count += await _make_batch(connection, webhook_id, now)
        except Overtaken:
            log.info("measurement_batch_overtaken", webhook=webhook_id)
        except DATABASE_AWAY:
            raise
        except PostgresError as failed:  # Of one subscription: the others do not wait for it.
            log.warning("measurement_batch_put_off", webhook=webhook_id, error=describe(failed))
    return count


async def warn_of_late_webhooks(pool: Pool, now: datetime) -> None:
    """Notify the tenant of each receiver that was given up, or because of which the feed is about to be missed."""
    async with pool.acquire() as connection, connection.transaction():
        for late in await cursors.take_late(connection, now - LATE_AFTER, now):
            await warn_of_late_webhook(connection, late, now)


async def count_webhooks(pool: Pool) -> None:
    """Show in the metrics how many there are, and how far behind."""
    counted = await cursors.count_by_state(pool)
    for state in STATES:
        count, lag_s = counted.get(state, (0, 0.0))
        WEBHOOKS.labels(state).set(count)
        LAG.labels(state).set(lag_s)


async def _stop_lost(pool: Pool, now: datetime) -> None:
    async with pool.acquire() as connection, connection.transaction():
        state = await read_state(connection)
        for webhook_id in await cursors.lost_ids(connection, state):
            webhook = await cursors.read_cursor(connection, webhook_id)
            reason = REASONS.get(state.standing_of(*webhook))
            if reason is not None:
                await _stop(connection, webhook_id, reason, now)


async def _stop(connection: Connection, webhook_id: int, reason: str, now: datetime, withheld: int = 0) -> None:
    if await cursors.stop_for(connection, webhook_id, reason, withheld):
        STOPPED.labels(reason).inc()
        log.warning("measurement_webhook_stopped", webhook=webhook_id, reason=reason)
        tenant_id, endpoint_id = await cursors.read_owner(connection, webhook_id)
        await warn_of_stopped_webhook(connection, tenant_id, endpoint_id, webhook_id, reason, now)


async def _make_batch(connection: Connection, webhook_id: int, now: datetime) -> bool:
    """Whether one was queued. All is read before anything is written: the feed does not wait for this."""
    webhook = await cursors.read_due(connection, webhook_id)
    if webhook is None:
        return False
    state = await read_state(connection)
    if state.standing_of(webhook.epoch, webhook.position) is not Standing.GOOD:
        return False  # It is stopped with the next turn.
    entered = await cursors.enter(connection, webhook_id)
    if entered != "entered":
        if entered is not None:
            await _stop(connection, webhook_id, entered, now)
        return False
    readable = await _readable(connection, webhook)
    if readable.reason is not None:
        await _stop(connection, webhook_id, readable.reason, now, readable.withheld)
        return False
    part = await read_changes(connection, webhook.position, _wanted(webhook, readable), webhook.batch_most)
    entries = part.entries if webhook.personal else await _without_personal(connection, part.entries)
    step = _step(part, readable, now)
    if not entries:
        await cursors.advance(connection, webhook, step)
        return False
    await _queue(connection, webhook, state, entries, step, now)
    return True


async def _readable(connection: Connection, webhook: DueWebhook) -> Readable:
    """A subscription that names datastreams or assets stops when nothing of them is left to send."""
    if not webhook.names_streams:
        return Readable()
    named = await cursors.named_streams(connection, webhook)
    readable = await cursors.readable_streams(connection, named)
    personal = set[int]() if webhook.personal else await cursors.personal_streams(connection, readable)
    streams = tuple(one for one in readable if one not in personal)
    withheld = len(named) - len(streams)
    if streams:
        return Readable(streams, withheld)
    return Readable((), withheld, PERSONAL if personal else WITHDRAWN)


def _wanted(webhook: DueWebhook, readable: Readable) -> WantedChanges:
    return WantedChanges(
        OF_MEASUREMENTS, readable.streams, webhook.quantity, webhook.asset_kind, webhook.tag, webhook.commune
    )


async def _without_personal(connection: Connection, entries: Sequence[Entry]) -> list[Entry]:
    ids = sorted({entry.datastream_id for entry in entries if entry.datastream_id is not None})
    personal = await cursors.personal_streams(connection, ids) if ids else set[int]()
    return [entry for entry in entries if entry.datastream_id not in personal]


def _step(part: Part, readable: Readable, now: datetime) -> Step:
    """All that was there is read: up to now; otherwise up to what was recorded last of it."""
    last = part.entries[-1].at if part.entries else None
    return Step(part.following, now if part.is_all else last, readable.withheld, not part.is_all)


async def _queue(
    connection: Connection,
    webhook: DueWebhook,
    state: FeedState,
    entries: Sequence[Entry],
    step: Step,
    now: datetime,
) -> None:
    items = list(changed_measurements(entries))
    streams = sorted({item.datastream_id for item in items})
    message_id = message_id_of(batch_id(webhook.run, state.epoch, webhook.position))
    body = message_body(webhook, items, step.position, now, has_more=step.has_more)
    recorded = [item.recorded_at for item in items]
    batch = SentBatch(message_id, now, len(items), streams, min(recorded), max(recorded))
    if webhook.personal:
        reader = f"webhook de mesures {webhook.id}"
        given = {"key": webhook.key_id} if webhook.key_id is not None else {"person": webhook.person_id}
        await audit_personal_reads(connection, reader, given, streams=streams)
    await enqueue(connection, [WebhookMessage(message_id, webhook.endpoint_id, 0, body)])
    if not await cursors.advance_by_batch(connection, webhook, step, batch):
        raise Overtaken
    BATCHES.inc()
    READINGS.inc(len(items))
