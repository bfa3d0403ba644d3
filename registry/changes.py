"""Notifies caches: every change of the registry leaves a row, and each process re-reads what changed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from core.messages import topics
from core.runtime.bus import Bus
from core.runtime.errors import describe
from core.runtime.postgres import DATABASE_AWAY, Pool

POLL_S = 5.0
# A change becomes visible when its transaction commits, maybe after a later one: look back this far.
LOOK_BACK_S = 120
READ_RECENT = """
SELECT version, entity, entity_id FROM registry_change
WHERE changed_at > now() - make_interval(secs => $1) ORDER BY version
"""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Change:
    """One entity changed: device (also its assignment), device_profile, asset, gateway or tenant."""

    entity: str
    entity_id: int


class RegistryWatcher:
    """Calls `apply(changes)` for what changed, on a nudge and every 5 s.

    Make it, then load the caches, then run `watch`: a change in between is applied twice rather than missed.
    """

    def __init__(self, pool: Pool, bus: Bus, apply: Callable[[list[Change]], Awaitable[None]]) -> None:
        self._pool = pool
        self._bus = bus
        self._apply = apply
        self._seen: set[int] = set()
        self._nudged = asyncio.Event()
        self._read_at: float | None = None  # When it was last read in full, on the loop's clock.

    async def watch(self) -> None:
        """Run until cancelled; a database that is away is tried again at the next poll."""

        async def nudge(_subject: str, _data: bytes) -> None:
            self._nudged.set()

        await self._bus.subscribe(topics.REGISTRY_CHANGED, nudge)
        while True:
            try:
                await self.poll()
            except DATABASE_AWAY as away:
                log.warning("registry_not_read", error=describe(away))
            try:
                async with asyncio.timeout(POLL_S):
                    await self._nudged.wait()
            except TimeoutError:
                continue
            self._nudged.clear()

    async def poll(self) -> None:
        """Apply what changed since the last poll."""
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        away_s = 0.0 if self._read_at is None else asked_at - self._read_at
        rows = await self._pool.fetch(READ_RECENT, LOOK_BACK_S + away_s)
        fresh = [row for row in rows if row["version"] not in self._seen]
        if fresh:
            await self._apply(list({Change(row["entity"], row["entity_id"]): None for row in fresh}))
        self._seen = {row["version"] for row in rows}
        self._read_at = asked_at
