"""EIRP within the law, whoever takes the antenna's gain off."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorawan.radiated_power import (
    FORWARDER_POWERS,
    GainSubtraction,
    forwarder_power,
    requested_power,
    station_max_eirp,
)
from lorawan.regions import EU868

RX1, RX2 = EU868.downlink_eirp(868_100_000), EU868.downlink_eirp(869_525_000)
GATEWAY, NETWORK = GainSubtraction.GATEWAY, GainSubtraction.NETWORK


@pytest.mark.parametrize(
    ("gain", "subtracted_by", "max_eirp", "expected"),
    [
        (0, None, None, (16, 29)),
        (3, GATEWAY, None, (16, 29)),
        (3, NETWORK, None, (13, 26)),
        (3, None, None, (13, 26)),
        (-2, None, None, (16, 29)),  # A long cable: the gateway may make up for it.
        (-2, NETWORK, None, (18, 31)),
        (-2, GATEWAY, None, (16, 29)),
        (5.5, None, None, (10, 23)),
        (3, GATEWAY, 27, (16, 27)),
        (3, None, 14, (11, 11)),
        (0, None, 14, (14, 14)),
    ],
)
def test_power_in_rx1_and_rx2(
    gain: float, subtracted_by: str | None, max_eirp: int | None, expected: tuple[int, int]
) -> None:
    asked = tuple(requested_power(limit, gain, subtracted_by, max_eirp) for limit in (RX1, RX2))

    assert asked == expected


@given(
    limit=st.sampled_from([RX1, RX2]),
    gain=st.floats(-10, 20),
    max_eirp=st.none() | st.integers(0, 36),
)
def test_until_it_is_said_who_subtracts_the_gain_nothing_exceeds_the_law_whatever_the_forwarder_does(
    limit: float, gain: float, max_eirp: int | None
) -> None:
    asked = requested_power(limit, gain, None, max_eirp)
    allowed = limit if max_eirp is None else min(limit, max_eirp)

    for own_gain in (0.0, gain):  # Of the forwarder's own configuration.
        assert asked - own_gain + gain <= allowed + 1e-9


@pytest.mark.parametrize(
    ("gain", "subtracted_by", "max_eirp", "expected"),
    [
        (0, None, None, None),
        (-2, None, None, None),
        (3, GATEWAY, None, None),
        (3, None, None, 13),
        (3, NETWORK, None, 13),
        (0, None, 20, 20),
        (3, GATEWAY, 20, 20),
        (3, NETWORK, 20, 13),
        (3, NETWORK, 10, 7),
    ],
)
def test_a_station_is_capped_only_where_it_would_exceed_the_law_or_is_to_send_less(
    gain: float, subtracted_by: str | None, max_eirp: int | None, expected: int | None
) -> None:
    assert station_max_eirp(RX1, gain, subtracted_by, max_eirp) == expected


@pytest.mark.parametrize(
    ("wanted", "gain", "subtracted_by", "expected"),
    [
        (16, 0, None, 16),
        (29, 0, None, 27),
        (29, 3, GATEWAY, 29),
        (16, 3, GATEWAY, 16),
        (29, 2.6, GATEWAY, 29),  # It cuts the rest off: 27.
        (26, 3, NETWORK, 26),
        (24, 5, NETWORK, 23),
        (26, 3, None, 26),
        (14, 2, None, 14),
    ],
)
def test_a_forwarder_is_asked_for_a_power_of_its_table(
    wanted: int, gain: float, subtracted_by: str | None, expected: int
) -> None:
    assert forwarder_power(wanted, gain, subtracted_by) == expected


@given(wanted=st.integers(0, 36), gain=st.floats(-10, 20), subtracted_by=st.sampled_from([None, GATEWAY, NETWORK]))
def test_a_forwarder_is_never_asked_for_more_than_was_wanted(
    wanted: int, gain: float, subtracted_by: str | None
) -> None:
    asked = forwarder_power(wanted, gain, subtracted_by)

    assert asked <= wanted
    if asked != wanted:
        assert {asked - own for own in (0, int(gain))} & FORWARDER_POWERS
