"""Which DevNonce opens a session, and which JoinNonce answers it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorawan.join_policy import DevNoncePolicy, DevNonceVerdict, judge_dev_nonce, next_join_nonce, policy_of


@pytest.mark.parametrize(
    ("mac_version", "policy"),
    [
        ("1.0.0", DevNoncePolicy.RANDOM),
        ("1.0.1", DevNoncePolicy.RANDOM),
        ("1.0.2", DevNoncePolicy.RANDOM),
        ("1.0.3", DevNoncePolicy.RANDOM),
        ("1.0.4", DevNoncePolicy.INCREASING),
    ],
)
def test_devices_count_their_nonces_from_1_0_4_on(mac_version: str, policy: DevNoncePolicy) -> None:
    assert policy_of(mac_version) is policy


def test_a_random_nonce_is_fresh_until_it_was_used() -> None:
    used = {7, 900}

    assert judge_dev_nonce(8, used) is DevNonceVerdict.FRESH
    assert judge_dev_nonce(900, used) is DevNonceVerdict.USED


@pytest.mark.parametrize(
    ("dev_nonce", "verdict"),
    [(6, "not_increasing"), (7, "used"), (8, "fresh"), (0, "not_increasing")],
)
def test_an_increasing_nonce_must_increase(dev_nonce: int, verdict: str) -> None:
    judged = judge_dev_nonce(dev_nonce, {7}, policy=DevNoncePolicy.INCREASING, highest=7)

    assert judged == verdict


def test_the_first_join_of_a_device_may_start_at_0() -> None:
    assert judge_dev_nonce(0, set(), policy=DevNoncePolicy.INCREASING) is DevNonceVerdict.FRESH


@given(st.lists(st.integers(0, 0xFFFF)), st.sampled_from(DevNoncePolicy))
def test_no_dev_nonce_is_fresh_twice(nonces: list[int], policy: DevNoncePolicy) -> None:
    used: set[int] = set()
    for dev_nonce in nonces:
        verdict = judge_dev_nonce(dev_nonce, used, policy=policy, highest=max(used, default=None))
        if verdict is DevNonceVerdict.FRESH:
            assert dev_nonce not in used
            used.add(dev_nonce)

    assert policy is DevNoncePolicy.INCREASING or used == set(nonces)


def test_join_nonces_increase_from_1() -> None:
    assert next_join_nonce(None) == 1
    assert next_join_nonce(1) == 2


def test_no_join_nonce_follows_the_last_of_24_bits() -> None:
    with pytest.raises(OverflowError, match="another AppKey"):
        next_join_nonce(0xFF_FFFF)
