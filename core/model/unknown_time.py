"""When nothing is known any more of what a sensor measures: one limit for alerts and for indicators."""

from datetime import timedelta

# A reading stands for so many of its device's expected intervals; what follows is unknown until the next one.
UNKNOWN_AFTER_INTERVALS = 2


def known_for(expected_interval: timedelta) -> timedelta:
    """How long a reading of a device that is expected to speak this often stands for what it measures."""
    return UNKNOWN_AFTER_INTERVALS * expected_interval
