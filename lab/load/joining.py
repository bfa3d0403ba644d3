"""The devices of a load join over the air, each gateway's one after the other, until everybody has a session."""

import asyncio
from collections import deque
from collections.abc import Iterable

from lab.device.device import Device
from lab.radio.clock import now_us

# Faster, and the accepts of a gateway collide on the air.
JOINS_PER_GATEWAY_AND_S = 3
# Of all gateways: a join costs the stack some milliseconds, and a load is no storm.
JOINS_PER_S = 250
# A join is answered 5 or 6 s later; then a device waits a little and tries again with a new DevNonce.
JOIN_ANSWER_US = 6_500_000
JOIN_PAUSE_US = 4_000_000


async def join_in_turn(
    devices: Iterable[Device],
    *,
    answer_us: int = JOIN_ANSWER_US,
    pause_us: int = JOIN_PAUSE_US,
    every_s: float = 1 / JOINS_PER_GATEWAY_AND_S,
) -> None:
    """Return when each of these devices, which share a home gateway, has a session.

    One asks every `every_s`; without a session after `answer_us` and a part of `pause_us`, a device asks again.
    """
    ready, waiting = deque(devices), deque[tuple[int, Device]]()
    if ready:
        await asyncio.sleep(ready[0].random.uniform(0, every_s))  # Not every gateway at the same moment.
    while ready or waiting:
        while waiting and waiting[0][0] <= now_us():
            _, device = waiting.popleft()
            if device.session is None:
                ready.append(device)
        if ready:
            device, at_us = ready.popleft(), now_us()
            device.join(at_us)
            waiting.append((at_us + answer_us + device.random.randrange(pause_us), device))
        await asyncio.sleep(every_s)
