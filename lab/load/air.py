"""The one loop that paces a load: who is due, which gateway looks into its concentrator, what came back."""

import asyncio
import random
import select
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lab.load import frames
from lab.load.answers import Answers
from lab.load.device import LoadDevice
from lab.load.gateway import JoinAsked, LoadGateway
from lab.simulator.radio import CHANNELS
from lab.simulator.sensors import now_us
from lab.simulator.transmission import Emission
from lorawan.frame import MType, mtype_of

# A forwarder looks into its concentrator every 10 ms; each gateway at its own moment.
POLL_MS = 10
STEP_S = 0.002
# How often the sockets are looked at: answers lie in them, and to be read one by one as they come costs more.
READ_EVERY_S = 0.02
IDLE_S = POLL_MS / 1000
FIELDS = 4  # Of `Air.sent`, for each uplink.


def on_the_loop(at_us: int, act: Callable[[], object]) -> None:
    """Do it at this instant, which the running loop's clock knows."""
    asyncio.get_running_loop().call_later(max(0, at_us - now_us()) / frames.SECOND_US, act)


def hearers(
    source: random.Random, gateways: Sequence[LoadGateway], number: int, copies: float
) -> tuple[LoadGateway, ...]:
    """The gateways that hear a device, `copies` on average: its home, then others."""
    home = number % len(gateways)
    more = int(copies - 1) + (source.random() < copies % 1)
    others = source.sample([*gateways[:home], *gateways[home + 1 :]], min(more, len(gateways) - 1))
    return gateways[home], *others


@dataclass(slots=True)
class _Play:
    total: int
    rate: float
    began: float
    done: asyncio.Future[None]
    given: int = 0


