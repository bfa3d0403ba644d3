"""Feeds systemd's watchdog (WatchdogSec=) for as long as every process of ours answers that it lives."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

from core.runtime.errors import system_reason
from services.supervisor.notify import notify

# systemd waits for the whole time; one sign that is late is none that is missing.
SIGNS_WITHIN = 3


def watchdog_s() -> float | None:
    """Within how many seconds systemd expects a sign; None: it watches nobody."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) else None


async def keep_feeding(all_live: Callable[[], Awaitable[bool]]) -> None:
    """Until cancelled; at once where systemd does not watch us."""
    within_s = watchdog_s()
    if within_s is None:
        return
    while True:
        if await all_live():
            try:
                notify("WATCHDOG=1")
            except OSError as refused:  # Its queue may be full: the next sign is in time.
                sys.stderr.write(f"systemd : signe de vie non transmis : {system_reason(refused)}\n")
        await asyncio.sleep(within_s / SIGNS_WITHIN)
