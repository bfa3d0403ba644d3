"""The one loop that paces a load: who is due, which gateway looks into its concentrator, what came back.

Data uplinks do not go through the radio medium one by one, where each would be an object: every gateway in range
whose radio listens receives them. Join-requests and downlinks are the medium's.
"""

import asyncio
import random
import select
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from lab.device.device import Device
from lab.gateway import rxpk
from lab.gateway.udp import UdpGateway
from lab.radio.clock import now_us
from lab.radio.transmission import BANDWIDTH, CHANNELS
from lorawan.airtime import lora_airtime_us

# A forwarder looks into its concentrator every 10 ms; each gateway at its own moment.
POLL_MS = 10
STEP_S = 0.002
# How often the sockets are looked at: answers lie in them, and to be read one by one as they come costs more.
READ_EVERY_S = 0.02
IDLE_S = POLL_MS / 1000
SPREADING_FACTOR = 7  # Of every data frame.
FIELDS = 4  # Of `Pacer.sent`, for each uplink.
ON_CHANNELS = tuple(rxpk.channel(frequency, SPREADING_FACTOR) for frequency in CHANNELS)
# By length of a frame.
AIRTIMES_US = tuple(lora_airtime_us(length, SPREADING_FACTOR, BANDWIDTH, crc=True) for length in range(256))


@dataclass(slots=True)
class Buffer:
    """What is in a gateway's concentrator until its next poll."""

    gateway: UdpGateway
    signals: tuple[bytes, ...]
    due: list[Device] = field(default_factory=list[Device])
    """Devices whose uplink ends, this gateway being their home."""
    receptions: list[tuple[bytes, int]] = field(default_factory=list[tuple[bytes, int]])
    """The common part of rxpks of other devices' uplinks, and when they ended."""


@dataclass(slots=True)
class _Play:
    total: int
    rate: float
    began: float
    done: asyncio.Future[None]
    given: int = 0


class Pacer:
    """Carries uplinks from devices to gateways' sockets, and reads what the sockets receive.

    `in_range`: the gateways of each device, by its number; the first looks after it.
    """

    def __init__(
        self,
        devices: Sequence[Device],
        gateways: Sequence[UdpGateway],
        in_range: Sequence[tuple[UdpGateway, ...]],
        source: random.Random,
    ) -> None:
        buffers = {gateway.gateway_id: Buffer(gateway, rxpk.signals(gateway.name)) for gateway in gateways}
        self._buffers = list(buffers.values())
        self._in_range = [tuple(buffers[gateway.gateway_id] for gateway in those) for those in in_range]
        self._order = source.sample(devices, len(devices))
        self._next = 0
        self._play: _Play | None = None
        # (device number, f_cnt, end, which of its gateways received it as bits) of every uplink, flat: an object
        # each would cost more than sending it.
        self.sent = array("q")
        self.received = 0  # Uplinks that at least one gateway received.
        self.late_every = 0
        """Of a device's uplinks each so manieth was kept by its gateways for `late_by_us`; 0: none."""
        self.late_by_us = 0
        self._clock = rxpk.Clock()
        self._signal = 0
        self._phases: list[list[Buffer]] = [[] for _ in range(POLL_MS)]
        for place, buffer in enumerate(self._buffers):
            phase = place * POLL_MS // len(gateways) if len(gateways) < POLL_MS else place % POLL_MS
            self._phases[phase].append(buffer)
        self._last_ms = now_us() // 1000

    async def play(self, total: int, rate: float) -> None:
        """Return when `total` uplinks have been sent, `rate` per second, whatever becomes of them.

        One that is cancelled sends nothing more: what is in no concentrator yet stays unsent.

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
            for buffer in self._buffers:
                buffer.due.clear()

    async def run(self) -> None:
        """Drive the gateways, which are open, until cancelled."""
        by_descriptor = {number: one.gateway for one in self._buffers for number in one.gateway.filenos()}
        # One wait for all sockets: a callback each would cost more than the datagram.
        with select.epoll() as readable:
            for descriptor in by_descriptor:
                readable.register(descriptor, select.EPOLLIN)
            read_at = 0.0
            while True:
                play = self._play
                if play is not None:
                    self._give_out(play)
                self._poll()
                if (now := time.monotonic()) - read_at >= READ_EVERY_S:
                    read_at = now
                    for descriptor, _ in readable.poll(0):
                        by_descriptor[descriptor].read()
                if play is not None:
                    self._end(play)
                await asyncio.sleep(IDLE_S if self._play is None else STEP_S)

    def _give_out(self, play: _Play) -> None:
        """Put the uplinks that are due into the concentrator of their home."""
        due = min(play.total, int((time.monotonic() - play.began) * play.rate)) - play.given
        play.given += due
        order = self._order
        for _ in range(due):
            device = order[self._next]
            self._next = (self._next + 1) % len(order)
            self._in_range[device.number][0].due.append(device)

    def _poll(self) -> None:
        """Each gateway whose moment has come forwards what it has; of a long pause, once."""
        now_ms = now_us() // 1000
        for moment in range(max(self._last_ms + 1, now_ms - POLL_MS + 1), now_ms + 1):
            for buffer in self._phases[moment % POLL_MS]:
                if buffer.due or buffer.receptions:
                    self._forward(buffer, now_us())
        self._last_ms = now_ms

    def _forward(self, buffer: Buffer, at_us: int) -> None:
        receptions, buffer.receptions = buffer.receptions, []
        devices, buffer.due = buffer.due, []
        instant = self._clock.text(at_us)
        for device in devices:
            common = self.end_uplink(device, instant, at_us)
            if common is not None:
                receptions.append((common, at_us))
        if not receptions:
            return
        gateway, signals, first = buffer.gateway, buffer.signals, self._signal
        counter = gateway.counter
        self._signal = first + len(receptions)
        gateway.push(
            [
                rxpk.rxpk(counter(ended_us), signals[(first + place) & 0xFF], common)
                for place, (common, ended_us) in enumerate(receptions)
            ]
        )

    def end_uplink(self, device: Device, instant: bytes, at_us: int) -> bytes | None:
        """An uplink ends: every gateway in range that listened has it; the common part if its home has."""
        session = device.session
        assert session is not None
        f_cnt = session.f_cnt_up
        channel = f_cnt & 7
        phy_payload = device.next_frame(device.application.next_message(at_us))
        device.sent_until_us, device.frequency = at_us, CHANNELS[channel]
        common = rxpk.common_part(instant, ON_CHANNELS[channel], phy_payload)
        if self.late_every and f_cnt % self.late_every == 0:
            common = rxpk.with_gps_time(common, at_us - self.late_by_us)
        began_us = at_us - AIRTIMES_US[len(phy_payload)]
        buffers = self._in_range[device.number]
        received_by = int(buffers[0].gateway.listens(began_us, at_us))
        for place, other in enumerate(buffers[1:], 1):
            if other.gateway.listens(began_us, at_us):
                other.receptions.append((common, at_us))
                received_by |= 1 << place
        if received_by:
            self.received += 1
            device.answers.awaited += device.awaits_ack
        else:
            device.awaits_ack = False
        append = self.sent.append
        append(device.number)
        append(f_cnt)
        append(at_us)
        append(received_by)
        return common if received_by & 1 else None

    def _end(self, play: _Play) -> None:
        if play.given < play.total or any(one.due or one.receptions for one in self._buffers):
            return
        self._play = None
        if not play.done.done():
            play.done.set_result(None)
