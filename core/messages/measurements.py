"""MEASUREMENTS: what ingest has committed, to alerting, lighting and the live view."""

from collections.abc import Iterable, Iterator
from enum import IntFlag
from functools import cache

import msgspec

from core.messages.batch import BatchDecoder
from core.model.identities import NO_TRACE


class Flag(IntFlag):
    """What is known about a measurement besides its value (measurement.flags)."""

    SUSPECT = 1  # Outside its sensor's range (core.model.plausibility).
    TIME_SUSPECT = 2  # The instant that was stated is not credible: this one is that of the reception.
    MANUAL = 4
    REDECODED = 8
    CORRECTED = 64  # It took the place of another value of this instant; 16 and 32 are free.


@cache
def flag_names(flags: int) -> tuple[str, ...]:
    """The names of what is known about a measurement besides its value."""
    return tuple((flag.name or "").lower() for flag in Flag if flags & flag)


# What counts for no mean and no rule, but for those rules that judge improbable values too.
DOUBTFUL = Flag.SUSPECT | Flag.TIME_SUSPECT
# The same of a row, in SQL: its value counts; it does not.
SOUND, UNSOUND = f"flags & {DOUBTFUL:d} = 0", f"flags & {DOUBTFUL:d} <> 0"


class Measurement(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One value of one datastream, as committed. Time in microseconds since 1970 UTC.

    `trace_id` is that of the uplink which brought it; empty: the same as of the item before in the message, for an
    uplink brings several.
    """

    datastream_id: int
    time_us: int
    value: float
    flags: int
    trace_id: bytes = NO_TRACE


MEASUREMENT_BATCHES = BatchDecoder(Measurement)


def traced(items: Iterable[Measurement]) -> Iterator[tuple[Measurement, bytes]]:
    """The items of one message, each with the trace of its uplink; empty when it has none."""
    trace_id = NO_TRACE
    for item in items:
        trace_id = item.trace_id or trace_id
        yield item, trace_id
