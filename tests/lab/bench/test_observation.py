from datetime import UTC, datetime, timedelta
from uuid import uuid4

from core.messages import topics
from core.runtime.bus import connect_bus
from core.runtime.postgres import Pool
from lab.bench.observation import count_rows, wait_until_stored

NOW = datetime(2026, 11, 25, 8, tzinfo=UTC)
NOW_US = round(NOW.timestamp() * 1_000_000)
INSERT = """
INSERT INTO observation.uplink (device_id, time, uplink_id, payload, received_at, status)
SELECT 1, $1::timestamptz + n * interval '1 ms', $2, '', $1, 'decoded' FROM generate_series(0, 9) n
"""


async def test_everything_has_arrived_when_it_is_stored_and_the_streams_are_empty(
    pool: Pool, nats_url: str
) -> None:
    await pool.execute(INSERT, NOW, uuid4())

    async with connect_bus(nats_url, "tests") as bus:
        await bus.ensure_streams()
        complete = await wait_until_stored(bus, pool, 10, NOW_US, 20)
        lossy = await wait_until_stored(bus, pool, 11, NOW_US, 20)
        await bus.publish(f"territoire.{topics.FRAMES.lower()}.0", b"waits")
        waiting = await wait_until_stored(bus, pool, 10, NOW_US, 0.3)

    assert (complete, lossy, waiting) == (True, False, False)


async def test_rows_are_those_of_the_play(pool: Pool) -> None:
    await pool.execute(
        "INSERT INTO observation.measurement (datastream_id, time, value) "
        "VALUES (1, $1, 1), (2, $1, 2), (1, $2, 3)",
        NOW,
        NOW + timedelta(seconds=60),
    )

    assert await count_rows(pool, NOW_US, NOW_US + 1_000_000) == 2
