"""A municipal team's webhook receiver: it believes only what is signed."""

import asyncio
import hashlib
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
    altered: int = 0
    """Deliveries of a known id whose octets are not those of the first."""
    kept_most: int = 0  # Of the bodies, so many, the latest; 0: all.
    loses_answer_every: int = 0
    """Each so manieth message is taken and answered by 503 at first, as when its own answer is lost; 0: none."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared: what arrives is taken, and its answer waits."""
    _digests: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def __post_init__(self) -> None:
        self.may_answer.set()

    @property
    def wrong(self) -> list[str]:
        """What came that nobody of ours may have sent."""
        counted = {"mal signés": self.forged, "répétés avec un autre contenu": self.altered}
        return [f"{count} messages {what}" for what, count in counted.items() if count]

    def record_delivery(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Verify and note one delivery, or answer a challenge; returns the HTTP status and the answer's body."""
        if not self.secret:
            return 503, b""  # It came before the answer that has the secret: let it come again.
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
        is_new = self.ids[webhook_id] == 1
        if is_new:
            self.bodies.append(content)
            if self.kept_most:
                del self.bodies[: -self.kept_most]
        digest = hashlib.sha256(body).digest()
        self.altered += self._digests.setdefault(webhook_id, digest) != digest
        self.arrived.set()
        loses_answer = is_new and self.loses_answer_every and len(self.ids) % self.loses_answer_every == 0
        return (503 if loses_answer else 204), b""


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
            if message["type"] == "http.disconnect":
                return  # Cut off in the middle: nothing was delivered.
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status, answer = received.record_delivery(
            body, {name.decode(): value.decode() for name, value in scope["headers"]}
        )
        await received.may_answer.wait()
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": answer})

    async with serve_http(app, "127.0.0.1", 0) as port:
        yield f"http://127.0.0.1:{port}/alertes"
