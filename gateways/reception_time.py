"""Decides the instant of one reception (docs/protocols.md, "Matrix", row 16)."""

CLOCK_TOLERANCE_US = 30_000_000
# No gateway keeps frames for longer. A receiver whose week number has rolled over is twenty years behind.
OLDEST_REPLAY_US = 30 * 24 * 3_600_000_000


def reception_time_us(
    received_at_us: int,
    *,
    gps_time_us: int | None = None,
    gateway_time_us: int | None = None,
    replayed_since_us: int | None = None,
) -> int:
    """The end of the frame, in microseconds since 1970 UTC.

    GPS time of the last 30 days; else the gateway's clock when it is within 30 s of ours; else `received_at_us`.
    While a gateway or its broker hands over what it kept during an absence, `replayed_since_us` says when that
    began: from then on the gateway's clock is believed however late the copy comes. A time that is ahead of ours
    by more than 30 s is never taken.
    """
    latest = received_at_us + CLOCK_TOLERANCE_US
    if gps_time_us is not None and received_at_us - OLDEST_REPLAY_US <= gps_time_us <= latest:
        return gps_time_us
    if gateway_time_us is None or gateway_time_us > latest:
        return received_at_us
    earliest = received_at_us if replayed_since_us is None else min(received_at_us, replayed_since_us)
    return gateway_time_us if gateway_time_us >= earliest - CLOCK_TOLERANCE_US else received_at_us
