"""The outermost layer: a limit and a deadline for bodies, measures, headers, and no stack trace to anybody.

An answer that says it is a stream of events has no end to wait for: it has a deadline for its first octet, as long
as other answers have for all of theirs, and one between octets.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import structlog
from prometheus_client import Counter, Histogram
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.runtime.http.errors import database_away, render
from core.runtime.http.head_deadline import ABORT
from core.runtime.http.headers import CONTENT_POLICY, NO_STORE, SECURITY_HEADERS, UNBUFFERED

MAX_BODY = 1 << 20
BODY_WITHIN_S = 10
# Longer than a body may take to come, and than any query of ours takes.
ANSWER_WITHIN_S = 15.0
# Of a stream, after its first octet. Who makes one sends something more often than that.
NEXT_OCTET_WITHIN_S = 20.0
EVENT_STREAM = b"text/event-stream"

DURATION = Histogram(
    "territoire_api_http_request_duration_seconds",
    "From the request's head to the answer's end, of a stream to its first octet",
    ["route", "method", "status"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
STALLED = Counter(
    "territoire_api_http_stalled_streams_total", "Streams that were ended because no octet went out for too long"
)
NOT_OF_STREAMS = frozenset({b"etag", NO_STORE[0], UNBUFFERED[0]})
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
log = structlog.get_logger()


class OuterMiddleware:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, larger: Mapping[str, int] | None = None) -> None:
        """`larger` has the octets of a body where a path allows more than others; `*` is one part of a path."""
        self._app = app
        self._larger = [
            (re.compile(re.escape(path).replace(r"\*", "[^/]+")), most) for path, most in (larger or {}).items()
        ]
        self._abandoned: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(send)
        started = time.perf_counter()
        try:
            if _declared_length(scope) > self._most(scope):
                await _too_large(self._most(scope))(scope, receive, exchange.send)
            else:
                await self._answer(scope, receive, exchange)
        except Exception:
            log.exception("request_failed", method=scope["method"], route=_route(scope))
            if exchange.status is None:
                await render(500, "l'erreur est consignée")(scope, receive, exchange.send)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "other"
            until = exchange.first_octet_at if exchange.is_stream else None
            seconds = (until or time.perf_counter()) - started
            DURATION.labels(_route(scope), method, exchange.status or 499).observe(seconds)

    async def _answer(self, scope: Scope, receive: Receive, exchange: "_Exchange") -> None:
        """Run the application within the deadline, or answer 503 for it.

        A driver whose server is frozen does not even return from a cancellation: its request is left behind.
        """
        answering = asyncio.create_task(self._run(scope, receive, exchange), name="request")
        try:
            await asyncio.wait({answering}, timeout=ANSWER_WITHIN_S)
            if exchange.is_file:  # One that is made as it is sent takes as long as it takes.
                await asyncio.wait({answering})
            elif exchange.is_stream:
                await _follow(answering, exchange)
        finally:
            if not answering.done():
                self._abandoned.add(answering)
                answering.add_done_callback(self._abandoned.discard)
                answering.cancel()
        if answering.done():
            answering.result()
        elif exchange.status is None:
            answer = exchange.taken_over()
            log.warning("request_abandoned", method=scope["method"], route=_route(scope), seconds=ANSWER_WITHIN_S)
            await database_away()(scope, receive, answer)
        elif exchange.is_stream:
            STALLED.inc()
            log.warning("stream_stalled", route=_route(scope), reader_is_slow=exchange.is_sending)
            await _end_stream(scope, exchange)

    async def _run(self, scope: Scope, receive: Receive, exchange: "_Exchange") -> None:
        await self._app(scope, _limited(receive, self._most(scope)), exchange.send)

    def _most(self, scope: Scope) -> int:
        return next((most for path, most in self._larger if path.fullmatch(scope["path"])), MAX_BODY)


class _Exchange:
    """Adds the headers to the answer, and keeps its status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._is_taken_over = False
        self.status: int | None = None
        self.is_file = False
        self.is_stream = False
        self.is_sending = False
        self.first_octet_at: float | None = None
        self.last_octet_at: float | None = None

    def taken_over(self) -> Send:
        """From now on only what is sent by this way goes out: what the application still sends is dropped."""
        self._is_taken_over = True
        return self._deliver

    async def send(self, message: Message) -> None:
        if not self._is_taken_over:
            await self._deliver(message)

    async def _deliver(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), *SECURITY_HEADERS]
            present = {name.lower() for name, _ in headers}
            # One of which it is known how long it is belongs to the deadline, unless its ranges can be asked for.
            is_open = b"content-length" not in present or b"accept-ranges" in present
            self.is_file = b"content-disposition" in present and is_open
            if CONTENT_POLICY[0] not in present:
                headers.append(CONTENT_POLICY)
            self.is_stream = _is_stream(headers)
            if self.is_stream:
                headers = [header for header in headers if header[0].lower() not in NOT_OF_STREAMS]
                headers += [NO_STORE, UNBUFFERED]
            elif b"etag" not in present:  # A file of the reference page may be kept.
                headers.append(NO_STORE)
            message["headers"] = headers
        self.is_sending = True
        await self._send(message)
        self.is_sending = False
        if self.is_stream and message.get("body"):
            self.last_octet_at = time.perf_counter()
            self.first_octet_at = self.first_octet_at or self.last_octet_at


async def _follow(answering: asyncio.Task[None], exchange: _Exchange) -> None:
    """Until a stream has ended, or nothing of it went out for too long; it has had its time for a first octet."""
    while not answering.done() and exchange.last_octet_at is not None:
        left_s = exchange.last_octet_at + NEXT_OCTET_WITHIN_S - time.perf_counter()
        if left_s <= 0:
            break
        await asyncio.wait({answering}, timeout=left_s)


async def _end_stream(scope: Scope, exchange: _Exchange) -> None:
    """As a whole answer where its reader takes it, else by cutting the connection."""
    deliver = exchange.taken_over()
    abort = scope.get("extensions", {}).get(ABORT)
    if exchange.is_sending and abort is not None:
        abort()
        await asyncio.sleep(0)  # For the server to see it.
    else:
        await deliver({"type": "http.response.body", "body": b"", "more_body": False})


def _is_stream(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name.lower() == b"content-type" and value.startswith(EVENT_STREAM) for name, value in headers)


def _route(scope: MutableMapping[str, Any]) -> str:
    return getattr(scope.get("route"), "path", None) or "unmatched"


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _too_large(most: int) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    return render(413, f"le corps d'une requête compte ici {most >> 20} Mo au plus")


def _limited(receive: Receive, most: int) -> Receive:
    """Bodies whose length is not declared are counted as they come, and end with an error at limit or deadline."""
    loop = asyncio.get_running_loop()
    until, received, complete = loop.time() + BODY_WITHIN_S, 0, False

    async def limited() -> Message:
        nonlocal received, complete
        if complete:
            return await receive()
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408) from None
        received += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        if received > most:
            raise HTTPException(413)
        return message

    return limited
