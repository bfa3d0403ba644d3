"""Whether a curve rises: least squares, with an interval that knows that neighbours are alike."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from statistics import fmean

PERIOD_S = 600.0
"""What a slope is given for: ten minutes."""
MOST_SHARE = 0.01
FEWEST_SAMPLES = 8
# A step is made within so many looks.
STEP_SAMPLES = 3
# Student's t, 97.5 %, from so many degrees of freedom on.
T_975 = (
    (2, 4.303),
    (3, 3.182),
    (4, 2.776),
    (5, 2.571),
    (7, 2.365),
    (10, 2.228),
    (15, 2.131),
    (20, 2.086),
    (30, 2.042),
)


class Verdict(StrEnum):
    """What a slope shows."""

    HOLDS = "tenu"
    WITHIN = "tenu, jamais plus qu'au début"
    UNPROVEN = "tenu, intervalle trop large"
    STEP = "tenu, une seule marche"
    MISSED = "manqué"
    UNKNOWN = "trop peu de points"


@dataclass(frozen=True, slots=True)
class Slope:
    """A line through samples: its mean level, its rise in ten minutes, and the interval of 95 % of that."""

    level: float
    per_period: float
    low: float
    high: float
    samples: int

    def verdict(self, allowed: float, parts: Sequence["Slope"] = ()) -> Verdict:
        """Whether it rises by less than this in ten minutes: above it misses, however wide its interval is.

        What is done for the first time, an hour's rollups say, takes memory once: `parts`, before and after the
        highest step, are level both.
        """
        if self.samples < FEWEST_SAMPLES:
            return Verdict.UNKNOWN
        if self.per_period >= allowed:
            return Verdict.STEP if parts and all(part.high < allowed for part in parts) else Verdict.MISSED
        return Verdict.HOLDS if self.high < allowed else Verdict.UNPROVEN


def around_highest_step(times_s: Sequence[float], values: Sequence[float]) -> tuple[Slope, Slope]:
    """The slopes before and after the place where it rises most within a few looks."""
    steps = [values[at + STEP_SAMPLES] - values[at] for at in range(len(values) - STEP_SAMPLES)]
    at = max(range(len(steps)), key=steps.__getitem__, default=0)
    after = at + STEP_SAMPLES
    return slope(times_s[: at + 1], values[: at + 1]), slope(times_s[after:], values[after:])


def slope(times_s: Sequence[float], values: Sequence[float]) -> Slope:
    """By least squares. Residuals that follow one another count as fewer samples (their first autocorrelation)."""
    count = len(times_s)
    if count < FEWEST_SAMPLES:
        return Slope(fmean(values) if values else 0.0, 0.0, -math.inf, math.inf, count)
    at, level = fmean(times_s), fmean(values)
    spread = sum((time - at) ** 2 for time in times_s)
    rise = sum((time - at) * (value - level) for time, value in zip(times_s, values, strict=True)) / spread
    residuals = [value - level - rise * (time - at) for time, value in zip(times_s, values, strict=True)]
    squares = sum(one * one for one in residuals)
    free = max(2.0, count * _independence(residuals, squares) - 2)
    error = math.sqrt(squares / free / spread)
    half = _t_975(free) * error * PERIOD_S
    return Slope(level, rise * PERIOD_S, rise * PERIOD_S - half, rise * PERIOD_S + half, count)


def _independence(residuals: Sequence[float], squares: float) -> float:
    """The share of samples that are news, between nearly none and all of them."""
    if squares == 0:
        return 1.0
    alike = sum(one * next_one for one, next_one in pairwise(residuals)) / squares
    alike = min(max(alike, 0.0), 0.95)
    return (1 - alike) / (1 + alike)


def _t_975(free: float) -> float:
    return next(quantile for least, quantile in reversed(T_975) if free >= least)
