import json
import secrets

import pytest

from lab.gateway import rxpk
from lab.radio.transmission import CHANNELS
from lorawan.gateway.semtech_udp import PushData, parse_datagram
from lorawan.regions.region import Lora

GATEWAY_ID = bytes.fromhex("0080000000a0b0c0")
AT_US = 1_795_000_000_123_456


def test_a_push_data_carries_what_was_received() -> None:
    phy_payloads = [secrets.token_bytes(30) for _ in range(8)]
    instant, signals = rxpk.Clock().text(AT_US), rxpk.signals("a gateway")
    channels = [rxpk.channel(frequency, 7 + number % 6) for number, frequency in enumerate(CHANNELS)]
    common = [rxpk.common_part(instant, channels[number], one) for number, one in enumerate(phy_payloads)]
    rxpks = [rxpk.rxpk(4_000_000_000 + number, signals[number], one) for number, one in enumerate(common)]

    datagram = parse_datagram(rxpk.push_data(65_537, GATEWAY_ID, rxpks))

    assert isinstance(datagram, PushData)
    assert (datagram.token, datagram.gateway_id, datagram.rejected) == (b"\x00\x01", GATEWAY_ID, ())
    assert [one.phy_payload for one in datagram.rxpks] == phy_payloads
    assert [one.tmst for one in datagram.rxpks] == [4_000_000_000 + number for number in range(8)]
    assert {one.time_us for one in datagram.rxpks} == {AT_US}
    assert [one.modulation for one in datagram.rxpks] == [Lora(7 + number % 6, 125_000) for number in range(8)]
    assert [one.frequency for one in datagram.rxpks] == list(CHANNELS)


def test_every_signal_is_plausible_json() -> None:
    for signal in rxpk.signals("a gateway"):
        written = json.loads(b"{" + signal.rstrip(b",") + b"}")

        assert -10 <= written["lsnr"] <= 10
        assert -125 <= written["rssi"] <= -40


@pytest.mark.parametrize("at_us", [0, 999_999, 1_000_000, AT_US])
def test_a_clock_writes_microseconds(at_us: int) -> None:
    clock = rxpk.Clock()
    clock.text(AT_US + 1)

    seconds, _, rest = clock.text(at_us).decode().removesuffix("Z").partition(".")

    assert int(rest) == at_us % 1_000_000
    assert len(seconds) == len("1970-01-01T00:00:00")
