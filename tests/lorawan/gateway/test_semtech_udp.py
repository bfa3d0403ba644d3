"""Datagrams as real forwarders write them: each oddity costs its own element and no other (docs/protocols.md)."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorawan.gateway.semtech_forwarder import pull_data, push_data, tx_ack
from lorawan.gateway.semtech_rxpk import (
    UNKNOWN_RSSI,
    UNKNOWN_SNR,
    Antenna,
    RejectReason,
    RxPk,
)
from lorawan.gateway.semtech_stat import Stat
from lorawan.gateway.semtech_udp import (
    MAX_PULL_RESP,
    DatagramType,
    MalformedDatagram,
    PullData,
    PushData,
    TxAck,
    TxPk,
    TxStatus,
    acknowledgement,
    datagram_type,
    gateway_id_of,
    parse_datagram,
    pull_resp,
)
from lorawan.identifiers import GatewayId
from lorawan.regions import Fsk, Lora

GATEWAY = GatewayId(bytes.fromhex("aa555a0000000101"))
TOKEN = b"\x12\x34"
# The protocol's own example (PROTOCOL.TXT of the packet forwarder, section 4), with its data.
EXAMPLE = {
    "time": "2013-03-31T16:21:17.528002Z",
    "tmst": 3512348611,
    "chan": 2,
    "rfch": 0,
    "freq": 866.349812,
    "stat": 1,
    "modu": "LORA",
    "datr": "SF7BW125",
    "codr": "4/6",
    "rssi": -35,
    "lsnr": 5.1,
    "size": 32,
    "data": "+DS4CGaDCdG+48eJNM3Vai+zDpsR71Pn9CPA9uCON84=",
}


def header(kind: int, version: int = 2) -> bytes:
    return bytes((version, *TOKEN, kind)) + GATEWAY


def push(*elements: Any, **rest: Any) -> PushData:
    return push_text(json.dumps({"rxpk": list(elements), **rest}))


def push_text(text: str | bytes) -> PushData:
    octets = text if isinstance(text, bytes) else text.encode()
    datagram = parse_datagram(header(0) + octets)
    assert isinstance(datagram, PushData)
    return datagram


def rxpk(**changes: Any) -> dict[str, Any]:
    return {**EXAMPLE, **changes}


def only(datagram: PushData) -> RxPk:
    assert datagram.rejected == ()
    [heard] = datagram.rxpks
    return heard


def test_reads_the_protocols_own_example() -> None:
    heard = only(push(EXAMPLE))

    assert heard.tmst == 3512348611
    assert heard.frequency == 866_349_812
    assert heard.modulation == Lora(7, 125_000)
    assert (heard.coding_rate, heard.rssi, heard.snr, heard.channel) == ("4/6", -35.0, 5.1, 2)
    assert heard.time_us == 1_364_746_877_528_002
    assert heard.gps_time_us is None
    assert heard.phy_payload.hex() == "f834b808668309d1bee3c78934cdd56a2fb30e9b11ef53e7f423c0f6e08e37ce"


@pytest.mark.parametrize(("kind", "expected"), [(0, b"\x02\x12\x34\x01"), (2, b"\x02\x12\x34\x04"), (5, None)])
def test_acknowledges_by_the_header_alone(kind: int, expected: bytes | None) -> None:
    assert acknowledgement(header(kind) + b"{not json") == expected


def test_acknowledges_version_1_in_version_1() -> None:
    assert acknowledgement(header(0, version=1)) == b"\x01\x12\x34\x01"


@pytest.mark.parametrize("octets", [b"", header(0)[:11], header(0, version=3), header(1), header(3), header(9)])
def test_rejects_what_is_not_from_a_gateway(octets: bytes) -> None:
    assert datagram_type(octets) is None
    assert acknowledgement(octets) is None
    with pytest.raises(MalformedDatagram, match="not from a gateway"):
        parse_datagram(octets)


def test_reads_pull_data_and_the_gateway_in_any_datagram() -> None:
    assert parse_datagram(pull_data(TOKEN, GATEWAY)) == PullData(TOKEN, GATEWAY)
    assert datagram_type(header(2)) is DatagramType.PULL_DATA
    assert gateway_id_of(header(0) + b"{}") == GATEWAY


@pytest.mark.parametrize("body", ["[]", "7", "null", '{"rx', "", "rxpk"])
def test_rejects_push_data_in_which_there_is_nothing_to_read(body: str) -> None:
    with pytest.raises(MalformedDatagram, match="JSON"):
        push_text(body)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (rxpk(stat=-1), RejectReason.BAD_CRC),
        (rxpk(stat=0), RejectReason.NO_CRC),
        (rxpk(stat="x"), RejectReason.NO_CRC),
        (rxpk(data="$$$$"), RejectReason.DATA),
        (rxpk(data=""), RejectReason.DATA),
        (rxpk(data="é"), RejectReason.DATA),
        (rxpk(data=None), RejectReason.DATA),
        (rxpk(data="A" * 400), RejectReason.DATA),
        (rxpk(freq=None), RejectReason.FREQUENCY),
        (rxpk(freq=1e300), RejectReason.FREQUENCY),
        (rxpk(freq=1e305), RejectReason.FREQUENCY),
        (rxpk(freq=10**400), RejectReason.FREQUENCY),
        (rxpk(freq=True), RejectReason.FREQUENCY),
        (rxpk(datr="SF13BW125"), RejectReason.MODULATION),
        (rxpk(datr="M0CW137", modu="LR-FHSS"), RejectReason.MODULATION),
        (rxpk(datr=50000, modu="LORA"), RejectReason.MODULATION),
        (rxpk(datr=[]), RejectReason.MODULATION),
        ([], RejectReason.NOT_AN_OBJECT),
        (None, RejectReason.NOT_AN_OBJECT),
    ],
)
def test_one_bad_element_never_costs_its_neighbours(bad: Any, reason: RejectReason) -> None:
    datagram = push(EXAMPLE, bad, rxpk(tmst=1))

    assert [heard.tmst for heard in datagram.rxpks] == [3512348611, 1]
    assert [rejected.reason for rejected in datagram.rejected] == [reason]


@pytest.mark.parametrize(
    "data",
    ["+DS4CGaDCdG+48eJNM3Vai+zDpsR71Pn9CPA9uCON84", "-DS4CGaDCdG-48eJNM3Vai-zDpsR71Pn9CPA9uCON84"],
)
def test_reads_base64_padded_or_not_of_either_alphabet(data: str) -> None:
    assert only(push(rxpk(data=data))).phy_payload == only(push(EXAMPLE)).phy_payload


def test_trusts_the_data_when_size_disagrees() -> None:
    assert len(only(push(rxpk(size=5))).phy_payload) == 32


def test_reads_floats_and_numeric_strings_where_integers_are_specified() -> None:
    heard = only(push(rxpk(tmst="4294967295", freq="868.1", rssi="-71.0", lsnr="-7.25", chan=3.0, stat="1")))

    assert (heard.tmst, heard.frequency, heard.rssi, heard.snr, heard.channel) == (
        4294967295,
        868_100_000,
        -71.0,
        -7.25,
        3,
    )


@pytest.mark.parametrize("value", ["NaN", "nan", "-nan", "inf", "-Infinity", "1e999", "null", '"x"', "{}"])
def test_a_level_that_is_no_number_costs_the_value_and_not_the_frame(value: str) -> None:
    text = json.dumps({"rxpk": [EXAMPLE]}).replace('"lsnr": 5.1', f'"lsnr": {value}')

    heard = only(push_text(text.replace('"rssi": -35', f'"rssi": {value}')))

    assert (heard.rssi, heard.snr) == (UNKNOWN_RSSI, UNKNOWN_SNR)


@pytest.mark.parametrize("tmst", [None, "x", 1e400])
def test_a_frame_without_a_counter_is_still_an_uplink(tmst: Any) -> None:
    assert only(push(rxpk(tmst=tmst))).tmst is None


def test_reads_fsk_and_codr_off_and_sf5() -> None:
    datagram = push(
        rxpk(modu="FSK", datr=50000, lsnr=None), rxpk(modu="Fsk", datr="50000"), rxpk(codr="OFF", datr="SF5BW125")
    )

    assert [heard.modulation for heard in datagram.rxpks] == [Fsk(50_000), Fsk(50_000), Lora(5, 125_000)]
    assert datagram.rxpks[0].snr == 0.0
    assert datagram.rxpks[2].coding_rate == "OFF"


@pytest.mark.parametrize("time", ["", None, 17, "yesterday", "0001-01-01T00:00:00+23:59", "1969-12-31T00:00:00Z"])
def test_a_time_that_says_nothing_is_none(time: Any) -> None:
    assert only(push(rxpk(time=time))).time_us is None


@pytest.mark.parametrize("time", ["2013-03-31T16:21:17Z", "2013-03-31T16:21:17", "20130331T162117Z"])
def test_a_time_needs_neither_fraction_nor_zone(time: str) -> None:
    assert only(push(rxpk(time=time))).time_us == 1_364_746_877_000_000


def test_gps_time_is_18_seconds_ahead_of_utc() -> None:
    # 2026-11-25T00:00:00Z is 1,479,600,018 s after 1980-01-06T00:00:00Z, leap seconds included.
    assert only(push(rxpk(tmms=1_479_600_018_000))).gps_time_us == 1_795_564_800_000_000


def test_a_frequency_is_rounded_and_not_cut() -> None:
    assert [only(push(rxpk(freq=mhz))).frequency for mhz in (868.1, 867.3, 867.9)] == [
        868_100_000,
        867_300_000,
        867_900_000,
    ]


def test_keeps_the_best_of_several_antennas_and_lists_them_all() -> None:
    signals = [
        {"ant": 0, "chan": 7, "rssic": -115, "lsnr": -2.0, "etime": "QjOYwmBmhYgDKbm8Y4FyXw==", "rssis": -117},
        {"ant": 1, "chan": 23, "rssic": -116, "lsnr": 1.5},
        "noise",
    ]
    outer = {key: value for key, value in EXAMPLE.items() if key not in ("chan", "rssi", "lsnr")}

    heard = only(push({**outer, "rsig": signals}))

    assert heard.antennas == (Antenna(0, 7, -115.0, -2.0), Antenna(1, 23, -116.0, 1.5))
    assert (heard.antenna, heard.channel, heard.rssi, heard.snr) == (1, 23, -116.0, 1.5)


def test_a_datagram_carries_as_many_frames_as_a_concentrator_queues() -> None:
    datagram = push(*[rxpk(tmst=tmst) for tmst in range(255)])

    assert [heard.tmst for heard in datagram.rxpks] == list(range(255))


def test_the_level_of_the_signal_stands_in_for_that_of_the_channel() -> None:
    said = {key: value for key, value in EXAMPLE.items() if key != "rssi"}

    assert only(push({**said, "rssis": -117})).rssi == -117.0


def test_unknown_keys_and_duplicated_keys_are_tolerated() -> None:
    text = json.dumps({"rxpk": [rxpk(foff=12, hpw=1, meta={"a": "b"})], "new": 1})

    heard = only(push_text(text.replace('"chan": 2', '"chan": 1, "chan": 2')))

    assert heard.channel == 2


@pytest.mark.parametrize("cut", ['"stat":{"time":"2026-11-2', '"stat":{', '"stat":{"lati":4'])
def test_a_status_cut_short_does_not_cost_the_frames(cut: str) -> None:
    datagram = push_text(f'{{"rxpk":[{json.dumps(EXAMPLE)},{json.dumps(EXAMPLE)}],{cut}')

    assert len(datagram.rxpks) == 2
    assert datagram.stat is None
    assert datagram.damaged


@pytest.mark.parametrize("broken", ['{"tmst":,"freq":868.1}', '{"data":"AA}', '{"rsig":[{"ant":0},{"ant":]}'])
def test_an_element_that_is_not_json_does_not_cost_the_others(broken: str) -> None:
    example = json.dumps(EXAMPLE)

    datagram = push_text(f'{{"rxpk":[{example},{broken},{example}]}}')

    assert len(datagram.rxpks) == 2
    assert RejectReason.NOT_JSON in {rejected.reason for rejected in datagram.rejected}
    assert datagram.damaged


def test_a_trailing_nul_and_octets_outside_utf_8_are_survived() -> None:
    text = json.dumps({"rxpk": [rxpk(desc="@")]}).encode().replace(b"@", b"\xff\xfe\x01") + b"\0"

    assert only(push_text(text)).tmst == 3512348611


def test_nesting_beyond_reason_is_malformed() -> None:
    with pytest.raises(MalformedDatagram):
        push_text("[" * 60_000)
    assert push_text('{"rxpk":[' + '{"a":' * 12_000).damaged


def test_reads_a_status() -> None:
    stat = push(
        stat={
            "time": "2014-01-12 08:59:28 GMT",
            "lati": 46.24,
            "long": "3.2523",
            "alti": 145,
            "rxnb": 2,
            "rxok": 2.0,
            "ackr": 100.0,
            "temp": "nan",
        }
    ).stat

    assert stat == Stat(
        time_us=1_389_517_168_000_000,
        latitude=46.24,
        longitude=3.2523,
        altitude=145,
        rx_received=2,
        rx_ok=2,
        ack_ratio=100.0,
    )


@pytest.mark.parametrize("time", ["2014-01-12T08:59:28Z", "2014-01-12T09:59:28+01:00"])
def test_a_status_may_be_dated_as_rfc_3339(time: str) -> None:
    stat = push(stat={"time": time}).stat

    assert stat is not None
    assert stat.time_us == 1_389_517_168_000_000


@pytest.mark.parametrize(("latitude", "longitude"), [(0, 0), (10, 20), (91, 3), (48.1, None), (48.1, 1000)])
def test_positions_that_no_gateway_has_are_ignored(latitude: Any, longitude: Any) -> None:
    assert push(stat={"lati": latitude, "long": longitude, "alti": 3}).stat == Stat()


@pytest.mark.parametrize("stat", [[], "x", 3])
def test_a_status_that_is_no_object_does_not_cost_the_frames(stat: Any) -> None:
    datagram = push(EXAMPLE, stat=stat)

    assert len(datagram.rxpks) == 1
    assert datagram.stat is None


@pytest.mark.parametrize("body", [b"", b"\0", b"{}", b"{}\0", b"\r\n", b'{"txpk_ack":{"error":"NONE"}}', b"[]"])
def test_an_empty_or_none_tx_ack_is_ok(body: bytes) -> None:
    assert parse_datagram(header(5) + body) == TxAck(TOKEN, GATEWAY)


@pytest.mark.parametrize("status", list(TxStatus))
def test_reads_every_answer_of_a_gateway(status: TxStatus) -> None:
    assert parse_datagram(tx_ack(TOKEN, GATEWAY, status)) == TxAck(TOKEN, GATEWAY, status)


def test_a_warning_means_that_the_frame_was_sent() -> None:
    ack = parse_datagram(header(5) + b'{"txpk_ack":{"warn":"TX_POWER","value":20}}')

    assert ack == TxAck(TOKEN, GATEWAY, TxStatus.OK, "TX_POWER 20")


def test_an_error_that_the_protocol_does_not_name_is_internal() -> None:
    ack = parse_datagram(header(5) + b'{"txpk_ack":{"error":"SYNTH_UNLOCKED"}}')

    assert ack == TxAck(TOKEN, GATEWAY, TxStatus.INTERNAL_ERROR)


@pytest.mark.parametrize("body", [b"{", b'{"txpk_ack":3}'])
def test_rejects_a_tx_ack_that_cannot_be_read(body: bytes) -> None:
    with pytest.raises(MalformedDatagram, match=r"TX_ACK|txpk_ack"):
        parse_datagram(header(5) + body)


def test_the_longest_downlink_fits_what_a_forwarder_reads() -> None:
    octets = pull_resp(TOKEN, TxPk(bytes(255), 869_525_000, Lora(12, 125_000), power=27, tmst=2**32 - 1))

    assert octets[:4] == b"\x02\x12\x34\x03"
    assert len(octets) <= MAX_PULL_RESP


def test_a_class_a_downlink_says_what_a_forwarder_needs() -> None:
    octets = pull_resp(TOKEN, TxPk(b"\x60\x01", 868_100_000, Lora(7, 125_000), power=14, tmst=2**32 + 5))

    assert json.loads(octets[4:]) == {
        "txpk": {
            "tmst": 5,
            "freq": 868.1,
            "rfch": 0,
            "powe": 14,
            "modu": "LORA",
            "datr": "SF7BW125",
            "codr": "4/5",
            "ipol": True,
            "ncrc": True,
            "size": 2,
            "data": "YAE=",
        }
    }


def test_an_immediate_fsk_downlink_says_its_deviation() -> None:
    said = json.loads(pull_resp(TOKEN, TxPk(b"\x60", 868_800_000, Fsk(50_000), power=14))[4:])["txpk"]

    assert said["imme"] is True
    assert (said["datr"], said["fdev"]) == (50_000, 25_000)
    assert "tmst" not in said
    assert "codr" not in said


@pytest.mark.parametrize("payload", [b"", bytes(256)])
def test_rejects_to_send_what_is_no_frame(payload: bytes) -> None:
    with pytest.raises(ValueError, match="1 to 255"):
        pull_resp(TOKEN, TxPk(payload, 868_100_000, Lora(7, 125_000), power=14))


@given(st.binary(max_size=300), st.sampled_from([0, 2, 5]))
def test_arbitrary_bodies_raise_only_malformed_datagram(body: bytes, kind: int) -> None:
    try:
        parse_datagram(header(kind) + body)
    except MalformedDatagram:
        assert acknowledgement(header(kind) + body) is not None or kind == 5


@given(st.binary(max_size=40))
def test_arbitrary_bytes_raise_only_malformed_datagram(octets: bytes) -> None:
    try:
        parse_datagram(octets)
    except MalformedDatagram:
        assert True


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*EXAMPLE, "rsig"]), inner),
    max_leaves=8,
)


@given(
    st.lists(JSON | st.dictionaries(st.sampled_from([*EXAMPLE, "rsig", "tmms"]), JSON).map(lambda d: rxpk(**d)))
)
def test_every_element_is_either_read_or_rejected(elements: list[Any]) -> None:
    datagram = push(*elements, stat={})

    assert len(datagram.rxpks) + len(datagram.rejected) == len(elements)


@given(st.data())
def test_flipped_bits_raise_only_malformed_datagram(data: st.DataObject) -> None:
    heard = only(push(EXAMPLE))
    octets = bytearray(push_data(TOKEN, GATEWAY, [heard, heard], Stat(latitude=48.0, longitude=-4.0)))
    for at in data.draw(st.lists(st.integers(0, 8 * len(octets) - 1), min_size=1, max_size=6)):
        octets[at // 8] ^= 1 << at % 8

    try:
        parse_datagram(bytes(octets))
    except MalformedDatagram:
        assert True
