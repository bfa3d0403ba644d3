"""Batches frames by shard and publishes them to FRAMES, one publish in flight per shard."""

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from core.messages import topics
from core.messages.batch import encode_batch
from core.messages.frames import GatewayFrame
from core.messages.topics import shard_of_slot
from core.runtime.bus import Bus
from core.runtime.tracing import TRACES
from gateways.telemetry import FRAMES, PUBLISH_SECONDS, QUEUE_DEPTH
from lorawan.frame import MType, routing_slot

MAX_ITEMS = 500
MAX_OCTETS = 256 * 1024
LINGER_S = 0.025
# A message costs the chain what some ten frames do: beyond this many a second batches become longer with the rate,
# up to a little over half the window in which copies of a frame are awaited: then a message comes as a window
# ends, and network does both at once. A frame whose device listens for an answer waits for none of this.
USUAL_RATE = 500.0
LONGEST_LINGER_S = 0.104
_AT_A_TICK = 0.001  # A share of the time between two: what opens now waits for the next one.
# The octets of a frame in a message besides its PHYPayload: an estimate on the high side.
FRAME_OVERHEAD = 96
# Per shard: at 15,000 frames a second over four shards, more than ten seconds of a bus that is away.
MAX_WAITING = 50_000

_MTYPE_SHIFT = 5
_URGENT = (int(MType.JOIN_REQUEST), int(MType.CONFIRMED_DATA_UP))

_FORWARDED = FRAMES.labels("forwarded")
_DROPPED = FRAMES.labels("queue_full")
_UNROUTABLE = FRAMES.labels("unroutable")

STAGE = "gateway_bridge"

Done = Callable[[], None]


@dataclass(slots=True)
class _Lane:
    """The frames that wait for one shard. The device of an urgent frame listens for an answer within a second."""

    frames: list[GatewayFrame] = field(default_factory=list[GatewayFrame])
    done: list[Done | None] = field(default_factory=list[Done | None])
    octets: int = 0
    due_at: float = 0.0
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    def append_frame(self, frame: GatewayFrame, done: Done | None, ticks: "Ticks") -> None:
        """Append a frame; the first of a batch opens it, an urgent one closes it."""
        frames, phy_payload = self.frames, frame.phy_payload
        ticks.frames += 1
        if not frames:
            self.due_at = ticks.next_at(asyncio.get_running_loop().time())
            self.filled.set()
        frames.append(frame)
        self.done.append(done)
        self.octets += len(phy_payload) + FRAME_OVERHEAD
        urgent = phy_payload[0] >> _MTYPE_SHIFT in _URGENT
        if urgent or len(frames) >= MAX_ITEMS or self.octets >= MAX_OCTETS:
            self.closing.set()

    def pop_batch(self) -> tuple[list[GatewayFrame], list[Done | None]]:
        """The next batch: all frames as a rule; after an outage of the bus, as many as a message may hold."""
        count, octets = 0, 0
        while count < len(self.frames) and count < MAX_ITEMS and octets < MAX_OCTETS:
            octets += len(self.frames[count].phy_payload) + FRAME_OVERHEAD
            count += 1
        if count == len(self.frames):
            taken = (self.frames, self.done)
            self.frames, self.done, self.octets = [], [], 0
            self.filled.clear()
            self.closing.clear()
            return taken
        taken = (self.frames[:count], self.done[:count])
        del self.frames[:count], self.done[:count]
        self.octets -= octets
        return taken


class Ticks:
    """When batches go: those of all shards at once, so that whoever reads them is woken once for all of them."""

    def __init__(self) -> None:
        self.frames = 0
        """How many have come since a batch was opened after the last tick."""
        self._since = 0.0
        self._at = 0.0

    def next_at(self, now: float) -> float:
        """When a batch that is opened now is to go."""
        if now >= self._at:
            rate = self.frames / max(now - self._since, LINGER_S)
            period = max(LINGER_S, min(LONGEST_LINGER_S, LINGER_S * rate / USUAL_RATE))
            self.frames, self._since = 0, now
            self._at = (int(now / period + _AT_A_TICK) + 1) * period
        return self._at


class Batcher:
    """The frame sink of every frontend."""

    def __init__(self, bus: Bus, shards: int, *, max_waiting: int = MAX_WAITING) -> None:
        self._bus = bus
        self._shards = shards
        self._max_waiting = max_waiting
        self._lanes = [_Lane() for _ in range(shards)]
        self._ticks = Ticks()
        self._closed = False

    def submit_frame(self, frame: GatewayFrame, done: Done | None = None) -> None:
        """Take a frame; `done` is called once it is in the stream, or at once when it can go nowhere.

        Without `done` the caller cannot be made to wait: when the queue is full, the frame is dropped and counted.
        """
        slot = routing_slot(frame.phy_payload)
        if slot is None:
            _UNROUTABLE.inc()
            if done is not None:
                done()
            return
        lane = self._lanes[shard_of_slot(slot, self._shards)]
        if done is None and len(lane.frames) >= self._max_waiting:
            _DROPPED.inc()
            return
        lane.append_frame(frame, done, self._ticks)

    def waiting(self, shard: int) -> int:
        """How many frames wait for a shard, besides the batch on its way."""
        return len(self._lanes[shard].frames)

    async def run(self) -> None:
        """Publish until `close()` was called and every frame taken is in the stream."""
        async with asyncio.TaskGroup() as tasks:
            for shard in range(self._shards):
                tasks.create_task(self._run_lane(shard), name=f"publish frames of shard {shard}")

    def close(self) -> None:
        """Wait for no more frames: `run` publishes what it holds, then returns."""
        self._closed = True
        for lane in self._lanes:
            lane.filled.set()
            lane.closing.set()

    async def _run_lane(self, shard: int) -> None:
        lane, subject, depth = self._lanes[shard], topics.frames(shard), QUEUE_DEPTH.labels(str(shard))
        while True:
            await lane.filled.wait()
            if not self._closed:
                await _closing(lane)
            frames, done = lane.pop_batch()
            if not frames:
                return
            depth.set(len(frames) + len(lane.frames))
            started = time.perf_counter()
            await self._bus.publish(subject, encode_batch(frames), uuid.uuid4().hex)
            PUBLISH_SECONDS.observe(time.perf_counter() - started)
            _FORWARDED.inc(len(frames))
            _write_steps(frames, shard)
            for call in done:
                if call is not None:
                    call()
            if self._closed:
                lane.filled.set()


def _write_steps(frames: list[GatewayFrame], shard: int) -> None:
    """Write a trace step for each traced frame, now that they are in the stream."""
    for frame in frames:
        if TRACES.is_traced(frame.trace_id):
            TRACES.step(
                STAGE,
                frame.trace_id,
                frame.received_at_us,
                "frame_forwarded",
                None,
                gw_eui=frame.gateway_id.hex(),
                shard=shard,
                outcome="forwarded",
            )


async def _closing(lane: _Lane) -> None:
    """Return when the batch is to go: full, urgent, or due."""
    try:
        async with asyncio.timeout_at(lane.due_at):
            await lane.closing.wait()
    except TimeoutError:
        return
