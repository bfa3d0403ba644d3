"""How full the streams are and whether they have all of their copies, as metrics: shown by one service for all."""

import asyncio
import time

import structlog
from prometheus_client import Gauge

from core.messages import topics
from core.runtime.bus import BUS_AWAY, Bus
from core.runtime.errors import describe

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
    "When all streams last answered: without a majority of its servers a stream does not",
)

log = structlog.get_logger()


async def keep_showing_bus(bus: Bus, every_s: float = ASK_EVERY_S) -> None:
    """Until cancelled. While the bus is away the figures stay, and their age says so."""
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
