"""Names that nobody answers for, and everybody else's."""

import asyncio
import socket
import threading
from collections.abc import Generator
from typing import Any

import httpcore
import pytest

from core.runtime.http import lookups
from core.runtime.http.guarded_client import resolve

really_look_up = socket.getaddrinfo


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Generator[list[str]]:
    """The names that a resolver was asked for, which says nothing of those that begin with `dead`."""
    names, over = list[str](), threading.Event()

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        names.append(host)
        if host.startswith("dead"):
            over.wait(30)
            raise socket.gaierror("no answer")
        return really_look_up("127.0.0.1", *arguments, **options)

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    yield names
    over.set()


async def test_dead_names_hold_up_no_other_lookup_and_each_is_asked_for_once(asked: list[str]) -> None:
    waiting = [asyncio.create_task(resolve(f"dead-{number % 20}.example", 443)) for number in range(60)]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        [address] = await resolve("alive.example", 443)
        of_the_loop = await asyncio.get_running_loop().getaddrinfo("base.example", 5432)

    assert (str(address), bool(of_the_loop)) == ("127.0.0.1", True)
    assert len([name for name in asked if name.startswith("dead")]) == 20
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_beyond_so_many_names_at_once_the_next_is_refused(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "MOST_AT_ONCE", 2)
    waiting = [asyncio.create_task(resolve(f"dead-{number}.example", 443)) for number in range(2)]
    await asyncio.sleep(0)

    with pytest.raises(httpcore.ConnectError, match="too many names"):
        await resolve("alive.example", 443)

    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_name_without_an_address_is_said_to_be_unknown_to_all_who_asked(asked: list[str]) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror("unknown")

    socket.getaddrinfo = unknown
    both = await asyncio.gather(*(resolve("nobody.example", 443) for _ in range(2)), return_exceptions=True)

    assert [type(one) for one in both] == [httpcore.ConnectError] * 2
