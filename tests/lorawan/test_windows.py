"""Receive windows and the choice of a gateway (docs/protocols.md, "Matrix", rows 22 and 25 to 28)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorawan.identifiers import DevAddr
from lorawan.regions import EU868
from lorawan.session import Session
from lorawan.windows import (
    DEADLINE_MARGIN_US,
    WINDOW_US,
    GatewayReception,
    Window,
    class_a_windows,
    class_c_window,
    join_windows,
    latest_useful_join_us,
    latest_useful_us,
    rank_gateways,
    still_possible,
)

SECOND = 1_000_000
NOW = 1_795_564_800_000_000
SESSION = Session(DevAddr(bytes(4)))
NEAR, FAR, MIDDLE = (bytes([7] * 7 + [number]) for number in range(3))


def test_rx1_is_on_the_uplinks_channel_and_rx2_a_second_later() -> None:
    windows = class_a_windows(EU868, SESSION, 867_100_000, 5)

    assert windows == (
        Window("RX1", SECOND, 867_100_000, 5, 7, 125_000),
        Window("RX2", 2 * SECOND, 869_525_000, 0, 12, 125_000),
    )


def test_windows_follow_the_sessions_parameters() -> None:
    session = Session(DevAddr(bytes(4)), rx1_delay=5, rx1_dr_offset=2, rx2_dr=3, rx2_frequency=868_500_000)

    rx1, rx2 = class_a_windows(EU868, session, 868_100_000, 5)

    assert (rx1.delay_us, rx1.data_rate, rx1.spreading_factor) == (5 * SECOND, 3, 9)
    assert rx2 == Window("RX2", 6 * SECOND, 868_500_000, 3, 9, 125_000)


def test_a_delay_of_0_means_1() -> None:
    windows = class_a_windows(EU868, Session(DevAddr(bytes(4)), rx1_delay=0), 868_100_000, 5)

    assert [window.delay_us for window in windows] == [SECOND, 2 * SECOND]


def test_only_rx2_answers_an_uplink_whose_data_rate_is_not_in_the_plan() -> None:
    [session_window] = class_a_windows(EU868, SESSION, 868_100_000, None)
    [join_window] = join_windows(EU868, 868_100_000, None)

    assert (session_window.name, join_window.name) == ("RX2", "RX2")


def test_an_fsk_uplink_is_answered_in_fsk() -> None:
    rx1, _ = class_a_windows(EU868, SESSION, 868_800_000, 7)

    assert rx1 == Window("RX1", SECOND, 868_800_000, 7, 0, 0)


@pytest.mark.parametrize(
    "session", [Session(DevAddr(bytes(4)), rx2_dr=15), Session(DevAddr(bytes(4)), rx1_dr_offset=7)]
)
def test_rejects_parameters_that_the_plan_does_not_have(session: Session) -> None:
    with pytest.raises(ValueError, match="EU868"):
        class_a_windows(EU868, session, 868_100_000, 5)


def test_a_join_is_answered_after_5_and_6_seconds_and_rx2_is_always_dr0() -> None:
    windows = join_windows(EU868, 868_300_000, 3)

    assert windows == (
        Window("RX1", 5 * SECOND, 868_300_000, 3, 9, 125_000),
        Window("RX2", 6 * SECOND, 869_525_000, 0, 12, 125_000),
    )


def test_class_c_listens_at_once_with_the_parameters_of_rx2() -> None:
    window = class_c_window(EU868, Session(DevAddr(bytes(4)), rx2_dr=3))

    assert window == Window("RXC", 0, 869_525_000, 3, 9, 125_000)
    assert window.immediate


def test_an_uplink_is_useful_until_its_rx2_is_over_and_a_join_until_its_rx2_opens() -> None:
    assert latest_useful_us(NOW, 0) == NOW + 2 * SECOND + WINDOW_US
    assert latest_useful_us(NOW, 5) == NOW + 6 * SECOND + WINDOW_US
    assert latest_useful_join_us(NOW, EU868) == NOW + 6 * SECOND


def test_a_window_is_possible_as_long_as_the_request_arrives_before_it() -> None:
    rx1, rx2 = class_a_windows(EU868, SESSION, 868_100_000, 5)
    last_call = NOW + SECOND - 300_000 - DEADLINE_MARGIN_US

    assert still_possible(rx1, NOW, last_call, 300_000)
    assert not still_possible(rx1, NOW, last_call + 1, 300_000)
    assert still_possible(rx2, NOW, last_call + 1, 300_000)


def test_class_c_is_always_possible() -> None:
    assert still_possible(class_c_window(EU868, SESSION), NOW, NOW + 3600 * SECOND, 300_000)


def test_gateways_rank_by_margin_then_by_rssi() -> None:
    receptions = [
        GatewayReception(FAR, -118, -3.0),
        GatewayReception(MIDDLE, -101, 4.0),
        GatewayReception(NEAR, -97, 4.0),
    ]

    ranked = rank_gateways(receptions, 12)

    assert [heard.gateway_id for heard in ranked] == [NEAR, MIDDLE, FAR]


def test_a_gateway_counts_once_by_its_best_antenna() -> None:
    receptions = [
        GatewayReception(NEAR, -100, -5.0),
        GatewayReception(FAR, -100, 0.0),
        GatewayReception(NEAR, -100, 5.0),
    ]

    assert rank_gateways(receptions, 7) == [GatewayReception(NEAR, -100, 5.0), GatewayReception(FAR, -100, 0.0)]


def test_load_is_spread_among_gateways_with_a_comfortable_margin_only() -> None:
    load = {NEAR: 9.0, MIDDLE: 2.0, FAR: 0.0}
    # At SF7, which needs -7.5 dB, margins are 15.5, 10 and 9.5 dB.
    receptions = [
        GatewayReception(NEAR, -80, 8.0),
        GatewayReception(MIDDLE, -100, 2.5),
        GatewayReception(FAR, -110, 2.0),
    ]

    ranked = rank_gateways(receptions, 7, spread=lambda heard: load[heard.gateway_id])

    assert [heard.gateway_id for heard in ranked] == [MIDDLE, NEAR, FAR]


def test_of_the_gateways_that_receive_well_those_that_serve_an_earlier_window_come_first() -> None:
    # At SF7, which needs -7.5 dB, margins are 15.5, 10 and 9.5 dB.
    receptions = [
        GatewayReception(NEAR, -80, 8.0, 1),
        GatewayReception(MIDDLE, -100, 2.5, 0),
        GatewayReception(FAR, -110, 2.0, 0),
    ]

    ranked = rank_gateways(receptions, 7, spread=lambda _: 0.0)

    assert [heard.gateway_id for heard in ranked] == [MIDDLE, NEAR, FAR]


def test_a_gateway_that_is_too_far_for_any_window_comes_last() -> None:
    receptions = [GatewayReception(NEAR, -80, 8.0, None), GatewayReception(FAR, -118, -7.0, 1)]

    ranked = rank_gateways(receptions, 7, spread=lambda _: 0.0)

    assert [heard.gateway_id for heard in ranked] == [FAR, NEAR]


LEVELS = st.integers(-120, 20)


@given(
    st.lists(st.builds(GatewayReception, st.sampled_from([NEAR, MIDDLE, FAR]), LEVELS, LEVELS)),
    st.randoms(),
    st.integers(7, 12),
)
def test_the_ranking_does_not_depend_on_the_order_of_arrival(receptions, random, spreading_factor) -> None:
    shuffled = random.sample(receptions, len(receptions))

    assert rank_gateways(shuffled, spreading_factor) == rank_gateways(receptions, spreading_factor)
