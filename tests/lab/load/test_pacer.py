"""A load's radio: half-duplex gateways, answers that count only in the window, join-accepts likewise."""

import asyncio
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from core.model.entities import Tenant
from lab.device.device import Device
from lab.fleet.benchmark import plan_benchmark
from lab.load.load import Load, Servers
from lab.radio.clock import now_us
from lab.radio.medium import RadioMedium
from lab.radio.transmission import RX2_FREQUENCY, SECOND_US
from lorawan.commands import encode_commands
from lorawan.commands.dev_status import DevStatusAns, DevStatusReq
from lorawan.crypto import SessionCipher, SessionKeys
from lorawan.frame import UplinkFrame
from lorawan.gateway.semtech_udp import TxPk, parse_datagram, pull_resp
from lorawan.identifiers import DevAddr
from lorawan.join import JoinAccept
from lorawan.regions.region import Lora
from lorawan.session import Session, build_downlink


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
    """A load, and what is still to come."""

    load: Load
    coming: list[tuple[int, Callable[[], object]]] = field(default_factory=list)

    def happen(self) -> None:
        while self.coming:
            self.coming.sort(key=lambda entry: entry[0])
            self.coming.pop(0)[1]()

    def uplink(self, number: int, at_us: int) -> bytes | None:
        return self.load.pacer.end_uplink(self.load.devices[number], b"2026-11-25T12:00:00.000000Z", at_us)

    def request(self, octets: bytes, frequency: int, spreading_factor: int, at_us: int) -> str:
        """Ask the first gateway for a transmission at this instant, and let it happen."""
        gateway = self.load.gateways[0]
        txpk = TxPk(octets, frequency, Lora(spreading_factor, 125_000), 14, gateway.counter(at_us))
        word = gateway.transmit_txpk(txpk)
        self.happen()
        return word

    def received_by(self) -> list[int]:
        log = list(self.load.pacer.sent)
        return [log[at + 3] for at in range(0, len(log), 4)]


def scene(devices: int = 1, gateways: int = 1, *, confirmed_share: float = 1.0, receptions: float = 1.0) -> Scene:
    coming: list[tuple[int, Callable[[], object]]] = []
    medium = RadioMedium(
        random.Random(1), uplink_loss=0, downlink_loss=0, fading_db=0,
        call_at=lambda at_us, act: coming.append((at_us, act)),
    )  # fmt: skip
    load = Load(
        Tenant(1, "load", "Load", ()), "key", plan_benchmark("air", devices, gateways), "127.0.0.1", [Servers(9)],
        receptions=receptions, confirmed_share=confirmed_share, medium=medium,
    )  # fmt: skip
    for gateway in load.gateways:
        gateway._pushing = gateway._pulling = Wire()  # pyright: ignore[reportAttributeAccessIssue]
    return Scene(load, coming)


def accept_in(scene: Scene, delay_us: int, *, frequency: int | None = None, spreading_factor: int = 7) -> bool:
    """Join the first device, with its accept on the air this long after its request; whether it has a session."""
    device = scene.load.devices[0]
    device.join(now_us())
    accept = JoinAccept(1, 0, DevAddr(secrets.token_bytes(4)), rx2_dr=3).to_bytes(device.app_key)
    frequency = device.frequency if frequency is None else frequency
    scene.request(accept, frequency, spreading_factor, device.sent_until_us + delay_us)
    return device.session is not None


def joined(scene: Scene) -> Device:
    assert accept_in(scene, 5 * SECOND_US)
    return scene.load.devices[0]


def answer(
    scene: Scene, device: Device, at_us: int, *, frequency: int, spreading_factor: int = 7,
    f_opts: bytes = b"", f_cnt: int = 0, ack: bool = True,
) -> str:  # fmt: skip
    session = device.session
    assert session is not None
    octets = build_downlink(Session(session.dev_addr), session.cipher, f_cnt, ack=ack, f_opts=f_opts)
    return scene.request(octets, frequency, spreading_factor, at_us)


@pytest.mark.parametrize(
    ("delay_us", "frequency", "spreading_factor", "joins"),
    [
        (5 * SECOND_US, None, 7, True),
        (6 * SECOND_US, RX2_FREQUENCY, 12, True),
        (5 * SECOND_US + 30_000, None, 7, False),
        (5 * SECOND_US, 867_100_000, 7, False),
        (5 * SECOND_US, None, 12, False),
        (6 * SECOND_US, RX2_FREQUENCY, 9, False),
        (1 * SECOND_US, None, 7, False),
    ],
)
def test_a_join_accept_is_received_in_its_windows_only(
    delay_us: int, frequency: int | None, spreading_factor: int, joins: bool
) -> None:
    assert accept_in(scene(), delay_us, frequency=frequency, spreading_factor=spreading_factor) is joins


