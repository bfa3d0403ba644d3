"""Trace steps of notifications: which frame one goes back to, and what became of its deliveries."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from alerting.evaluation import Traces, Work
from alerting.notifications import Notice
from alerting.queue import WebhookMessage
from core.messages.measurements import Measurement, traced
from core.runtime.clock import wall_clock_us
from core.runtime.tracing import TRACES
from lorawan.instants import from_us

STAGE, PARENT = "alerting", "ingest"


def traces_of(concerned: Sequence[Work], carried: Sequence[Sequence[Measurement]]) -> Traces:
    """Of the few values that concern somebody: for them the messages are gone through once more."""
    ids = {watched.id for _, watched, _ in concerned}
    return {
        (item.datastream_id, from_us(item.time_us)): trace_id
        for items in (carried if ids else ())
        for item, trace_id in traced(items)
        if item.datastream_id in ids
    }


def tell_notice(notice_id: UUID, notice: Notice) -> None:
    """It is committed: people will be told."""
    began_us, now_us = int(notice.at.timestamp() * 1_000_000), wall_clock_us()
    TRACES.tell(
        f"{STAGE} {notice_id.hex}",
        notice.trace_id or notice_id.bytes,
        (min(began_us, now_us), now_us),
        "notice_queued",
        PARENT if notice.trace_id else None,
        tenant=notice.tenant_id,
        alert=notice.alert_id,
        notice=f"msg_{notice_id.hex}",
        severity=notice.severity,
        outcome=notice.event,
    )


def webhook_stage(message: WebhookMessage, attempt: int) -> str:
    """The span of one attempt."""
    return f"webhook {message.message_id} {message.endpoint_id} {attempt}"


def tell_attempt(
    message: WebhookMessage, tenant_id: int, attempt: int, at: datetime, outcome: str, status: int | None
) -> None:
    """It is made and noted."""
    trace_id = message.trace
    if not trace_id:
        return
    TRACES.tell(
        webhook_stage(message, attempt),
        trace_id,
        (int(at.timestamp() * 1_000_000), wall_clock_us()),
        "webhook_attempted",
        f"{STAGE} {message.message_id.removeprefix('msg_')}",
        tenant=tenant_id,
        alert=message.alert_id or None,
        notice=message.message_id,
        endpoint=message.endpoint_id,
        attempt=attempt,
        outcome=outcome,
        status=status,
    )
