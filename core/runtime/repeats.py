"""A line that comes again and again is said now and then, with how many were left out in between."""

import logging
import time
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

import structlog
from prometheus_client import Counter

from core.runtime.token_bucket import TokenBucket

# Of one event of one level: what an incident may say at once, and then one line every ten seconds.
BURST = 20.0
EACH_SECOND = 0.1
# What was left out of an event that has stopped is told after this.
TOLD_AFTER_S = 10.0
# Events are constants of the program, but libraries have lines of their own.
MOST_KEYS = 1_000

LEFT_OUT = Counter(
    "territoire_log_lines_left_out_total",
    "Lines of the log that were left out because the same came again and again",
)

Key = tuple[str, str]


@dataclass(slots=True)
class _Allowance:
    lines: TokenBucket
    left_out: int = 0


class Repeats:
    """Lets the first lines of an event pass, then one now and then; one instance for a process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[Key, _Allowance] = {}

    def forget(self) -> None:
        """Begin anew."""
        self._known.clear()

    def _pass(self, key: Key) -> int | None:
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
        left_out = self._pass((method, str(event.get("event"))))
        if left_out is None:
            raise structlog.DropEvent
        if left_out:
            event["lines_left_out"] = left_out
        return event

    def filter(self, record: logging.LogRecord) -> bool:
        """As a filter of the standard library's handlers: a line is known by where it is said."""
        left_out = self._pass((record.name, f"{record.levelname} {record.lineno}"))
        if left_out:
            record.lines_left_out = left_out
        return left_out is not None

    def ended(self) -> Iterator[tuple[str, int]]:
        """Events that have stopped coming, and how many of their last lines were left out; each told once."""
        now = self._clock()
        for key, known in list(self._known.items()):  # Libraries' threads say things, too.
            if known.left_out and now - known.lines.counted_at >= TOLD_AFTER_S:
                left_out, known.left_out = known.left_out, 0
                yield " ".join(key), left_out
