"""What a stack did while a load was played: CPU by process, messages by stream, drops."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from core.messages import topics
from core.runtime.bus import BUS_AWAY, Bus
from core.runtime.postgres import Pool
from lab.bench.processes import cpu_seconds, machine_seconds, udp_drops
from lorawan.instants import from_us
from services.supervisor.run_info import RunInfo, read_run_info

STREAMS = (topics.FRAMES, topics.UPLINKS, topics.MEASUREMENTS)
POLL_S = 0.1
QUIET_POLLS = 10
API_TIMEOUT_S = 5

COUNT_STORED = "SELECT count(*) FROM observation.uplink WHERE time >= $1 AND time <= $2"
COUNT_ROWS = "SELECT count(*) FROM observation.measurement WHERE time >= $1 AND time <= $2"


class _StreamState(msgspec.Struct):
    messages: int
    last_seq: int


class _StreamInfo(msgspec.Struct):
    state: _StreamState


class _ConsumerInfo(msgspec.Struct):
    num_pending: int = 0
    num_ack_pending: int = 0


class _Consumers(msgspec.Struct):
    consumers: list[_ConsumerInfo] | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Counters of one instant."""

    at: float
    cpu_s: Mapping[str, float]
    machine_s: float
    sequences: Mapping[str, int]
    drops: int


async def _stream(bus: Bus, stream: str) -> _StreamState:
    answer = await bus.request(f"$JS.API.STREAM.INFO.{stream}", b"", API_TIMEOUT_S)
    return msgspec.json.decode(answer, type=_StreamInfo).state


async def _behind(bus: Bus, stream: str) -> int:
    """How many messages the readers of a stream have not finished with."""
    answer = await bus.request(f"$JS.API.CONSUMER.LIST.{stream}", b"", API_TIMEOUT_S)
    consumers = msgspec.json.decode(answer, type=_Consumers).consumers or []
    return sum(consumer.num_pending + consumer.num_ack_pending for consumer in consumers)


def _pids(run: RunInfo) -> dict[str, int]:
    services = read_run_info(Path(run.home)).services
    return {service.name: service.pid for service in services if service.pid is not None}


async def snapshot(run: RunInfo, bus: Bus) -> Snapshot:
    """The counters now."""
    sequences = {stream: (await _stream(bus, stream)).last_seq for stream in STREAMS}
    return Snapshot(
        time.monotonic(), cpu_seconds(_pids(run)), machine_seconds(), sequences, udp_drops(run.udp_port)
    )


async def wait_until_stored(bus: Bus, pool: Pool, expected: int, began_us: int, most_s: float) -> bool:
    """Return when everything that is on its way has arrived everywhere; whether that is `expected` uplinks.

    What was lost never arrives: then when the streams have been empty, and their readers done, for a second.
    """
    quiet, far = 0, from_us(began_us + 86_400_000_000)
    deadline = time.monotonic() + most_s
    while time.monotonic() < deadline:
        try:
            waiting = [(await _stream(bus, stream)).messages for stream in (topics.FRAMES, topics.UPLINKS)]
            waiting.append(await _behind(bus, topics.MEASUREMENTS))
        except BUS_AWAY:
            waiting = [1]
        quiet = 0 if any(waiting) else quiet + 1
        if quiet:
            if await pool.fetchval(COUNT_STORED, from_us(began_us), far) >= expected:
                return True
            if quiet >= QUIET_POLLS:
                return False
        await asyncio.sleep(POLL_S)
    return False


async def count_rows(pool: Pool, began_us: int, ended_us: int) -> int:
    """How many measurements the uplinks of a play made."""
    return await pool.fetchval(COUNT_ROWS, from_us(began_us), from_us(ended_us), timeout=120)
