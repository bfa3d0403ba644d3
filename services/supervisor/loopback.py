"""Asks a process on this machine by HTTP, without a library, which a supervisor would keep in memory."""

import asyncio

WITHIN_S = 3


async def get(url: str) -> bytes | None:
    """What a GET of this address on the loopback brings; None where nobody answers 200 in time."""
    authority, _, path = url.removeprefix("http://").partition("/")
    host, _, port = authority.partition(":")
    try:
        async with asyncio.timeout(WITHIN_S):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(f"GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n".encode())
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
    return body if head.split(b" ")[1:2] == [b"200"] else None


async def answers_ok(url: str) -> bool:
    """Whether it is answered by 200."""
    return await get(url) is not None
