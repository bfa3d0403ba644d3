"""Which frame a notification goes back to, and the trace steps of it and of its deliveries."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from alerting.evaluation import Traces, Work
from alerting.notifications import Notification
from alerting.queue import WebhookMessage
from core.messages.measurements import Measurement, traced
from core.runtime.tracing import TRACES
from lorawan.instants import from_us, to_us

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


def trace_notification(notification_id: UUID, notification: Notification) -> None:
    """It is committed and waits for its deliveries."""
    TRACES.step_of_any(
        f"{STAGE} {notification_id.hex}",
        notification.trace_id or notification_id.bytes,
        to_us(notification.at),
        "notice_queued",
        PARENT if notification.trace_id else None,
        tenant=notification.tenant_id,
        alert=notification.alert_id,
        notice=f"msg_{notification_id.hex}",
        severity=notification.severity,
        outcome=notification.event,
    )


def webhook_stage(message: WebhookMessage, attempt: int) -> str:
    """The span of one attempt."""
    return f"webhook {message.message_id} {message.endpoint_id} {attempt}"


def trace_attempt(
    message: WebhookMessage, tenant_id: int, attempt: int, at: datetime, outcome: str, status: int | None
) -> None:
    """It is made and recorded."""
    trace_id = message.trace
    if not trace_id:
        return
    TRACES.step_of_any(
        webhook_stage(message, attempt),
        trace_id,
        to_us(at),
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