class Air:
    """Carries uplinks from devices to gateways' sockets, and reads what the sockets receive."""

    def __init__(
        self, devices: Sequence[LoadDevice], gateways: Sequence[LoadGateway], copies: float, source: random.Random
    ) -> None:
        self._gateways = gateways
        self.hearers = [hearers(source, gateways, device.number, copies) for device in devices]
        self._order = source.sample(devices, len(devices))
        self._next = 0
        self._play: _Play | None = None
        self._by_dev_addr: dict[bytes, LoadDevice] = {}
        # (device number, f_cnt, end, which of its hearers heard it as bits) of every uplink, flat: an object each
        # would cost more than sending it.
        self.sent = array("q")
        self.heard = 0  # Uplinks that at least one gateway heard.
        self.answers = Answers()
        self.later: Callable[[int, Callable[[], object]], None] = on_the_loop
        for gateway in gateways:
            gateway.emitted = self.emitted
        self._clock = frames.Clock()
        self._signal = 0
        self._phases: list[list[LoadGateway]] = [[] for _ in range(POLL_MS)]
        for place, gateway in enumerate(gateways):
            self._phases[place * POLL_MS // len(gateways) if len(gateways) < POLL_MS else place % POLL_MS].append(
                gateway
            )
        self._last_ms = now_us() // 1000
        self._by_descriptor = {number: gateway for gateway in gateways for number in gateway.filenos()}

    async def play(self, total: int, rate: float) -> None:
        """Return when `total` uplinks have been sent, `rate` per second, whatever becomes of them.

        Raises:
            ValueError: a play is running.
        """
        if self._play is not None:
            raise ValueError("a play is running")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._play = _Play(total, rate, time.monotonic(), done)
        try:
            await done
        finally:
            self._play = None

    async def run(self) -> None:
        """Drive the gateways until cancelled."""
        # One wait for all sockets: a callback each would cost more than the datagram.
        with select.epoll() as answers:
            for descriptor in self._by_descriptor:
                answers.register(descriptor, select.EPOLLIN)
            read_at = 0.0
            while True:
                play = self._play
                if play is not None:
                    self._give_out(play)
                self._poll()
                if (now := time.monotonic()) - read_at >= READ_EVERY_S:
                    read_at = now
                    for descriptor, _ in answers.poll(0):
                        self._by_descriptor[descriptor].read()
                if play is not None:
                    self._end(play)
                await asyncio.sleep(IDLE_S if self._play is None else STEP_S)

    def _give_out(self, play: _Play) -> None:
        """Put the uplinks that are due into the concentrator that hears them first."""
        due = min(play.total, int((time.monotonic() - play.began) * play.rate)) - play.given
        play.given += due
        order = self._order
        for _ in range(due):
            device = order[self._next]
            self._next = (self._next + 1) % len(order)
            self.hearers[device.number][0].waiting.append(device)

    def _poll(self) -> None:
        """Each gateway whose moment has come forwards what it has; of a long pause, once."""
        now_ms = now_us() // 1000
        for moment in range(max(self._last_ms + 1, now_ms - POLL_MS + 1), now_ms + 1):
            for gateway in self._phases[moment % POLL_MS]:
                if gateway.waiting or gateway.copies:
                    self._forward(gateway, now_us())
        self._last_ms = now_ms

    def _forward(self, gateway: LoadGateway, at_us: int) -> None:
        heard, gateway.copies = gateway.copies, []
        devices, gateway.waiting = gateway.waiting, []
        instant = self._clock.text(at_us)
        for device in devices:
            said = self._sent(device, instant, at_us)
            if said is not None:
                heard.append((said, at_us))
        if not heard:
            return
        counter, signals, first = gateway.counter, gateway.signals, self._signal
        self._signal = first + len(heard)
        gateway.push(
            [
                frames.rxpk(counter(ended_us), signals[(first + place) & 0xFF], said)
                for place, (said, ended_us) in enumerate(heard)
            ]
        )

    def _sent(self, device: LoadDevice, instant: bytes, at_us: int) -> bytes | None:
        """An uplink ends: copies to those that hear it; returns the copy of the first gateway, if it does."""
        f_cnt = device.f_cnt
        phy_payload = device.next_frame()
        device.sent_until_us, device.frequency = at_us, CHANNELS[f_cnt & 7]
        said = frames.heard(instant, frames.ALL_CHANNELS[f_cnt & 7], phy_payload)
        began_us = at_us - frames.airtime_us(len(phy_payload))
        hearers = self.hearers[device.number]
        heard_by = int(hearers[0].hears(began_us, at_us))
        for place, other in enumerate(hearers[1:], 1):
            if other.hears(began_us, at_us):
                other.copies.append((said, at_us))
                heard_by |= 1 << place
        if heard_by:
            self.heard += 1
            self.answers.awaited += device.awaits_ack
        else:
            device.awaits_ack = False
        note = self.sent.append
        note(device.number)
        note(f_cnt)
        note(at_us)
        note(heard_by)
        return said if heard_by & 1 else None

    def emitted(self, gateway: LoadGateway, emission: Emission) -> None:
        """A gateway is going to have this on the air: who listens there and then hears it."""
        if mtype_of(emission.phy_payload) is MType.JOIN_ACCEPT:
            for asked in gateway.asked:
                if any(window.catches(emission) for window in asked.windows):
                    self._accepted_later(asked, emission)
            return
        device = self._by_dev_addr.get(emission.phy_payload[1:5])
        if device is not None and gateway in self.hearers[device.number]:
            self.later(emission.start_us, lambda: device.hear(emission, self.answers))

    def _accepted_later(self, asked: JoinAsked, emission: Emission) -> None:
        device = asked.device

        def accept() -> None:
            if device.accept(emission.phy_payload, asked.dev_nonce) and device.dev_addr is not None:
                self._by_dev_addr[device.dev_addr[::-1]] = device

        self.later(emission.end_us, accept)

    def _end(self, play: _Play) -> None:
        if play.given < play.total or any(gateway.waiting or gateway.copies for gateway in self._gateways):
            return
        self._play = None
        if not play.done.done():
            play.done.set_result(None)
