"""Devices that ask again to join keep to the back-off: random, each its own, 36 s of air in the first hour."""

import random

from hypothesis import given
from hypothesis import strategies as st

from lab.storm.backoff import (
    BOOT_US,
    FIRST_HOUR_AIRTIME_US,
    FIRST_PAUSE_US,
    LONGEST_PAUSE_US,
    JoinBackoff,
)

POWER_US = 1_795_000_000_000_000
SF12_US, SF7_US = 1_482_752, 61_696


def backoff(seed: int = 1) -> JoinBackoff:
    return JoinBackoff(random.Random(seed), POWER_US)


def test_devices_do_not_ask_at_the_same_moment() -> None:
    firsts = [backoff(seed).first_us() for seed in range(100)]

    assert len(set(firsts)) == 100
    assert all(POWER_US <= first < POWER_US + BOOT_US for first in firsts)


@given(seed=st.integers(0, 1 << 32), attempts=st.integers(1, 12))
def test_the_pause_is_random_and_its_bound_doubles_up_to_a_limit(seed: int, attempts: int) -> None:
    one = backoff(seed)
    for _ in range(attempts):
        one.record_request(SF7_US)

    following = one.next_us(POWER_US, SF7_US)

    assert following is not None
    assert 0 <= following - POWER_US < min(FIRST_PAUSE_US * 2 ** (attempts - 1), LONGEST_PAUSE_US)


@given(airtime_us=st.sampled_from([SF7_US, SF12_US]))
def test_all_requests_of_the_first_hour_take_less_than_36_seconds_of_air(airtime_us: int) -> None:
    one, at = backoff(), POWER_US
    while at is not None:
        one.record_request(airtime_us)
        at = one.next_us(POWER_US, airtime_us)

    assert one.airtime_us < FIRST_HOUR_AIRTIME_US
    assert one.airtime_us + airtime_us >= FIRST_HOUR_AIRTIME_US
