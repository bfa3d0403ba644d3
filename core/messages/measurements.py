"""MEASUREMENTS: what ingest has committed, to alerting, lighting and the live view."""

from enum import IntFlag

import msgspec

from core.messages.batch import BatchDecoder


class Flag(IntFlag):
    """What is known about a measurement besides its value (measurement.flags)."""

    SUSPECT = 1  # Outside the plausible range of its quantity.
    TIME_SUSPECT = 2  # Its instant was not credible and was replaced.
    MANUAL = 4
    REDECODED = 8


class Measurement(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One value of one datastream, as committed. Time in microseconds since 1970 UTC."""

    datastream_id: int
    time_us: int
    value: float
    flags: int


MEASUREMENT_BATCHES = BatchDecoder(Measurement)
