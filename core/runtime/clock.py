"""The wall clock, read by the shell only; pure modules take `now` as an argument."""

import time


def wall_clock_us() -> int:
    """Microseconds since 1970 UTC, now."""
    return time.time_ns() // 1_000
