"""What a station says: messages observed on Basics Station 2.0.6, and what others make of them."""

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lorawan.gateway.basics_station import (
    MAX_ROUND_TRIP_US,
    MalformedMessage,
    StationUplink,
    Transmitted,
    Unused,
    Version,
    parse_discovery,
    parse_message,
    round_trip_us,
)
from tests.gateways.ws_station import JREQ, UPDF, message_of, up_info

NOW_US = 1_795_559_600_500_000
octets = st.binary(max_size=255)
exact = st.integers(-(1 << 63), (1 << 63) - 1)


def uplink_of(message: str) -> StationUplink:
    found = parse_message(message)
    assert isinstance(found, StationUplink)
    return found


def changed(message: str, **fields: object) -> str:
    return json.dumps(json.loads(message) | fields)


def changed_up_info(**fields: object) -> str:
    said = json.loads(UPDF)
    return json.dumps(said | {"upinfo": said["upinfo"] | fields})


# --- Who is there ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "octets"),
    [
        ("80:ff:fe00:1", "008000fffe000001"),
        ("::1", "0000000000000001"),
        ("::", "0000000000000000"),
        ("f::1", "000f000000000001"),
        ("a123:f8:100::", "a12300f801000000"),
        ("::a123:f8:100", "0000a12300f80100"),
        ("b827:ebff:fe12:3456", "b827ebfffe123456"),
        ("router-::1", "0000000000000001"),
        ("B8-27-EB-FF-FE-12-34-56", "b827ebfffe123456"),
        ("b8:27:eb:ff:fe:12:34:56", "b827ebfffe123456"),
        ("b827ebfffe123456", "b827ebfffe123456"),
        (0x008000FFFE000001, "008000fffe000001"),
        ((1 << 64) - 1, "ffffffffffffffff"),
    ],
)
def test_an_eui_is_read_in_every_way_that_a_station_writes_it(written: object, octets: str) -> None:
    asked = json.dumps({"router": written})

    assert parse_discovery(asked).hex() == octets


@pytest.mark.parametrize(
    "written",
    [None, "", "::1::", "1:2:3:4:5", "12345:1", "gateway", -1, 1 << 64, 1.5, True, [1], {"a": 1}, ":", ":1", "1:"],
)
def test_what_is_no_eui_is_rejected(written: object) -> None:
    with pytest.raises(MalformedMessage, match="router-info"):
        parse_discovery(json.dumps({"router": written}))


@pytest.mark.parametrize(
    ("features", "production"),
    [("rmtsh gps", False), ("rmtsh prod", True), ("", False), (["gps", "prod"], True), (None, False), (7, False)],
)
def test_a_station_says_what_it_is(features: object, production: bool) -> None:
    version = parse_message(
        json.dumps(
            {
                "msgtype": "version",
                "station": "2.0.6(linux/std)",
                "firmware": None,
                "package": "a\x00b\ud800" + "c" * 500,
                "model": "linux",
                "protocol": 2,
                "features": features,
            }
        )
    )

    assert isinstance(version, Version)
    assert (version.station, version.firmware, version.model, version.protocol) == (
        "2.0.6(linux/std)",
        "",
        "linux",
        2,
    )
    # It goes to a database that takes neither NUL nor half of a surrogate pair.
    assert version.package == "ab" + "c" * 98
    assert version.is_production is production


# --- From the air ------------------------------------------------------------------------------------


def test_the_observed_data_frame_is_whole_again() -> None:
    assert uplink_of(UPDF) == StationUplink(
        "updf",
        bytes.fromhex("40f17dbe4900020001954378762b11ff0d"),
        data_rate=5,
        frequency=868_100_000,
        xtime=1407375152494224,
        rctx=0,
        rssi=-71.0,
        snr=8.25,
        gps_time_us=None,
        rx_time_us=1_795_559_600_545_119,
        ref_time_us=1_795_559_600_545_113,
    )


def test_the_observed_join_request_is_whole_again() -> None:
    assert uplink_of(JREQ).phy_payload.hex() == "0001020304050607081112131415161718" + "3412" + "aabbccdd"


def test_a_proprietary_frame_comes_as_it_is() -> None:
    message = changed(UPDF, msgtype="propdf", FRMPayload="e0010203")

    assert uplink_of(message).phy_payload.hex() == "e0010203"


@given(phy=octets.filter(bool), xtime=exact)
def test_every_frame_that_a_station_takes_to_pieces_is_the_same_again_with_its_xtime(
    phy: bytes, xtime: int
) -> None:
    # FOpts that run into the MIC are no frame, and a station does not forward them.
    assume(len(phy) < 12 or phy[0] >> 5 not in {2, 4} or 8 + (phy[5] & 15) <= len(phy) - 4)

    found = uplink_of(json.dumps(message_of(phy, up_info(xtime=xtime))))

    assert found.phy_payload == phy
    assert found.xtime == xtime


@pytest.mark.parametrize("xtime", [1.5e15, 1e300, None, True, [], "1.5", "", "9" * 30, 1 << 63, -(1 << 63) - 1])
def test_an_xtime_that_has_lost_digits_is_no_xtime(xtime: object) -> None:
    with pytest.raises(MalformedMessage, match="xtime"):
        parse_message(changed_up_info(xtime=xtime))


