"""Logs and metrics, set up once per process.

Nothing secret reaches a log (`core.runtime.redaction`). A line that comes again and again is written now and
then, with how many were left out in between.
"""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any, TextIO

import structlog
from prometheus_client import Counter, Gauge

from core import VERSION
from core.runtime.redaction import redact, redact_free_text
from core.runtime.token_bucket import TokenBucket

LOOP_PROBE_S = 1.0
# Of one event of one level: what an incident may say at once, and then one line every ten seconds.
BURST = 20.0
EACH_SECOND = 0.1
# What was left out of an event that has stopped is reported after this.
REPORTED_AFTER_S = 10.0
# Events are constants of the program, but libraries have lines of their own.
MOST_KEYS = 1_000

BUILD_INFO = Gauge("territoire_build_info", "Always 1; which program this is", ["service", "version", "revision"])
EVENT_LOOP_LAG = Gauge("territoire_event_loop_lag_seconds", "How late the event loop woke up, last probe")
EVENT_LOOP_TASKS = Gauge("territoire_event_loop_tasks", "Tasks that the event loop has not finished")
LEFT_OUT = Counter(
    "territoire_log_lines_left_out_total",
    "Lines of the log that were left out because the same came again and again",
)
LINES_LOST = Counter("territoire_log_lines_lost_total", "Lines of the log that could not be written: a full disk")

Key = tuple[str, str]


@dataclass(slots=True)
class _Allowance:
    lines: TokenBucket
    left_out: int = 0


class Repeats:
    """Lets through the first lines of an event, then one now and then; one instance for a process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[Key, _Allowance] = {}

    def forget(self) -> None:
        """Begin anew."""
        self._known.clear()

    def _count_left_out(self, key: Key) -> int | None:
        """How many were left out since the last that passed; None: this one is left out, too."""
        now = self._clock()
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= MOST_KEYS:
                self._known.pop(next(iter(self._known)))
            known = self._known[key] = _Allowance(TokenBucket.full(EACH_SECOND, BURST, now))
        if not known.lines.take_token(now):
            known.left_out += 1
            LEFT_OUT.inc()
            return None
        left_out, known.left_out = known.left_out, 0
        return left_out

    def __call__(self, _logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """As structlog's processor. A step, of a traced frame or of an upgrade, is no repetition.

        Raises:
            structlog.DropEvent: the line is left out.
        """
        if event.pop("is_step", False):
            return event
        left_out = self._count_left_out((method, str(event.get("event"))))
        if left_out is None:
            raise structlog.DropEvent
        if left_out:
            event["lines_left_out"] = left_out
        return event

    def filter(self, record: logging.LogRecord) -> bool:
        """As a filter of the standard library's handlers: a line is known by where it is said."""
        left_out = self._count_left_out((record.name, f"{record.levelname} {record.lineno}"))
        if left_out:
            record.lines_left_out = left_out
        return left_out is not None

    def ended(self) -> Iterator[tuple[str, int]]:
        """Events that have stopped coming, and how many of their last lines were left out; each reported once."""
        now = self._clock()
        for key, known in list(self._known.items()):  # Libraries' threads say things, too.
            if known.left_out and now - known.lines.counted_at >= REPORTED_AFTER_S:
                left_out, known.left_out = known.left_out, 0
                yield " ".join(key), left_out


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
        """Adds the process to each line, also of loggers in other threads."""
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
    """Export how late the loop wakes up, and report lines that were left out, until cancelled."""
    loop = asyncio.get_running_loop()
    EVENT_LOOP_TASKS.set_function(lambda: len(asyncio.all_tasks(loop)))
    while True:
        due = loop.time() + LOOP_PROBE_S
        await asyncio.sleep(LOOP_PROBE_S)
        EVENT_LOOP_LAG.set(max(0.0, loop.time() - due))
        for event, count in REPEATS.ended():
            structlog.get_logger().info("lines_left_out", of=event, count=count)
