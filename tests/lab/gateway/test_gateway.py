"""The radio of a simulated gateway rejects what a concentrator rejects."""

import random

from lab.gateway.gateway import Gateway
from lab.radio.clock import now_us
from lab.radio.concentrator import LEAD_US
from lab.radio.medium import RadioMedium
from lab.radio.transmission import RX2_FREQUENCY, SECOND_US
from lorawan.identifiers import GatewayId


def gateway() -> Gateway:
    medium = RadioMedium(random.Random(1), call_at=lambda _at_us, _act: None)
    return Gateway(GatewayId(b"gateway1"), "Passerelle", 48.4, -4.5, medium, counter_offset_us=123_456)


def test_overlapping_transmissions_are_rejected() -> None:
    made, at = gateway(), now_us() + SECOND_US

    assert made.transmit(bytes(20), 868_100_000, 7, at_us=at) == "NONE"
    assert made.transmit(bytes(20), 868_300_000, 7, at_us=at + 1_000) == "COLLISION_PACKET"
    assert made.account.refused == {"COLLISION_PACKET": 1}


def test_a_late_transmission_is_rejected_and_the_past_looks_like_the_far_future() -> None:
    made = gateway()

    assert made.transmit(bytes(20), RX2_FREQUENCY, 9, at_us=now_us() + LEAD_US // 2) == "TOO_LATE"
    assert made.transmit(bytes(20), RX2_FREQUENCY, 9, at_us=now_us() - SECOND_US) == "TOO_EARLY"


def test_duty_cycle_beyond_the_law_is_recorded() -> None:
    made = gateway()
    # 1 % of an hour on 868.0 to 868.6 MHz is 36 s; an SF12 frame of 50 octets takes about 2.5 s.
    for number in range(20):
        made.transmit(bytes(50), 868_100_000, 12, at_us=now_us() + (1 + 4 * number) * SECOND_US)

    assert made.account.duty_cycle_exceeded > 0


def test_an_uplink_that_falls_into_a_transmission_is_missed_and_counted() -> None:
    made, at = gateway(), now_us() + SECOND_US
    made.transmit(bytes(20), 868_100_000, 7, at_us=at)

    assert made.listens(at - 200_000, at)
    assert not made.listens(at - 200_000, at + 1)
    assert made.account.deaf == 1
