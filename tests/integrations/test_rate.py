"""A source's rate: a burst passes, what comes faster waits, and nobody else is slowed down."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.lns.token_bucket import Rates

A, B = 1, 2


def test_a_burst_passes_and_then_one_each_interval() -> None:
    rates = Rates(per_second=10, burst=3)

    assert [rates.wait_s(A, 0.0) for _ in range(3)] == [0.0] * 3
    assert rates.wait_s(A, 0.0) == pytest.approx(0.1)
    assert rates.wait_s(A, 0.05) == pytest.approx(0.05)
    assert rates.wait_s(A, 0.1) == 0.0
    assert rates.wait_s(A, 0.1) > 0


def test_a_source_that_runs_wild_slows_no_other() -> None:
    rates = Rates(per_second=1, burst=1)
    for _ in range(100):
        rates.wait_s(A, 0.0)

    assert rates.wait_s(B, 0.0) == 0.0


@given(st.floats(0.1, 100), st.integers(1, 50), st.lists(st.floats(0, 1, allow_subnormal=False), max_size=200))
def test_no_more_pass_than_the_burst_and_the_rate_allow(
    per_second: float, burst: int, pauses: list[float]
) -> None:
    rates, now, passed = Rates(per_second, burst), 0.0, 0
    for pause in pauses:
        now += pause
        passed += rates.wait_s(A, now) == 0.0

    assert passed <= burst + now * per_second + 1e-6
