"""Nobody takes the last descriptors of a process, which its database, its bus and its probes need."""

import asyncio
import os
import resource
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from prometheus_client import REGISTRY

from core.runtime.health import HealthApp, serve_health, serve_http, starting
from core.runtime.http.descriptor_reserve import RESERVED, leaves_room

GET = b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n"
COUNTER = "territoire_http_connections_refused_total"


@contextmanager
def granted(most: int) -> Generator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def filled_up_to(number: int) -> Generator[None]:
    """Every descriptor below this number is taken."""
    taken = [os.open("/dev/null", os.O_RDONLY)]
    try:
        while taken[-1] < number:
            taken.append(os.open("/dev/null", os.O_RDONLY))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)


async def status_at(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(GET)
        return (await reader.readuntil(b"\r\n\r\n"))[9:12]
    finally:
        writer.close()


async def counted() -> float:
    return REGISTRY.get_sample_value(COUNTER) or 0.0


@pytest.mark.parametrize(("descriptor", "room"), [(10, True), (959, True), (960, False), (1_023, False)])
def test_sixty_four_numbers_below_the_limit_stay_free(descriptor: int, room: bool) -> None:
    with granted(1_024):
        assert leaves_room(descriptor, RESERVED) is room


def test_of_a_small_limit_a_quarter_stays_free() -> None:
    with granted(40):
        assert (leaves_room(29, RESERVED), leaves_room(30, RESERVED)) == (True, False)


async def test_who_would_take_the_last_is_turned_away_counted_and_let_in_once_there_is_room() -> None:
    async with (
        serve_http(HealthApp(starting()), "127.0.0.1", 0) as port,
        serve_health(starting(), "127.0.0.1", 0) as probes,
    ):
        before = await counted()
        with filled_up_to(200), granted(256):  # 56 are left: fewer than 64, and more than 16.
            in_want = [await status_at(port), await status_at(probes)]
        with granted(256):
            afterwards = await status_at(port)

    assert [*in_want, afterwards] == [b"503", b"200", b"200"]
    assert await counted() == before + 1
