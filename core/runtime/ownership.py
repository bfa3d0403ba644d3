"""A replica's shards: takes what is free, serves it while the lease holds, lets go at once when it is lost."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from core.runtime.bus import BUS_AWAY, Bus, Message, ShardReader
from core.runtime.lease import Lease, LeaseLost, fence_all, keep_lease, release_lease, take_lease
from core.runtime.postgres import DATABASE_AWAY, Connection, Pool

RETRY_EVERY_S = 1.0
FETCH_TIMEOUT_S = 0.5
# A reader that hears nothing asks this often whether its consumer still exists.
PROBE_EVERY_S = 5.0
LET_GO = (LeaseLost, *DATABASE_AWAY, *BUS_AWAY)

log = structlog.get_logger()


class ShardsLost(LeaseLost):
    """These shards have another owner; what was about to be written for them is void."""

    def __init__(self, service: str, shards: Sequence[int]) -> None:
        super().__init__(f"{service} shards {sorted(shards)}")
        self.shards = frozenset(shards)


@asynccontextmanager
async def fenced(pool: Pool, leases: Sequence[Lease]) -> AsyncGenerator[Connection]:
    """A transaction that commits only while every one of these leases is ours.

    Raises:
        ShardsLost: some are not; nothing was written.
    """
    async with pool.acquire() as connection, connection.transaction():
        lost = await fence_all(connection, leases)
        if lost:
            raise ShardsLost(lost[0].service, [lease.shard for lease in lost])
        yield connection


@dataclass(frozen=True, slots=True)
class Sharded:
    """What is owned by shard: `stream` holds `subject(shard)` for the owners of `service`.

    `follows`: the stream has several readers and lives in memory; an owner takes what comes from now on, and finds
    what was before in the table.
    """

    service: str
    stream: str
    subject: Callable[[int], str]
    shards: int
    follows: bool = False


# Serves one shard until cancelled, which happens when its lease is lost. When it returns, or fails because the
# bus or the database is away, the shard is given back and taken anew: with all that is un-acknowledged, in order.
Serve = Callable[[Lease, ShardReader], Awaitable[None]]


class ShardOwner:
    """Runs `serve` once for every shard whose lease this replica holds."""

    def __init__(self, pool: Pool, bus: Bus, sharded: Sharded, instance: str, serve: Serve) -> None:
        self._pool = pool
        self._bus = bus
        self._sharded = sharded
        self._instance = instance
        self._serve = serve
        self._held: dict[int, Lease] = {}
        self.tried = asyncio.Event()  # Every shard was asked for once.

    @property
    def leases(self) -> list[Lease]:
        """The leases held at this moment, by shard."""
        return [self._held[shard] for shard in sorted(self._held)]

    async def run(self) -> None:
        """Own what is free until cancelled, trying every second for the rest; then let go of everything."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                for shard in range(self._sharded.shards):
                    if shard not in self._held:
                        await self._try_to_take(shard, tasks)
                self.tried.set()
                await asyncio.sleep(RETRY_EVERY_S)

    async def _try_to_take(self, shard: int, tasks: asyncio.TaskGroup) -> None:
        try:
            lease = await take_lease(self._pool, self._sharded.service, shard, self._instance)
        except DATABASE_AWAY as away:
            log.warning("shard_not_taken", shard=shard, error=str(away) or type(away).__name__)
            return
        if lease is not None:
            self._held[shard] = lease
            tasks.create_task(self._hold(lease), name=f"own {self._sharded.service} shard {shard}")

    async def _hold(self, lease: Lease) -> None:
        """From the taking to the loss: the lease is renewed beside the work, and the first to end ends both."""
        works = (keep_lease(self._pool, lease), self._serve_anew(lease))
        tasks = [asyncio.create_task(work, name=f"{work.__name__} of shard {lease.shard}") for work in works]
        log.info("shard_taken", shard=lease.shard, epoch=lease.epoch)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            await release_lease(self._pool, lease)
            del self._held[lease.shard]
        for outcome in outcomes:
            if isinstance(outcome, LET_GO):
                log.warning("shard_let_go", shard=lease.shard, reason=str(outcome) or type(outcome).__name__)
            elif outcome is not None and not isinstance(outcome, asyncio.CancelledError):
                raise outcome

    async def _serve_anew(self, lease: Lease) -> None:
        reader = await self._open_reader(lease)
        try:
            lease.check()  # The bus may have been away for longer than the lease lasts.
            await self._serve(lease, reader)
        finally:
            await reader.close()

    async def _open_reader(self, lease: Lease) -> ShardReader:
        sharded = self._sharded
        subject = sharded.subject(lease.shard)
        if sharded.follows:
            await self._bus.ensure_measurements_stream()
            return await self._bus.follow_from_now(sharded.stream, subject)
        return await self._bus.read_shard(
            sharded.stream, subject, f"{sharded.service}-{lease.shard}-{lease.epoch}"
        )


async def batches(reader: ShardReader, most: int) -> AsyncGenerator[list[Message]]:
    """What the shard's reader brings, in stream order; up to `most` messages each time.

    It ends when the connection to the bus was made anew, before anything that came out of order, and raises one of
    BUS_AWAY when the consumer is gone or the bus stays away for long: in each case the shard is to be taken anew.
    """
    loop = asyncio.get_running_loop()
    last_good = loop.time()
    while True:
        try:
            messages = await reader.fetch(most, FETCH_TIMEOUT_S)
            if not messages and loop.time() - last_good > PROBE_EVERY_S:
                await reader.backlog()
                last_good = loop.time()
        except BUS_AWAY as away:
            log.warning("shard_not_read", error=str(away) or type(away).__name__)
            if loop.time() - last_good > 2 * PROBE_EVERY_S:
                raise
            await asyncio.sleep(0.2)
            continue
        if reader.was_interrupted:
            return
        if messages:
            last_good = loop.time()
            yield messages
