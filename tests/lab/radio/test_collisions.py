"""Two transmissions on one channel at one spreading factor collide where both are received alike."""

import pytest

from lab.radio.collisions import CAPTURE_DB, DEMODULATORS, Collisions
from lab.radio.transmission import Transmission

AT = 1_795_000_000_000_000
CHANNEL, OTHER_CHANNEL = 868_100_000, 868_300_000


def transmission(start_us: int = AT, *, frequency: int = CHANNEL, spreading_factor: int = 7) -> Transmission:
    return Transmission(b"frame", frequency, spreading_factor, start_us, 60_000)


def test_two_of_equal_strength_are_both_lost() -> None:
    medium, one, two = Collisions(), transmission(), transmission(AT + 59_999)
    medium.record_transmission(one, {"gateway": 3.0})
    medium.record_transmission(two, {"gateway": 3.0})

    assert medium.is_spoilt(one, "gateway", 3.0)
    assert medium.is_spoilt(two, "gateway", 3.0)


def test_the_stronger_one_is_received_when_it_is_strong_enough() -> None:
    medium, near, far = Collisions(), transmission(), transmission(AT + 10_000)
    medium.record_transmission(near, {"gateway": 3.0 + CAPTURE_DB})
    medium.record_transmission(far, {"gateway": 3.0})

    assert not medium.is_spoilt(near, "gateway", 3.0 + CAPTURE_DB)
    assert medium.is_spoilt(far, "gateway", 3.0)


@pytest.mark.parametrize(
    "other",
    [
        transmission(AT + 60_000),
        transmission(AT - 60_000),
        transmission(frequency=OTHER_CHANNEL),
        transmission(spreading_factor=8),
    ],
)
def test_another_moment_channel_or_spreading_factor_does_not_disturb(other: Transmission) -> None:
    medium, one = Collisions(), transmission()
    medium.record_transmission(one, {"gateway": 3.0})
    medium.record_transmission(other, {"gateway": 3.0})

    assert not medium.is_spoilt(one, "gateway", 3.0)
    assert not medium.is_spoilt(other, "gateway", 3.0)


def test_where_only_one_of_them_is_in_range_it_is_received() -> None:
    medium, one, two = Collisions(), transmission(), transmission()
    medium.record_transmission(one, {"gateway": 3.0, "far gateway": 3.0})
    medium.record_transmission(two, {"gateway": 3.0})

    assert medium.is_spoilt(one, "gateway", 3.0)
    assert not medium.is_spoilt(one, "far gateway", 3.0)


def test_a_gateway_follows_no_more_transmissions_than_it_has_demodulators() -> None:
    medium = Collisions()
    followed = [transmission(AT + number, frequency=number) for number in range(DEMODULATORS + 1)]
    for one in followed:
        medium.record_transmission(one, {"gateway": 3.0})

    assert [medium.is_saturated(one, "gateway") for one in followed] == [False] * DEMODULATORS + [True]


def test_what_spoils_is_still_known_when_a_later_one_is_announced_first() -> None:
    medium, one, two = Collisions(), transmission(), transmission(AT + 1_000)
    medium.record_transmission(one, {"device": 3.0})
    medium.record_transmission(two, {"device": 3.0})
    medium.record_transmission(transmission(AT + 6_000_000), {"device": 3.0})

    assert medium.is_spoilt(one, "device", 3.0)
