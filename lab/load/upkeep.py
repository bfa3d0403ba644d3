"""What a load's gateways and devices do besides sending: pull, report, join until everybody has a session."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial

from lab.load import frames
from lab.load.device import LoadDevice
from lab.load.gateway import LoadGateway
from lab.simulator.radio import DEFAULT_CHANNELS
from lab.simulator.sensors import now_us

PULL_EVERY_S = 2.0
REPORT_EVERY_PULLS = 15
# Faster, and the accepts of a gateway collide on the air.
JOINS_PER_GATEWAY_AND_S = 3
# Of all gateways: a join costs the stack some milliseconds, and a load is no storm.
JOINS_PER_S = 250
# A join is answered 5 or 6 s later; then a device waits a little and tries again with a new DevNonce.
JOIN_ANSWER_US = 6_500_000
JOIN_PAUSE_US = 4_000_000


async def keep_paths_open(gateways: Sequence[LoadGateway]) -> None:
    """PULL_DATA from everybody every two seconds and a status every thirty, until cancelled."""
    pulls = 0
    while True:
        for gateway in gateways:
            gateway.pull()
            if pulls % REPORT_EVERY_PULLS == 0:
                gateway.report(now_us())
        pulls += 1
        await asyncio.sleep(PULL_EVERY_S)


async def join(
    gateway: LoadGateway,
    devices: Iterable[LoadDevice],
    *,
    answer_us: int = JOIN_ANSWER_US,
    pause_us: int = JOIN_PAUSE_US,
    every_s: float = 1 / JOINS_PER_GATEWAY_AND_S,
) -> None:
    """Return when each of these devices, whose home this gateway is, has a session.

    One asks every `every_s`; without a session after `answer_us` and a part of `pause_us`, a device asks again.
    """
    clock = frames.Clock()
    ready, waiting = deque(devices), deque[tuple[int, LoadDevice]]()
    if ready:
        await asyncio.sleep(ready[0].random.uniform(0, every_s))  # Not every gateway at the same moment.
    while ready or waiting:
        while waiting and waiting[0][0] <= now_us():
            _, device = waiting.popleft()
            if device.cipher is None:
                ready.append(device)
        if ready:
            device, at_us = ready.popleft(), now_us()
            place = device.number % len(DEFAULT_CHANNELS)
            said = partial(frames.heard, clock.text(at_us), frames.JOIN_CHANNELS[place])
            gateway.ask_to_join(device, at_us, DEFAULT_CHANNELS[place], said)
            waiting.append((at_us + answer_us + device.random.randrange(pause_us), device))
        await asyncio.sleep(every_s)
