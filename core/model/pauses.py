"""How long to wait before trying again: longer after each failure in a row, up to a limit."""

import math


def growing_pause(first_s: float, longest_s: float, failures: int, factor: float = 2.0) -> float:
    """Seconds to wait: `first_s` at no failure, `factor` times as long after each more, never above `longest_s`.

    A power of the count alone overflows a float after 1,024 doublings: a server that was away for a night.
    """
    reached = math.log(longest_s / first_s, factor)
    return longest_s if failures >= reached else first_s * factor ** max(0, failures)
