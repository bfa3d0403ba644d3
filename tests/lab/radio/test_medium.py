"""The radio medium with collisions: an uplink takes its time, may be spoilt, and is received when it has ended."""

import random
from collections.abc import Callable

import pytest

from lab.device.device import Device
from lab.radio.medium import Link, RadioMedium
from lab.radio.transmission import Transmission
from lorawan.airtime import lora_airtime_us
from lorawan.identifiers import DevAddr, DevEui, GatewayId, JoinEui
from lorawan.join import JoinAccept
from tests.lab.device.test_device import KEY, Antenna, Recorder, device_of

NOW = 1_795_000_000_000_000


class Clock:
    """What is to happen later, until somebody lets it happen."""

    def __init__(self) -> None:
        self.coming: list[tuple[int, Callable[[], object]]] = []

    def call_at(self, at_us: int, act: Callable[[], object]) -> None:
        self.coming.append((at_us, act))

    def happen(self) -> list[int]:
        happened: list[int] = []
        while self.coming:
            self.coming.sort(key=lambda entry: entry[0])
            at_us, act = self.coming.pop(0)
            act()
            happened.append(at_us)
        return happened


def crowded() -> tuple[RadioMedium, Clock]:
    clock = Clock()
    medium = RadioMedium(
        random.Random(1), uplink_loss=0, downlink_loss=0, has_collisions=True, call_at=clock.call_at
    )
    return medium, clock


def device(
    medium: RadioMedium, antennas: list[Antenna], snr: float = 8.0, number: int = 1, seed: int = 2
) -> Device:
    links = [Link(antenna, snr) for antenna in antennas]
    made = Device(
        number, DevEui(number.to_bytes(8)), JoinEui(b"joineui1"), KEY, Recorder(), links, medium,
        random.Random(seed),
    )  # fmt: skip
    medium.place(made, links)
    return made


def test_an_uplink_is_received_when_it_has_ended_and_its_windows_open_from_there() -> None:
    (medium, clock), antenna = crowded(), Antenna()
    one = device(medium, [antenna])
    received_by = one.join(NOW)
    airtime = lora_airtime_us(23, 7, 125_000, crc=True)

    assert (received_by, antenna.receptions) == ([], [])
    assert clock.happen() == [NOW + airtime]
    assert received_by == [antenna.gateway_id]
    assert [window.opens_us for window in one.windows] == [NOW + airtime + 5_000_000, NOW + airtime + 6_000_000]


def test_two_requests_at_once_on_one_channel_are_lost_and_counted() -> None:
    (medium, clock), antenna = crowded(), Antenna()
    for number in (1, 2):  # The same seed: the same channel.
        device(medium, [antenna], number=number).join(NOW + number)
    clock.happen()

    assert antenna.receptions == []
    assert antenna.account.collided == 2


def test_a_device_too_far_for_its_spreading_factor_is_not_received() -> None:
    antenna = Antenna()
    medium = RadioMedium(random.Random(1), uplink_loss=0, fading_db=0)
    far, near = Transmission(b"frame", 868_100_000, 7, NOW, 50_000), [Link(antenna, -7.5)]

    assert medium.uplink(far, [Link(antenna, -7.6)]) == []
    assert medium.uplink(far, near) == [antenna.gateway_id]


@pytest.mark.parametrize(("has_collisions", "joins"), [(True, False), (False, True)])
def test_two_gateways_that_answer_at_once_are_not_understood_where_both_are_in_range(
    has_collisions: bool, joins: bool
) -> None:
    (medium, clock), antennas = crowded(), [Antenna(GatewayId(b"gateway1")), Antenna(GatewayId(b"gateway2"))]
    medium.has_collisions = has_collisions
    one = device(medium, antennas)
    one.join(NOW)
    clock.happen()
    window = one.windows[0]
    accept = JoinAccept(1, 0, DevAddr(bytes(4))).to_bytes(KEY)
    for place, antenna in enumerate(antennas):
        transmission = Transmission(
            accept, window.frequency, window.spreading_factor, window.opens_us + place, 70_000
        )
        medium.downlink(antenna.gateway_id, transmission)
    clock.happen()

    assert (one.session is not None) is joins
    assert medium.spoilt_downlinks == (2 if has_collisions else 0)


def test_an_answer_of_one_gateway_alone_is_received_when_it_has_ended() -> None:
    (medium, clock), antenna = crowded(), Antenna()
    one = device(medium, [antenna])
    one.join(NOW)
    clock.happen()
    window = one.windows[0]
    accept = JoinAccept(1, 0, DevAddr(bytes(4))).to_bytes(KEY)
    alone = Transmission(accept, window.frequency, window.spreading_factor, window.opens_us + 200, 70_000)
    medium.downlink(antenna.gateway_id, alone)

    assert clock.happen() == [alone.start_us, alone.end_us]
    assert one.joined_us == alone.end_us


def test_a_downlink_reaches_devices_in_range_of_its_gateway_only() -> None:
    (medium, clock), antenna = crowded(), Antenna()
    one = device_of(Recorder(), antenna, medium)  # Not placed.
    one.join(NOW)
    clock.happen()
    window = one.windows[0]
    accept = JoinAccept(1, 0, DevAddr(bytes(4))).to_bytes(KEY)
    medium.downlink(
        antenna.gateway_id,
        Transmission(accept, window.frequency, window.spreading_factor, window.opens_us, 70_000),
    )
    clock.happen()

    assert one.session is None
