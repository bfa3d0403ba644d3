"""An address of the loopback that leads to a server on another port: this module run with PORT and TARGET."""

import asyncio
import sys

from lab.chaos.stack.proxy import LOOPBACK, TcpProxy

BOUND_EVERY_S, BOUND_WITHIN_S = 0.05, 10.0


async def serve(port: int, target: int) -> None:
    """Until cancelled; whoever had the port before may need a moment to leave it."""
    proxy = TcpProxy(LOOPBACK, target)
    async with asyncio.timeout(BOUND_WITHIN_S):
        while True:
            try:
                server = await asyncio.start_server(proxy.accept, LOOPBACK, port)
                break
            except OSError:
                await asyncio.sleep(BOUND_EVERY_S)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
