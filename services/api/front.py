"""Answers 503 from the first moment, and serves the API once it is ready."""

from collections.abc import Awaitable, Callable
from typing import Any

Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
UNAVAILABLE = b'{"title":"Service Unavailable","status":503,"detail":"l\'API d\xc3\xa9marre : r\xc3\xa9essayez"}'
HEADERS = [(b"content-type", b"application/problem+json"), (b"retry-after", b"5")]


class Front:
    """An ASGI application; `application` takes its place once it is set."""

    def __init__(self) -> None:
        self.application: Application | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """As ASGI says."""
        if self.application is not None:
            await self.application(scope, receive, send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 503, "headers": HEADERS})
            await send({"type": "http.response.body", "body": UNAVAILABLE})
