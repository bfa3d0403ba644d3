import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.runtime.token_bucket import TokenBucket


def test_a_burst_is_free_and_the_rest_comes_at_its_rate() -> None:
    bucket = TokenBucket.full(10, 3, now=100.0)

    at_once = [bucket.take_token(100.0) for _ in range(4)]
    later = [bucket.take_token(100.25) for _ in range(3)]

    assert at_once == [True, True, True, False]
    assert later == [True, True, False]


def test_a_long_pause_saves_no_more_than_a_burst() -> None:
    bucket = TokenBucket.full(10, 3, now=0.0)

    assert [bucket.take_token(1_000_000.0) for _ in range(4)] == [True, True, True, False]


def test_the_wait_after_a_denied_attempt_is_until_the_next_token() -> None:
    bucket = TokenBucket.full(10, 1, now=0.0)
    assert [bucket.take_token(0.0) for _ in range(2)] == [True, False]
    assert bucket.wait_s() == pytest.approx(0.1)
    assert not bucket.take_token(0.05)
    assert bucket.wait_s() == pytest.approx(0.05)
    assert bucket.take_token(0.1)


@given(st.floats(0.1, 100), st.integers(1, 50), st.lists(st.floats(-1, 1, allow_subnormal=False), max_size=200))
def test_however_the_clock_jumps_no_more_are_taken_than_burst_and_rate_allow(
    per_second: float, burst: int, steps: list[float]
) -> None:
    bucket, now, given_s, taken = TokenBucket.full(per_second, burst, 0.0), 0.0, 0.0, 0
    for step in steps:
        now += step
        given_s += max(0.0, step)
        taken += bucket.take_token(now)

    assert taken <= burst + given_s * per_second + 1e-6
