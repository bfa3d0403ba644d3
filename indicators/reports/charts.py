"""Where the bars of a chart stand, whatever draws them: a page or a PDF. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
TICKS = 4
# Of the width that each month has, the bar takes so much.
BAR_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle, from its upper left corner; y grows downwards."""

    x: float
    y: float
    width: float
    height: float
    value: float


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bars by their place, None: unknown; lines across with what they stand for; the middle of each place."""

    width: float
    height: float
    bars: tuple[Bar | None, ...]
    lines: tuple[tuple[float, float], ...]
    middles: tuple[float, ...]


def bar_chart(values: Sequence[float | None], width: float, height: float) -> BarChart:
    """Bars from zero on, in a frame of this size; what is below zero has no height."""
    step = _step(max((value for value in values if value is not None), default=0.0))
    top = step * math.ceil(max([step, *(value for value in values if value is not None)]) / step)
    place = width / len(values)

    def y(value: float) -> float:
        return height * (1 - max(0.0, value) / top)

    bars = tuple(
        None
        if value is None
        else Bar(place * (n + (1 - BAR_SHARE) / 2), y(value), place * BAR_SHARE, height - y(value), value)
        for n, value in enumerate(values)
    )
    lines = tuple((y(step * n), step * n) for n in range(round(top / step) + 1))
    return BarChart(width, height, bars, lines, tuple(place * (n + 0.5) for n in range(len(values))))


def _step(highest: float) -> float:
    """Between two lines: 1, 2, 2.5 or 5 times a power of ten, so that there are about four."""
    if highest <= 0:
        return 1.0
    rough = highest / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * step for step in STEPS if power * step >= rough * (1 - 1e-9))
