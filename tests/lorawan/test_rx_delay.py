from hypothesis import given
from hypothesis import strategies as st

from lorawan.rx_delay import FAR_US, HOLD_US, RENEW_EVERY_US, STILL_FAR_US, Distance, far_until_us, nearest_us

NOW = 1_764_000_000_000_000
MINUTE = 60_000_000
SLOW, FAST = FAR_US + 1, STILL_FAR_US


def test_of_the_gateways_that_receive_a_device_comfortably_the_nearest_counts() -> None:
    assert nearest_us([Distance(20.0, 800_000), Distance(10.0, 40_000), Distance(9.9, 10_000)]) == 40_000


def test_without_a_comfortable_gateway_the_best_one_counts() -> None:
    assert nearest_us([Distance(3.0, 800_000), Distance(2.0, 10_000)]) == 800_000


def test_a_gateway_whose_distance_nobody_knows_may_be_near() -> None:
    assert nearest_us([Distance(20.0, 800_000), Distance(12.0, 0)]) == 0
    assert nearest_us([]) == 0


def test_a_device_is_far_from_the_first_long_round_trip_and_for_a_day_after_the_last() -> None:
    until_us = far_until_us(0, SLOW, NOW)

    assert until_us == NOW + HOLD_US
    assert far_until_us(until_us, 0, NOW + MINUTE) == until_us
    assert far_until_us(until_us, SLOW, NOW + RENEW_EVERY_US + 1) == NOW + RENEW_EVERY_US + 1 + HOLD_US


def test_a_gateway_between_the_thresholds_stays_far_and_does_not_become_far() -> None:
    between = (FAR_US + STILL_FAR_US) // 2

    assert far_until_us(0, between, NOW) == 0
    assert far_until_us(NOW + MINUTE, between, NOW) == NOW + HOLD_US
    assert far_until_us(NOW - 1, between, NOW) == NOW - 1


@given(st.lists(st.tuples(st.integers(1, 6 * 3_600_000_000), st.sampled_from([0, FAST, SLOW])), max_size=200))
def test_however_the_distance_swings_it_changes_at_most_twice_a_day_and_is_rarely_written(
    uplink: list[tuple[int, int]],
) -> None:
    now_us, until_us, changes, writes = NOW, 0, 0, 0
    was_far = False
    for pause_us, round_trip_us in uplink:
        now_us += pause_us
        before_us, until_us = until_us, far_until_us(until_us, round_trip_us, now_us)
        writes += until_us != before_us
        is_far = now_us < until_us
        changes, was_far = changes + (is_far != was_far), is_far

    days, hours = (now_us - NOW) / HOLD_US, (now_us - NOW) / RENEW_EVERY_US
    assert changes <= 2 * days + 2
    assert writes <= hours + 1
