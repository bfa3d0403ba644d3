"""What Axioma's Qalcosonic W1 sends (vendor's w1.js)."""

import struct
from collections.abc import Sequence


def w1(
    *,
    now_s: int,
    volume_l: int,
    first_log_s: int,
    first_volume_l: int,
    hourly_deltas_l: Sequence[int],
    status: int = 0,
) -> bytes:
    """Port 100: the index now, an earlier one, and what was used in each hour since."""
    return struct.pack("<IBIII", now_s, status, volume_l, first_log_s, first_volume_l) + struct.pack(
        f"<{len(hourly_deltas_l)}H", *hourly_deltas_l
    )


def w1_alarm(*, at_s: int, code: int) -> bytes:
    """Port 103: an alarm and its instant."""
    return struct.pack("<IB", at_s, code)
