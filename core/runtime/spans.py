"""Spans for an OpenTelemetry collector, over OTLP/HTTP. Imported only where one is set (`core.runtime.lifetime`).

A thread of the SDK sends them; what it cannot send, and what comes faster than it can, is dropped and counted.
"""

import threading
from collections.abc import Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from core import VERSION
from core.runtime.tracing import SPANS

MOST_WAITING = 2_048
SEND_EVERY_MS = 1_000
SEND_WITHIN_S = 5.0
CLOSE_WITHIN_S = 3.0
TRACED = TraceFlags(TraceFlags.SAMPLED)


class _GivenIds(IdGenerator):
    """Our spans' ids follow from their traces: they are set before each span is made."""

    trace_id = 0
    span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class _Counted(SpanExporter):
    """Counts what is sent and what is not, and so knows how many wait."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.taken = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        result = self._exporter.export(spans)
        SPANS.labels("exported" if result is SpanExportResult.SUCCESS else "failed").inc(len(spans))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class CollectedSpans:
    """Where the collector is, how it is spoken to and the resource's own attributes are OTEL_* settings."""

    def __init__(self, service: str, instance: str, exporter: SpanExporter | None = None) -> None:
        self._counted = _Counted(exporter or OTLPSpanExporter(timeout=SEND_WITHIN_S))
        self._ids = _GivenIds()
        self._added = 0
        resource = Resource.create(
            {"service.name": service, "service.instance.id": instance, "service.version": VERSION}
        )
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=resource, id_generator=self._ids, shutdown_on_exit=False
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(self._counted, max_queue_size=MOST_WAITING, schedule_delay_millis=SEND_EVERY_MS)
        )
        self._tracer = self._provider.get_tracer("territoire", VERSION)

    def record_span(
        self, name: str, trace_id: bytes, span_id: bytes, parent: bytes | None, us: tuple[int, int], **fields: Any
    ) -> None:
        """Hand a span that has ended to the sending thread; when too many wait for it, the span is dropped."""
        if self._added - self._counted.taken >= MOST_WAITING:
            SPANS.labels("dropped").inc()
            return
        self._added += 1
        self._ids.trace_id, self._ids.span_id = int.from_bytes(trace_id), int.from_bytes(span_id)
        context = None
        if parent is not None:
            before = SpanContext(self._ids.trace_id, int.from_bytes(parent), is_remote=True, trace_flags=TRACED)
            context = set_span_in_context(NonRecordingSpan(before))
        attributes = {f"territoire.{key}": value for key, value in fields.items() if value is not None}
        span = self._tracer.start_span(name, context, attributes=attributes, start_time=us[0] * 1_000)
        span.end(us[1] * 1_000)

    def close(self) -> None:
        """Send what is left; a collector that does not answer holds nobody up."""
        closing = threading.Thread(target=self._provider.shutdown, name="close spans", daemon=True)
        closing.start()
        closing.join(CLOSE_WITHIN_S)
