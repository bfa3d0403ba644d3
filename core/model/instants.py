"""What becomes of the instant that a source, a network server or a device states. Pure.

One function for every adapter and every frame. No instant is replaced silently.
"""

from datetime import timedelta
from typing import NamedTuple

AHEAD_AT_MOST = timedelta(minutes=5)
LATE_AT_MOST = timedelta(days=366)
_MICROSECOND = timedelta(microseconds=1)
AHEAD_AT_MOST_US, LATE_AT_MOST_US = AHEAD_AT_MOST // _MICROSECOND, LATE_AT_MOST // _MICROSECOND
EARLIEST_US = 1_420_070_400_000_000  # 2015-01-01: before LoRaWAN 1.0 no device measured anything.


class Placed(NamedTuple):
    """Where a reading is in time. `is_suspect`: what was stated is not credible, and this is the reception."""

    time_us: int
    is_suspect: bool


def placed(stated_us: int, received_at_us: int) -> Placed:
    """Where something is stored whose instant was stated so, and that was received then.

    At its own instant up to 366 days late; at the reception when it is up to five minutes ahead, as clocks are;
    at the reception and suspect when it is farther off, or before 2015.
    """
    if EARLIEST_US <= stated_us <= received_at_us and received_at_us - stated_us <= LATE_AT_MOST_US:
        return Placed(stated_us, False)
    is_a_little_ahead = 0 <= stated_us - received_at_us <= AHEAD_AT_MOST_US
    return Placed(received_at_us, not is_a_little_ahead)
