"""An address of the loopback that leads to a server on another port: `python -m lab.chaos.address PORT TARGET`."""

import asyncio
import sys
from contextlib import suppress

from services.supervisor.ports import LOOPBACK

AT_ONCE = 1 << 16
BOUND_EVERY_S, BOUND_WITHIN_S = 0.05, 10.0


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand on what comes, until it ends."""
    with suppress(OSError):
        while octets := await reader.read(AT_ONCE):
            writer.write(octets)
            await writer.drain()
    writer.close()


async def serve(port: int, target: int) -> None:
    """Until cancelled; whoever had the port before may need a moment to leave it."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            its_reader, its_writer = await asyncio.open_connection(LOOPBACK, target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(carry(reader, its_writer), carry(its_reader, writer))

    async with asyncio.timeout(BOUND_WITHIN_S):
        while True:
            try:
                server = await asyncio.start_server(connected, LOOPBACK, port)
                break
            except OSError:
                await asyncio.sleep(BOUND_EVERY_S)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
