"""A replica's shards: takes what is free, serves it while the lease holds, lets go at once when it is lost."""

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog

from core.messages import topics
from core.runtime.backlog import shown
from core.runtime.bus import BUS_AWAY, Bus, Message, ShardReader
from core.runtime.errors import describe
from core.runtime.lease import (
    GUARDED_AFTER,
    Former,
    Lease,
    LeaseLost,
    fence_all,
    keep_leases,
    record_first_unacknowledged,
    release_lease,
    take_lease,
)
from core.runtime.postgres import DATABASE_AWAY, Connection, Pool
from core.runtime.replicas import announce, forget_the_dead, share_of, withdraw

# What a nudge does not tell of: a replica that was killed, a nudge that was lost.
RETRY_EVERY_S = 1.0
# Who owns every shard waits for none that a dead replica leaves; another that starts is served by us meanwhile.
ALONE_EVERY_S = 2.0
# While nothing comes, whether the reading is to end is looked at so often, which asks nobody.
LOOK_EVERY_S = 1.0
# A reader that hears nothing of its consumer for so long, longer than its request waits, asks whether it still
# exists.
PROBE_EVERY_S = 5.0
DRAINED_POLL_S = 0.02
# A replica that the bus does not answer reads nothing and publishes nothing: it lets go, and leaves the shards to
# those that it answers.
ASK_BUS_EVERY_S = 2.0
# How long an answer is waited for, and after how long one that did not come is asked for again.
ASK_BUS_WITHIN_S, ASK_BUS_AGAIN_S = 1.0, 0.5
BUS_SILENT_AFTER_S = 4.0
# A replica is ready once its share is read; after so long also where another cannot give a shard away: it may
# be that one's defect which an upgrade is to end.
SHARE_WITHIN_S = 10.0
LET_GO = (LeaseLost, *DATABASE_AWAY, *BUS_AWAY)

log = structlog.get_logger()


class ShardsLost(LeaseLost):
    """These shards have another owner; what was about to be written for them is void."""

    def __init__(self, service: str, shards: Sequence[int]) -> None:
        super().__init__(f"{service} shards {sorted(shards)}")
        self.shards = frozenset(shards)


class BusSilent(LeaseLost):
    """The lease is ours, but the bus has not answered this replica for seconds, so that it can do nothing."""


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


def _is_failure(outcome: BaseException | None) -> bool:
    return outcome is not None and not isinstance(outcome, (*LET_GO, asyncio.CancelledError))


