"""How far away a gateway is: the median of its last round trips, which one that stood still does not move."""

from collections import deque
from dataclasses import dataclass, field
from statistics import median_low

SAMPLES = 9


@dataclass(slots=True)
class RoundTrip:
    """Round trips in microseconds."""

    median_us: int | None = None
    """None before the first one."""
    _samples: deque[int] = field(default_factory=lambda: deque(maxlen=SAMPLES))

    def note(self, sample_us: int) -> None:
        """Count one more."""
        self._samples.append(sample_us)
        self.median_us = median_low(self._samples)
