"""Logs and metrics, set up once per process. Nothing secret reaches a log."""

import asyncio
import logging
import os
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from prometheus_client import Counter, Gauge

from core import VERSION
from core.runtime.redaction import redact, redact_free_text
from core.runtime.repeats import Repeats

LOOP_PROBE_S = 1.0

BUILD_INFO = Gauge("territoire_build_info", "Always 1; which program this is", ["service", "version", "revision"])
EVENT_LOOP_LAG = Gauge("territoire_event_loop_lag_seconds", "How late the event loop woke up, last probe")
LINES_LOST = Counter("territoire_log_lines_lost_total", "Lines of the log that could not be written: a full disk")

REPEATS = Repeats()


class _LenientOutput:
    """Where logs go. A full disk costs the line, and not whatever had something to say at that moment."""

    def __init__(self, output: TextIO) -> None:
        self._output = output

    def write(self, text: str) -> None:
        """Write, or count what is lost."""
        try:
            self._output.write(text)
        except OSError:
            LINES_LOST.inc()

    def flush(self) -> None:
        """Flush, or count what is lost."""
        try:
            self._output.flush()
        except OSError:
            LINES_LOST.inc()


def configure_logs(
    service: str, instance: str, log_format: str, log_level: str, output: TextIO | None = None
) -> None:
    """One line per event, libraries' warnings included, on `output` (by default standard output): JSON or text.

    Saying something never fails: what a full disk does not take is counted. Nothing secret is said, and nothing is
    said a hundred times.
    """
    REPEATS.forget()
    lenient: Any = _LenientOutput(output or sys.stdout)

    def name(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Whoever says it, in whatever thread."""
        return {"service": service, "instance": instance, **event}

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
        redact,
    ]
    render: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=False)
        if log_format == "console"
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[REPEATS, *shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[log_level]),
        logger_factory=structlog.WriteLoggerFactory(lenient),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(lenient)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(["lines_left_out"]), _free_text, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    handler.addFilter(REPEATS.filter)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(capture=True)


def _free_text(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What a library says is its own text, not an event of ours."""
    event["event"] = redact_free_text(str(event["event"]))
    return event


def show_build(service: str) -> None:
    """Say in the metrics which program this is; an image knows its revision, a checkout does not."""
    BUILD_INFO.labels(service, VERSION, os.environ.get("TERRITOIRE_REVISION") or "unknown").set(1)


async def watch_event_loop() -> None:
    """Export how late the loop wakes up, and tell of lines that were left out, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LOOP_PROBE_S
        await asyncio.sleep(LOOP_PROBE_S)
        EVENT_LOOP_LAG.set(max(0.0, loop.time() - due))
        for event, count in REPEATS.ended():
            structlog.get_logger().info("lines_left_out", of=event, count=count)
