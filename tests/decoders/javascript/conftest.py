"""Real worker processes; a script is a string, an answer what the pool says of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from decoders.javascript.inputs import uplink_input
from decoders.javascript.pool import Answer, Call, CodecPool, Limits, Script

RECEIVED_US = 1_700_000_000_123_456
NEIGHBOUR = Script("neighbour/1", "function decodeUplink(input) { return {data: {first: input.bytes[0]}}; }")

Decode = Callable[..., Awaitable[Answer]]


def uplink(script: Script, payload: bytes = b"\x01\x02", **more: Any) -> Call:
    return Call(script, "decodeUplink", uplink_input(1, payload, RECEIVED_US, **more))


@asynccontextmanager
async def started_pool(limits: Limits | None = None) -> AsyncIterator[CodecPool]:
    started = CodecPool(1, limits=limits)
    await started.start()
    try:
        yield started
    finally:
        await started.close()


@pytest.fixture
async def pool() -> AsyncIterator[CodecPool]:
    async with started_pool() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_pool() -> AsyncIterator[CodecPool]:
    """One for all tests of a module that run in its loop: two processes take longer to start than most scripts."""
    async with started_pool() as started:
        yield started


@pytest.fixture
def decode(pool: CodecPool) -> Decode:
    """Decode one frame with a source; the same source is the same script."""

    async def decoded(source: str, payload: bytes = b"\x01\x02", **more: Any) -> Answer:
        (answer,) = await pool.call([uplink(Script(f"tenant/{hash(source)}", source), payload, **more)])
        return answer

    return decoded
