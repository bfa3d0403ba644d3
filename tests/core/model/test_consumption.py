"""Consumption of an index: by hand at both nights of the clock, and by a second, naive implementation."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.consumption import Amount, Bucket, IndexReading, MeterChange, Modulus, consumption

PARIS = ZoneInfo("Europe/Paris")
AT = datetime(2026, 6, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ALWAYS = datetime.min.replace(tzinfo=UTC)


def days(count: int) -> list[Bucket]:
    return [Bucket(AT + n * DAY, AT + (n + 1) * DAY) for n in range(count)]


def hourly(*indexes: float, since: datetime = AT) -> list[IndexReading]:
    return [IndexReading(since + n * HOUR, index) for n, index in enumerate(indexes)]


def of_one_day(*indexes: float, modulus: float | None = None) -> float | None:
    readings = hourly(*indexes, since=AT + HOUR)
    return consumption(days(1), readings, moduli=[Modulus(ALWAYS, modulus)]).by_bucket[0]


@pytest.mark.parametrize(
    ("indexes", "modulus", "consumed"),
    [
        ((100, 104, 112), None, 12),
        ((0.1, 0.2, 0.3, 0.4), None, 0.4 - 0.1),
        ((100,), None, None),
        # A reset, to zero or a little above it: 20, then 3, then 5.
        ((100, 120, 0, 3, 8), None, 28),
        ((100, 120, 3, 8), None, 28),
        # A rollover of 16 bits: 36 to the end, 20 beyond it.
        ((65_500, 20), 65_536, 56),
        ((65_500, 20), None, 20),
        # Five digits: 10 to the end, 15 beyond it, then 5.
        ((99_990, 15, 20), 100_000, 30),
        # In the middle of its range a counter with a modulus is reset, too.
        ((40_000, 12), 65_536, 12),
        # What is beyond the modulus cannot be its counter's.
        ((70_000, 12), 65_536, 12),
        # A meter that runs back a little gives back what it lost.
        ((1000, 999, 1005), None, 5),
        # Another meter that nobody has said: nothing is known of the fall, and no spike is made of it.
        ((8_412, 5_000, 5_010), None, 10),
    ],
)
def test_an_index_that_falls_is_reset_rolled_over_or_ran_back(indexes, modulus, consumed) -> None:
    assert of_one_day(*indexes, modulus=modulus) == consumed


def test_an_index_read_at_an_edge_ends_the_bucket_before() -> None:
    found = consumption(days(2), hourly(10, 34, since=AT) + hourly(58, 70, since=AT + DAY))

    # 10 at midnight is where the first day begins, 58 at the next one is where it ends.
    assert (found.by_bucket, found.gaps) == ([48, 12], [])


def test_a_meter_change_counts_to_the_final_and_from_the_initial_index() -> None:
    readings = [IndexReading(AT + HOUR, 100), IndexReading(AT + 30 * HOUR, 5_007)]
    change = MeterChange(AT + 20 * HOUR, final=106, initial=5_000)

    assert consumption(days(2), readings, [change]).by_bucket == [6, 7]


def test_a_meter_change_without_indexes_counts_to_the_last_and_from_the_first_reading() -> None:
    readings = hourly(100, 104, 9_000, 9_001, since=AT + HOUR)

    assert consumption(days(1), readings, [MeterChange(AT + 2.5 * HOUR)]).by_bucket == [5]


def test_a_meter_change_after_the_last_reading_counts_to_its_final_index() -> None:
    change = MeterChange(AT + 3 * HOUR, final=109)

    assert consumption(days(1), hourly(100, 104, since=AT + HOUR), [change]).by_bucket == [9]


def test_a_modulus_is_that_of_the_device_of_then() -> None:
    readings = [*hourly(65_500, 20, since=AT + HOUR), *hourly(99_990, 15, since=AT + DAY + HOUR)]
    moduli = [Modulus(ALWAYS, 65_536), Modulus(AT + DAY, 100_000)]

    found = consumption(days(2), readings, [MeterChange(AT + DAY)], moduli)

    assert found.by_bucket == [56, 25]


def test_a_gap_is_one_amount_over_its_span_and_not_the_last_days() -> None:
    """Read on the first and on the fifth day: what lies between is nobody's day."""
    buckets = [days(5)[0], days(5)[4]]
    readings = hourly(10, 12, since=AT + 22 * HOUR) + hourly(90, 95, since=AT + 4 * DAY + 8 * HOUR)

    found = consumption(buckets, readings, unknown_after=timedelta(days=9))

    assert found.by_bucket == [2, 5]
    assert found.gaps == [Amount(AT + 23 * HOUR, AT + 4 * DAY + 8 * HOUR, 78)]


def test_a_gap_across_midnight_is_longer_than_readings_are_expected_to_be_apart() -> None:
    readings = hourly(10, 12, since=AT + 14 * HOUR) + hourly(40, 45, since=AT + DAY + 8 * HOUR)

    found = consumption(days(2), readings, unknown_after=2 * HOUR)
    daily = consumption(days(2), readings, unknown_after=48 * HOUR)

    assert (found.by_bucket, found.gaps) == ([2, 5], [Amount(AT + 15 * HOUR, AT + DAY + 8 * HOUR, 28)])
    assert (daily.by_bucket, daily.gaps) == ([2, 33], [])


