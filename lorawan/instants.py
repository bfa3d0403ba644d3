"""Instants as the whole platform counts them: microseconds since 1970-01-01T00:00:00Z, without leap seconds. Pure.

The clock itself is read in `core.runtime.clock`.
"""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GPS_EPOCH_US = 315_964_800_000_000  # 1980-01-06T00:00:00Z.
GPS_LEAP_SECONDS = 18  # Since then; the last one was added at the end of 2016.
_MICROSECOND = timedelta(microseconds=1)


def to_us(instant: datetime) -> int:
    """Microseconds since 1970 of an instant with a time zone, exactly: no floating-point number is involved."""
    return (instant - EPOCH) // _MICROSECOND


def from_us(time_us: int) -> datetime:
    """The instant in UTC of microseconds since 1970; raises OverflowError beyond the year 9999."""
    return EPOCH + timedelta(microseconds=time_us)
