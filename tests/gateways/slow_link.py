"""A mobile network between a gateway and the bridge: every datagram takes its time, each way."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

LOOPBACK = "127.0.0.1"


class _Side(asyncio.DatagramProtocol):
    """One end; what it receives leaves by `other` after the delay."""

    def __init__(self, delay_s: float, towards: tuple[str, int] | None) -> None:
        self._delay_s = delay_s
        self.towards = towards  # None: to the peer that spoke last at this end.
        self.other: _Side | None = None
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self.towards is None or self.towards != addr:
            self.towards = addr
        other = self.other
        assert other is not None
        asyncio.get_running_loop().call_later(self._delay_s, other.transmit, data)

    def transmit(self, data: bytes) -> None:
        if self.towards is not None and not self.transport.is_closing():
            self.transport.sendto(data, self.towards)


@asynccontextmanager
async def slow_link(port: int, delay_s: float) -> AsyncGenerator[int]:
    """The UDP port that leads to `port`, `delay_s` seconds there and as many back."""
    loop = asyncio.get_running_loop()
    near, gateway_side = await loop.create_datagram_endpoint(
        lambda: _Side(delay_s, None), local_addr=(LOOPBACK, 0)
    )
    far, bridge_side = await loop.create_datagram_endpoint(
        lambda: _Side(delay_s, (LOOPBACK, port)), local_addr=(LOOPBACK, 0)
    )
    gateway_side.other, bridge_side.other = bridge_side, gateway_side
    try:
        yield near.get_extra_info("sockname")[1]
    finally:
        near.close()
        far.close()
