"""Steps of followed frames: a line of the log in each process, and a span where a collector is set.

A frame is followed or not by its trace id alone, so all its steps are said or none (`core.messages.traces`). What
concerns people, a notice and its delivery, is said of every frame.
"""

import os
import time
from collections.abc import Callable
from typing import Any, Protocol

import structlog
from prometheus_client import Counter

from core.messages.traces import NO_TRACE, limit_of, span_of, traceparent
from core.runtime.token_bucket import TokenBucket

# What a process may say of followed frames; a ratio that is set too high for the load costs no more than this.
STEPS_A_SECOND = 50.0
COLLECTOR = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

STEPS_LEFT_OUT = Counter(
    "territoire_trace_steps_left_out_total", "Steps of followed frames that were not said: there were too many"
)
SPANS = Counter("territoire_trace_spans_total", "Spans by what became of them", ["outcome"])

log = structlog.get_logger()


class Spans(Protocol):
    """Where spans go."""

    def add(
        self, name: str, trace_id: bytes, span_id: bytes, parent: bytes | None, us: tuple[int, int], **fields: Any
    ) -> None:
        """Take a span that has ended; at once, whatever becomes of it. `us`: its two ends since 1970."""
        ...

    def close(self) -> None:
        """Send what is left, within seconds."""
        ...


class Traces:
    """What this process follows, and where it tells of it. One for a process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = NO_TRACE
        """A trace is followed when `NO_TRACE < trace_id < limit`: for loops that look at every frame."""
        self._spans: Spans | None = None
        self._clock = clock
        self._steps = TokenBucket.full(STEPS_A_SECOND, STEPS_A_SECOND, clock())

    def open(self, service: str, instance: str, ratio: float) -> None:
        """Follow this part of all frames; spans are sent where OTEL_EXPORTER_OTLP_ENDPOINT says."""
        self.limit = limit_of(ratio)
        if any(os.environ.get(name) for name in COLLECTOR):
            from core.runtime.spans import CollectedSpans  # noqa: PLC0415 - 10 MB that most installations never need.

            self._spans = CollectedSpans(service, instance)

    def close(self) -> None:
        """Send what is left."""
        if self._spans is not None:
            self._spans.close()
            self._spans = None

    def follows(self, trace_id: bytes) -> bool:
        """Whether the steps of this frame are said."""
        return NO_TRACE < trace_id < self.limit

    def step(
        self, stage: str, trace_id: bytes, us: tuple[int, int], event: str, parent: str | None, **fields: Any
    ) -> None:
        """Say what a followed frame has come to, unless too many are followed at this moment.

        Args:
            stage: names the span; what follows a space tells it from others of this stage in the same trace.
            trace_id: of a frame that is followed.
            us: when it began and ended, microseconds since 1970.
            event: of the line.
            parent: the stage before; None: it is the first.
            fields: for the line and for the span.
        """
        if not self._steps.take_token(self._clock()):
            STEPS_LEFT_OUT.inc()
            return
        self.tell(stage, trace_id, us, event, parent, **fields)

    def tell(
        self, stage: str, trace_id: bytes, us: tuple[int, int], event: str, parent: str | None, **fields: Any
    ) -> None:
        """As `step`, of whatever frame: only the span asks whether it is followed."""
        took_ms = round((us[1] - us[0]) / 1000, 1)
        log.info(event, is_step=True, trace_id=trace_id.hex(), took_ms=took_ms, **fields)
        if self._spans is not None and self.follows(trace_id):
            before = None if parent is None else span_of(trace_id, parent)
            self._spans.add(stage.partition(" ")[0], trace_id, span_of(trace_id, stage), before, us, **fields)

    def traceparent(self, stage: str, trace_id: bytes) -> str:
        """The header that tells another's service which span of ours its own belongs under."""
        return traceparent(trace_id, span_of(trace_id, stage), is_followed=self.follows(trace_id))


TRACES = Traces()
