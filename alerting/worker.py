"""Runs pgqueuer's loop over queued webhooks, started again whenever it ends."""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import structlog
from pgqueuer.core.qm import QueueManager
from pgqueuer.errors import PgqException, RetryRequested
from pgqueuer.models import Job

from alerting.delivery import Abandoned, Delivered, Deliverer, TryAgain
from alerting.notifications import priority_of
from alerting.queue import decode_message, entrypoint_of, queries_on
from alerting.queue_buffer import use_buffers
from core.runtime.errors import describe
from core.runtime.postgres import DATABASE_AWAY, Pool, PostgresError, open_bare_connection

READ_ENDPOINT_IDS = "SELECT id FROM webhook_endpoint ORDER BY id"
POLL = timedelta(seconds=2)
BATCH = 10
# A replica's job whose heartbeat stops for so long is taken over by another replica.
HEARTBEAT = timedelta(seconds=10)
# A message that meets an error of ours comes again for so long; the schedule of Standard Webhooks takes four days.
KEPT_TRYING_FOR = timedelta(days=4)
# The priority of what is critical.
URGENT = priority_of("critical")

log = structlog.get_logger()


class DeadLetter(Exception):
    """The message stays in the queue as failed, for people to see and to send again."""


class WebhookWorker:
    """One entrypoint per endpoint, one job of each at a time, `concurrency` in all.

    A message that waits for its next attempt is found by looking, each `poll`; a new one wakes the worker.
    """

    def __init__(
        self,
        pool: Pool,
        database_url: str,
        name: str,
        deliverer: Deliverer,
        *,
        concurrency: int = 64,
        poll: timedelta = POLL,
    ) -> None:
        self._pool = pool
        self._database_url = database_url
        self._name = name
        self._deliverer = deliverer
        self._concurrency = concurrency
        self._poll = poll
        self._manager: QueueManager | None = None

    async def work(self, stopping: asyncio.Event) -> None:
        """Run until `stopping`; the attempts on their way are finished first."""
        delay = 0.2
        while not stopping.is_set():
            loop = asyncio.get_running_loop()
            started = loop.time()
            try:
                await self._work_once(stopping)
            except (*DATABASE_AWAY, PostgresError, PgqException) as away:
                log.warning("webhook_queue_left", error=describe(away))
            if stopping.is_set():
                return
            delay = 0.2 if loop.time() - started > POLL.total_seconds() else min(delay * 2, 5)
            try:
                async with asyncio.timeout(delay * random.uniform(0.5, 1)):  # noqa: S311
                    await stopping.wait()
            except TimeoutError:
                continue

    async def _work_once(self, stopping: asyncio.Event) -> None:
        async with open_bare_connection(self._database_url, f"{self._name}-jobs") as connection:
            use_buffers()
            manager = QueueManager(queries_on(connection))
            self._manager = manager
            await self.refresh()
            ending = asyncio.create_task(_shut_down(manager, stopping), name="end of webhook queue")
            try:
                # Never cancelled: a cancelled job counts as done, and its message would be lost.
                await manager.run(
                    dequeue_timeout=self._poll,
                    batch_size=BATCH,
                    max_concurrent_tasks=self._concurrency,
                    shutdown_on_listener_failure=True,
                    heartbeat_timeout=HEARTBEAT,
                )
            finally:
                ending.cancel()
                self._manager = None

    async def refresh(self) -> None:
        """Open an entrypoint for each endpoint that has none yet."""
        rows = await self._pool.fetch(READ_ENDPOINT_IDS)
        self.watch([row["id"] for row in rows])

    def watch(self, endpoint_ids: Sequence[int]) -> None:
        """Open entrypoints for these endpoints."""
        manager = self._manager
        if manager is None:
            return
        for endpoint_id in endpoint_ids:
            name = entrypoint_of(endpoint_id)
            if name not in manager.entrypoint_registry:
                manager.entrypoint(name, concurrency_limit=1, accepts_context=False, on_failure="hold")(
                    self._handle
                )

    async def _handle(self, job: Job) -> None:
        try:
            message = decode_message(job.payload)
        except msgspec.MsgspecError as unreadable:
            raise DeadLetter(f"unreadable message: {unreadable}") from unreadable
        try:
            is_urgent = job.priority >= URGENT
            delivery = await self._deliverer.deliver(message, job.created, is_urgent=is_urgent)
        except DATABASE_AWAY as away:
            log.warning("delivery_interrupted", endpoint=message.endpoint_id, error=describe(away))
            raise RetryRequested(self._deliverer.first_wait, type(away).__name__) from away
        except Exception as unforeseen:
            # Held as failed it would never be tried again: an error of ours must not cost anybody an alert.
            log.exception("delivery_failed", endpoint=message.endpoint_id)
            if datetime.now(UTC) - job.created > KEPT_TRYING_FOR:
                raise
            raise RetryRequested(self._deliverer.first_wait, type(unforeseen).__name__) from unforeseen
        match delivery:
            case Delivered():
                return
            case TryAgain(delay=delay, reason=reason):
                raise RetryRequested(delay, reason)
            case Abandoned(attempts=attempts, reason=reason):
                raise DeadLetter(f"{message.message_id}: {attempts} attempts, last: {reason}")


async def _shut_down(manager: QueueManager, stopping: asyncio.Event) -> None:
    await stopping.wait()
    manager.shutdown.set()
