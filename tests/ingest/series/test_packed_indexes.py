"""The rise of an index that never fell is what counting every reading of it says."""

import struct
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import assume, event, given
from hypothesis import strategies as st

from core.model.quantities import Kind
from core.model.unknown_time import known_for
from ingest.series.packed_indexes import EPOCH, MICROSECOND, PackedIndexes, risen
from tests.ingest.series.from_raw import buckets_from_raw

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
BEGIN = datetime(2026, 11, 2, tzinfo=UTC)
EXPECTED = timedelta(hours=9)
DAYS = 4


class Before:
    def __init__(self, at: datetime, value: float) -> None:
        self.at, self.value = at, value


def octets(kind: str, values: list) -> bytes:
    return struct.pack(f">{len(values)}{kind}", *values)


# Minutes after a day's beginning, and how much more (or less) the index shows; of the two days before, then each.
STEP = st.tuples(st.integers(1, 1440) | st.just(1440), st.sampled_from([0.0, 0.1, 1.25, 7.0] * 8 + [-0.5, -400.0]))
STEPS = st.tuples(
    *(st.lists(STEP, min_size=least, max_size=5, unique_by=lambda one: one[0]) for least in (0, 0, 1, 1, 1, 1))
)


@given(STEPS, st.sampled_from([1, 2]))
def test_the_rise_of_each_bucket_is_that_of_every_reading(
    steps: tuple[list[tuple[int, float]], ...], days: int
) -> None:
    index, readings = 500.0, list[tuple[datetime, float, int]]()
    for number, of_day in enumerate(steps, start=-2):
        for minutes, more in sorted(of_day):
            index = max(0.0, index + more)
            readings.append((BEGIN + DAY * number + MINUTE * minutes, index, 0))
    edges = [BEGIN + DAY * number for number in range(DAYS + 1)]
    groups = [
        [(at, value) for at, value, _ in readings if since < at <= until] for since, until in pairwise(edges)
    ]
    # As packed_indexes() leaves out an index that fell within a day.
    assume(not any(one > then for of in groups for (_, one), (_, then) in pairwise(of)))
    earlier = [(at, value) for at, value, _ in readings if at <= BEGIN]
    values = [[value for _, value in of] for of in groups]
    instants = [[(at - EPOCH) // MICROSECOND for at, _ in of] for of in groups]
    packed = PackedIndexes.of(
        edges[:-1], [len(of) for of in groups], None,
        *(octets("d", [of[place] for of in values]) for place in (0, -1)),
        *(octets("q", [of[place] for of in instants]) for place in (0, -1)),
    )  # fmt: skip

    before = Before(*earlier[-1]) if earlier else None
    rising = packed.rises
    found = None
    if rising:
        wider = edges[::days]
        whole = packed if days == 1 else packed.joined(wider)
        found = risen(whole, wider[1:], known_for(EXPECTED), before, BEGIN - DAY)

    zone, now = ZoneInfo("UTC"), edges[-1] + DAY
    wanted, gaps = buckets_from_raw(readings, edges[::days], "day", zone, Kind.COUNTER, EXPECTED, now)
    assert rising == all(one[-1] <= then[0] for one, then in pairwise(values))
    if found is not None:
        event("risen")
        assert (found.buckets, found.gaps, gaps) == (wanted, [], [])
    elif rising:
        event("left to consumption()")
        fell = bool(earlier) and earlier[-1][1] > values[0][0]
        silent = any(then[0] - one[-1] > known_for(EXPECTED) // MICROSECOND for one, then in pairwise(instants))
        assert fell or silent or gaps