@dataclass(frozen=True, slots=True)
class Sharded:
    """A service whose work is divided in shards: `stream` holds `subject(shard)` for the owners of `service`.

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
# It also returns when `batches` ends because the shard is to be another replica's: what was given is then done.
# Any other failure ends the process and counts as a crash, as a kill does. Work queues are served by
# `core.runtime.shard_worker`.
Serve = Callable[[Lease, ShardReader], Awaitable[None]]


class ShardOwner:
    """Runs `serve` once for every shard whose lease this replica holds.

    `stopping` is set before a clean end: when `run` is cancelled without it, the shards count as crashed.
    """

    def __init__(
        self,
        pool: Pool,
        bus: Bus,
        sharded: Sharded,
        instance: str,
        serve: Serve,
        stopping: asyncio.Event | None = None,
    ) -> None:
        self._pool = pool
        self._bus = bus
        self._sharded = sharded
        self._instance = instance
        self._serve = serve
        self._stopping = stopping
        self._held: dict[int, Lease] = {}
        self._let_go: dict[int, int] = {}  # The epochs that this process ended by itself, by shard.
        self._share = 0
        self._moved = asyncio.Event()
        self._last_asked_at = -math.inf
        self._bus_heard_at = asyncio.get_running_loop().time()
        self._readers: dict[int, ShardReader] = {}
        self._first_asked_at: float | None = None
        self._has_had_share = False

    @property
    def leases(self) -> list[Lease]:
        """The leases held at this moment, by shard."""
        return [self._held[shard] for shard in sorted(self._held)]

    async def check_share(self) -> str | None:
        """What /readyz asks: whether the first share was read, so that another replica may be replaced."""
        if self._first_asked_at is None:
            return "has not asked for shards"
        read = sum(reader.was_asked for reader in self._readers.values())
        waited_s = asyncio.get_running_loop().time() - self._first_asked_at
        self._has_had_share = self._has_had_share or read >= self._share or waited_s > SHARE_WITHIN_S
        return None if self._has_had_share else f"reads {read} of {self._share} shards"

    async def run(self) -> None:
        """Own this replica's share until cancelled; then let go of everything.

        The share is computed anew every second, or every two while every shard is ours, and at once when another
        replica comes, goes or lets a shard go.
        """

        async def receive_nudge(_subject: str, _data: bytes) -> None:
            self._last_asked_at = -math.inf
            self._moved.set()

        nudges = await self._bus.subscribe(topics.shards_moved(self._sharded.service), receive_nudge)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen_to_bus(), name="listen to the bus")
                tasks.create_task(keep_leases(self._pool, lambda: self.leases), name="renew leases")
                while True:
                    try:
                        if self._is_bus_silent():
                            for lease in self.leases:
                                lease.end(BusSilent(f"{self._sharded.service}: the bus does not answer"))
                            await withdraw(self._pool, self._sharded.service, self._instance)
                        elif self._is_share_due():
                            await self._take_share(tasks)
                    except DATABASE_AWAY as away:
                        log.warning("shards_not_asked_for", error=describe(away))
                    with suppress(TimeoutError):
                        async with asyncio.timeout(RETRY_EVERY_S):
                            await self._moved.wait()
                    self._moved.clear()
        finally:
            await withdraw(self._pool, self._sharded.service, self._instance)
            await self._nudge_others()
            with suppress(*BUS_AWAY):
                await nudges.unsubscribe()

    async def _nudge_others(self) -> None:
        """Have the other replicas look at once; one that does not hear it looks within a second, or two."""
        with suppress(*BUS_AWAY):
            await self._bus.nudge(topics.shards_moved(self._sharded.service))

    async def _listen_to_bus(self) -> None:
        """Send a message to ourselves every two seconds, to know within seconds that the bus is away."""
        loop = asyncio.get_running_loop()
        while True:
            is_heard = await self._bus.answers(ASK_BUS_WITHIN_S)
            if is_heard:
                self._bus_heard_at = loop.time()
            await asyncio.sleep(ASK_BUS_EVERY_S if is_heard else ASK_BUS_AGAIN_S)

    def _is_bus_silent(self) -> bool:
        return asyncio.get_running_loop().time() - self._bus_heard_at > BUS_SILENT_AFTER_S

    def _is_share_due(self) -> bool:
        is_alone = len(self._held) == self._sharded.shards
        return not is_alone or asyncio.get_running_loop().time() - self._last_asked_at >= ALONE_EVERY_S

    async def _take_share(self, tasks: asyncio.TaskGroup) -> None:
        """Take what is free up to the share; above it, let one shard after the other go."""
        # Noted first: after a nudge that comes meanwhile it is due again.
        self._last_asked_at = asyncio.get_running_loop().time()
        if not self._share:
            await forget_the_dead(self._pool, self._sharded.service)
        others = await announce(self._pool, self._sharded.service, self._instance)
        share = share_of(self._sharded.shards, self._instance, others)
        if share != self._share:
            log.info("share_changed", shards=share, replicas=len(others) + 1)
            if not self._share and others:
                await self._nudge_others()
            self._share = share
        if len(self._held) > share and not any(lease.draining.is_set() for lease in self._held.values()):
            leaving = self._held[max(self._held)]
            log.info("shard_draining", shard=leaving.shard, epoch=leaving.epoch)
            leaving.draining.set()
        for shard in range(self._sharded.shards):
            if len(self._held) < share and shard not in self._held:
                await self._try_to_take(shard, tasks)
        if self._first_asked_at is None:
            self._first_asked_at = asyncio.get_running_loop().time()

    async def _try_to_take(self, shard: int, tasks: asyncio.TaskGroup) -> None:
        lease = await take_lease(self._pool, self._sharded.service, shard, self._instance)
        if lease is not None:
            if self._let_go.get(shard) == lease.epoch - 1:
                lease.former = Former()  # We let go ourselves, perhaps while the database was away.
            self._held[shard] = lease
            tasks.create_task(self._hold(lease), name=f"own {self._sharded.service} shard {shard}")

    async def _hold(self, lease: Lease) -> None:
        """Work as long as the lease is not ended; the first of them to end ends both."""
        works = (lease.until_ended(), self._serve_anew(lease))
        tasks = [asyncio.create_task(work, name=f"{work.__name__} of shard {lease.shard}") for work in works]
        log.info("shard_taken", shard=lease.shard, epoch=lease.epoch)
        was_ended = True  # From outside: when nobody asked us to stop, something else in this process has failed.
        outcomes: list[BaseException | None] = []
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            was_ended = False
        finally:
            for task in tasks:
                task.cancel()
            outcomes += await asyncio.gather(*tasks, return_exceptions=True)
            failures = [outcome for outcome in outcomes if _is_failure(outcome)]
            is_stopping = self._stopping is None or self._stopping.is_set()
            await self._let_go_of(lease, cleanly=not failures and (is_stopping or not was_ended))
        for outcome in outcomes:
            if isinstance(outcome, LET_GO):
                log.warning("shard_let_go", shard=lease.shard, reason=describe(outcome))
            elif outcome is not None and _is_failure(outcome):
                raise outcome

    async def _let_go_of(self, lease: Lease, *, cleanly: bool) -> None:
        if cleanly:
            self._let_go[lease.shard] = lease.epoch
        await release_lease(self._pool, lease, cleanly=cleanly)
        del self._held[lease.shard]
        if lease.draining.is_set():
            await self._nudge_others()

    async def _serve_anew(self, lease: Lease) -> None:
        reader = await self._open_reader(lease)
        reader.draining = lease.draining
        self._readers[lease.shard] = reader
        try:
            lease.check()  # The bus may have been away for longer than the lease lasts.
            async with shown(reader.backlog, self._sharded.stream, lease.shard, BUS_AWAY):
                await self._serve(lease, reader)
        finally:
            del self._readers[lease.shard]
            await reader.close()

    async def _open_reader(self, lease: Lease) -> ShardReader:
        sharded = self._sharded
        subject = sharded.subject(lease.shard)
        if sharded.follows:
            await self._bus.ensure_measurements_stream()
            return await self._bus.follow_from_now(sharded.stream, subject)
        consumer = f"{sharded.service}-{lease.shard}-{lease.epoch}"
        reader = await self._bus.read_shard(sharded.stream, subject, consumer, lease.check)
        try:
            await self._count_crashes(lease, reader)
        except BaseException:
            await reader.close()
            raise
        return reader

    async def _count_crashes(self, lease: Lease, reader: ShardReader) -> None:
        """Count the crashes, and write them down, before the first un-acknowledged message is read."""

        async def record_crashes(first: int) -> None:
            handed_out = reader.handed_out_before
            await record_first_unacknowledged(self._pool, lease, first, handed_out)
            if lease.crashes >= GUARDED_AFTER:
                given = max(handed_out, first)
                lease.has_passed = lambda: reader.is_done_with(given)
                log.warning(
                    "shard_taken_guarded",
                    shard=lease.shard,
                    crashes=lease.crashes,
                    first=first,
                    up_to=given,
                    in_hand=lease.in_hand,
                )

        if reader.first_waiting is None:
            reader.before_first = record_crashes
        else:
            await record_crashes(reader.first_waiting)


async def batches(reader: ShardReader, most: int) -> AsyncGenerator[list[Message]]:
    """The messages of the shard's reader, in stream order; up to `most` messages each time.

    It ends when the connection to the bus was made anew, before anything that came out of order, and when the
    shard is to be another replica's and everything that was given is acknowledged. It raises one of BUS_AWAY when
    the consumer is gone or the bus stays away for long. In each case the shard is let go, or taken anew.
    """
    loop = asyncio.get_running_loop()
    last_good = loop.time()
    while not reader.draining.is_set():
        try:
            messages = await reader.fetch(most, LOOK_EVERY_S)
            last_good = max(last_good, reader.answered_at)
            if not messages and loop.time() - last_good > PROBE_EVERY_S:
                await reader.backlog()
                last_good = loop.time()
        except BUS_AWAY as away:
            log.warning("shard_not_read", error=describe(away))
            if reader.was_interrupted:
                return
            if loop.time() - last_good > 2 * PROBE_EVERY_S:
                raise
            await asyncio.sleep(0.2)
            continue
        if reader.was_interrupted:
            return
        if messages:
            last_good = loop.time()
            yield messages
    while reader.open and not reader.was_interrupted:  # noqa: ASYNC110 - once in a shard's life, for a moment.
        await asyncio.sleep(DRAINED_POLL_S)
