"""What a process of the stack says of itself, at its /metrics."""

import asyncio


async def samples(metrics_url: str, prefix: str) -> dict[str, float]:
    """What a process says of metrics whose line begins so, by name and labels; nothing where it is away."""
    lines = (line.rpartition(" ") for line in (await _get(metrics_url)).splitlines())
    return {name: float(value) for name, _, value in lines if name.startswith(prefix) and "_created" not in name}


async def total(metrics_url: str, prefix: str) -> int:
    """The sum of a process's samples whose line begins so; 0 where it is away."""
    return round(sum((await samples(metrics_url, prefix)).values()))


async def _get(url: str) -> str:
    """The body of a GET on the loopback; empty where nobody answers 200."""
    authority, _, path = url.removeprefix("http://").partition("/")
    host, _, port = authority.partition(":")
    try:
        async with asyncio.timeout(3):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(f"GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n".encode())
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return ""
    return body.decode("utf-8", "replace") if head.split(b" ")[1:2] == [b"200"] else ""
