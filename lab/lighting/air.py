"""The air between the platform and the cabinets on a simulated clock: gateways' radios, and devices that answer.

A gateway's radio is asked as the bridge asks it: the scheduler first, the gateway when the frame's turn has come.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from core.messages.downlinks import TransmitReply, TransmitRequest
from gateways.radio import FIRST_ROUND_TRIP_US, QUEUE_LEAD_US
from lab.device.application import Message
from lab.device.device import Device
from lab.gateway.gateway import Gateway
from lab.lighting.events import Events
from lab.radio.transmission import RX2_FREQUENCY, Reception, Transmission
from lorawan.airtime import Granted, Priority, Scheduler, lora_airtime_us
from lorawan.crypto import Direction, SessionCipher
from lorawan.frame import DownlinkFrame
from lorawan.identifiers import DevAddr
from lorawan.regions import EU868

# When a clock sends its state after a message of its own, and of its group, in seconds (docs/profil-horloge.md).
ANSWERS_AFTER_S = (1.0, 10.0)
ANSWERS_GROUP_AFTER_S = (0.0, 900.0)
SECOND_US = 1_000_000


class Clock(Protocol):
    """A clock that wakes: simulated, or the wall's."""

    @property
    def now_us(self) -> int:
        """The time."""
        ...

    def call_at(self, at_us: int, act: Callable[[], object]) -> None:
        """Do it then."""
        ...


@dataclass(slots=True)
class SimulatedGateway(Gateway):
    """One that hands on what it receives at once, and keeps what it has transmitted."""

    events: Events = field(kw_only=True)
    hand_on: Callable[["SimulatedGateway", Reception], None] = field(kw_only=True)
    scheduler: Scheduler = field(default_factory=lambda: Scheduler(EU868))
    sent: list[Transmission] = field(default_factory=list[Transmission])

    def forward(self, reception: Reception) -> bool:
        """To the network, which is never away."""
        self.hand_on(self, reception)
        return True

    async def ask(self, request: TransmitRequest) -> TransmitReply:
        """As `gateways.radio` answers a request for a class C device."""
        now_us, wanted = self.events.now_us, request.transmissions[0]
        airtime_us = lora_airtime_us(len(wanted.phy_payload), wanted.spreading_factor, wanted.bandwidth, crc=False)
        granted = self.scheduler.request(
            now_us,
            start_us=None,
            airtime_us=airtime_us,
            frequency=wanted.frequency,
            priority=Priority(request.priority),
            latest_start_us=request.latest_at_us,
            lead_us=QUEUE_LEAD_US + FIRST_ROUND_TRIP_US,
        )
        if not isinstance(granted, Granted):
            return TransmitReply(granted.status, -1, granted.fits_at_us, 0)
        await until(self.events, granted.start_us - QUEUE_LEAD_US)
        transmission = Transmission(
            wanted.phy_payload, wanted.frequency, wanted.spreading_factor, granted.start_us, airtime_us
        )
        word = self.concentrator.queue_transmission(transmission, self.events.now_us)
        if word != "NONE":
            self.scheduler.release(granted)
            return TransmitReply(word, -1, 0, 0)
        self.sent.append(transmission)
        self.medium.downlink(self.gateway_id, transmission)
        return TransmitReply("OK", 0, 0, granted.start_us)


async def until(events: Events, at_us: int) -> None:
    """Return at this instant of the simulated clock."""
    reached = asyncio.get_running_loop().create_future()
    events.call_at(at_us, lambda: reached.done() or reached.set_result(None))
    await reached


@dataclass(slots=True)
class GroupSession:
    """A multicast group on the side of one of its members."""

    dev_addr: DevAddr
    cipher: SessionCipher
    spreading_factor: int
    f_cnt: int = 0  # The next one acceptable.


@dataclass(slots=True)
class SimulatedCabinet(Device):
    """A device whose radio does one thing at a time, and that has one state to send at most."""

    events: Clock = field(kw_only=True)
    group: GroupSession | None = None
    sent_from_us: int = 0
    is_to_answer: bool = False

    def lock_on(self, transmission: Transmission) -> Callable[[], object] | None:
        """None while it sends."""
        if self.sent_from_us <= transmission.start_us < self.sent_until_us:
            return None
        group = self.group
        if group is not None and transmission.phy_payload[1:5] == group.dev_addr[::-1]:
            listens = transmission.spreading_factor == group.spreading_factor and not self._is_in_class_a_windows(
                transmission
            )
            is_heard = listens and transmission.frequency == RX2_FREQUENCY
            return partial(self._receive_in_group, group, transmission) if is_heard else None
        return Device.lock_on(self, transmission)

    def _receive_in_group(self, group: GroupSession, transmission: Transmission) -> None:
        frame = DownlinkFrame.from_bytes(transmission.phy_payload)
        f_cnt = group.f_cnt + ((frame.f_cnt - group.f_cnt) & 0xFFFF)
        if not group.cipher.verify_downlink(transmission.phy_payload, group.dev_addr, f_cnt):
            return  # A repetition of what it has.
        group.f_cnt = f_cnt + 1
        port = frame.f_port or 0
        payload = group.cipher.crypt(Direction.DOWN, group.dev_addr, f_cnt, port, frame.frm_payload)
        if self.application.on_downlink(Message(port, payload), transmission.end_us) is not None:
            self._answer_within(ANSWERS_GROUP_AFTER_S)

    def answer(self, _device: Device, _message: Message) -> None:
        """Send the state in some seconds."""
        self._answer_within(ANSWERS_AFTER_S)

    def _answer_within(self, seconds: tuple[float, float]) -> None:
        if not self.is_to_answer:
            self.is_to_answer = True
            delay_us = round(self.random.uniform(*seconds) * SECOND_US)
            self.events.call_at(self.events.now_us + delay_us, self.report)

    def report(self) -> None:
        """Send the state."""
        now_us = self.events.now_us
        if now_us < self.sent_until_us:
            self.events.call_at(self.sent_until_us, self.report)
            return
        self.is_to_answer = False
        self.sent_from_us = now_us
        self.send(self.application.next_message(now_us), now_us)
