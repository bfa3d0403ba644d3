"""The wall clock of the shell; the core is told what time it is."""

import time


def wall_clock_us() -> int:
    """Microseconds since 1970 UTC."""
    return time.time_ns() // 1000
