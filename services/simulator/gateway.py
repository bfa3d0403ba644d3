"""A simulated gateway: its clock, its half-duplex radio, its queue of transmissions."""

import asyncio
import random
from dataclasses import dataclass, field

from lorawan.airtime import lora_airtime_us
from lorawan.regions.eu868 import EU868
from services.simulator.radio import BANDWIDTH, Air, Copy, Emission
from services.simulator.sensors import now_us

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
COUNTER = 1 << 32
# A concentrator needs this much time to prepare a transmission (reference lorawan.md, section 1).
LEAD_US = 32_500
IMMEDIATE_LEAD_US = 35_000
# Beyond this a counter value is taken for one that has passed.
HORIZON_US = 512 * SECOND_US


@dataclass(slots=True)
class RadioAccount:
    """What the gateway's radio did, and what it should never have been asked."""

    emitted: int = 0
    emitted_immediate: int = 0
    refused: dict[str, int] = field(default_factory=dict[str, int])
    duty_cycle_exceeded: int = 0
    deaf: int = 0  # Uplinks missed because the radio was transmitting.


@dataclass(slots=True)
class Radio:
    """The concentrator: one transmission at a time; what it is asked too late or on top of another is refused."""

    gateway_id: bytes
    air: Air
    account: RadioAccount
    offset_us: int  # The counter's value at the epoch of the simulation.
    _queue: list[Emission] = field(default_factory=list[Emission])
    _ledger: list[Emission] = field(default_factory=list[Emission])
    _emitting: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    def counter(self, at_us: int) -> int:
        """The 32-bit microsecond counter at an instant."""
        return (at_us + self.offset_us) % COUNTER

    def instant(self, counter: int, now: int) -> int:
        """The instant nearest to `now` at which the counter shows this value."""
        ahead = (counter - self.counter(now)) % COUNTER
        return now + (ahead if ahead < COUNTER // 2 else ahead - COUNTER)

    def is_transmitting(self, emission: Emission) -> bool:
        """Whether the radio transmits while this uplink is in the air."""
        return any(own.start_us < emission.end_us and emission.start_us < own.end_us for own in self._queue)

    def transmit(self, phy_payload: bytes, frequency: int, spreading_factor: int, *, at_us: int | None) -> str:
        """Queue a transmission at an instant, or at once; returns the TX_ACK's word."""
        now = now_us()
        start = now + IMMEDIATE_LEAD_US if at_us is None else at_us
        airtime = lora_airtime_us(len(phy_payload), spreading_factor, BANDWIDTH, crc=False)
        emission = Emission(phy_payload, frequency, spreading_factor, start, airtime)
        refusal = self._refusal(emission, now)
        if refusal is not None:
            self.account.refused[refusal] = self.account.refused.get(refusal, 0) + 1
            return refusal
        self._queue.append(emission)
        self._note_duty_cycle(emission)
        self.account.emitted += 1
        self.account.emitted_immediate += at_us is None
        task = asyncio.create_task(self._emit(emission), name=f"emit {self.gateway_id.hex()}")
        self._emitting.add(task)
        task.add_done_callback(self._emitting.discard)
        return "NONE"

    def _refusal(self, emission: Emission, now: int) -> str | None:
        if emission.start_us < now or emission.start_us > now + HORIZON_US:
            return "TOO_EARLY"  # The counter is taken modulo 2^32: the past looks like the far future.
        if emission.start_us < now + LEAD_US:
            return "TOO_LATE"
        if self.is_transmitting(emission):
            return "COLLISION_PACKET"
        return None

    def _note_duty_cycle(self, emission: Emission) -> None:
        self._ledger = [old for old in self._ledger if old.end_us > emission.end_us - HOUR_US]
        self._ledger.append(emission)
        band = EU868.sub_band_of(emission.frequency)
        used = sum(old.airtime_us for old in self._ledger if EU868.sub_band_of(old.frequency) == band)
        if band is None or used > band.duty_cycle * HOUR_US:
            self.account.duty_cycle_exceeded += 1

    async def _emit(self, emission: Emission) -> None:
        await asyncio.sleep(max(0, emission.end_us - now_us()) / SECOND_US)
        self._queue.remove(emission)
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
        self.radio = Radio(self.gateway_id, self.air, self.account, self.random.randrange(COUNTER))
        self.clock_error_us = round(self.random.gauss(0, 400_000))

    def receive(self, copy: Copy) -> bool:
        """Take an uplink from the air, unless the radio was transmitting."""
        if self.radio.is_transmitting(copy.emission):
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
