"""The wall clock. What does no I/O takes `now` as an argument instead."""

import time
from collections.abc import Callable
from typing import TypeAlias

WallClock: TypeAlias = Callable[[], int]
"""Microseconds since 1970 UTC; an argument of code that waits for instants, so that a test can move it."""


def monotonic_us() -> int:
    """Microseconds of a clock that nobody sets."""
    return time.monotonic_ns() // 1_000


def wall_clock_us() -> int:
    """Microseconds since 1970 UTC, now."""
    return time.time_ns() // 1_000
