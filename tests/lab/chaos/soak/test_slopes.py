"""Slopes and their intervals, worked out by hand."""

import math

import pytest

from lab.chaos.soak.slopes import Verdict, slope

MINUTES = [60.0 * minute for minute in range(8)]


def test_a_straight_line_has_its_own_slope_and_no_doubt() -> None:
    """100 MB and 0.6 MB a minute: 6 MB in ten."""
    line = slope(MINUTES, [100 + 0.6 * minute for minute in range(8)])

    assert (line.level, line.samples) == (pytest.approx(102.1), 8)
    assert [line.per_period, line.low, line.high] == pytest.approx([6.0, 6.0, 6.0])
    assert line.verdict(1.021) is Verdict.MISSED
    assert line.verdict(6.1) is Verdict.HOLDS


def test_a_zigzag_rises_by_what_least_squares_say_with_its_interval() -> None:
    """1 2 1 2 1 2 1 2: the products sum to 2 and the squares to 42, so 2/42 a minute.

    Squares of residuals: 8/4 - 42 (2/42)^2 = 1.904762; error sqrt(1.904762 / 6 / 42) = 0.086940; t of 5 degrees
    and more 2.571. Neighbours are unlike each other, which makes no sample more.
    """
    zigzag = slope(MINUTES, [1.0, 2.0] * 4)

    assert zigzag.per_period == pytest.approx(10 * 2 / 42)
    assert zigzag.high - zigzag.per_period == pytest.approx(10 * 2.571 * 0.0869405, rel=1e-5)
    assert zigzag.verdict(0.4) is Verdict.MISSED  # It may as well be level: it has not been shown to be.
    assert zigzag.verdict(3.0) is Verdict.HOLDS
    assert zigzag.verdict(0.5) is Verdict.UNPROVEN


def test_samples_that_follow_one_another_count_as_fewer() -> None:
    """Two steps, -1 and 1, around nothing: 0 0 0 0 1 1 1 1 has residuals whose neighbours are alike."""
    times = [60.0 * minute for minute in range(40)]
    blocks = [float(minute // 5 % 2) for minute in range(40)]
    mixed = [float(minute % 2) for minute in range(40)]

    assert slope(times, blocks).high - slope(times, blocks).low > 2 * (
        slope(times, mixed).high - slope(times, mixed).low
    )


def test_a_level_line_and_too_few_points() -> None:
    level = slope(MINUTES, [5.0] * 8)

    assert (level.per_period, level.low, level.high) == (0.0, 0.0, 0.0)
    assert level.verdict(0.05) is Verdict.HOLDS
    few = slope(MINUTES[:7], [1.0] * 7)
    assert (few.low, few.high, few.verdict(1.0)) == (-math.inf, math.inf, Verdict.UNKNOWN)
