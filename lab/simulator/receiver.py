"""A municipal team's webhook receiver: it believes only what is signed."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from alerting.proof import CHALLENGE
from core.runtime.health import serve_http


@dataclass(slots=True)
class Received:
    """What arrived; `ids` counts deliveries per webhook-id."""

    secret: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    ids: dict[str, int] = field(default_factory=dict[str, int])
    forged: int = 0
    kept_most: int = 0  # Of the bodies, so many, the latest; 0: all.
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def record_delivery(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Verify and note one delivery, or answer a challenge; returns the HTTP status and the answer's body."""
        try:
            Webhook(self.secret).verify(body, headers)
        except (WebhookVerificationError, ValueError):
            self.forged += 1
            return 401, b""
        content = json.loads(body)
        if content["type"] == CHALLENGE:
            return 200, json.dumps({"challenge": content["data"]["challenge"]}).encode()
        webhook_id = headers["webhook-id"]
        self.ids[webhook_id] = self.ids.get(webhook_id, 0) + 1
        if self.ids[webhook_id] == 1:
            self.bodies.append(content)
            if self.kept_most:
                del self.bodies[: -self.kept_most]
        self.arrived.set()
        return 204, b""


@asynccontextmanager
async def receive_webhooks(received: Received) -> AsyncGenerator[str]:
    """Serve the receiver while the block runs; yields its address."""

    async def app(
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status, answer = received.record_delivery(
            body, {name.decode(): value.decode() for name, value in scope["headers"]}
        )
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": answer})

    async with serve_http(app, "127.0.0.1", 0) as port:
        yield f"http://127.0.0.1:{port}/alertes"
