"""How full the streams are and whether they have all of their copies, as metrics: shown by one service for all."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import structlog
from prometheus_client import Gauge

from core.messages import topics
from core.runtime.bus import BUS_AWAY, Bus, connect_bus
from core.runtime.bus_connection import BusLost, bus_address
from core.runtime.errors import describe
from core.runtime.waiting import Unsaid

ASK_EVERY_S = 15.0
# MEASUREMENTS is in memory, drops what is old by itself, and is made again by who misses it.
WATCHED = (topics.FRAMES, topics.UPLINKS)

FILLED = Gauge(
    "territoire_bus_stream_filled_ratio", "Which share of its room on the disk a stream uses", ["stream"]
)
COPIES_MISSING = Gauge(
    "territoire_bus_stream_copies_missing", "Copies of a stream that are gone or not in step", ["stream"]
)
ANSWERED = Gauge(
    "territoire_bus_streams_answered_timestamp_seconds",
    "When all streams last answered, without a majority of its servers a stream does not; before they have, since "
    "when they are asked; NaN: this process does not ask",
)
ANSWERED.set(math.nan)

log = structlog.get_logger()


@asynccontextmanager
async def bus_shown(nats_url: str, name: str, every_s: float = ASK_EVERY_S) -> AsyncGenerator[None]:
    """While the block runs; by a connection of its own, which waits for nothing else that the process waits for.

    While the bus is away the figures stay, and their age says so.
    """
    ANSWERED.set_to_current_time()
    showing = asyncio.create_task(_keep_showing(nats_url, name, every_s), name="show the bus")
    try:
        yield
    finally:
        showing.cancel()
        with suppress(asyncio.CancelledError):
            await showing


async def _keep_showing(nats_url: str, name: str, every_s: float) -> None:
    while True:
        try:
            async with connect_bus(nats_url, name, Unsaid("", "bus", bus_address(nats_url))) as bus:
                await _keep_asking(bus, every_s)
        except (OSError, BusLost) as away:  # Also a certificate of the authority that cannot be read.
            log.warning("bus_not_shown", error=describe(away))
        await asyncio.sleep(every_s)


async def _keep_asking(bus: Bus, every_s: float) -> None:
    while True:
        try:
            for stream in WATCHED:
                room = await bus.room(stream)
                if room is not None:
                    FILLED.labels(stream).set(room.filled)
                    COPIES_MISSING.labels(stream).set(room.copies_missing)
            ANSWERED.set(time.time())
        except BUS_AWAY as away:
            log.warning("bus_not_shown", error=describe(away))
        await asyncio.sleep(every_s)
