"""A state's mean is how long it lasted: by hand, and by a second implementation that looks each minute."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from core.model.consumption import Bucket
from core.model.time_weighted import StatePiece, StateReading, state_means

AT = datetime(2026, 6, 1, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
LONG = timedelta(days=2)


def hours(count: int) -> list[Bucket]:
    return [Bucket(AT + n * HOUR, AT + (n + 1) * HOUR) for n in range(count)]


def piece(hour: int, *readings: tuple[int, float], held_for: timedelta = LONG) -> StatePiece:
    """An hour's readings by minute, summed up as a rollup is."""
    end = AT + (hour + 1) * HOUR
    instants = [AT + hour * HOUR + minute * MINUTE for minute, _ in readings]
    lasted = [
        (min(following, end, at + held_for) - at).total_seconds()
        for at, following in zip(instants, [*instants[1:], end], strict=True)
    ]
    weighted = sum(seconds * value for seconds, (_, value) in zip(lasted, readings, strict=True))
    return StatePiece(end, instants[0], instants[-1], readings[-1][1], sum(lasted), weighted)


def test_a_door_open_for_a_quarter_of_an_hour_is_open_for_a_quarter_of_it() -> None:
    pieces = [piece(0, (0, 0), (30, 1), (45, 0))]

    assert state_means(hours(1), pieces, None, LONG, AT + HOUR) == [0.25]


def test_a_state_lasts_through_hours_without_a_reading_and_into_the_next_bucket() -> None:
    """Open at 00:30, closed at 03:15: the day's first four hours are open for 165 of 210 known minutes."""
    buckets = [Bucket(AT, AT + 4 * HOUR), Bucket(AT + 4 * HOUR, AT + 8 * HOUR)]

    means = state_means(buckets, [piece(0, (30, 1)), piece(3, (15, 0))], None, LONG, AT + 6 * HOUR)

    assert means == [165 / 210, 0]


def test_a_state_of_before_lasts_into_the_first_bucket_and_no_longer_than_it_is_known() -> None:
    before = StateReading(AT - HOUR, 1)

    assert state_means(hours(1), [piece(0, (30, 0))], before, LONG, AT + HOUR) == [0.5]
    # Known for an hour and a quarter: from 00:15 to 00:30 nobody knows, 15 of 45 minutes are open.
    assert state_means(hours(1), [piece(0, (30, 0))], before, 1.25 * HOUR, AT + HOUR) == [15 / 45]


def test_a_bucket_whose_raw_is_gone_has_no_mean() -> None:
    gone = StatePiece(AT + HOUR, None, None, 1, None, None)

    assert state_means(hours(2), [gone, piece(1, (30, 0))], None, LONG, AT + 2 * HOUR) == [None, 0]


@given(
    st.dictionaries(st.integers(0, 179), st.sampled_from([0.0, 1.0]), min_size=1, max_size=12),
    st.integers(1, 100),
    st.one_of(st.none(), st.integers(1, 60)),
)
def test_means_are_those_of_a_state_looked_up_each_minute(
    readings, held_minutes: int, before_minutes: int | None
) -> None:
    """Three hours, put together to two buckets."""
    held_for = held_minutes * MINUTE
    before = None if before_minutes is None else StateReading(AT - before_minutes * MINUTE, 1.0)
    known = readings if before_minutes is None else {-before_minutes: 1.0} | readings
    pieces = []
    for hour in sorted({minute // 60 for minute in readings}):
        of_hour = [(minute - hour * 60, readings[minute]) for minute in sorted(readings) if minute // 60 == hour]
        pieces.append(piece(hour, *of_hour, held_for=held_for))
    buckets = [Bucket(AT, AT + 2 * HOUR), Bucket(AT + 2 * HOUR, AT + 3 * HOUR)]

    means = state_means(buckets, pieces, before, held_for, AT + 3 * HOUR)

    for bucket, mean in zip((range(120), range(120, 180)), means, strict=True):
        last = [max((at for at in known if at <= minute), default=-1000) for minute in bucket]
        states = [known[at] for at, minute in zip(last, bucket, strict=True) if minute - at < held_minutes]
        assert (None if mean is None else round(mean, 9)) == (
            round(sum(states) / len(states), 9) if states else None
        )
