"""Finds codec versions that overrun their time limit five times in ten minutes."""

from collections import deque

MOST = 5
WITHIN_S = 600.0


class Overruns:
    """Counts by script's key; times are seconds of any steady clock. Pure."""

    def __init__(self) -> None:
        self._of: dict[str, deque[float]] = {}

    def record_overrun(self, key: str, now: float) -> bool:
        """One more; True when this one is the one too many."""
        times = self._of.setdefault(key, deque(maxlen=MOST))
        was_stopped = self.is_stopped(key, now)
        times.append(now)
        return self.is_stopped(key, now) and not was_stopped

    def is_stopped(self, key: str, now: float) -> bool:
        """Whether the last five were within ten minutes, up to ten minutes after the first of them."""
        times = self._of.get(key)
        return times is not None and len(times) == MOST and now - times[0] < WITHIN_S

    def release(self, key: str) -> None:
        """Start over: somebody looked at it."""
        self._of.pop(key, None)
