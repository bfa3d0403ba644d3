"""What entries of the feed say of measurements: new, late, typed, corrected, decoded again, or gone."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from core.messages.measurements import flag_names
from registry.feed import Entry

# What comes in so long after its instant was buffered by somebody: a device, a gateway, another network.
LATE_AFTER = timedelta(minutes=15)
OF_MEASUREMENTS = ("live", "manual", "corrected", "redecoded", "meter_change")

Kind = Literal["new", "late", "manual", "corrected", "redecoded", "removed", "meter_change"]


class ChangedMeasurement(msgspec.Struct, gc=False):
    """One instant of a datastream that has changed, with the value in force; encoded by the ten thousand."""

    datastream_id: int
    asset_id: int | None
    quantity: str
    time: datetime
    value: float | None
    flags: Sequence[str]
    change: Kind
    recorded_at: datetime


def _kind_of(origin: str, at: datetime, time: datetime, value: float | None) -> Kind:
    match origin:
        case "meter_change" | "manual" as kind:
            return "removed" if value is None and kind == "manual" else kind
        case _ if value is None:
            return "removed"
        case "corrected" | "redecoded" as kind:
            return kind
        case _:
            return "late" if at - time > LATE_AFTER else "new"


def changed_measurements(entries: Sequence[Entry]) -> Iterator[ChangedMeasurement]:
    """Those of measurements, as they are answered."""
    for _, _, _, at, origin, _, datastream_id, asset_id, quantity, time, value, flags in entries:
        if datastream_id is not None and time is not None:
            kind = _kind_of(origin, at, time, value)
            named = flag_names(flags or 0)
            yield ChangedMeasurement(datastream_id, asset_id, quantity or "", time, value, named, kind, at)
