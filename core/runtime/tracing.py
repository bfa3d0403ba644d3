"""Trace steps: for a traced frame, each process writes a line of the log, and a span where a collector is set.

A frame is traced or not by its trace id alone, so all its steps are written or none (`core.model.identities`).
What concerns people, a notification and its delivery, is written of every frame.
"""

import time
from collections.abc import Callable
from typing import Any, Protocol

import structlog
from prometheus_client import Counter

from core.model.identities import NO_TRACE, limit_of, span_of, traceparent
from core.runtime.clock import wall_clock_us
from core.runtime.token_bucket import TokenBucket

# What a process may write of traced frames; a ratio that is set too high for the load costs no more than this.
STEPS_A_SECOND = 50.0

STEPS_LEFT_OUT = Counter(
    "territoire_trace_steps_left_out_total", "Steps of traced frames that were not written: there were too many"
)
SPANS = Counter("territoire_trace_spans_total", "Spans by what became of them", ["outcome"])

log = structlog.get_logger()


class Spans(Protocol):
    """Where spans go."""

    def record_span(
        self, name: str, trace_id: bytes, span_id: bytes, parent: bytes | None, us: tuple[int, int], **fields: Any
    ) -> None:
        """Take a span that has ended; at once, whatever becomes of it. `us`: its two ends since 1970."""
        ...

    def close(self) -> None:
        """Send what is left, within seconds."""
        ...


class Traces:
    """Which frames this process traces, and where their steps are written. One for a process."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, now_us: Callable[[], int] = wall_clock_us
    ) -> None:
        self._limit = NO_TRACE
        self._spans: Spans | None = None
        self._clock = clock
        self._now_us = now_us
        self._bucket = TokenBucket.full(STEPS_A_SECOND, STEPS_A_SECOND, clock())

    def open(self, ratio: float, spans: Spans | None = None) -> None:
        """Trace this part of all frames."""
        self._limit, self._spans = limit_of(ratio), spans

    def close(self) -> None:
        """Send what is left; nothing is traced any more."""
        spans, self._limit, self._spans = self._spans, NO_TRACE, None
        if spans is not None:
            spans.close()

    def is_traced(self, trace_id: bytes) -> bool:
        """Whether the steps of this frame are written."""
        return NO_TRACE < trace_id < self._limit

    def step(
        self, stage: str, trace_id: bytes, began_us: int, event: str, parent: str | None, **fields: Any
    ) -> None:
        """Write what a frame has come to, if it is traced, unless too many are at this moment.

        Args:
            stage: names the span; what follows a space distinguishes it from others of this stage in this trace.
            trace_id: of the frame.
            began_us: when the step began, microseconds since 1970; it ends now.
            event: of the line.
            parent: the stage before; None: it is the first.
            fields: for the line and for the span.
        """
        if not self.is_traced(trace_id):
            return
        if self._bucket.take_token(self._clock()):
            self.step_of_any(stage, trace_id, began_us, event, parent, **fields)
        else:
            STEPS_LEFT_OUT.inc()

    def step_of_any(
        self, stage: str, trace_id: bytes, began_us: int, event: str, parent: str | None, **fields: Any
    ) -> None:
        """As `step`, traced or not: only the span asks whether it is."""
        now_us = self._now_us()
        us = (min(began_us, now_us), now_us)
        log.info(event, is_step=True, trace_id=trace_id.hex(), took_ms=round((us[1] - us[0]) / 1000, 1), **fields)
        if self._spans is not None and self.is_traced(trace_id):
            before = None if parent is None else span_of(trace_id, parent)
            self._spans.record_span(
                stage.partition(" ")[0], trace_id, span_of(trace_id, stage), before, us, **fields
            )

    def traceparent(self, stage: str, trace_id: bytes) -> str:
        """The header that names another's service the span of ours which its own belongs under."""
        return traceparent(trace_id, span_of(trace_id, stage), is_traced=self.is_traced(trace_id))


TRACES = Traces()
