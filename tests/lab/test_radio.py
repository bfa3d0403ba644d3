"""The simulated radio refuses what a concentrator refuses, and a device hears only when it listens."""

import random
from dataclasses import dataclass, field

import pytest

from lab.simulator.concentrator import LEAD_US, Concentrator, RadioAccount
from lab.simulator.device import Device, Message, SentUplink
from lab.simulator.gateway import Radio
from lab.simulator.radio import Air, Copy, Link
from lab.simulator.sensors import now_us
from lab.simulator.transmission import Emission
from lorawan.crypto import SessionCipher, SessionKeys
from lorawan.join import JoinAccept
from lorawan.session import Session, build_downlink

KEY = bytes(range(16))
SECOND_US = 1_000_000
RX2 = 869_525_000


def radio(air: Air) -> Radio:
    return Radio(b"gateway1", air, Concentrator(RadioAccount(), offset_us=123_456))


def quiet_air() -> Air:
    return Air(random.Random(1), uplink_loss=0, downlink_loss=0)


async def test_overlapping_transmissions_are_refused() -> None:
    gateway = radio(quiet_air())
    at = now_us() + SECOND_US

    assert gateway.transmit(bytes(20), 868_100_000, 7, at_us=at) == "NONE"
    assert gateway.transmit(bytes(20), 868_300_000, 7, at_us=at + 1_000) == "COLLISION_PACKET"
    assert gateway.concentrator.account.refused == {"COLLISION_PACKET": 1}


async def test_what_comes_too_late_is_refused_and_the_past_looks_like_the_far_future() -> None:
    gateway = radio(quiet_air())

    assert gateway.transmit(bytes(20), RX2, 9, at_us=now_us() + LEAD_US // 2) == "TOO_LATE"
    assert gateway.transmit(bytes(20), RX2, 9, at_us=now_us() - SECOND_US) == "TOO_EARLY"


async def test_duty_cycle_beyond_the_law_is_noted() -> None:
    gateway = radio(quiet_air())
    # 1 % of an hour on 868.0 to 868.6 MHz is 36 s; an SF12 frame of 50 octets takes about 2.5 s.
    for number in range(20):
        gateway.transmit(bytes(50), 868_100_000, 12, at_us=now_us() + (1 + 4 * number) * SECOND_US)

    assert gateway.concentrator.account.duty_cycle_exceeded > 0


@dataclass
class Recorder:
    received: list[Message] = field(default_factory=list)

    def next_message(self, _now_us: int) -> Message:
        return Message(1, b"x")

    def on_downlink(self, message: Message, _now_us: int) -> Message | None:
        self.received.append(message)
        return None


@dataclass
class Ear:
    gateway_id: bytes = b"gateway1"
    account: RadioAccount = field(default_factory=RadioAccount)
    copies: list[Copy] = field(default_factory=list)

    def receive(self, copy: Copy) -> bool:
        self.copies.append(copy)
        return True


def joined(*, class_c: bool) -> tuple[Device, Recorder, list[SentUplink], Ear]:
    application, ear, sent = Recorder(), Ear(), []
    air = quiet_air()
    device = Device(
        b"deveui01", b"joineui1", KEY, class_c, application, [Link(ear, 8.0)], air, random.Random(2),
        sent.append, lambda _device, _message: None,
    )  # fmt: skip
    device.join(now_us())
    nonce = device._dev_nonce
    accept = JoinAccept(join_nonce=1, net_id=0, dev_addr=bytes.fromhex("01020304"), rx1_delay=1, rx2_dr=3)
    window = device.windows[0]
    device.hear(Emission(accept.to_bytes(KEY), window.frequency, window.spreading_factor, window.opens_us, 70_000))
    assert device.session is not None
    assert nonce is not None
    return device, application, sent, ear


def downlink(device: Device, f_cnt: int, **shape) -> bytes:
    session = device.session
    assert session is not None
    return build_downlink(Session(session.dev_addr), session.cipher, f_cnt, **shape)


async def test_a_device_joins_in_its_window_and_not_outside() -> None:
    device, *_ = joined(class_c=False)
    other = Device(
        b"deveui02", b"joineui1", KEY, False, Recorder(), device.links, device.air, random.Random(3),
        lambda _uplink: None, lambda _device, _message: None,
    )  # fmt: skip
    other.join(now_us())
    accept = JoinAccept(join_nonce=2, net_id=0, dev_addr=bytes(4)).to_bytes(KEY)
    window = other.windows[0]
    other.hear(Emission(accept, window.frequency, window.spreading_factor, window.opens_us + 50_000, 70_000))

    assert other.session is None


@pytest.mark.parametrize("late_us", [0, 50_000])
async def test_class_a_hears_in_its_window_only(late_us: int) -> None:
    device, application, sent, _ = joined(class_c=False)
    device.send(Message(2, b"up"), now_us())
    window = device.windows[0]
    frame = downlink(device, 0, f_port=125, payload=b"on")
    device.hear(Emission(frame, window.frequency, window.spreading_factor, window.opens_us + late_us, 50_000))

    assert application.received == ([] if late_us else [Message(125, b"on")])
    assert sent[0].heard_by == [b"gateway1"]


async def test_class_c_hears_on_rx2_at_any_time_and_notes_what_disturbs_its_windows() -> None:
    device, application, _, _ = joined(class_c=True)
    device.hear(Emission(downlink(device, 0, f_port=125, payload=b"a"), RX2, 9, now_us(), 1_000_000))
    device.send(Message(2, b"up"), now_us())
    device.hear(Emission(downlink(device, 1, f_port=125, payload=b"b"), RX2, 9, now_us() + 200_000, 1_000_000))

    assert application.received == [Message(125, b"a")]
    assert device.disturbed == 1


async def test_a_replayed_downlink_is_not_obeyed_twice() -> None:
    device, application, _, _ = joined(class_c=True)
    frame = downlink(device, 0, f_port=125, payload=b"a")
    for _ in range(2):
        device.hear(Emission(frame, RX2, 9, now_us(), 1_000_000))

    assert len(application.received) == 1


async def test_a_forged_downlink_is_not_obeyed() -> None:
    device, application, _, _ = joined(class_c=True)
    session = device.session
    assert session is not None
    forged = build_downlink(
        Session(session.dev_addr), SessionCipher(SessionKeys(bytes(16), bytes(16))), 0, f_port=125, payload=b"a"
    )
    device.hear(Emission(forged, RX2, 9, now_us(), 1_000_000))

    assert application.received == []
