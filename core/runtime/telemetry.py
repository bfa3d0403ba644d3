"""Logs and metrics, set up once per process. Nothing secret reaches a log."""

import asyncio
import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from prometheus_client import Counter, Gauge

SECRET_NAME = re.compile(r"key|secret|password|token|authorization|kek", re.IGNORECASE)
SAFE_NAMES = frozenset({"kek_id", "key_id"})
CREDENTIALS_IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")
REDACTED = "***"
LOOP_PROBE_S = 1.0

EVENT_LOOP_LAG = Gauge("territoire_event_loop_lag_seconds", "How late the event loop woke up, last probe")
LINES_LOST = Counter("territoire_log_lines_lost_total", "Lines of the log that could not be written: a full disk")


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


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide values whose name says that they are secret, and credentials inside addresses."""
    for name, value in event.items():
        if SECRET_NAME.search(name) and name not in SAFE_NAMES:
            event[name] = REDACTED
        elif isinstance(value, str):
            event[name] = CREDENTIALS_IN_URL.sub(REDACTED, value)
    return event


def configure_logs(
    service: str, instance: str, log_format: str, log_level: str, output: TextIO | None = None
) -> None:
    """One line per event, libraries' warnings included, on `output` (by default standard output): JSON or text.

    Saying something never fails: what a full disk does not take is counted.
    """
    lenient: Any = _LenientOutput(output or sys.stdout)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
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
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[log_level]),
        logger_factory=structlog.WriteLoggerFactory(lenient),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service, instance=instance)
    handler = logging.StreamHandler(lenient)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


async def watch_event_loop() -> None:
    """Export how late the loop wakes up; /livez reads it too."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LOOP_PROBE_S
        await asyncio.sleep(LOOP_PROBE_S)
        EVENT_LOOP_LAG.set(max(0.0, loop.time() - due))
