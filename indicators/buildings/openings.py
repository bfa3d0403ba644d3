"""How often doors were opened, by hour of the day and outside opening hours: counts, and nobody's name. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

HOURS = 24


class StateChange(NamedTuple):
    """A reading of a door's contact: from this instant on it is open, or closed; `local` by the clocks on the
    wall.
    """

    at: datetime
    local: datetime
    is_open: bool


@dataclass(frozen=True, slots=True)
class Openings:
    """By hour of the day from midnight; `outside`: while the place was closed (None: no calendar says)."""

    count: int
    by_hour: tuple[int, ...]
    outside: int | None


def count_openings(readings: Iterable[StateChange], is_open: Callable[[datetime], bool] | None = None) -> Openings:
    """Openings among readings in their order; the first reading is no opening, for nobody knows what was before
    it.
    """
    by_hour, outside, before = [0] * HOURS, 0, True
    for reading in readings:
        if reading.is_open and not before:
            by_hour[reading.local.hour] += 1
            outside += is_open is not None and not is_open(reading.at)
        before = reading.is_open
    return Openings(sum(by_hour), tuple(by_hour), None if is_open is None else outside)
