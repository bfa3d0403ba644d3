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
from lab.radio.transmission import Reception, Transmission
from lorawan.airtime import Granted, Priority, Scheduler, lora_airtime_us
from lorawan.regions import EU868

# When a clock sends its state after a message of its own, and of its group, in seconds (docs/profil-horloge.md).
ANSWERS_AFTER_S = (1.0, 10.0)
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
class SimulatedCabinet(Device):
    """A device whose radio does one thing at a time, and that has one state to send at most."""

    events: Clock = field(kw_only=True)
    sent_from_us: int = 0
    is_to_answer: bool = False

    def lock_on(self, transmission: Transmission) -> Callable[[], object] | None:
        """None while it sends."""
        if self.sent_from_us <= transmission.start_us < self.sent_until_us:
            return None
        return Device.lock_on(self, transmission)

    def answer(self, _device: Device, _message: Message, delay_s: float | None = None) -> None:
        """Send the state in some seconds, or after so many."""
        if not self.is_to_answer:
            self.is_to_answer = True
            self.events.call_at(self._answers_at_us(delay_s), self.report)

    def answer_so(self, _device: Device, message: Message) -> None:
        """Send this answer in some seconds: a relay's next state may be something else than what it was asked."""
        self.events.call_at(self._answers_at_us(), partial(self._send, message))

    def _answers_at_us(self, delay_s: float | None = None) -> int:
        after_s = self.random.uniform(*ANSWERS_AFTER_S) if delay_s is None else delay_s
        return self.events.now_us + round(after_s * SECOND_US)

    def _send(self, message: Message) -> None:
        now_us = self.events.now_us
        if now_us < self.sent_until_us:
            self.events.call_at(self.sent_until_us, partial(self._send, message))
            return
        self.sent_from_us = now_us
        self.send(message, now_us)

    def report(self) -> None:
        """Send the state."""
        now_us = self.events.now_us
        if now_us < self.sent_until_us:
            self.events.call_at(self.sent_until_us, self.report)
            return
        self.is_to_answer = False
        self.sent_from_us = now_us
        self.send(self.application.next_message(now_us), now_us)
