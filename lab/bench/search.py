"""Which rate to try next, to find the highest that is sustained. Pure."""

from dataclasses import dataclass, field

LADDER = (
    1_000, 1_500, 2_000, 3_000, 4_000, 5_000, 6_000, 8_000, 10_000, 12_000, 15_000, 18_000, 21_000, 24_000,
    27_000, 30_000, 35_000, 40_000, 50_000, 60_000,
)  # fmt: skip
FIRST = 8_000
# Nearer than this, a longer measurement decides.
CLOSE_ENOUGH = 0.12
ROUND_TO = 250
# When the long measurement shows that a rate is not sustained after all.
STEP_DOWN = 0.93


@dataclass(slots=True)
class Search:
    """Upward while a rate is sustained, then between the last that was and the first that was not."""

    most: float = LADDER[-1]
    best: float | None = None
    worst: float | None = None
    _throughput: float = field(default=float("inf"))

    def next_rate(self) -> float | None:
        """The rate to try, uplinks per second; None when `best` is close enough, or nothing is sustained."""
        if self.worst is None:
            reached = FIRST - 1 if self.best is None else self.best
            return next((float(rate) for rate in LADDER if reached < rate <= self.most), None)
        if self.best is None:
            below = min(self.worst - 1, self._throughput)
            return next((float(rate) for rate in reversed(LADDER) if rate <= below), None)
        if self.worst / self.best - 1 <= CLOSE_ENOUGH:
            return None
        between = round((self.best + self.worst) / 2 / ROUND_TO) * float(ROUND_TO)
        return between if self.best < between < self.worst else None

    def record_attempt(self, rate: float, *, sustained: bool, throughput: float) -> None:
        """What came of trying `rate`; `throughput` is what was committed per second meanwhile."""
        if sustained:
            self.best = rate
        else:
            self.worst = rate
            self._throughput = throughput


def step_down(rate: float) -> float:
    """The rate to measure when this one was not sustained over the whole measurement."""
    return max(ROUND_TO, int(rate * STEP_DOWN / ROUND_TO) * ROUND_TO)
