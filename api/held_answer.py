"""An answer of the routes that a middleware holds back until it has looked at it."""

from starlette.datastructures import Headers
from starlette.types import Message


class HeldAnswer:
    """Stands in for `send`; `status` is 500 until the answer begins."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.status = 500
        self.media_type: str | None = None
        self.body = bytearray()

    async def send(self, message: Message) -> None:
        """Keep a message of the answer."""
        self.messages.append(message)
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.media_type = Headers(raw=message["headers"]).get("content-type")
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
