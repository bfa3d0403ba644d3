from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from api.bucket_store import Bucket
from api.differences import differences

AT = datetime(2026, 1, 1, tzinfo=UTC)


def bucket(*readings: float) -> Bucket:
    if not readings:
        return Bucket(AT, AT, 0, 1, None, None, None, None, None)
    return Bucket(AT, AT, len(readings), 0, min(readings), max(readings), None, readings[0], readings[-1])


def test_a_bucket_rises_from_the_last_index_before_it() -> None:
    assert differences([bucket(12, 15), bucket(15, 21)], before=10) == [5, 6]


def test_without_a_past_counting_begins_with_the_first_reading() -> None:
    assert differences([bucket(12, 15), bucket(21)], before=None) == [3, 6]


def test_a_bucket_of_suspects_only_says_nothing_and_the_next_one_spans_it() -> None:
    assert differences([bucket(12), bucket(), bucket(20)], before=10) == [2, None, 8]


def test_a_meter_that_was_replaced_makes_no_negative_and_no_spike() -> None:
    swapped_for_a_lower, swapped_for_a_higher = bucket(100, 3), bucket(100, 0, 5000)

    assert differences([swapped_for_a_lower, bucket(4, 9)], before=90) == [None, 6]
    assert differences([swapped_for_a_higher, bucket(5010)], before=90) == [None, 10]


@given(st.lists(st.lists(st.integers(0, 1000), min_size=1), min_size=1), st.integers(0, 1000))
def test_differences_of_an_index_that_only_rises_add_up_to_its_whole_rise(steps, start) -> None:
    index, buckets = start, []
    for rises in steps:
        readings = []
        for rise in rises:
            index += rise
            readings.append(index)
        buckets.append(bucket(*readings))

    assert sum(differences(buckets, start)) == index - start
