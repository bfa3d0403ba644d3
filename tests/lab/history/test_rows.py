from datetime import date
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from ingest.binary_copy import EPOCH_2000_US, HEADER, TRAILER, copy_of_measurements
from lab.history.days import weeks
from lab.history.rows import ROW, SECOND_US, Grid, fill, make_template

PARIS = ZoneInfo("Europe/Paris")
WEEKS = list(weeks(date(2026, 3, 2), date(2026, 11, 9), PARIS))
GRIDS = [
    Grid(600, 250, is_index=False),
    Grid(3_600, 0, is_index=False),
    Grid(3_600, 0, is_index=True),
    Grid(21_600, 1_800, is_index=True),
    Grid(86_400, 7_200, is_index=False),
]


@pytest.mark.parametrize("grid", GRIDS)
def test_weeks_hold_every_instant_of_the_grid_once_whatever_the_clocks_do(grid: Grid) -> None:
    times: list[int] = []
    for week in WEEKS:
        template = make_template(grid, week)
        assert sum(len(range(1_000)[slots]) for slots in template.slots) == template.count
        times += [ROW.unpack_from(template.rows, place)[4] for place in range(0, len(template.rows), ROW.size)]

    assert all(other - one == grid.step_s * SECOND_US for one, other in pairwise(times))
    assert len(times) == grid.count(WEEKS[0][0].start_us, WEEKS[-1][-1].end_us)


def test_an_index_read_at_midnight_belongs_to_the_day_that_it_ends() -> None:
    week = WEEKS[0]
    template = make_template(Grid(3_600, 0, is_index=True), week)

    first, last = (
        ROW.unpack_from(template.rows, place)[4] + EPOCH_2000_US for place in (0, -ROW.size % len(template.rows))
    )

    assert first == week[0].start_us + 3_600 * SECOND_US
    assert last == week[-1].end_us


def test_rows_are_those_that_ingest_would_copy() -> None:
    template = make_template(Grid(3_600, 60, is_index=False), WEEKS[0])
    values = [number / 10 for number in range(template.count)]

    rows = fill(template, 123_456, values, suspect=3)

    expected = copy_of_measurements(
        (123_456, WEEKS[0][0].start_us + (60 + 3_600 * number) * SECOND_US, value, int(number == 3))
        for number, value in enumerate(values)
    )
    assert HEADER + rows + TRAILER == bytes(expected)
