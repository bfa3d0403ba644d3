"""Least squares of one variable, and the quantiles of Student's distribution that its intervals need. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Fit:
    """y = intercept + slope x, and how well it fits: R2, CV(RMSE) as a share of the mean, n points.

    `x_mean` and `x_spread` (the sum of squares about it) say how sure it is of what lies beside its points;
    `slope` is 0 and `x_spread` too of a mean. `dof`: degrees of freedom that are left.
    """

    n: int
    intercept: float
    slope: float
    r2: float | None
    cv_rmse: float
    residual_s: float
    x_mean: float
    x_spread: float
    dof: int


class TooFewPoints(ValueError):
    """Through these points no line goes, or every one does."""


def fit_mean(ys: Sequence[float]) -> Fit:
    """A constant; raises TooFewPoints below two."""
    n = len(ys)
    if n < 2:  # noqa: PLR2004 - One point has no spread.
        raise TooFewPoints(f"{n} points")
    mean = math.fsum(ys) / n
    residual = math.sqrt(math.fsum((y - mean) ** 2 for y in ys) / (n - 1))
    return Fit(n, mean, 0.0, None, _share(residual, mean), residual, 0.0, 0.0, n - 1)


def fit_line(xs: Sequence[float], ys: Sequence[float]) -> Fit:
    """A line; raises TooFewPoints below three, and where all have one x."""
    n = len(xs)
    if n < 3:  # noqa: PLR2004 - Through two a line goes exactly.
        raise TooFewPoints(f"{n} points")
    x_mean, y_mean = math.fsum(xs) / n, math.fsum(ys) / n
    x_spread = math.fsum((x - x_mean) ** 2 for x in xs)
    if x_spread <= 1e-12 * n * max(1.0, x_mean * x_mean):
        raise TooFewPoints("one x")
    slope = math.fsum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / x_spread
    intercept = y_mean - slope * x_mean
    errors = math.fsum((y - intercept - slope * x) ** 2 for x, y in zip(xs, ys, strict=True))
    total = math.fsum((y - y_mean) ** 2 for y in ys)
    residual = math.sqrt(errors / (n - 2))
    r2 = 1 - errors / total if total > 0 else 0.0
    return Fit(n, intercept, slope, r2, _share(residual, y_mean), residual, x_mean, x_spread, n - 2)


def _share(residual: float, mean: float) -> float:
    return residual / abs(mean) if mean else math.inf


def half_width(fit: Fit, weights: Sequence[float], xs: Sequence[float]) -> float:
    """The half width of the 95 % interval of a weighted sum of new points, against what the fit says of them.

    Errors of points are taken as independent of each other, and normal.
    """
    total = math.fsum(weights)
    variance = math.fsum(weight * weight for weight in weights) + total * total / fit.n
    if fit.x_spread:
        moved = math.fsum(weight * (x - fit.x_mean) for weight, x in zip(weights, xs, strict=True))
        variance += moved * moved / fit.x_spread
    return student_quantile((1 + CONFIDENCE) / 2, fit.dof) * fit.residual_s * math.sqrt(variance)


def student_quantile(probability: float, dof: int) -> float:
    """The t below which a share of at least one half of Student's distribution lies."""
    low, high = 0.0, 1.0
    while _student_share(high, dof) < probability:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        if _student_share(middle, dof) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _student_share(t: float, dof: int) -> float:
    """How much of the distribution lies below t >= 0 (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan2(t, math.sqrt(dof))
    cosine, term, series = math.cos(angle), 1.0, 0.0
    if dof % 2:
        for number in range(3, dof + 1, 2):
            series += term
            term *= cosine * cosine * (number - 1) / number
        within = 2 / math.pi * (angle + math.sin(angle) * cosine * series)
    else:
        for number in range(2, dof + 1, 2):
            series += term
            term *= cosine * cosine * (number - 1) / number
        within = math.sin(angle) * series
    return (1 + within) / 2
