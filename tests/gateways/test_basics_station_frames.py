import struct

import pytest

from core.messages.downlinks import Transmission
from gateways.basics_station_frames import Unfit, fell_back, frame_of, schedule_of
from gateways.frontend import ChosenTransmission
from lorawan.gateway.basics_station import StationUplink, Transmitted
from lorawan.gateway.basics_station_answers import ClassA, ClassC, Tuning
from lorawan.identifiers import GatewayId
from lorawan.regions import EU868

GATEWAY = GatewayId(bytes(8))
XTIME = 2**56 + 1
CONTEXT = struct.pack(">qq", 3, XTIME)
NOW_US = 1_795_559_600_500_000
RX1, RX2 = Tuning(5, 868_100_000), Tuning(3, 869_525_000)


def station_uplink(data_rate: int = 5, rctx: int = 0, **times: int) -> StationUplink:
    return StationUplink("updf", b"\x40" * 12, data_rate, 868_300_000, XTIME, rctx, -71.0, 8.25, **times)


def radio_request(
    tuning: Tuning, delay_us: int, *, context: bytes = CONTEXT, immediate: bool = False, spreading_factor: int = 0
) -> ChosenTransmission:
    rate = EU868.data_rates[tuning.data_rate]
    spreading_factor = spreading_factor or rate.spreading_factor
    transmission = Transmission(b"\x60", tuning.frequency, spreading_factor, rate.bandwidth, delay_us, immediate)
    return ChosenTransmission(GATEWAY, context, transmission, 14)


def test_the_context_holds_xtime_and_rctx_whole() -> None:
    frame = frame_of(station_uplink(rctx=3), GATEWAY, EU868, NOW_US)

    assert frame is not None
    assert struct.unpack(">qq", frame.context) == (3, XTIME)
    assert frame.antenna == 3


@pytest.mark.parametrize("rctx", [-1, 256, 2**63 - 1, -(2**63)])
def test_an_rctx_that_is_no_antenna_is_kept_all_the_same(rctx: int) -> None:
    frame = frame_of(station_uplink(rctx=rctx), GATEWAY, EU868, NOW_US)

    assert frame is not None
    assert struct.unpack(">qq", frame.context) == (rctx, XTIME)
    assert frame.antenna == 0


@pytest.mark.parametrize(
    ("data_rate", "modulation", "channel"),
    [(0, (12, 125_000, 0), 1), (5, (7, 125_000, 0), 1), (6, (7, 250_000, 0), 8), (7, (0, 0, 50_000), 9)],
)
def test_a_data_rate_is_the_regions(data_rate: int, modulation: tuple[int, int, int], channel: int) -> None:
    frame = frame_of(station_uplink(data_rate), GATEWAY, EU868, NOW_US)

    assert frame is not None
    assert (frame.spreading_factor, frame.bandwidth, frame.bit_rate) == modulation
    assert frame.channel == channel


@pytest.mark.parametrize("data_rate", range(8, 16))
def test_a_data_rate_that_was_not_configured_is_no_frame(data_rate: int) -> None:
    assert frame_of(station_uplink(data_rate), GATEWAY, EU868, NOW_US) is None


def test_both_windows_follow_the_uplink() -> None:
    scheduled = schedule_of([radio_request(RX1, 5_000_000), radio_request(RX2, 6_000_000)], EU868)

    assert scheduled == (ClassA(XTIME, 5, RX1, RX2), 3)


def test_rx2_alone_is_a_later_rx1() -> None:
    scheduled = schedule_of([radio_request(RX2, 2_000_000)], EU868)

    assert scheduled == (ClassA(XTIME, 2, RX2), 3)


@pytest.mark.parametrize(("context", "rctx"), [(CONTEXT, 3), (b"", 0), (b"\0\0\0\1", 0)])
def test_an_immediate_frame_needs_no_uplink(context: bytes, rctx: int) -> None:
    scheduled = schedule_of([radio_request(RX2, 0, context=context, immediate=True)], EU868)

    assert scheduled == (ClassC(RX2), rctx)


@pytest.mark.parametrize(
    "radio_requests",
    [
        [radio_request(RX1, 5_000_000, context=b"\0\0\0\1")],
        [radio_request(RX1, 5_000_000, context=b"")],
        [radio_request(RX1, 500_000)],
        [radio_request(RX1, 1_500_000)],
        [radio_request(RX1, 16_000_000)],
        [radio_request(RX1, 0)],
        [radio_request(RX1, 1_000_000), radio_request(RX2, 3_000_000)],
        [radio_request(RX1, 1_000_000, spreading_factor=6)],
    ],
)
def test_what_a_station_cannot_do_is_not_asked(radio_requests: list[ChosenTransmission]) -> None:
    with pytest.raises(Unfit):
        schedule_of(radio_requests, EU868)


@pytest.mark.parametrize(
    ("said", "when", "expected"),
    [
        (Transmitted(1, 5, 868_100_000), ClassA(1, 1, RX1, RX2), False),
        (Transmitted(1, 3, 869_525_000), ClassA(1, 1, RX1, RX2), True),
        (Transmitted(1, None, None), ClassA(1, 1, RX1, RX2), False),
        (Transmitted(1, 3, 869_525_000), ClassA(1, 1, RX2, RX2), False),
        (Transmitted(1, 3, 869_525_000), ClassA(1, 1, RX2), False),
        (Transmitted(1, 3, 869_525_000), ClassC(RX2), False),
    ],
)
def test_the_window_that_was_used_is_found_by_what_the_radio_was_set_to(
    said: Transmitted, when: ClassA | ClassC, *, expected: bool
) -> None:
    assert fell_back(said, when) is expected
