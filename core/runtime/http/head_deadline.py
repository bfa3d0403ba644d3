"""A deadline for the head of a request: uvicorn has none, and keeps a connection with half a head for ever."""

import asyncio
from typing import Any

from prometheus_client import Counter
from uvicorn.protocols.http.h11_impl import H11Protocol

from core.runtime.http import descriptor_reserve

HEAD_WITHIN_S = 10.0
# In the `extensions` of a request's scope: ends its connection though the reader takes nothing more.
ABORT = "territoire.abort"
ANSWER = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"

LATE_HEADS = Counter(
    "territoire_http_late_heads_total", "Connections ended because no request's head came within ten seconds"
)


class HeadDeadlineProtocol(H11Protocol):
    """Ends a connection whose next head is not whole `HEAD_WITHIN_S` after it was opened or last answered."""

    reserved = descriptor_reserve.RESERVED
    """How many descriptors must be left when a connection has taken its own."""
    _head_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Expect a first head; without a descriptor to spare, turn away who comes."""
        super().connection_made(transport)
        opened: Any = transport.get_extra_info("socket")
        if opened is not None and not descriptor_reserve.leaves_room(opened.fileno(), self.reserved):
            descriptor_reserve.REFUSED.inc()
            transport.write(descriptor_reserve.ANSWER)
            transport.close()
            return
        peer: Any = transport.get_extra_info("peername")
        if peer:  # What a proxy said before; the socket knows the proxy's own address.
            self.client = (str(peer[0]), int(peer[1]))
        self._follow_request()

    def data_received(self, data: bytes) -> None:
        """Read on; the deadline is over with the head."""
        super().data_received(data)
        self._follow_request()

    def on_response_complete(self) -> None:
        """Expect the next head; what still comes of a body that nobody reads does not put it off."""
        super().on_response_complete()
        self._follow_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._expect_nothing()
        super().connection_lost(exc)

    @property
    def _is_answering(self) -> bool:
        cycle: Any = self.cycle  # None until the first request.
        return cycle is not None and not cycle.response_complete

    def _follow_request(self) -> None:
        if self._is_answering:
            scope: Any = self.scope
            scope.setdefault("extensions", {})[ABORT] = self.transport.abort
            self._expect_nothing()
        elif self._head_deadline is None and not self.transport.is_closing():
            self._head_deadline = self.loop.call_later(HEAD_WITHIN_S, self._end)

    def _expect_nothing(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _end(self) -> None:
        self._head_deadline = None
        if self.transport.is_closing():
            return
        LATE_HEADS.inc()
        self.transport.write(ANSWER)
        self.transport.close()
