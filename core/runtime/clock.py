"""The wall clock. What does no I/O takes `now` as an argument instead."""

import time


def wall_clock_us() -> int:
    """Microseconds since 1970 UTC, now."""
    return time.time_ns() // 1_000