def test_an_xtime_in_quotes_is_one() -> None:
    assert uplink_of(changed_up_info(xtime="72057594037927937")).xtime == 2**56 + 1


@pytest.mark.parametrize("spelling", ["MHdr", "Mhdr", "MHDR", "mhdr"])
def test_keys_are_read_whatever_their_capitals(spelling: str) -> None:
    said = json.loads(JREQ)
    for name, other in (("MHdr", spelling), ("JoinEui", "JoinEUI"), ("DevEui", "DevEUI")):
        said[other] = said.pop(name)

    assert uplink_of(json.dumps(said)).phy_payload == uplink_of(JREQ).phy_payload


def test_numbers_are_signed_or_not() -> None:
    assert uplink_of(changed(UPDF, MIC=-2)).phy_payload[-4:].hex() == "feffffff"
    assert uplink_of(changed(UPDF, MIC=0xFFFFFFFE)).phy_payload[-4:].hex() == "feffffff"
    assert uplink_of(changed(UPDF, DevAddr=-1)).phy_payload[1:5].hex() == "ffffffff"


def test_gps_time_is_in_microseconds_with_18_leap_seconds() -> None:
    # 1 January 2017, 00:00:00 UTC, the first instant with 18 leap seconds, is GPS second 1167264018.
    assert uplink_of(changed_up_info(gpstime=1_167_264_018_000_000)).gps_time_us == 1_483_228_800_000_000
    assert uplink_of(changed_up_info(gpstime=0)).gps_time_us is None
    assert uplink_of(changed_up_info(gpstime=1 << 80)).gps_time_us is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"MHdr": 256}, "mhdr"),
        ({"MHdr": None}, "mhdr"),
        ({"FCtrl": 1}, "FOpts"),
        ({"FOpts": "02"}, "FOpts"),
        ({"FOpts": "xy"}, "field"),
        ({"FOpts": 7}, "fopts"),
        ({"FPort": -1}, "FRMPayload without FPort"),
        ({"FPort": 256}, "fport"),
        ({"FCnt": 65_536}, "fcnt"),
        ({"FCnt": -1}, "fcnt"),
        ({"DevAddr": 1 << 32}, "devaddr"),
        ({"MIC": -(1 << 31) - 1}, "mic"),
        ({"FRMPayload": "00" * 300}, "frmpayload"),
        ({"FRMPayload": "00" * 250}, "PHYPayload of"),
        ({"DR": 16}, "dr"),
        ({"DR": "a"}, "dr"),
        ({"Freq": 0}, "freq"),
        ({"Freq": 1 << 40}, "freq"),
        ({"upinfo": None}, "xtime"),
        ({"upinfo": []}, "xtime"),
        ({"msgtype": None}, "msgtype"),
        ({"msgtype": 5}, "msgtype"),
        ({"msgtype": "jreq"}, "not an EUI"),
        ({"msgtype": "propdf", "FRMPayload": ""}, "PHYPayload of 0"),
    ],
)
def test_a_part_that_is_wrong_is_named(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(MalformedMessage, match=reason):
        parse_message(changed(UPDF, **fields))


def test_what_only_describes_the_reception_may_be_missing() -> None:
    found = uplink_of(changed(UPDF, upinfo={"xtime": 5, "rssi": "NaN", "rxtime": -1}, RefTime="soon"))

    assert (found.rctx, found.rssi, found.snr) == (0, -200.0, -100.0)
    assert (found.gps_time_us, found.rx_time_us, found.ref_time_us) == (None, None, None)


# --- Other messages ----------------------------------------------------------------------------------


def test_the_observed_dntxed_names_its_downlink() -> None:
    message = (
        '{"msgtype":"dntxed","seqno":4711,"diid":4711,"DR":5,"Freq":868100000,"DevEui":"01-01-01-01-01-01-01-01",'
        '"rctx":0,"xtime":1407375153494224,"txtime":740.300482,"gpstime":0}'
    )

    assert parse_message(message) == Transmitted(4711, 5, 868_100_000)


@pytest.mark.parametrize("msgtype", ["rmtsh", "error", "event", "rejoin", "x" * 1000])
def test_a_message_that_is_not_for_us_is_distinguished_from_a_malformed_one(msgtype: str) -> None:
    assert parse_message(json.dumps({"msgtype": msgtype})) == Unused(msgtype[:100])


@pytest.mark.parametrize(
    ("ref_time_us", "expected"),
    [
        (NOW_US - 80_000, 80_000),
        (NOW_US, None),
        (NOW_US + 1, None),
        (NOW_US - MAX_ROUND_TRIP_US, None),
        (None, None),
    ],
)
def test_a_round_trip_is_what_ref_time_lacks(ref_time_us: int | None, expected: int | None) -> None:
    assert round_trip_us(ref_time_us, NOW_US) == expected


def test_what_is_said_of_a_malformed_message_can_be_written_down() -> None:
    with pytest.raises(MalformedMessage) as malformed:
        parse_message('{"msgtype": "dntxed", "diid": "\\ud800"}')

    assert "ud800" in str(malformed.value).encode().decode()
