"""A concentrator has one antenna: while it transmits it receives nothing, and one frame fits at a time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.radio.concentrator import COUNTER, LEAD_US, Concentrator, RadioAccount
from lab.radio.transmission import Transmission

NOW = 1_795_000_000_000_000
SECOND_US = 1_000_000


def concentrator() -> Concentrator:
    return Concentrator(RadioAccount(), offset_us=123_456)


def transmission(start_us: int, airtime_us: int = 100_000) -> Transmission:
    return Transmission(b"frame", 869_525_000, 9, start_us, airtime_us)


def test_a_radio_that_transmits_is_deaf_to_what_begins_ends_or_lies_within() -> None:
    radio = concentrator()
    at = NOW + SECOND_US
    assert radio.queue_transmission(transmission(at), NOW) == "NONE"

    assert radio.is_transmitting(at - 50_000, at + 1)
    assert radio.is_transmitting(at + 99_999, at + 150_000)
    assert radio.is_transmitting(at + 10_000, at + 20_000)
    assert radio.is_transmitting(at - SECOND_US, at + SECOND_US)
    assert not radio.is_transmitting(at - SECOND_US, at)
    assert not radio.is_transmitting(at + 100_000, at + SECOND_US)


def test_an_uplink_that_ends_after_a_transmission_that_it_began_in_is_not_received() -> None:
    radio = concentrator()
    at = NOW + SECOND_US
    radio.queue_transmission(transmission(at), NOW)
    # Another is queued when the first is long over; an SF12 uplink that began during the first ends only now.
    now = at + 2_000_000
    assert radio.queue_transmission(transmission(now + SECOND_US), now) == "NONE"

    assert radio.is_transmitting(at + 50_000, now)


def test_a_transmission_that_is_late_or_overlaps_another_is_rejected() -> None:
    radio = concentrator()
    at = NOW + SECOND_US

    assert radio.queue_transmission(transmission(at), NOW) == "NONE"
    assert radio.queue_transmission(transmission(at + 99_999), NOW) == "COLLISION_PACKET"
    assert radio.queue_transmission(transmission(at + 100_000), NOW) == "NONE"
    assert radio.queue_transmission(transmission(NOW + LEAD_US - 1), NOW) == "TOO_LATE"
    assert radio.queue_transmission(transmission(NOW - 1), NOW) == "TOO_EARLY"
    assert radio.account.refused == {"COLLISION_PACKET": 1, "TOO_LATE": 1, "TOO_EARLY": 1}
    assert radio.account.emitted == 2


@given(ahead=st.integers(-COUNTER // 2 + 1, COUNTER // 2 - 1))
def test_a_counter_that_wraps_still_names_the_right_instant(ahead: int) -> None:
    radio = concentrator()

    assert radio.instant(radio.counter(NOW + ahead), NOW) == NOW + ahead


@pytest.mark.parametrize(("frames", "exceeded"), [(360, 0), (361, 1)])
def test_the_hour_of_a_sub_band_is_counted(frames: int, exceeded: int) -> None:
    radio = concentrator()
    for number in range(frames):  # 869.525 MHz: 10 %, 360 s of an hour.
        now = NOW + number * 2 * SECOND_US
        radio.queue_transmission(transmission(now + SECOND_US, SECOND_US), now)

    assert radio.account.duty_cycle_exceeded == exceeded
