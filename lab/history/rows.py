"""A week of one datastream in PostgreSQL's binary COPY format, written by columns: 0.07 us a row.

Rows of observation.measurement have the same 40 octets but for id, time, value and flags. So a week is a run of
equal rows into which each octet of these is put by a strided slice; times are the same for all that share a grid.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from ingest.binary_copy import EPOCH_2000_US
from lab.history.days import Day
from lab.history.shapes import SLOT_S

SECOND_US = 1_000_000
SLOT_US = SLOT_S * SECOND_US
# As ingest.binary_copy: the count of fields, then for each its length and its value.
ROW = Struct(">h ii iq id ih")
BLANK = ROW.pack(4, 4, 0, 8, 0, 8, 0.0, 2, 0)
ID_AT, TIME_AT, VALUE_AT, FLAGS_AT = 6, 14, 26, 39


@dataclass(frozen=True, slots=True)
class Grid:
    """When a datastream is read: every `step_s` seconds of UTC, `phase_s` later.

    An index is read at the end of what it counts: its day goes from just after midnight to midnight itself.
    """

    step_s: int
    phase_s: int
    is_index: bool

    def first_from(self, instant_us: int) -> int:
        """The number of the first reading that belongs to what begins at this instant."""
        early = 0 if self.is_index else 1
        return (instant_us - early - self.phase_s * SECOND_US) // (self.step_s * SECOND_US) + 1

    def count(self, since_us: int, until_us: int) -> int:
        """How many readings there are between two instants."""
        return self.first_from(until_us) - self.first_from(since_us)


@dataclass(frozen=True, slots=True)
class Template:
    """The rows of a week, all but ids and values, and the slots of each of its days."""

    rows: bytearray
    slots: tuple[slice, ...]
    count: int


def make_template(grid: Grid, week: Sequence[Day]) -> Template:
    """The instants of the grid in these days."""
    step, phase = grid.step_s * SECOND_US, grid.phase_s * SECOND_US
    stride = max(1, step // SLOT_US)
    slots: list[slice] = []
    for day in week:
        first, end = grid.first_from(day.start_us), grid.first_from(day.end_us)
        begin = (first * step + phase - day.start_us) // SLOT_US
        slots.append(slice(begin, begin + (end - first) * stride, stride))
    first, end = grid.first_from(week[0].start_us), grid.first_from(week[-1].end_us)
    times = array("q", range(first * step + phase - EPOCH_2000_US, end * step + phase - EPOCH_2000_US, step))
    times.byteswap()
    rows, octets = bytearray(BLANK * len(times)), times.tobytes()
    for place in range(8):
        rows[TIME_AT + place :: ROW.size] = octets[place::8]
    return Template(rows, tuple(slots), len(times))


def fill(template: Template, datastream_id: int, values: Sequence[float], suspect: int | None = None) -> bytearray:
    """The template's rows with this id and these values, one for each row; that at `suspect` is flagged."""
    rows, count = template.rows.copy(), template.count
    for place, octet in enumerate(datastream_id.to_bytes(4, "big")):
        rows[ID_AT + place :: ROW.size] = bytes((octet,)) * count
    column = array("d", values)
    column.byteswap()
    octets = column.tobytes()
    for place in range(8):
        rows[VALUE_AT + place :: ROW.size] = octets[place::8]
    if suspect is not None:
        rows[suspect * ROW.size + FLAGS_AT] = 1
    return rows
