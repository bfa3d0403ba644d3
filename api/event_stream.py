"""Server-sent events: an answer that goes on, fed from a queue that is bounded."""

import asyncio
import random
import re
from collections import deque
from collections.abc import Awaitable, Callable

import structlog
from prometheus_client import Counter
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from core.runtime.errors import describe
from core.runtime.http.head_deadline import ABORT
from core.runtime.postgres import DATABASE_AWAY

MOST_WAITING = 16
# An event, and no comment: a browser's script sees it, and knows that the stream is alive.
BEAT_EVERY_S = 5.0
# Who is told why the stream ends has so long to take it.
LEAVE_WITHIN_S = 5.0
# Browsers come back after a time of their own: not all at once to the replica that is left.
RETRY_MS = (500, 3_000)
LINES = re.compile(r"\r\n|\r|\n")
log = structlog.get_logger()

DROPPED = Counter(
    "territoire_api_slow_streams_total", "Streams that were ended because their reader took too little"
)


def encode_event(name: str, text: str) -> bytes:
    """One event as it goes out."""
    lines = "".join(f"data: {line}\n" for line in LINES.split(text))
    return f"event: {name}\n{lines}\n".encode()


BEAT = encode_event("beat", "")


class EventStream(Response):
    """What is put goes out in its order, until `end`, or until the reader is gone or too slow."""

    media_type = "text/event-stream"

    def __init__(
        self,
        when_over: Callable[["EventStream"], None],
        feed: Callable[["EventStream"], Awaitable[None]] | None = None,
        when_slow: bytes = b"",
    ) -> None:
        """`feed` runs beside the answer, and puts; the stream ends with it. `when_slow`: for a slow reader."""
        super().__init__()
        del self.headers["content-length"]
        self._when_over = when_over
        self._feed = feed
        self._when_slow = when_slow
        self._over, self._taken = asyncio.Event(), asyncio.Event()
        self._waiting: deque[bytes] = deque()
        self._woken = asyncio.Event()
        self._abort: Callable[[], None] | None = None
        self.is_over = False

    def put(self, octets: bytes) -> None:
        """Send these when those before them are sent; a reader who has left too much waiting is dropped."""
        if self.is_over:
            return
        if len(self._waiting) >= MOST_WAITING:
            DROPPED.inc()
            if self._when_slow:
                self.leave(self._when_slow)
                return
            self.end()
            if self._abort is not None:
                self._abort()
            return
        self._waiting.append(octets)
        self._woken.set()

    def leave(self, last: bytes) -> None:
        """Say this instead of all that waits, then end: whoever does not even take that is cut off."""
        if self.is_over:
            return
        self.end()
        self._waiting.append(last)
        if self._abort is not None:
            asyncio.get_running_loop().call_later(LEAVE_WITHIN_S, self._abort)

    async def until_room(self, most: int) -> None:
        """Wait until no more than this waits, or the stream is over."""
        while len(self._waiting) > most and not self.is_over:
            self._taken.clear()
            await self._taken.wait()

    async def until_over(self) -> None:
        """Wait for the end of the stream."""
        await self._over.wait()

    def end(self) -> None:
        """No more; what waits is not sent."""
        self.is_over = True
        self._waiting.clear()
        self._woken.set()
        self._over.set()
        self._taken.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI says."""
        self._abort = scope.get("extensions", {}).get(ABORT)
        beside = [asyncio.create_task(self._end_when_gone(receive), name="reader of a stream")]
        if self._feed is not None:
            beside.append(asyncio.create_task(self._run_feed(self._feed), name="feed of a stream"))

        async def give(octets: bytes) -> None:
            await send({"type": "http.response.body", "body": octets, "more_body": True})

        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await give(b"retry: %d\n\n" % random.randint(*RETRY_MS))  # noqa: S311 - Nobody gains by guessing it.
            while not self.is_over or self._waiting:
                await give(await self._next())
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            for task in beside:
                task.cancel()
            self.end()
            self._when_over(self)

    async def _next(self) -> bytes:
        """What waits; a beat when nothing has come for a while."""
        if not self._waiting:
            self._woken.clear()
            try:
                async with asyncio.timeout(BEAT_EVERY_S):
                    await self._woken.wait()
            except TimeoutError:
                return BEAT
        self._taken.set()
        return self._waiting.popleft() if self._waiting else b""

    async def _run_feed(self, feed: Callable[["EventStream"], Awaitable[None]]) -> None:
        try:
            await feed(self)
        except DATABASE_AWAY as away:  # Whoever follows comes back, and goes on where it was.
            log.warning("feed_ended_database_away", error=describe(away))
        except Exception:
            log.exception("feed_failed")
        finally:
            if not self.is_over:
                self.end()

    async def _end_when_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.end()
