"""How far a value is to be believed: by its sensor's range, by what is physically possible, by error codes. Pure.

A sensor that breaks, or that burns, gives values outside its own range. Those that are physically possible may be
true; what is none of that, or what a decoder gives in place of a value, is none.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from core.model.quantities import Quantity


class Plausibility(Enum):
    """What is thought of a value."""

    PLAUSIBLE = "plausible"
    IMPROBABLE = "improbable"  # Outside its sensor's range, and physically possible.
    IMPOSSIBLE = "impossible"
    ERROR_CODE = "error_code"  # What its decoder gives when there is no value.


@dataclass(frozen=True, slots=True)
class SensorRange:
    """What a model of sensor measures of a quantity: from `minimum` to `maximum`, both included.

    None: as of its quantity. `channel` None: on every channel. `error_codes` are what its decoder gives in place
    of a value, in the quantity's unit, be it in the range or not.
    """

    quantity: str
    channel: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    error_codes: tuple[float, ...] = ()

    def covers(self, channel: str, quantity: str) -> bool:
        """Whether it is about these values."""
        return self.quantity == quantity and self.channel in (None, channel)


def sensor_ranges_of(stored: Iterable[Mapping[str, Any]]) -> tuple[SensorRange, ...]:
    """The ranges that a profile states, from their JSON objects."""
    return tuple(
        SensorRange(
            one["quantity"],
            one.get("channel"),
            one.get("minimum"),
            one.get("maximum"),
            tuple(one.get("error_codes", ())),
        )
        for one in stored
    )


DIGITS = 6  # Values are compared as they are written, not as a division leaves them.
# "No value" in 16 bits, signed and unsigned, as vendors use the ends of the range, and in 8 bits; decoders that do
# not know of it divide it like any other number.
_RAW_CODES = (*range(0x7FFD, 0x8001), *range(0xFFFC, 0x10000), *range(-0x8000, -0x7FFC))
_NINES = (999.0, 999.9, 9999.0)
_WRITTEN_CODES = (-127.0, -128.0, 255.0, 850.0, *_NINES, *(-nines for nines in _NINES))
ERROR_CODES = frozenset(
    {round(raw / divisor, DIGITS) for raw in _RAW_CODES for divisor in (1, 10, 100, 1000)} | {*_WRITTEN_CODES}
)


def range_of(quantity: Quantity, channel: str, ranges: Iterable[SensorRange]) -> SensorRange:
    """The range of a sensor's values on a channel: the one that names the channel goes before that for all.

    Its bounds are the quantity's where it says none.
    """
    about = [one for one in ranges if one.covers(channel, quantity.name)]
    found = min(about, key=lambda one: one.channel is None, default=SensorRange(quantity.name))
    return SensorRange(
        quantity.name,
        found.channel,
        quantity.minimum if found.minimum is None else found.minimum,
        quantity.maximum if found.maximum is None else found.maximum,
        found.error_codes,
    )


def plausibility(
    value: float, quantity: Quantity, channel: str = "", ranges: Iterable[SensorRange] = ()
) -> Plausibility:
    """What is thought of a finite value of this quantity, from a sensor with these ranges."""
    of = range_of(quantity, channel, ranges)
    written = round(value, DIGITS)
    if written in of.error_codes:
        return Plausibility.ERROR_CODE
    if _is_within(value, of.minimum, of.maximum):
        return Plausibility.PLAUSIBLE
    if written in ERROR_CODES:
        return Plausibility.ERROR_CODE
    is_possible = _is_within(value, quantity.lowest, quantity.highest)
    return Plausibility.IMPROBABLE if is_possible else Plausibility.IMPOSSIBLE


def is_named_error_code(value: float, quantity: Quantity, channel: str, ranges: Iterable[SensorRange]) -> bool:
    """Whether the profile says that this is no value."""
    return round(value, DIGITS) in range_of(quantity, channel, ranges).error_codes


def _is_within(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)
