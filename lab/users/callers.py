"""Who asks a service for something again and again, and counts how it was answered."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

REQUEST_WITHIN_S = 2.0
ASKED_AGAIN_AFTER_S = 0.25

Ask = Callable[[httpx.AsyncClient, str, int], Awaitable[httpx.Response]]


@dataclass(slots=True)
class Caller:
    """Asks the replicas in turn, and the next one with the same request when one does not answer.

    So does whatever stands in front of them, and so does every client that tries again.
    """

    urls: Sequence[str]
    ask: Ask
    every_s: float
    insists_s: float = 0.0
    """For how long the same request is made again where no replica answers it."""
    most: int | None = None
    """So many requests; None: without end."""
    asked: int = 0
    turned: int = 0
    """Requests that another replica answered than the first that was asked."""
    failed: int = 0
    slowest_s: float = 0.0
    answered_at: float = field(default_factory=time.monotonic)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set: the request that is under way is the last."""

    @property
    def answered(self) -> int:
        """Requests that were answered, once the last is."""
        return self.asked - self.failed

    @property
    def figures(self) -> dict[str, float]:
        """What was asked for, and how it was answered."""
        return {
            "asked": self.asked,
            "turned": self.turned,
            "failed": self.failed,
            "slowest_s": round(self.slowest_s, 2),
        }

    async def run(self) -> None:
        """Until cancelled, or stopped."""
        loop = asyncio.get_running_loop()
        async with httpx.AsyncClient(timeout=REQUEST_WITHIN_S, trust_env=False) as client:
            for number in itertools.count() if self.most is None else range(self.most):
                began = loop.time()
                await self.once(client, number)
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, began + self.every_s - loop.time())):
                        await self.stopping.wait()
                if self.stopping.is_set():
                    return

    async def once(self, client: httpx.AsyncClient, number: int) -> None:
        """Ask for one thing, of the first replica that answers."""
        self.asked += 1
        began = time.monotonic()
        while True:
            for attempt in range(len(self.urls)):
                url = self.urls[(number + attempt) % len(self.urls)]
                if await self._is_answered(client, url, number):
                    self.turned += attempt > 0
                    self.answered_at = time.monotonic()
                    self.slowest_s = max(self.slowest_s, self.answered_at - began)
                    return
            if time.monotonic() - began >= self.insists_s:
                self.failed += 1
                return
            await asyncio.sleep(ASKED_AGAIN_AFTER_S)

    async def _is_answered(self, client: httpx.AsyncClient, url: str, number: int) -> bool:
        try:
            return (await self.ask(client, url, number)).is_success
        except httpx.HTTPError:
            return False
