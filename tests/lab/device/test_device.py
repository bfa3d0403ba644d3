"""A simulated device joins, and receives only what comes when and where it listens."""

import random
from dataclasses import dataclass, field

import pytest

from lab.device.application import Message
from lab.device.device import Device, SentUplink
from lab.radio.clock import now_us
from lab.radio.concentrator import RadioAccount
from lab.radio.medium import Link, RadioMedium
from lab.radio.transmission import RX2_FREQUENCY, SECOND_US, Reception, Transmission
from lorawan.crypto import SessionCipher, SessionKeys
from lorawan.frame import UplinkFrame
from lorawan.identifiers import DevAddr, DevEui, GatewayId, JoinEui
from lorawan.join import JoinAccept
from lorawan.session import Session, build_downlink

KEY = bytes(range(16))


def quiet_medium() -> RadioMedium:
    return RadioMedium(random.Random(1), uplink_loss=0, downlink_loss=0)


@dataclass
class Recorder:
    received: list[Message] = field(default_factory=list)

    def next_message(self, _now_us: int) -> Message:
        return Message(1, b"x")

    def on_downlink(self, message: Message, _now_us: int) -> Message | None:
        self.received.append(message)
        return None


@dataclass
class Antenna:
    """A gateway that does nothing with what it receives."""

    gateway_id: GatewayId = GatewayId(b"gateway1")  # noqa: RUF009
    account: RadioAccount = field(default_factory=RadioAccount)
    receptions: list[Reception] = field(default_factory=list)

    def receive(self, reception: Reception) -> bool:
        self.receptions.append(reception)
        return True


def device_of(application: Recorder, antenna: Antenna, medium: RadioMedium, *, class_c: bool = False) -> Device:
    return Device(
        0, DevEui(b"deveui01"), JoinEui(b"joineui1"), KEY, application, [Link(antenna, 8.0)], medium,
        random.Random(2), is_class_c=class_c,
    )  # fmt: skip


def deliver(device: Device, octets: bytes, frequency: int, spreading_factor: int, start_us: int) -> None:
    """What the radio medium does with a transmission that nothing spoils."""
    reception = device.lock_on(Transmission(octets, frequency, spreading_factor, start_us, 70_000))
    if reception is not None:
        reception()


def deliver_in_rx1(device: Device, octets: bytes, late_us: int = 0) -> None:
    window = device.windows[0]
    deliver(device, octets, window.frequency, window.spreading_factor, window.opens_us + late_us)


def joined(*, class_c: bool) -> tuple[Device, Recorder, list[SentUplink], Antenna]:
    application, antenna, sent = Recorder(), Antenna(), []
    device = device_of(application, antenna, quiet_medium(), class_c=class_c)
    device.record = sent.append
    device.join(now_us())
    accept = JoinAccept(join_nonce=1, net_id=0, dev_addr=DevAddr(bytes.fromhex("01020304")), rx1_delay=1, rx2_dr=3)
    deliver_in_rx1(device, accept.to_bytes(KEY))
    assert device.session is not None
    return device, application, sent, antenna


def downlink(device: Device, f_cnt: int, **shape) -> bytes:
    session = device.session
    assert session is not None
    return build_downlink(Session(session.dev_addr), session.cipher, f_cnt, **shape)


@pytest.mark.parametrize("late_us", [0, 50_000])
def test_a_device_joins_in_its_window_and_not_outside(late_us: int) -> None:
    device = device_of(Recorder(), Antenna(), quiet_medium())
    device.join(now_us())
    deliver_in_rx1(device, JoinAccept(2, 0, DevAddr(bytes(4))).to_bytes(KEY), late_us)

    assert (device.session is None) == bool(late_us)


def test_a_join_accept_that_has_not_ended_when_another_request_is_sent_begins_no_session() -> None:
    device = device_of(Recorder(), Antenna(), quiet_medium())
    device.join(now_us())
    window = device.windows[1]
    accept = JoinAccept(2, 0, DevAddr(bytes(4))).to_bytes(KEY)
    reception = device.lock_on(
        Transmission(accept, window.frequency, window.spreading_factor, window.opens_us, 1_810_432)
    )
    device.join(now_us())

    assert reception is not None
    assert not reception()
    assert device.session is None


def test_an_accept_of_an_earlier_request_begins_no_session() -> None:
    device = device_of(Recorder(), Antenna(), quiet_medium())
    device.next_join_request()
    earlier = device.dev_nonce
    device.next_join_request()
    accept = JoinAccept(1, 0, DevAddr(bytes(4))).to_bytes(KEY)

    assert earlier is not None
    assert not device.accept(accept, earlier, 0)
    assert device.dev_nonce is not None
    assert device.accept(accept, device.dev_nonce, 0)
    assert not device.accept(accept, earlier, 0)


@pytest.mark.parametrize("late_us", [0, 50_000])
def test_class_a_receives_in_its_window_only(late_us: int) -> None:
    device, application, sent, _ = joined(class_c=False)
    device.send(Message(2, b"up"), now_us())
    deliver_in_rx1(device, downlink(device, 0, f_port=125, payload=b"on"), late_us)

    assert application.received == ([] if late_us else [Message(125, b"on")])
    assert device.answers.outside == bool(late_us)
    assert sent[0].received_by == [b"gateway1"]


def test_class_c_receives_on_rx2_at_any_time_and_counts_what_disturbs_its_windows() -> None:
    device, application, _, _ = joined(class_c=True)
    deliver(device, downlink(device, 0, f_port=125, payload=b"a"), RX2_FREQUENCY, 9, now_us())
    device.send(Message(2, b"up"), now_us())
    deliver(device, downlink(device, 1, f_port=125, payload=b"b"), RX2_FREQUENCY, 9, now_us() + 200_000)

    assert application.received == [Message(125, b"a")]
    assert device.disturbed == 1


def test_a_replayed_downlink_is_not_obeyed_twice() -> None:
    device, application, _, _ = joined(class_c=True)
    frame = downlink(device, 0, f_port=125, payload=b"a")
    for _ in range(2):
        deliver(device, frame, RX2_FREQUENCY, 9, now_us())

    assert len(application.received) == 1


def test_a_forged_downlink_is_not_obeyed() -> None:
    device, application, _, _ = joined(class_c=True)
    session = device.session
    assert session is not None
    forged = build_downlink(
        Session(session.dev_addr), SessionCipher(SessionKeys(bytes(16), bytes(16))), 0, f_port=125, payload=b"a"
    )
    deliver(device, forged, RX2_FREQUENCY, 9, now_us())

    assert application.received == []


def test_a_confirmed_downlink_is_acknowledged_by_the_next_uplink_alone() -> None:
    device, _, _, antenna = joined(class_c=False)
    device.send(Message(2, b"up"), now_us())
    deliver_in_rx1(device, downlink(device, 0, f_port=125, payload=b"on", confirmed=True))
    for _ in range(2):
        device.send(Message(2, b"up"), now_us())
    frames = [UplinkFrame.from_bytes(one.transmission.phy_payload) for one in antenna.receptions[-3:]]

    assert [frame.f_ctrl.ack for frame in frames] == [False, True, False]


def test_windows_open_one_and_two_seconds_after_the_end_of_an_uplink() -> None:
    device, *_ = joined(class_c=False)
    at = now_us()
    device.send(Message(2, b"up"), at)

    assert [window.opens_us - at for window in device.windows] == [SECOND_US, 2 * SECOND_US]
    assert device.windows[1].spreading_factor == 9
