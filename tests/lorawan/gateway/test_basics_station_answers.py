"""The answers to a station."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorawan.gateway.basics_station import StationUplink, TimeSync, eui_of, parse_message
from lorawan.gateway.basics_station_answers import (
    MAX_URI,
    ClassA,
    ClassC,
    Tuning,
    discovery_answer,
    discovery_error,
    dnmsg,
    id6_of,
    mux_time,
    timesync_answer,
)
from lorawan.identifiers import GatewayId
from tests.gateways.ws_station import message_of, up_info

EUI = GatewayId(bytes.fromhex("008000fffe000001"))
NOW_US = 1_795_559_600_500_000


@given(eui=st.binary(min_size=8, max_size=8))
def test_id6_goes_both_ways(eui: bytes) -> None:
    assert eui_of(id6_of(eui)) == eui


def test_discovery_answers_a_station_with_its_address_or_an_error() -> None:
    told = json.loads(discovery_answer(EUI, "ws://lns:3001/gateway/008000fffe000001"))
    refused = json.loads(discovery_error(EUI, "no"))

    assert told == {
        "router": "80:ff:fe00:1",
        "muxs": "muxs-::0",
        "uri": "ws://lns:3001/gateway/008000fffe000001",
    }
    assert refused == {"router": "80:ff:fe00:1", "error": "no"}
    assert MAX_URI == 128


def test_a_question_for_the_time_is_answered_with_gps_time_and_our_own() -> None:
    asked = parse_message('{"msgtype":"timesync","txtime":977875665}')
    assert isinstance(asked, TimeSync)

    # 1 January 2017, 00:00:00 UTC, the first instant with 18 leap seconds, is GPS second 1167264018.
    answer = json.loads(timesync_answer(asked, 1_483_228_800_000_000))

    assert answer == {
        "msgtype": "timesync",
        "txtime": 977875665,
        "gpstime": 1_167_264_018_000_000,
        "MuxTime": 1_483_228_800.0,
    }


@given(offset_us=st.integers(0, 1_000_000_000))
def test_our_clock_comes_back_to_the_microsecond(offset_us: int) -> None:
    assert round(mux_time(NOW_US + offset_us) * 1e6) == NOW_US + offset_us


@pytest.mark.parametrize("xtime", [2**53 + 1, 2**56 + 1, 2**62 + 1, 2**63 - 1, -(2**53) - 1])
def test_an_xtime_beyond_what_a_float_can_hold_is_kept_and_given_back_exactly(xtime: int) -> None:
    found = parse_message(json.dumps(message_of(b"\xe0", up_info(xtime=xtime))))
    assert isinstance(found, StationUplink)

    back = json.loads(dnmsg(1, b"\x60", ClassA(found.xtime, 1, Tuning(5, 868_100_000)), 0, NOW_US))

    assert int(float(xtime)) != xtime
    assert back["xtime"] == xtime


def test_a_class_a_frame_has_both_windows_after_the_uplinks_xtime() -> None:
    when = ClassA(2**56 + 1, 5, Tuning(5, 868_100_000), Tuning(0, 869_525_000))

    assert json.loads(dnmsg(4711, b"\x60\x01", when, 3, NOW_US)) == {
        "msgtype": "dnmsg",
        "DevEui": "01-01-01-01-01-01-01-01",
        "dC": 0,
        "diid": 4711,
        "pdu": "6001",
        "RxDelay": 5,
        "RX1DR": 5,
        "RX1Freq": 868_100_000,
        "RX2DR": 0,
        "RX2Freq": 869_525_000,
        "priority": 1,
        "xtime": 2**56 + 1,
        "rctx": 3,
        "MuxTime": 1_795_559_600.5,
    }


def test_a_window_alone_says_nothing_of_another() -> None:
    message = json.loads(dnmsg(1, b"\x60", ClassA(1, 6, Tuning(0, 869_525_000)), 0, NOW_US))

    assert (message["RxDelay"], message["RX1DR"], message["RX1Freq"]) == (6, 0, 869_525_000)
    assert not message.keys() & {"RX2DR", "RX2Freq"}


def test_a_class_c_frame_goes_out_at_once() -> None:
    message = json.loads(dnmsg(1, b"\x60", ClassC(Tuning(3, 869_525_000)), 0, NOW_US))

    assert (message["dC"], message["RX2DR"], message["RX2Freq"]) == (2, 3, 869_525_000)
    assert not message.keys() & {"RX1DR", "RX1Freq", "RxDelay", "xtime"}
