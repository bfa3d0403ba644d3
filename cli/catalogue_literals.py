"""A worker process for the JavaScript literals of a catalogue."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from decoders.catalogues.literals import LIMITS, Evaluate
from decoders.javascript.calls import Answer, Call
from decoders.javascript.pool import CodecPool


@contextmanager
def literal_worker() -> Generator[Evaluate]:
    """What a `Catalogue` evaluates with, outside of any event loop; its process starts with the first literal.

    Evaluating raises PoolUnavailable when no process comes up.
    """
    started: list[CodecPool] = []

    async def answer(call: Call) -> Answer:
        if not started:
            pool = CodecPool(1, limits=LIMITS)
            await pool.start()
            started.append(pool)
        return (await started[0].call([call]))[0]

    with asyncio.Runner() as runner:
        try:
            yield lambda call: runner.run(answer(call))
        finally:
            for pool in started:
                runner.run(pool.close())
