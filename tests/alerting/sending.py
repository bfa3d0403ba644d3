"""A worker that sends for real, and what tests wait for."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

from alerting.delivery import Deliverer
from alerting.mail import Mailer
from alerting.queue import WebhookMessage, enqueue
from alerting.worker import WebhookWorker
from core.runtime.postgres import Pool
from registry.keys import KeyWrap

KEYS = KeyWrap("kek-1", bytes(16))
FAST = (0.05, 0.05, 0.05)
POLL = timedelta(seconds=0.1)  # As often as the queue looks at all.


@asynccontextmanager
async def working(
    pool: Pool,
    url: str,
    schedule_s: Sequence[float] = FAST,
    keys: KeyWrap = KEYS,
    mailer: Mailer | None = None,
    timeout_s: float = 10,
    pause_s: float = 30,
    poll: timedelta = POLL,
) -> AsyncGenerator[WebhookWorker]:
    deliverer = Deliverer(pool, keys, schedule_s=schedule_s, mailer=mailer, timeout_s=timeout_s, pause_s=pause_s)
    worker = WebhookWorker(pool, url, "test", deliverer, poll=poll)
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.work(stopping))
        yield worker
        stopping.set()


async def send(pool: Pool, *endpoint_ids: int, body: bytes = b'{"type":"alert.opened"}') -> str:
    message_id = f"msg_{uuid4().hex}"
    async with pool.acquire() as connection, connection.transaction():
        await enqueue(connection, [WebhookMessage(message_id, id_, 1, body) for id_ in endpoint_ids])
    return message_id


async def until(condition: Callable[[], Any], within_s: float = 60) -> None:
    """Poll the database, which has no event for it."""
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def statuses(pool: Pool) -> Callable[[], Any]:
    async def read() -> list[str]:
        return [row["status"] for row in await pool.fetch("SELECT status::text FROM jobs.pgqueuer")]

    return read


async def emptied(pool: Pool) -> bool:
    return await pool.fetchval("SELECT count(*) = 0 FROM jobs.pgqueuer")


async def held(pool: Pool) -> bool:
    return await statuses(pool)() == ["failed"]
