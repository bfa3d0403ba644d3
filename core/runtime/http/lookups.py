"""Looks up names that tenants chose: one that nobody answers for takes half a minute, and keeps nobody else."""

import asyncio
import socket
from collections.abc import Callable
from threading import Thread
from typing import Any

from prometheus_client import Counter

# As many as webhooks are attempted at once; a thread that waits for a resolver costs some kilobytes.
MOST_AT_ONCE = 64

TOO_MANY = Counter("territoire_http_lookups_refused_total", "Names that were not looked up, too many being so")

Found = list[tuple[Any, ...]]
_under_way: dict[tuple[asyncio.AbstractEventLoop, str, int], asyncio.Future[Found]] = {}


async def look_up(host: str, port: int) -> Found:
    """What `socket.getaddrinfo` says of it for TCP; who asks for the same meanwhile waits for the same answer.

    The loop's own threads are few and everybody's: some dead names held up the database's and the bus's. These are
    daemons, so that a process that ends does not wait for them either.

    Raises:
        OSError, UnicodeError: it has no address, or too many others are being looked up.
    """
    loop = asyncio.get_running_loop()
    key = loop, host, port
    if key not in _under_way:
        if len(_under_way) >= MOST_AT_ONCE:
            TOO_MANY.inc()
            raise OSError("too many names are being looked up")
        _under_way[key] = answer = loop.create_future()
        answer.add_done_callback(lambda _: _under_way.pop(key))
        answer.add_done_callback(_read)
        Thread(target=_ask, args=(loop, answer, host, port), name=f"look up {host}", daemon=True).start()
    return await asyncio.shield(_under_way[key])


def _read(answer: asyncio.Future[Found]) -> None:
    """An error that nobody waits for any more is no defect to be reported."""
    if not answer.cancelled():
        answer.exception()


def _ask(loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Found], host: str, port: int) -> None:
    try:
        found: Found = list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except Exception as error:  # noqa: BLE001 - It is raised where it was asked.
        _give(loop, answer.set_exception, error)
    else:
        _give(loop, answer.set_result, found)


def _give(loop: asyncio.AbstractEventLoop, set_answer: Callable[[Any], None], value: Any) -> None:
    try:
        loop.call_soon_threadsafe(set_answer, value)
    except RuntimeError:  # The loop has ended meanwhile.
        return
