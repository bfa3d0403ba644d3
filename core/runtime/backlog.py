"""The backlog of the consumers of owned shards, as metrics."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import structlog
from prometheus_client import Gauge

from core.runtime.bus import Backlog, raise_if_cancelled
from core.runtime.errors import describe

ASK_EVERY_S = 10.0

_LABELS = ("stream", "shard")
WAITING = Gauge("territoire_bus_pending_messages", "Messages that the bus has not handed out yet", _LABELS)
UNACKNOWLEDGED = Gauge(
    "territoire_bus_ack_pending_messages", "Messages that were handed out and are not acknowledged", _LABELS
)
REDELIVERED = Gauge(
    "territoire_bus_redelivered_messages", "Messages that are not acknowledged and were handed out again", _LABELS
)

log = structlog.get_logger()


@asynccontextmanager
async def shown(
    ask: Callable[[], Awaitable[Backlog]],
    stream: str,
    shard: int,
    away: tuple[type[BaseException], ...],
    every_s: float = ASK_EVERY_S,
) -> AsyncGenerator[None]:
    """Update the metrics now and again while the block runs, then remove them: another replica has the shard.

    `away` is what `ask` raises while the bus is away.
    """
    labels = (stream, str(shard))

    async def repeat() -> None:
        while True:
            try:
                backlog = await ask()
            except away as gone:
                log.debug("backlog_not_read", stream=stream, shard=shard, error=describe(gone))
            else:
                WAITING.labels(*labels).set(backlog.waiting)
                UNACKNOWLEDGED.labels(*labels).set(backlog.unacknowledged)
                REDELIVERED.labels(*labels).set(backlog.redelivered)
            raise_if_cancelled()
            await asyncio.sleep(every_s)

    asking = asyncio.create_task(repeat(), name=f"show the backlog of {stream} {shard}")
    try:
        yield
    finally:
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        for gauge in (WAITING, UNACKNOWLEDGED, REDELIVERED):
            with suppress(KeyError):
                gauge.remove(*labels)
