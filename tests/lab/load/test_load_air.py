"""The air of a load: half-duplex gateways, answers that count only in the window, join-accepts likewise."""

import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from lab.load import frames
from lab.load.air import Air
from lab.load.device import LoadDevice
from lab.load.gateway import LoadGateway
from lab.load.plan import payload_pool, plan_load_devices, plan_load_gateways
from lab.simulator.sensors import now_us
from lorawan.commands import encode_commands
from lorawan.commands.dev_status import DevStatusAns, DevStatusReq
from lorawan.crypto import SessionCipher, SessionKeys
from lorawan.frame import UplinkFrame
from lorawan.gateway.semtech_forwarder import parse_answer
from lorawan.gateway.semtech_udp import TxPk, parse_datagram, pull_resp
from lorawan.identifiers import DevAddr, GatewayId
from lorawan.join import JoinAccept
from lorawan.regions.region import Lora
from lorawan.session import Session, build_downlink

SECOND_US = 1_000_000
RX2 = 869_525_000


class Wire:
    """A socket's other end."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def fileno(self) -> int:
        return id(self)

    def send(self, datagram: bytes) -> None:
        self.sent.append(datagram)


@dataclass
class Scene:
    """Devices that gateways hear, all of them, and what is still to come."""

    devices: list[LoadDevice]
    gateways: list[LoadGateway]
    air: Air
    coming: list[tuple[int, Callable[[], object]]] = field(default_factory=list)

    def happen(self) -> None:
        coming, self.coming = self.coming, []
        for _, act in sorted(coming, key=lambda entry: entry[0]):
            act()

    def uplink(self, number: int, at_us: int) -> bytes | None:
        return self.air._sent(self.devices[number], b"2026-11-25T12:00:00.000000Z", at_us)

    def ask(self, gateway: int, txpk: TxPk, at_us: int) -> str:
        answer = parse_answer(pull_resp(b"\x01\x02", txpk))
        return self.gateways[gateway]._transmit(answer.txpk, at_us)  # pyright: ignore[reportAttributeAccessIssue]


def scene(devices: int = 1, gateways: int = 1, *, confirmed_share: float = 1.0, copies: float = 1.0) -> Scene:
    made = [
        LoadDevice(
            number,
            plan.dev_eui,
            b"joineui1",
            plan.app_key,
            payload_pool(plan.application, now_us()),
            random.Random(number),
            confirmed_share=confirmed_share,
        )
        for number, plan in enumerate(plan_load_devices(devices, "air"))
    ]
    forwarders: list[LoadGateway] = []
    for number, plan in enumerate(plan_load_gateways(gateways, "air")):
        forwarder = LoadGateway(
            GatewayId(plan.gateway_id), ("127.0.0.1", 9), number * 1_000, frames.signals("air")
        )
        forwarder.close()
        forwarder._socket = forwarder._pulling = Wire()  # pyright: ignore[reportAttributeAccessIssue]
        forwarders.append(forwarder)
    air = Air(made, forwarders, copies, random.Random(1))
    made_scene = Scene(made, forwarders, air)
    air.later = lambda at_us, act: made_scene.coming.append((at_us, act))
    return made_scene


def accept_in(scene: Scene, delay_us: int, *, frequency: int | None = None, spreading_factor: int = 7) -> bool:
    """Join the first device, with its accept on the air this long after its request; whether it has a session."""
    gateway, device, now = scene.gateways[0], scene.devices[0], now_us()
    gateway.ask_to_join(
        device, now, 868_300_000, lambda octets: frames.heard(b"t", frames.JOIN_CHANNELS[1], octets)
    )
    accept = JoinAccept(1, 0, DevAddr(secrets.token_bytes(4)), rx2_dr=3).to_bytes(device.app_key)
    tmst = gateway.counter(now + delay_us)
    scene.ask(0, TxPk(accept, frequency or 868_300_000, Lora(spreading_factor, 125_000), 14, tmst), now)
    scene.happen()
    return device.cipher is not None


def joined(scene: Scene) -> LoadDevice:
    assert accept_in(scene, 5 * SECOND_US)
    return scene.devices[0]


def answer(
    scene: Scene, device: LoadDevice, at_us: int, *, frequency: int, spreading_factor: int = 7,
    f_opts: bytes = b"", f_cnt: int = 0, ack: bool = True,
) -> str:  # fmt: skip
    assert device.dev_addr is not None
    assert device.cipher is not None
    octets = build_downlink(Session(device.dev_addr), device.cipher, f_cnt, ack=ack, f_opts=f_opts)
    tmst = scene.gateways[0].counter(at_us)
    word = scene.ask(0, TxPk(octets, frequency, Lora(spreading_factor, 125_000), 14, tmst), at_us - 500_000)
    scene.happen()
    return word


@pytest.mark.parametrize(
    ("delay_us", "frequency", "spreading_factor", "joins"),
    [
        (5 * SECOND_US, 868_300_000, 7, True),
        (6 * SECOND_US, RX2, 12, True),
        (5 * SECOND_US + 30_000, 868_300_000, 7, False),
        (5 * SECOND_US, 868_100_000, 7, False),
        (5 * SECOND_US, 868_300_000, 12, False),
        (6 * SECOND_US, RX2, 9, False),
        (1 * SECOND_US, 868_300_000, 7, False),
    ],
)
def test_a_join_accept_is_heard_in_its_windows_only(
    delay_us: int, frequency: int, spreading_factor: int, joins: bool
) -> None:
    made = scene()

    assert accept_in(made, delay_us, frequency=frequency, spreading_factor=spreading_factor) is joins


def test_answers_are_counted_by_the_window_in_which_they_were_heard() -> None:
    made = scene()
    device = joined(made)
    now = now_us() + 60 * SECOND_US
    for f_cnt in range(3):  # In RX1, in RX2 at the session's data rate, and too late for both.
        at = now + f_cnt * 10 * SECOND_US
        assert made.uplink(0, at) is not None
        delay, frequency, factor = ((1.0, device.frequency, 7), (2.0, RX2, 9), (2.1, RX2, 9))[f_cnt]
        at += round(delay * SECOND_US)
        assert answer(made, device, at, frequency=frequency, spreading_factor=factor, f_cnt=f_cnt) == "NONE"

    answers = made.air.answers
    assert (answers.awaited, answers.rx1, answers.rx2, answers.neither, answers.outside) == (3, 1, 1, 1, 1)


def test_an_answer_with_a_wrong_mic_or_without_the_acknowledgement_is_none() -> None:
    made = scene()
    device = joined(made)
    cipher, now = device.cipher, now_us() + 60 * SECOND_US
    made.uplink(0, now)
    device.cipher = SessionCipher(SessionKeys(bytes(16), bytes(16)))
    octets = build_downlink(Session(device.dev_addr), device.cipher, 0, ack=True)  # pyright: ignore[reportArgumentType]
    device.cipher = cipher
    tmst = made.gateways[0].counter(now + SECOND_US)
    made.ask(0, TxPk(octets, device.frequency, Lora(7, 125_000), 14, tmst), now)
    made.happen()
    made.uplink(0, now + 10 * SECOND_US)
    answer(made, device, now + 11 * SECOND_US, frequency=device.frequency, ack=False)

    assert (made.air.answers.awaited, made.air.answers.neither) == (2, 2)


def test_a_gateway_that_transmits_hears_no_uplink_and_another_one_does() -> None:
    made = scene(devices=1, gateways=2, copies=2.0)
    device = joined(made)
    now = now_us() + 60 * SECOND_US
    made.uplink(0, now)
    answer(made, device, now + SECOND_US, frequency=device.frequency)
    assert made.uplink(0, now + SECOND_US + 10_000) is None

    log = list(made.air.sent)
    assert [log[at + 3] for at in range(0, len(log), 4)] == [0b11, 0b10]
    assert made.gateways[0].account.deaf == 1
    assert (made.air.heard, made.air.answers.awaited) == (2, 2)


def test_an_uplink_that_nobody_hears_awaits_no_answer() -> None:
    made = scene()
    device = joined(made)
    now = now_us() + 60 * SECOND_US
    made.uplink(0, now)
    answer(made, device, now + SECOND_US, frequency=device.frequency)
    assert made.uplink(0, now + SECOND_US + 10_000) is None

    assert made.air.heard == 1
    assert (made.air.answers.awaited, device.awaits_ack) == (1, False)


def test_two_answers_at_once_are_one_too_many_for_a_radio() -> None:
    made = scene()
    device = joined(made)
    now = now_us() + 60 * SECOND_US
    made.uplink(0, now)

    assert answer(made, device, now + SECOND_US, frequency=device.frequency) == "NONE"
    assert answer(made, device, now + SECOND_US + 20_000, frequency=868_500_000) == "COLLISION_PACKET"


def test_a_device_answers_what_its_mac_layer_is_asked() -> None:
    made = scene(confirmed_share=0.0)
    device = joined(made)
    now = now_us() + 60 * SECOND_US
    made.uplink(0, now)
    request = encode_commands([DevStatusReq()])
    answer(made, device, now + SECOND_US, frequency=device.frequency, f_opts=request, ack=False)
    octets = device.next_frame()

    assert UplinkFrame.from_bytes(octets).f_opts == encode_commands([DevStatusAns(254, 5)])


def test_what_a_gateway_is_asked_over_its_socket_is_acknowledged_with_its_word() -> None:
    made = scene()
    gateway = made.gateways[0]
    octets = pull_resp(
        b"\x01\x02", TxPk(bytes(20), RX2, Lora(9, 125_000), 27, gateway.counter(now_us() - SECOND_US))
    )
    gateway._asked_to_transmit(octets)

    tx_ack = parse_datagram(gateway._socket.sent[-1])  # pyright: ignore[reportAttributeAccessIssue]
    assert str(tx_ack.status) == "TOO_EARLY"  # pyright: ignore[reportAttributeAccessIssue]
