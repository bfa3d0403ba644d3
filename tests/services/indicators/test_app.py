import asyncio
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from core.runtime.postgres import Pool

pytestmark = pytest.mark.starts_processes


def get(url: str) -> tuple[int, str]:
    try:
        with urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as refused:
        return refused.code, refused.read().decode()
    except OSError:
        return 0, ""


async def test_the_process_follows_the_feed_as_its_own_role_and_without_the_bus(
    database, pool: Pool, measuring, free_port: int
) -> None:
    [datastream] = await measuring.datastreams("fill_level")
    noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=2)
    await measuring.write((datastream, noon, 80.0, 0))
    environment = {
        "PATH": os.environ["PATH"],
        "TERRITOIRE_DATABASE_URL": database.url_of("indicators"),
        "TERRITOIRE_NATS_URL": "nats://127.0.0.1:1",
        "TERRITOIRE_HEALTH_PORT": str(free_port),
        "TERRITOIRE_INDICATORS_EVERY_S": "0.2",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.indicators", env=environment)
    try:
        async with asyncio.timeout(30):
            while await pool.fetchval("SELECT count(*) FROM observation.fill_day") == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await pool.execute(
                "WITH more AS (INSERT INTO observation.measurement VALUES ($1, $2, 10, 0) RETURNING *) "
                "INSERT INTO observation.feed (datastream_ids, times) "
                "SELECT array_agg(datastream_id), array_agg(time) FROM more",
                datastream,
                noon + timedelta(hours=1),
            )
            known = "SELECT known, at_or_above[75] FROM observation.fill_day"
            while tuple(await pool.fetchrow(known) or ()) != (3 * 3600, 3600):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            metrics = ""
            while "territoire_indicators_fill_days_made_total 3.0" not in metrics:
                _, metrics = await asyncio.to_thread(get, f"http://127.0.0.1:{free_port}/metrics")
        ready, _ = await asyncio.to_thread(get, f"http://127.0.0.1:{free_port}/readyz")
    finally:
        process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(process.wait(), 20)

    assert (code, ready) == (0, 200)
    assert 'territoire_indicators_last_success_timestamp_seconds{task="fill_days"}' in metrics
