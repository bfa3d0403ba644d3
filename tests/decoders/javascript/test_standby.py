"""The worker that stands by: who gets it, who gives it back, and that none is left behind."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from decoders.javascript.pool import CodecPool, Limits, Script
from tests.decoders.javascript.conftest import NEIGHBOUR, uplink

pytestmark = pytest.mark.starts_processes

ENDLESS = "function decodeUplink(input) { while (true) {} }"
ENDS_ITS_WORKER = (
    "Error.prototype.toString = InternalError.prototype.toString = () => { while (true) {} };" + ENDLESS
)


def _workers() -> set[str]:
    """The worker processes of this process."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii").split()
    return {child for child in children if b"decoders.javascript.worker" in _command(child)}


@pytest.fixture
def workers() -> Callable[[], int]:
    """How many there are besides those that other tests' fixtures had before."""
    others = _workers()
    return lambda: len(_workers() - others)


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - Processes have no event for it.
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("source", [ENDLESS, ENDS_ITS_WORKER])
async def test_pool_has_its_workers_and_one_standby_again_after_scripts_that_took_long(
    source: str, workers: Callable[[], int]
) -> None:
    pool = CodecPool(2)
    await pool.start()
    try:
        await eventually(lambda: workers() == 3)
        hostile = [Script(f"hostile{number}/1", source) for number in range(6)]  # On both of the workers.
        neighbours = [Script(f"neighbour{number}/1", NEIGHBOUR.source) for number in range(6)]

        bad, *good = await asyncio.gather(
            pool.call([uplink(script) for script in hostile for _ in range(2)]),
            *(pool.call([uplink(script)]) for script in neighbours for _ in range(5)),
        )

        assert all(answer.failure in ("timeout", "worker") for answer in bad)
        assert all(answer.output == {"data": {"first": 1}} for (answer,) in good)
        await eventually(lambda: workers() == 3 and len(pool.pids) == 2)
        (answer,) = await pool.call([uplink(NEIGHBOUR)])
        assert answer.failure is None
    finally:
        await pool.close()
    await eventually(lambda: workers() == 0)


async def test_worker_that_was_away_takes_its_place_again_with_its_contexts(workers: Callable[[], int]) -> None:
    pool = CodecPool(1, limits=Limits(load_s=0.5))
    await pool.start()
    try:
        await eventually(lambda: workers() == 2)
        before = pool.pids
        counting = Script("count/1", "let n = 0; function decodeUplink(input) { return {data: ++n}; }")
        await pool.call([uplink(counting)])
        slow = asyncio.create_task(pool.call([uplink(Script("slow/1", "for (;;) {}"))]))
        await asyncio.sleep(0)

        (during,) = await pool.call([uplink(NEIGHBOUR)])
        assert not slow.done()
        await slow
        (after,) = await pool.call([uplink(counting)])

        assert during.output == {"data": {"first": 1}}
        assert pool.pids == before
        assert after.output == {"data": 2}
    finally:
        await pool.close()
