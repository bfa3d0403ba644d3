"""What a device does of itself: it joins until it has a session, then it sends at its interval."""

import asyncio

from lab.device.device import Device
from lab.radio.clock import now_us

# A join is answered 5 or 6 s later; then the device waits a little and tries again.
JOIN_ANSWER_S = 6.5
JOIN_PAUSE_S = (1.0, 10.0)
FIRST_UPLINK_S = (0.5, 4.0)
JITTER = (0.95, 1.05)


async def join_and_send(device: Device, silent: asyncio.Event, interval_s: float, starts_in_s: float) -> None:
    """The whole life of a device that is switched on in so many seconds, until all fall silent."""
    await asyncio.sleep(starts_in_s)
    while device.session is None and not silent.is_set():
        device.join(now_us())
        await asyncio.sleep(JOIN_ANSWER_S)
        if device.session is None:
            await asyncio.sleep(device.random.uniform(*JOIN_PAUSE_S))
    await send_regularly(device, silent, interval_s, device.random.uniform(*FIRST_UPLINK_S))


async def send_regularly(device: Device, silent: asyncio.Event, interval_s: float, first_in_s: float) -> None:
    """What its application makes, at its interval, while it has a session and until all fall silent."""
    await asyncio.sleep(first_in_s)
    while device.session is not None and not silent.is_set():
        at_us = now_us()
        device.send(device.application.next_message(at_us), at_us)
        await asyncio.sleep(interval_s * device.random.uniform(*JITTER))
