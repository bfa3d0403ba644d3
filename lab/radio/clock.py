"""The simulation's one true clock: microseconds since 1970 UTC."""

import asyncio
from collections.abc import Callable

from core.runtime.clock import wall_clock_us
from lab.radio.transmission import SECOND_US

CallAt = Callable[[int, Callable[[], object]], object]
"""Does something at an instant: `call_at`, or what a test moves by hand."""


def now_us() -> int:
    """This instant."""
    return wall_clock_us()


def call_at(at_us: int, act: Callable[[], object]) -> None:
    """Do it at this instant, by the running event loop."""
    asyncio.get_running_loop().call_later(max(0, at_us - now_us()) / SECOND_US, act)


async def sleep_until(at_us: int) -> None:
    """Return at this instant."""
    await asyncio.sleep(max(0, at_us - now_us()) / SECOND_US)
