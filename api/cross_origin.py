"""Pages of other origins may call the API with a key that names them (CORS), and never with a session's cookie.

A preflight carries no key: it is answered for the origins of all keys. The request itself is held to those of its
own key, in `api.auth`.
"""

import time
from collections.abc import Callable
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.runtime.errors import describe
from core.runtime.http.errors import render
from core.runtime.postgres import DATABASE_AWAY, Pool
from registry.tenants import read_origins

PREFIX = "/v1/"
REMEMBERED_S = 5.0
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
ASKED = "Authorization, Content-Type, Idempotency-Key, If-Match, Accept"
SHOWN = "ETag, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Idempotency-Replayed, Location"
# In seconds; a key that is revoked takes its origins with it, so not for long.
PREFLIGHT_LASTS = "600"
VARY = (b"vary", b"Origin")

log = structlog.get_logger()


class AllowedOrigins:
    """The origins of every key that is valid, as they were a few seconds ago at most."""

    def __init__(self, pool: Pool, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._clock = clock
        self._known: frozenset[str] = frozenset()
        self._until = 0.0

    async def include(self, origin: str) -> bool:
        """Whether a key names this origin."""
        if self._clock() >= self._until:
            try:
                self._known = await read_origins(self._pool)
            except DATABASE_AWAY as away:  # What is asked for next says so itself.
                log.warning("origins_not_read", error=describe(away))
            self._until = self._clock() + REMEMBERED_S
        return origin in self._known


class CrossOriginMiddleware:
    """Answers preflights, and lets pages of known origins read what they are answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        origin = origin_of_others(HTTPConnection(scope))
        allowed: AllowedOrigins = scope["app"].state.allowed_origins
        is_allowed = origin is not None and await allowed.include(origin)
        headers: list[tuple[bytes, bytes]] = [VARY]
        if origin and is_allowed:
            headers.append((b"access-control-allow-origin", origin.encode()))
        if scope["method"] == "OPTIONS" and "access-control-request-method" in Headers(scope=scope):
            await _preflight(is_allowed=is_allowed)(scope, receive, _adding(send, headers))
            return
        if is_allowed:
            headers.append((b"access-control-expose-headers", SHOWN.encode()))
        await self._app(scope, receive, _adding(send, headers))


def origin_of_others(request: HTTPConnection) -> str | None:
    """The origin of the page that asks; None: it is one of ours, or no page."""
    origin = request.headers.get("origin")
    if origin is None or not origin.isascii() or urlsplit(origin).netloc == request.headers.get("host"):
        return None
    return origin


def _preflight(*, is_allowed: bool) -> Response:
    if not is_allowed:
        return render(403, "aucune clé ne nomme cette origine")
    headers = {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": ASKED,
        "Access-Control-Max-Age": PREFLIGHT_LASTS,
    }
    return Response(status_code=204, headers=headers)


def _adding(send: Send, headers: list[tuple[bytes, bytes]]) -> Send:
    async def adding(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *headers]
        await send(message)

    return adding
