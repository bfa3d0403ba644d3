"""CO2, ICONE, comfort and humidity of hours that are counted by hand."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indicators.buildings.room_air import (
    RoomHour,
    co2_by_week,
    co2_of,
    comfort_of,
    evaluation_of,
    humidity_of,
    icone,
    rooms_to_measure,
)


def occupied(*means: float | None) -> list[RoomHour]:
    return [RoomHour(mean, True) for mean in means]


@pytest.mark.parametrize(
    ("means", "index"),
    # The reference cases: nothing confined, all between 1,000 and 1,700, all above.
    [((600, 800, 999), 0.0), ((1000, 1350, 1700), 2.5), ((1701, 2500, 4000), 5.0)],
)
def test_icone_of_the_reference_cases_is_exact(means, index: float) -> None:
    assert co2_of(occupied(*means)).icone == pytest.approx(index, abs=1e-12)


def test_icone_between_them() -> None:
    # A quarter confined, a quarter very: log2(1 + 0.25 + 0.75) = 1, times 2.5.
    assert icone(0.25, 0.25) == pytest.approx(2.5)
    assert icone(0.5, 0) == pytest.approx(1.462406, abs=1e-6)  # 2.5 x log2(1.5).


def test_statistics_are_of_known_occupied_hours_alone() -> None:
    hours = [*occupied(700, 900, None, 1600, 390), RoomHour(3000, False), RoomHour(None, False)]

    co2 = co2_of(hours)

    assert (co2.hours, co2.known_hours, co2.highest, co2.below_400) == (5, 4, 1600, 1)
    assert co2.mean == pytest.approx((700 + 900 + 1600 + 390) / 4)
    assert (co2.above_800, co2.above_1500) == (0.5, 0.25)


def test_a_threshold_that_is_met_is_exceeded_as_for_the_alert() -> None:
    co2 = co2_of(occupied(800, 1500))

    assert (co2.above_800, co2.above_1500) == (1, 0.5)


def test_a_silent_sensor_has_no_index() -> None:
    co2 = co2_of(occupied(None, None))

    assert (co2.hours, co2.known_hours, co2.icone, co2.above_800, co2.highest) == (2, 0, None, None, None)


def test_comfort_counts_occupied_hours_below_within_and_above() -> None:
    comfort = comfort_of([*occupied(18.9, 19, 22, 26, 26.1, None), RoomHour(12, False)], 19, 26)

    assert (comfort.hours, comfort.known_hours, comfort.below, comfort.within, comfort.above) == (6, 5, 1, 3, 1)


def test_the_longest_humid_stretch_ends_at_an_unknown_hour() -> None:
    humidity = humidity_of([70, 75, None, 80, 69.9, 71, 72, 90])

    assert (humidity.hours, humidity.known_hours, humidity.humid, humidity.longest) == (8, 7, 6, 3)


@pytest.mark.parametrize(("rooms", "to_measure"), [(0, 0), (1, 1), (5, 5), (6, 3), (7, 4), (20, 10)])
def test_at_least_half_of_the_rooms_from_six_on(rooms: int, to_measure: int) -> None:
    assert rooms_to_measure(rooms) == to_measure


def test_a_room_that_was_silent_for_most_of_its_hours_is_not_measured() -> None:
    quiet, loud = co2_of(occupied(700, 720)), co2_of(occupied(900, 1600))
    silent = co2_of(occupied(900, None, None))

    found = evaluation_of([quiet, loud, silent, silent, silent, silent])
    enough = evaluation_of([quiet, loud, quiet, silent, silent, silent])

    assert (found.rooms, found.to_measure, found.measured, found.is_enough) == (6, 3, 2, False)
    assert (found.above_800, found.above_1500) == (1, 1)
    assert enough.is_enough
    assert not evaluation_of([]).is_enough


@given(st.lists(st.tuples(st.floats(300, 5000), st.booleans())), st.sets(st.integers(0, 30)))
def test_without_random_hours_known_time_shrinks_and_hours_stay(hours, removed: set[int]) -> None:
    every = [RoomHour(*hour) for hour in hours]
    fewer = [hour._replace(mean=None) if n in removed else hour for n, hour in enumerate(every)]

    before, then = co2_of(every), co2_of(fewer)

    assert then.hours == before.hours
    assert then.known_hours <= before.known_hours
    assert then.icone is None or 0 <= then.icone <= 5 + 1e-12


def test_weeks_are_those_of_the_calendar_and_a_part_of_one_is_that_part() -> None:
    # Saturday 28 March 2026 to Monday 30: the night between has an hour less, of which there is none here.
    first = datetime(2026, 3, 28, 9, tzinfo=UTC)
    hours = [(first + timedelta(hours=n), RoomHour(1200.0, True)) for n in range(3)]
    hours += [(first + timedelta(days=2, hours=n), RoomHour(700.0, True)) for n in range(2)]
    hours += [(first + timedelta(days=2, hours=3), RoomHour(None, True))]

    weeks = co2_by_week(hours)

    assert list(weeks) == [date(2026, 3, 23), date(2026, 3, 30)]
    assert [week.icone for week in weeks.values()] == [pytest.approx(2.5), 0]
    assert [(week.hours, week.known_hours) for week in weeks.values()] == [(3, 3), (3, 2)]
