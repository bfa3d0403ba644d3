import json
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.load import frames
from lorawan.crypto import Direction, SessionCipher, SessionKeys
from lorawan.frame import UplinkFrame
from lorawan.gateway.semtech_udp import PushData, parse_datagram
from lorawan.identifiers import DevAddr
from lorawan.regions.region import Lora
from lorawan.session import build_uplink

CIPHER = SessionCipher(SessionKeys(bytes(range(16)), bytes(range(16, 32))))
DEV_ADDR = DevAddr(bytes.fromhex("00a1b2c3"))
GATEWAY_ID = bytes.fromhex("0080000000a0b0c0")
AT_US = 1_795_000_000_123_456


@given(f_cnt=st.integers(0, 0xFFFF_FFFF), f_port=st.integers(1, 223), payload=st.binary(min_size=1, max_size=200))
def test_a_frame_is_the_one_that_lorawan_builds(f_cnt: int, f_port: int, payload: bytes) -> None:
    phy_payload = frames.data_frame(DEV_ADDR, CIPHER, f_cnt, f_port, payload)

    assert phy_payload == build_uplink(DEV_ADDR, CIPHER, f_cnt, f_port=f_port, payload=payload)


def test_a_network_reads_a_frame_checks_its_mic_and_finds_its_payload() -> None:
    phy_payload = frames.data_frame(DEV_ADDR, CIPHER, 70_000, 85, b"\x01\x75\x5a")

    frame = UplinkFrame.from_bytes(phy_payload)
    assert (frame.dev_addr, frame.f_cnt, frame.f_port) == (DEV_ADDR, 70_000 & 0xFFFF, 85)
    assert CIPHER.verify_uplink(phy_payload, DEV_ADDR, 70_000)
    assert CIPHER.crypt(Direction.UP, DEV_ADDR, 70_000, 85, frame.frm_payload) == b"\x01\x75\x5a"


def test_a_push_data_carries_what_was_heard() -> None:
    phy_payloads = [secrets.token_bytes(30) for _ in range(8)]
    instant = frames.Clock().text(AT_US)
    signals = frames.signals("a gateway")
    said = [frames.heard(instant, frames.ALL_CHANNELS[number], one) for number, one in enumerate(phy_payloads)]
    rxpks = [frames.rxpk(4_000_000_000 + number, signals[number], one) for number, one in enumerate(said)]

    datagram = parse_datagram(frames.push_data(65_537, GATEWAY_ID, rxpks))

    assert isinstance(datagram, PushData)
    assert (datagram.token, datagram.gateway_id, datagram.rejected) == (b"\x00\x01", GATEWAY_ID, ())
    assert [rxpk.phy_payload for rxpk in datagram.rxpks] == phy_payloads
    assert [rxpk.tmst for rxpk in datagram.rxpks] == [4_000_000_000 + number for number in range(8)]
    assert {rxpk.time_us for rxpk in datagram.rxpks} == {AT_US}
    assert {rxpk.modulation for rxpk in datagram.rxpks} == {Lora(7, 125_000)}
    assert [rxpk.frequency for rxpk in datagram.rxpks][:4] == [868_100_000, 868_300_000, 868_500_000, 867_100_000]


def test_every_signal_is_plausible_json() -> None:
    for signal in frames.signals("a gateway"):
        said = json.loads(b"{" + signal.rstrip(b",") + b"}")

        assert -10 <= said["lsnr"] <= 10
        assert -125 <= said["rssi"] <= -40


@pytest.mark.parametrize("at_us", [0, 999_999, 1_000_000, AT_US])
def test_a_clock_writes_microseconds(at_us: int) -> None:
    clock = frames.Clock()
    clock.text(AT_US + 1)

    seconds, _, rest = clock.text(at_us).decode().removesuffix("Z").partition(".")

    assert int(rest) == at_us % 1_000_000
    assert len(seconds) == len("1970-01-01T00:00:00")


def test_a_confirmed_frame_with_f_opts_is_the_one_that_lorawan_builds() -> None:
    phy_payload = frames.data_frame(DEV_ADDR, CIPHER, 7, 85, b"\x01\x75", confirmed=True, f_opts=b"\x06\xfe\x05")

    assert phy_payload == build_uplink(
        DEV_ADDR, CIPHER, 7, f_port=85, payload=b"\x01\x75", confirmed=True, f_opts=b"\x06\xfe\x05"
    )