def test_a_day_of_suspects_only_is_a_gap_too() -> None:
    readings = hourly(10, 12, since=AT + 2 * HOUR) + hourly(20, since=AT + 2 * DAY + HOUR)

    found = consumption(days(3), readings, unknown_after=timedelta(days=9))

    assert found.by_bucket == [2, None, None]
    assert [gap.amount for gap in found.gaps] == [8]


def local(year: int, month: int, day: int, hour: int = 0) -> datetime:
    return datetime(year, month, day, hour, tzinfo=PARIS).astimezone(UTC)


def test_days_weeks_months_and_years_at_both_nights_of_the_clock() -> None:
    """One litre an hour all through 2026, read on the hour: as many litres as hours, by hand."""
    first = local(2026, 1, 1)
    readings = [IndexReading(first + n * HOUR, 1000 + n) for n in range(8_761)]

    def litres(*edges: datetime) -> list[float | None]:
        buckets = [Bucket(edges[n], edges[n + 1]) for n in range(len(edges) - 1)]
        inside = [one for one in readings if edges[0] <= one.at <= edges[-1]]
        before = Bucket(edges[0] - DAY, edges[0])
        return consumption([before, *buckets], inside).by_bucket[1:]

    # The clock goes on in the night to 29 March 2026 and back in the night to 25 October 2026, both Sundays.
    assert litres(local(2026, 3, 28), local(2026, 3, 29), local(2026, 3, 30), local(2026, 3, 31)) == [24, 23, 24]
    assert litres(local(2026, 10, 24), local(2026, 10, 25), local(2026, 10, 26)) == [24, 25]
    assert litres(local(2026, 3, 23), local(2026, 3, 30), local(2026, 4, 6)) == [167, 168]
    assert litres(local(2026, 10, 19), local(2026, 10, 26), local(2026, 11, 2)) == [169, 168]
    assert litres(local(2026, 2, 1), local(2026, 3, 1), local(2026, 4, 1)) == [28 * 24, 31 * 24 - 1]
    assert litres(local(2026, 10, 1), local(2026, 11, 1), local(2026, 12, 1)) == [31 * 24 + 1, 30 * 24]
    assert litres(local(2026, 1, 1), local(2027, 1, 1)) == [8_760]


@given(
    st.lists(
        st.tuples(
            st.integers(1, 80), st.integers(0, 300), st.sampled_from(["", "", "", "reset", "rollover", "new"])
        ),
        max_size=60,
    ),
    st.integers(4, 60),
)
def test_whatever_happens_it_is_what_a_meter_simulated_step_by_step_has_let_through(steps, gap_hours: int) -> None:
    """The naive one keeps the water itself: each step's litres, put into its day or its gap when they flow."""
    at, index, modulus = AT, 5_000, 10_000
    readings, changes = [IndexReading(at, index)], []
    flowed: list[Amount] = []

    def flows(litres: int, since: datetime, until: datetime) -> None:
        flowed.append(Amount(since, until, litres))

    for hours, litres, event in steps:
        since, at = at, at + hours * HOUR
        if event == "reset" and litres * 4 <= index < modulus - 2_500:
            index = litres
            flows(litres, since, at)
        elif event == "rollover" and index >= 9_600:
            flows(modulus - index + litres, since, at)
            index = litres
        elif event == "new":
            changed = since + (at - since) / 2
            changes.append(MeterChange(changed, final=index + litres, initial=700))
            flows(litres, since, changed)
            flows(11, changed, at)
            index = 711
        else:
            litres = min(litres, modulus - 1 - index)  # noqa: PLW2901 - A rollover is an event of its own.
            flows(litres, since, at)
            index += litres
        readings.append(IndexReading(at, index))
    read_days = sorted({day_of(one.at) for one in readings})
    by_day: dict[date, float] = {}
    gaps: list[Amount] = []
    for since, until, litres in flowed:
        begins, ends = day_of(since), day_of(until)
        crosses = since < datetime.combine(ends, datetime.min.time(), UTC)
        is_long = until - since > gap_hours * HOUR or (ends - begins).days > 1
        if ends not in read_days or (crosses and (is_long or begins not in read_days)):
            gaps.append(Amount(since, until, litres))
        else:
            by_day[ends] = by_day.get(ends, 0) + litres
    midnights = [datetime.combine(day, datetime.min.time(), UTC) for day in read_days]

    found = consumption(
        [Bucket(midnight, midnight + DAY) for midnight in midnights],
        readings,
        changes,
        [Modulus(ALWAYS, modulus)],
        gap_hours * HOUR,
    )

    assert found.by_bucket == [by_day.get(day) for day in read_days]
    assert found.gaps == gaps


def day_of(at: datetime) -> date:
    """The day that an instant ends or lies in."""
    return (at - timedelta(microseconds=1)).date()
