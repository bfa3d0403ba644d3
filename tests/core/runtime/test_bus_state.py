"""The state of the streams as metrics; that copies are missing is shown by the cluster's test."""

import asyncio
import time

from prometheus_client import REGISTRY

from core.messages import topics
from core.runtime.bus import connect_bus
from core.runtime.bus_state import bus_shown


async def test_what_fills_a_stream_is_shown(nats_url: str) -> None:
    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        await bus.publish(topics.frames(0), bytes(100_000))
        async with bus_shown(nats_url, "test", 0.05):
            await asyncio.sleep(0.5)

    filled = REGISTRY.get_sample_value("territoire_bus_stream_filled_ratio", {"stream": topics.FRAMES})
    assert filled is not None
    assert 100_000 / (4 << 30) <= filled < 200_000 / (4 << 30)
    missing = REGISTRY.get_sample_value("territoire_bus_stream_copies_missing", {"stream": topics.UPLINKS})
    assert missing == 0
    answered = REGISTRY.get_sample_value("territoire_bus_streams_answered_timestamp_seconds")
    assert answered is not None
    assert time.time() - answered < 60
