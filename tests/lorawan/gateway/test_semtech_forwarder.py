"""What a forwarder sends is what the server reads, and the other way round."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorawan.gateway.semtech_forwarder import PullAck, PullResp, PushAck, parse_answer, pull_data, push_data
from lorawan.gateway.semtech_rxpk import Antenna, RxPk
from lorawan.gateway.semtech_stat import Stat
from lorawan.gateway.semtech_udp import (
    MalformedDatagram,
    PushData,
    TxPk,
    acknowledgement,
    parse_datagram,
    pull_resp,
)
from lorawan.identifiers import GatewayId
from lorawan.regions import Fsk, Lora

GATEWAYS = st.binary(min_size=8, max_size=8).map(GatewayId)
TOKENS = st.binary(min_size=2, max_size=2)
FREQUENCIES = st.integers(1, 2**31 - 1)
COUNTERS = st.integers(0, 2**32 - 1)
LEVELS = st.floats(-200, 20).map(lambda level: round(level, 2))
PAYLOADS = st.binary(min_size=1, max_size=255)
MODULATIONS = st.builds(Lora, st.integers(7, 12), st.sampled_from([125_000, 250_000, 500_000])) | st.builds(
    Fsk, st.integers(1, 300_000)
)
TIMES_US = st.integers(0, 4_000_000_000_000_000)


@st.composite
def rxpks(draw: st.DrawFn) -> RxPk:
    antennas = tuple(draw(st.lists(st.builds(Antenna, st.integers(0, 3), st.integers(0, 63), LEVELS, LEVELS))))
    one = Antenna(draw(st.integers(0, 3)), draw(st.integers(0, 63)), draw(LEVELS), draw(LEVELS))
    best = max(antennas, key=lambda antenna: (antenna.snr, antenna.rssi), default=one)
    return RxPk(
        phy_payload=draw(PAYLOADS),
        tmst=draw(st.none() | COUNTERS),
        frequency=draw(FREQUENCIES),
        modulation=draw(MODULATIONS),
        rssi=best.rssi,
        snr=best.snr,
        coding_rate=draw(st.sampled_from(["", "4/5", "4/8", "4/5LI", "OFF"])),
        time_us=draw(st.none() | TIMES_US),
        gps_time_us=draw(st.none() | st.integers(1_000_000_000_000, 2**41).map(lambda ms: ms * 1000)),
        channel=best.channel,
        antenna=best.antenna,
        antennas=antennas,
    )


STATS = st.builds(
    Stat,
    time_us=st.none() | st.integers(0, 4_000_000_000).map(lambda seconds: seconds * 1_000_000),
    latitude=st.just(48.2),
    longitude=st.floats(-180, 180),
    altitude=st.none() | st.integers(-100, 9000),
    rx_received=st.none() | st.integers(0, 2**32),
    ack_ratio=st.none() | st.floats(0, 100),
)


@given(TOKENS, GATEWAYS, st.lists(rxpks(), max_size=4), st.none() | STATS)
def test_the_server_reads_what_a_forwarder_pushes(
    token: bytes, gateway_id: GatewayId, uplink: list[RxPk], stat: Stat | None
) -> None:
    octets = push_data(token, gateway_id, uplink, stat)

    assert parse_datagram(octets) == PushData(token, gateway_id, tuple(uplink), (), stat)
    assert parse_answer(acknowledgement(octets) or b"") == PushAck(token)


@given(
    TOKENS,
    st.builds(
        TxPk,
        PAYLOADS,
        FREQUENCIES,
        MODULATIONS,
        power=st.integers(-10, 27),
        tmst=st.none() | COUNTERS,
    ),
)
def test_a_forwarder_reads_what_the_server_asks(token: bytes, txpk: TxPk) -> None:
    assert parse_answer(pull_resp(token, txpk)) == PullResp(token, txpk)


@given(TOKENS, GATEWAYS)
def test_a_forwarder_reads_acknowledgements(token: bytes, gateway_id: GatewayId) -> None:
    pushed = acknowledgement(push_data(token, gateway_id))
    pulled = acknowledgement(pull_data(token, gateway_id))

    assert parse_answer(pushed or b"") == PushAck(token)
    assert parse_answer(pulled or b"") == PullAck(token)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x02ab",
        b"\x03ab\x01",
        b"\x02ab\x00",
        b"\x02ab\x03",
        b"\x02ab\x03[]",
        b"\x02ab\x03{}",
        b'\x02ab\x03{"txpk":[]}',
        b'\x02ab\x03{"txpk":{"imme":true,"freq":868.1,"modu":"LORA","datr":"SF7BW125","size":1,"data":"YA=="}}',
        b'\x02ab\x03{"txpk":{"freq":868.1,"rfch":0,"modu":"LORA","datr":"SF7BW125","size":1,"data":"YA=="}}',
    ],
)
def test_a_forwarder_rejects_what_it_cannot_emit(octets: bytes) -> None:
    with pytest.raises(MalformedDatagram):
        parse_answer(octets)


@given(st.binary(max_size=60), st.integers(0, 255))
def test_arbitrary_bytes_raise_only_malformed_datagram(body: bytes, kind: int) -> None:
    try:
        parse_answer(bytes((2, 1, 2, kind)) + body)
    except MalformedDatagram:
        assert True
