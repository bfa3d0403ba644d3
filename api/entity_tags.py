"""ETag and If-Match: who changes an object may say which one was read, and 412 says that it is another by now.

An object that is read at a path and changed at the same path has a tag, made from what the caller is shown. What
traffic changes by itself (`MOVING`) is left out: otherwise no tag of a live source would hold for a second.
"""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

from fastapi import APIRouter
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.held_answer import HeldAnswer
from core.runtime.http.errors import render

if TYPE_CHECKING:
    from api.dependencies import Dependencies

CHANGES = frozenset({"PATCH", "PUT", "DELETE"})
OK = 200
TAG = 32
# Fields that no caller changes; one that is a list (a profile's `commands`) is another thing, and counts.
MOVING = frozenset(
    {
        *("last_seen_at", "last_event_at", "last_published_at", "last_error", "last_error_at", "gone_at", "holds"),
        *("accepted", "ignored", "refused", "published", "dropped", "waiting", "commands", "commands_refused"),
        *("supervision", "join", "f_cnt", "stats", "address", "frontend", "online", "cups", "deletes", "fine"),
        "current_dev_addr",
    }
)
# What a change says that the reading before it does not; who asks, and from where, is the same.
OF_THE_CHANGE = frozenset(
    {b"content-length", b"content-type", b"content-encoding", b"transfer-encoding", b"expect", b"if-match"}
)
NO_STORE = (b"cache-control", b"no-store")


def tag_of(body: bytes) -> str | None:
    """The ETag of a JSON object; None for what is none."""
    try:
        shown: Any = json.loads(body)
    except ValueError:
        return None
    if not isinstance(shown, dict):
        return None
    fields = cast(dict[str, Any], shown)
    moving = {name for name in MOVING & fields.keys() if not isinstance(fields[name], list)}
    kept = {name: value for name, value in fields.items() if name not in moving}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:TAG]}"'


def is_matched(wanted: str, tag: str) -> bool:
    """Whether an If-Match names this tag; a weak one never does (RFC 9110, section 13.1.1)."""
    return wanted.strip() == "*" or tag in {one.strip() for one in wanted.split(",")}


class EntityTagMiddleware:
    """Wraps the routes; the one place that knows both headers."""

    def __init__(
        self,
        app: ASGIApp,
        paths: Sequence[re.Pattern[str]],
        record_stale: Callable[[Request], Awaitable[None]],
    ) -> None:
        """`paths` are those of objects, as `tagged_paths` finds them; `record_stale` audits a 412."""
        self._app = app
        self._paths = paths
        self._record_stale = record_stale

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not self._is_tagged(scope):
            await self._app(scope, receive, send)
            return
        wanted = Headers(scope=scope).get("if-match")
        if scope["method"] == "GET":
            await _tagged(self._app, scope, receive, send)
        elif scope["method"] in CHANGES and wanted is not None:
            await self._change(scope, receive, send, wanted)
        else:
            await self._app(scope, receive, send)

    def _is_tagged(self, scope: Scope) -> bool:
        method: str = scope["method"]
        return (method == "GET" or method in CHANGES) and any(path.match(scope["path"]) for path in self._paths)

    async def _change(self, scope: Scope, receive: Receive, send: Send, wanted: str) -> None:
        dependencies: Dependencies = scope["app"].state.platform
        scope.setdefault("state", {})  # Where the reading leaves who asks.
        async with dependencies.turns.hold(dependencies.pool, scope["path"]) as is_held:
            if not is_held:
                await render(412, "cet objet est en train de changer : relisez-le")(scope, receive, send)
                return
            read = HeldAnswer()
            await self._app(_as_get(scope), _nothing, read.send)
            if read.status != OK:
                for message in read.messages:
                    await send(message)
                return
            tag = tag_of(bytes(read.body))
            if tag is None or not is_matched(wanted, tag):
                await self._record_stale(Request(scope))
                await render(412, "cet objet a changé depuis que vous l'avez lu : relisez-le")(
                    scope, receive, send
                )
                return
            await self._app(scope, receive, send)


async def _tagged(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    held = HeldAnswer()
    await app(scope, receive, held.send)
    tag = tag_of(bytes(held.body)) if held.status == OK else None
    for message in held.messages:
        if tag is not None and message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"etag", tag.encode()), NO_STORE]
        await send(message)


def _as_get(scope: Scope) -> Scope:
    kept = [header for header in scope["headers"] if header[0] not in OF_THE_CHANGE]
    return {**scope, "method": "GET", "query_string": b"", "headers": kept}


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def tagged_paths(routers: Iterable[APIRouter]) -> tuple[re.Pattern[str], ...]:
    """The paths of one object (they end with its key) that have a GET, and a PATCH, PUT or DELETE."""
    methods: dict[str, set[str]] = {}
    patterns: dict[str, re.Pattern[str]] = {}
    for route in (route for router in routers for route in router.routes if isinstance(route, Route)):
        if route.path.endswith("}"):
            methods.setdefault(route.path, set()).update(route.methods or ())
            patterns[route.path] = route.path_regex
    return tuple(patterns[path] for path, known in methods.items() if "GET" in known and known & CHANGES)
