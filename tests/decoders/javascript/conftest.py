"""Real worker processes; a script is a string, an answer what the pool says of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from decoders.javascript.inputs import uplink_input
from decoders.javascript.pool import Answer, Call, CodecPool, Script

RECEIVED_US = 1_700_000_000_123_456
NEIGHBOUR = Script("neighbour/1", "function decodeUplink(input) { return {data: {first: input.bytes[0]}}; }")

Decode = Callable[..., Awaitable[Answer]]


def uplink(script: Script, payload: bytes = b"\x01\x02", **more: Any) -> Call:
    return Call(script, "decodeUplink", uplink_input(1, payload, RECEIVED_US, **more))


@pytest.fixture
async def pool() -> AsyncIterator[CodecPool]:
    started = CodecPool(1)
    await started.start()
    yield started
    await started.close()


@pytest.fixture
def decode(pool: CodecPool) -> Decode:
    """Decode one frame with a source; the same source is the same script."""

    async def decoded(source: str, payload: bytes = b"\x01\x02", **more: Any) -> Answer:
        (answer,) = await pool.call([uplink(Script(f"tenant/{hash(source)}", source), payload, **more)])
        return answer

    return decoded
