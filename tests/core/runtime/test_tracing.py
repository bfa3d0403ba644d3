"""A traced frame's steps in the log and at a real OTLP/HTTP receiver; what is off costs nothing."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from io import StringIO
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from prometheus_client import REGISTRY

from core.model.identities import new_trace, span_of
from core.runtime import spans
from core.runtime.lifetime import collector_spans
from core.runtime.spans import CollectedSpans
from core.runtime.telemetry import configure_logs
from core.runtime.tracing import STEPS_A_SECOND, Traces
from services.supervisor.stack import checkout
from tests.otlp import collector

US = BEGAN_US, ENDED_US = 1_764_000_000_000_000, 1_764_000_000_250_000


@pytest.fixture
def said() -> Callable[[], list[dict[str, Any]]]:
    output = StringIO()
    configure_logs("network", "network-1", "json", "INFO", output)
    return lambda: [json.loads(line) for line in output.getvalue().splitlines()]


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_step_is_a_line_with_the_fields_of_every_line(said: Callable[[], list[dict[str, Any]]]) -> None:
    traces, trace_id = Traces(now_us=lambda: ENDED_US), new_trace()
    traces.open(1)

    traces.step(
        "network", trace_id, BEGAN_US, "frame_judged", "gateway_bridge",
        tenant=3, dev_eui="70b3d57ed0001234", gw_eui="aa55", outcome="accepted",
    )  # fmt: skip

    [line] = said()
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "info", "event": "frame_judged", "service": "network", "instance": "network-1",
        "trace_id": trace_id.hex(), "tenant": 3, "dev_eui": "70b3d57ed0001234", "gw_eui": "aa55",
        "outcome": "accepted", "took_ms": 250.0,
    }  # fmt: skip


def test_too_many_traced_frames_are_counted_and_not_written(said: Callable[[], list[dict[str, Any]]]) -> None:
    now, before = [0.0], count("territoire_trace_steps_left_out_total")
    traces = Traces(lambda: now[0])
    traces.open(1)

    def write(times: int) -> None:
        for _ in range(times):
            traces.step("network", new_trace(), BEGAN_US, "frame_judged", None)

    write(10_000)
    at_once = len(said())
    now[0] += 0.5
    write(10_000)

    assert (at_once, len(said())) == (STEPS_A_SECOND, 1.5 * STEPS_A_SECOND)
    assert count("territoire_trace_steps_left_out_total") - before == 20_000 - 1.5 * STEPS_A_SECOND


async def test_spans_reach_a_collector_under_the_ids_that_follow_from_the_trace(
    monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[dict[str, Any]]]
) -> None:
    traces, trace_id, other = Traces(now_us=lambda: ENDED_US), new_trace(), new_trace()
    before = count("territoire_trace_spans_total", outcome="exported")

    async with collector() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        collected = collector_spans("network", "network-1")
        traces.open(1.0, collected)
        traces.step(
            "network", trace_id, BEGAN_US, "frame_judged", "gateway_bridge", outcome="accepted", tenant=None
        )
        traces.open(0, collected)
        traces.step_of_any("webhook 3.1", other, BEGAN_US, "webhook_attempted", None, outcome="delivered")
        await asyncio.to_thread(traces.close)

    [(resource, span)] = received.spans
    assert (resource["service.name"], resource["service.instance.id"]) == ("network", "network-1")
    assert (span.name, span.trace_id, span.span_id) == ("network", trace_id, span_of(trace_id, "network"))
    assert span.parent_span_id == span_of(trace_id, "gateway_bridge")
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (US[0] * 1_000, US[1] * 1_000)
    assert [(one.key, one.value.string_value) for one in span.attributes] == [("territoire.outcome", "accepted")]
    assert count("territoire_trace_spans_total", outcome="exported") - before == 1
    assert [line["event"] for line in said()] == ["frame_judged", "webhook_attempted"]


class Stuck(SpanExporter):
    """A collector that does not answer."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.release.wait(30)
        return SpanExportResult.FAILURE


def test_a_collector_that_does_not_answer_holds_nobody_up_and_what_it_misses_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spans, "CLOSE_WITHIN_S", 0.05)
    stuck = Stuck()
    collected = CollectedSpans("network", "network-1", stuck)
    dropped = count("territoire_trace_spans_total", outcome="dropped")

    for _ in range(spans.MOST_WAITING + 5_000):
        trace_id = new_trace()
        collected.record_span("network", trace_id, span_of(trace_id, "network"), None, US)
    missed = count("territoire_trace_spans_total", outcome="dropped") - dropped
    collected.close()
    stuck.release.set()

    # What the sending thread had taken before it got stuck made room for as many.
    assert 5_000 - 512 <= missed <= 5_000


def test_without_a_collector_nothing_of_opentelemetrys_sdk_is_loaded() -> None:
    program = (
        "import sys; from core.runtime.lifetime import collector_spans; assert collector_spans('a', 'b') is None; "
        "print([name for name in sys.modules if name.startswith('opentelemetry.')])"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=checkout(), env={}, capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"
