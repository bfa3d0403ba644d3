"""A simulated gateway: its clock, its half-duplex radio, its queue of transmissions."""

import asyncio
import random
from dataclasses import dataclass, field

from lab.simulator.concentrator import COUNTER, SECOND_US, Concentrator, RadioAccount
from lab.simulator.radio import BANDWIDTH, Air, Copy
from lab.simulator.sensors import now_us
from lab.simulator.transmission import Emission
from lorawan.airtime import lora_airtime_us

# A concentrator starts an immediate transmission this long after it has it.
IMMEDIATE_LEAD_US = 35_000


@dataclass(slots=True)
class Radio:
    """A concentrator on the air: what it takes is heard by the devices in its range, when it has ended."""

    gateway_id: bytes
    air: Air
    concentrator: Concentrator
    _emitting: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    def transmit(self, phy_payload: bytes, frequency: int, spreading_factor: int, *, at_us: int | None) -> str:
        """Queue a transmission at an instant, or at once; returns the TX_ACK's word."""
        now = now_us()
        start = now + IMMEDIATE_LEAD_US if at_us is None else at_us
        airtime = lora_airtime_us(len(phy_payload), spreading_factor, BANDWIDTH, crc=False)
        emission = Emission(phy_payload, frequency, spreading_factor, start, airtime)
        word = self.concentrator.take(emission, now)
        if word != "NONE":
            return word
        self.concentrator.account.emitted_immediate += at_us is None
        self.air.announce(self.gateway_id, emission)
        task = asyncio.create_task(self._emit(emission), name=f"emit {self.gateway_id.hex()}")
        self._emitting.add(task)
        task.add_done_callback(self._emitting.discard)
        return word

    async def _emit(self, emission: Emission) -> None:
        await asyncio.sleep(max(0, emission.end_us - now_us()) / SECOND_US)
        self.air.downlink(self.gateway_id, emission)


@dataclass(slots=True)
class Uptime:
    """When the bridge, or the broker, was known to answer: to say what a kill may have cost."""

    answered_us: list[int] = field(default_factory=list[int])

    def note(self) -> None:
        """The other side has just answered (PULL_ACK, SUBACK)."""
        self.answered_us.append(now_us())

    def back_after(self, killed_us: int) -> int | None:
        """The first answer after a kill; None when there was none yet."""
        return next((at for at in self.answered_us if at > killed_us), None)


@dataclass(slots=True)
class GatewayBase:
    """What both kinds of simulated gateway have in common."""

    gateway_id: bytes
    name: str
    latitude: float
    longitude: float
    air: Air
    random: random.Random
    account: RadioAccount = field(default_factory=RadioAccount)
    uptime: Uptime = field(default_factory=Uptime)
    clock_error_us: int = 0
    received: int = 0
    radio: Radio = field(init=False)

    def __post_init__(self) -> None:
        concentrator = Concentrator(self.account, self.random.randrange(COUNTER))
        self.radio = Radio(self.gateway_id, self.air, concentrator)
        self.clock_error_us = round(self.random.gauss(0, 400_000))

    def receive(self, copy: Copy) -> bool:
        """Take an uplink from the air, unless the radio was transmitting."""
        emission = copy.emission
        if self.radio.concentrator.is_transmitting(emission.start_us, emission.end_us):
            self.account.deaf += 1
            return False
        self.received += 1
        return self.forward(copy)

    def forward(self, copy: Copy) -> bool:
        """Send the copy to the network; each kind of gateway has its own way."""
        raise RuntimeError(f"{type(self).__name__} does not forward {copy}")

    async def run(self) -> None:
        """Speak with the network until cancelled."""
        raise RuntimeError(f"{type(self).__name__} does not run")
