"""Two transmissions on one channel at one spreading factor spoil each other where both are heard alike."""

import pytest

from lab.simulator.radio_medium import CAPTURE_DB, DEMODULATORS, Airwaves
from lab.simulator.transmission import Emission

AT = 1_795_000_000_000_000
CHANNEL, OTHER_CHANNEL = 868_100_000, 868_300_000


def emission(start_us: int = AT, *, frequency: int = CHANNEL, spreading_factor: int = 7) -> Emission:
    return Emission(b"frame", frequency, spreading_factor, start_us, 60_000)


def test_two_of_equal_strength_are_both_lost() -> None:
    air, one, two = Airwaves(), emission(), emission(AT + 59_999)
    air.add(one, {"gateway": 3.0})
    air.add(two, {"gateway": 3.0})

    assert air.spoils(one, "gateway", 3.0)
    assert air.spoils(two, "gateway", 3.0)


def test_the_stronger_one_is_received_when_it_is_strong_enough() -> None:
    air, near, far = Airwaves(), emission(), emission(AT + 10_000)
    air.add(near, {"gateway": 3.0 + CAPTURE_DB})
    air.add(far, {"gateway": 3.0})

    assert not air.spoils(near, "gateway", 3.0 + CAPTURE_DB)
    assert air.spoils(far, "gateway", 3.0)


@pytest.mark.parametrize(
    "other",
    [
        emission(AT + 60_000),
        emission(AT - 60_000),
        emission(frequency=OTHER_CHANNEL),
        emission(spreading_factor=8),
    ],
)
def test_another_moment_channel_or_spreading_factor_does_not_disturb(other: Emission) -> None:
    air, one = Airwaves(), emission()
    air.add(one, {"gateway": 3.0})
    air.add(other, {"gateway": 3.0})

    assert not air.spoils(one, "gateway", 3.0)
    assert not air.spoils(other, "gateway", 3.0)


def test_where_only_one_of_them_is_in_range_it_is_received() -> None:
    air, one, two = Airwaves(), emission(), emission()
    air.add(one, {"gateway": 3.0, "far gateway": 3.0})
    air.add(two, {"gateway": 3.0})

    assert air.spoils(one, "gateway", 3.0)
    assert not air.spoils(one, "far gateway", 3.0)


def test_a_gateway_follows_no_more_emissions_than_it_has_demodulators() -> None:
    air = Airwaves()
    followed = [emission(AT + number, frequency=number) for number in range(DEMODULATORS + 1)]
    for one in followed:
        air.add(one, {"gateway": 3.0})

    assert [air.is_saturated(one, "gateway") for one in followed] == [False] * DEMODULATORS + [True]


def test_what_spoils_is_still_known_when_a_later_one_is_announced_first() -> None:
    air, one, two = Airwaves(), emission(), emission(AT + 1_000)
    air.add(one, {"device": 3.0})
    air.add(two, {"device": 3.0})
    air.add(emission(AT + 6_000_000), {"device": 3.0})

    assert air.spoils(one, "device", 3.0)