def test_answers_are_counted_by_the_window_in_which_they_were_received() -> None:
    made = scene()
    device = joined(made)
    now = now_us() + 60 * SECOND_US
    for f_cnt in range(3):  # In RX1, in RX2 at the session's data rate, and too late for both.
        at = now + f_cnt * 10 * SECOND_US
        assert made.uplink(0, at) is not None
        delay, frequency, factor = (
            (1.0, device.frequency, 7), (2.0, RX2_FREQUENCY, 9), (2.1, RX2_FREQUENCY, 9),
        )[f_cnt]  # fmt: skip
        at += round(delay * SECOND_US)
        assert answer(made, device, at, frequency=frequency, spreading_factor=factor, f_cnt=f_cnt) == "NONE"

    answers = made.load.answers
    assert (answers.awaited, answers.rx1, answers.rx2, answers.neither, answers.outside) == (3, 1, 1, 1, 1)


def test_an_answer_with_a_wrong_mic_or_without_the_acknowledgement_is_none() -> None:
    made = scene()
    device = joined(made)
    session, now = device.session, now_us() + 60 * SECOND_US
    assert session is not None
    made.uplink(0, now)
    forged = SessionCipher(SessionKeys(bytes(16), bytes(16)))
    octets = build_downlink(Session(session.dev_addr), forged, 0, ack=True)
    made.request(octets, device.frequency, 7, now + SECOND_US)
    made.uplink(0, now + 10 * SECOND_US)
    answer(made, device, now + 11 * SECOND_US, frequency=device.frequency, ack=False)

    assert (made.load.answers.awaited, made.load.answers.neither) == (2, 2)


def test_a_gateway_that_transmits_receives_no_uplink_and_another_one_does() -> None:
    made = scene(devices=1, gateways=2, receptions=2.0)
    device = joined(made)
    now = now_us() + 60 * SECOND_US
    made.uplink(0, now)
    answer(made, device, now + SECOND_US, frequency=device.frequency)
    assert made.uplink(0, now + SECOND_US + 10_000) is None

    assert made.received_by() == [0b11, 0b10]
    assert made.load.gateways[0].account.deaf == 1
    assert (made.load.pacer.received, made.load.answers.awaited) == (2, 2)


def test_an_uplink_that_no_gateway_receives_awaits_no_answer() -> None:
    made = scene()
    device = joined(made)
    now = now_us() + 60 * SECOND_US
    made.uplink(0, now)
    answer(made, device, now + SECOND_US, frequency=device.frequency)
    assert made.uplink(0, now + SECOND_US + 10_000) is None

    assert made.load.pacer.received == 1
    assert (made.load.answers.awaited, device.awaits_ack) == (1, False)


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
    octets = device.next_frame(device.application.next_message(now))

    assert UplinkFrame.from_bytes(octets).f_opts == encode_commands([DevStatusAns(254, 5)])


def test_a_request_over_a_gateways_socket_is_acknowledged_with_its_word() -> None:
    made = scene()
    gateway = made.load.gateways[0]
    octets = pull_resp(
        b"\x01\x02",
        TxPk(bytes(20), RX2_FREQUENCY, Lora(9, 125_000), 27, gateway.counter(now_us() - SECOND_US)),
    )
    gateway.answer_request(octets)

    tx_ack = parse_datagram(gateway._pulling.sent[-1])  # pyright: ignore[reportAttributeAccessIssue,reportOptionalMemberAccess]
    assert str(tx_ack.status) == "TOO_EARLY"  # pyright: ignore[reportAttributeAccessIssue]


def test_of_a_device_each_so_manieth_frame_was_kept_by_its_gateway() -> None:
    air = scene()
    accept_in(air, 5 * SECOND_US)
    air.load.pacer.late_every, air.load.pacer.late_by_us = 2, 1_200 * SECOND_US
    at_us = 1_764_072_000_000_000  # 2025-11-25T12:00:00Z; GPS time is 18 s ahead of it.

    frames = [air.uplink(0, at_us) for _ in range(4)]

    late_ms = (at_us - 1_200 * SECOND_US) // 1000 - 315_964_800_000 + 18_000
    assert [b'"tmms":%d,' % late_ms in frame for frame in frames if frame is not None] == [True, False] * 2


async def test_a_play_that_is_cancelled_sends_nothing_more() -> None:
    pacer = scene(devices=3).load.pacer
    playing = asyncio.create_task(pacer.play(3, 1e9))
    await asyncio.sleep(0)
    assert pacer._play is not None
    pacer._give_out(pacer._play)
    waiting = [len(buffer.due) for buffer in pacer._buffers]

    playing.cancel()
    await asyncio.gather(playing, return_exceptions=True)

    assert sum(waiting) == 3
    assert not any(buffer.due for buffer in pacer._buffers)
