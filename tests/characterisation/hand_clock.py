"""An event loop whose clock moves when the test says so, while sockets work as ever."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

# Of the machine's own time; the loop's stands still meanwhile.
PATIENCE_S = 30.0
LOOK_S = 0.005


class HandClockLoop(asyncio.SelectorEventLoop):
    """Timers fire when `advance` has brought them due."""

    def __init__(self) -> None:
        self._now_s = 1000.0
        super().__init__()

    def time(self) -> float:
        return self._now_s

    def advance(self, seconds: float) -> None:
        self._now_s += seconds


def clock() -> HandClockLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, HandClockLoop)
    return loop


def run_on_hand_clock(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=HandClockLoop) as runner:
        runner.run(main())


async def machine_time_passes(seconds: float = LOOK_S) -> None:
    """The loop serves its sockets for so long; its own clock stands still."""
    await asyncio.to_thread(time.sleep, seconds)


async def eventually(condition: Callable[[], Awaitable[Any]], what: str) -> None:
    """Return once the condition holds, without moving the clock."""
    looks = int(PATIENCE_S / LOOK_S)
    for _ in range(looks):
        if await condition():
            return
        await machine_time_passes()
    pytest.fail(f"never: {what}")
