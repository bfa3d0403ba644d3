"""The shard worker with a service as small as can be: a message is octets, each an item, 0xff is unreadable."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from core.messages import topics
from core.messages.batch import UnreadableBatch
from core.runtime.bus import Bus, Message, connect_bus
from core.runtime.lease import GUARDED_AFTER, QUARANTINE_AFTER, STOP_AFTER_S, WHOLE_MESSAGE, Lease, take_lease
from core.runtime.owned_shard import Decoded, OwnedShard
from core.runtime.ownership import ShardsLost
from core.runtime.postgres import Pool
from core.runtime.shard_worker import Pace, Place, ShardWorker

SERVICE = "ingest"
UNREADABLE = 0xFF
IN_HAND = "SELECT in_hand_sequence, in_hand_item FROM shard_lease WHERE service = 'ingest' AND shard = $1"


@dataclass(frozen=True)
class Part:
    shard: OwnedShard["Part"]
    sequences: Sequence[int]
    items: Sequence[int]
    first: int = 0
    reason: str | None = None


class Octets(OwnedShard[Part]):
    def __init__(self, lease: Lease) -> None:
        super().__init__(lease)
        self.units: list[Part] = []

    def decode(self, message: Message) -> Decoded:
        if message.data[0] == UNREADABLE:
            raise UnreadableBatch("0xff")
        self.units.append(Part(self, (message.sequence,), list(message.data)))
        return Decoded(len(message.data), 1)

    def unreadable(self, message: Message, why: UnreadableBatch | None) -> Part:
        return Part(self, (message.sequence,), list(message.data), reason="poison" if why is None else str(why))

    def take_units(self) -> list[Part]:
        units, self.units = self.units, []
        return units


class Pairs(Octets):
    """A unit is made of two messages: of each its first item."""

    def take_units(self) -> list[Part]:
        pairs = [
            Part(self, (*a.sequences, *b.sequences), [a.items[0], b.items[0]])
            for a, b in zip(self.units[::2], self.units[1::2], strict=False)
        ]
        self.units = self.units[2 * len(pairs) :]
        return pairs


@dataclass
class Service:
    """Its domain: what it did is in `log`, and `trouble` may fail a commit before it has an effect."""

    shard_class: type[Octets] = Octets
    log: list[Any] = field(default_factory=list)
    trouble: Callable[[list[int]], Exception | None] = lambda _items: None
    retries: list[str] = field(default_factory=list)
    transient: tuple[type[Exception], ...] = ()
    committing: Callable[[], Any] | None = None
    shards: list[Octets] = field(default_factory=list)

    async def open_shard(self, lease: Lease) -> OwnedShard[Part]:
        self.shards.append(self.shard_class(lease))
        return self.shards[-1]

    def batch(self, units: list[Part]) -> "OneBatch":
        return OneBatch(self, units)

    def divide(self, unit: Part) -> list[Part]:
        if unit.reason is not None:
            return [unit]
        return [replace(unit, items=[item], first=place) for place, item in enumerate(unit.items)]

    def place_of(self, unit: Part) -> Place | None:
        return None if unit.reason is not None else Place(unit.sequences[0], unit.first)

    def rejected(self, unit: Part, error: Exception | None) -> Part | None:
        return None if unit.reason is not None else replace(unit, reason="poison" if error is None else str(error))

    def count_retry(self, error: Exception) -> None:
        self.retries.append(str(error))

    def committed(self) -> list[int]:
        return [item for kind, *items in self.log if kind == "commit" for item in items]

    def quarantined(self) -> list[tuple[int, str]]:
        return [(item, reason) for kind, item, reason in (e for e in self.log if e[0] == "reject")]


@dataclass
class OneBatch:
    service: Service
    units: list[Part]

    def items(self) -> list[int]:
        return [item for unit in self.units if unit.reason is None for item in unit.items]

    async def prepare(self) -> None:
        self.service.log.append(("prepare", *self.items()))

    async def commit(self) -> None:
        if self.service.committing is not None:
            await self.service.committing()
        failed = self.service.trouble(self.items())
        if failed is not None:
            raise failed
        for unit in self.units:
            if unit.reason is not None:
                self.service.log.append(("reject", unit.items[0], unit.reason))
        self.service.log.append(("commit", *self.items()))

    async def publish(self) -> None:
        self.service.log.append(("publish", *self.items()))


@pytest.fixture
async def bus(nats_url: str) -> AsyncGenerator[Bus]:
    async with connect_bus(nats_url, "test") as connected:
        await connected.ensure_streams()
        yield connected


async def send(bus: Bus, *items: int, shard: int = 0) -> None:
    await bus.publish(topics.uplinks(shard), bytes(items))


@asynccontextmanager
async def working(
    pool: Pool,
    bus: Bus,
    service: Service,
    *,
    shards: int = 1,
    change: Callable[[Lease], None] = lambda _: None,
    run: bool = True,
    **pace: Any,
) -> AsyncGenerator[ShardWorker[Part]]:
    values: dict[str, Any] = {"fetch_messages": 100, "batch_items": 1000, "read_ahead": 1000} | pace
    worker = ShardWorker(pool, service, Pace(**values))
    stopping = asyncio.Event()
    serving: list[asyncio.Task[None]] = []
    for shard in range(shards):
        lease = await take_lease(pool, SERVICE, shard, "a")
        assert lease is not None
        reader = await bus.read_shard(topics.UPLINKS, topics.uplinks(shard), f"ingest-{shard}-{lease.epoch}")
        reader.draining = lease.draining
        change(lease)
        serving.append(asyncio.create_task(worker.serve(lease, reader)))
    running = asyncio.create_task(worker.run(stopping)) if run else None
    try:
        yield worker
        stopping.set()
        if running is not None:
            await asyncio.wait_for(running, 30)
    finally:
        for task in serving:
            task.cancel()
        if running is not None:
            running.cancel()
            with suppress(BaseException):
                await running
        await asyncio.gather(*serving, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - Lists have no event.
            await asyncio.sleep(0.005)


async def drained(bus: Bus) -> None:
    async with asyncio.timeout(30):
        while await bus.stream_messages(topics.UPLINKS):  # noqa: ASYNC110 - The server has no event for it.
            await asyncio.sleep(0.005)


def refusing(bad: int) -> Callable[[list[int]], Exception | None]:
    return lambda items: ValueError(f"no {bad}") if bad in items else None


async def test_batch_is_prepared_committed_published_and_then_acknowledged(pool: Pool, bus: Bus) -> None:
    service = Service()
    held_at_publication: list[int] = []

    class Watched(OneBatch):
        async def publish(self) -> None:
            held_at_publication.extend(service.shards[0].held)
            await super().publish()

    service.batch = lambda units: Watched(service, units)  # pyright: ignore[reportAttributeAccessIssue]
    await send(bus, 1, 2)
    async with working(pool, bus, service):
        await drained(bus)

    assert service.log == [("prepare", 1, 2), ("commit", 1, 2), ("publish", 1, 2)]
    assert held_at_publication == [1]


async def test_messages_of_all_shards_that_have_come_are_one_batch(pool: Pool, bus: Bus) -> None:
    service = Service()
    for shard in range(3):
        await send(bus, shard, shard=shard)

    async with working(pool, bus, service, shards=3, linger_s=lambda _: 0.5):
        await drained(bus)

    assert [sorted(items) for kind, *items in service.log if kind == "commit"] == [[0, 1, 2]]


async def test_transient_failure_tries_the_same_batch_again_and_reads_nothing_past_it(
    pool: Pool, bus: Bus
) -> None:
    service, attempts = Service(), [1, 2]
    service.trouble = lambda _items: OSError("away") if attempts and attempts.pop() else None
    await send(bus, 1, 2)
    await send(bus, 3)

    async with working(pool, bus, service, batch_items=2, read_ahead=0, fetch_messages=1):
        await drained(bus)

    assert service.retries == ["away", "away"]
    assert [entry for entry in service.log if entry[0] == "commit"] == [("commit", 1, 2), ("commit", 3)]


async def test_batch_that_fails_is_halved_and_only_the_item_that_spoils_it_is_rejected(
    pool: Pool, bus: Bus
) -> None:
    service, tried = Service(), []

    def trouble(items: list[int]) -> Exception | None:
        tried.append(items)
        return refusing(6)(items)

    service.trouble = trouble
    for first in range(1, 13, 3):
        await send(bus, first, first + 1, first + 2)

    async with working(pool, bus, service, linger_s=lambda _: 0.3):
        await drained(bus)

    assert service.committed() == [1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12]
    assert service.quarantined() == [(6, "no 6")]
    assert service.retries == []
    assert [len(items) for items in tried[:3]] == [12, 6, 3]


async def test_item_that_not_even_quarantine_can_take_ends_the_service(pool: Pool, bus: Bus) -> None:
    service = Service()
    tried: list[list[int]] = []

    def never(items: list[int]) -> Exception:
        tried.append(items)
        return ValueError("never")

    service.trouble = never
    await send(bus, 1)

    with pytest.raises(ExceptionGroup) as failed:
        async with working(pool, bus, service):
            await until(lambda: len(tried) > 1)

    assert failed.group_contains(ValueError, match="never")
    assert await bus.stream_messages(topics.UPLINKS) == 1


async def test_unreadable_message_is_rejected_in_its_place(pool: Pool, bus: Bus) -> None:
    service = Service()
    await send(bus, 1)
    await send(bus, UNREADABLE)
    await send(bus, 2)

    async with working(pool, bus, service):
        await drained(bus)

    assert service.quarantined() == [(UNREADABLE, "0xff")]
    assert service.committed() == [1, 2]


async def test_message_is_acknowledged_when_the_last_unit_that_it_is_part_of_is_done(pool: Pool, bus: Bus) -> None:
    service = Service(Pairs)
    await send(bus, 1)

    async with working(pool, bus, service):
        await until(lambda: bool(service.shards and service.shards[0].held))
        assert await bus.stream_messages(topics.UPLINKS) == 1
        await send(bus, 2)
        await drained(bus)

    assert service.committed() == [1, 2]


async def test_next_batch_is_prepared_while_one_is_committed_and_committed_in_order(pool: Pool, bus: Bus) -> None:
    service, gate = Service(), asyncio.Event()
    service.committing = gate.wait
    await send(bus, 1)

    async with working(pool, bus, service, prepare_ahead=True):
        await until(lambda: ("prepare", 1) in service.log)
        await send(bus, 2)
        await until(lambda: ("prepare", 2) in service.log)
        assert service.committed() == []
        gate.set()
        await drained(bus)

    assert service.committed() == [1, 2]


async def test_without_preparing_ahead_the_next_batch_waits_for_the_publication_before(
    pool: Pool, bus: Bus
) -> None:
    service = Service()
    for item in range(1, 5):
        await send(bus, item)

    async with working(pool, bus, service, batch_items=1):
        await drained(bus)

    assert service.log == [(kind, item) for item in range(1, 5) for kind in ("prepare", "commit", "publish")]


async def test_what_cannot_be_committed_at_the_end_stays_with_the_bus(pool: Pool, bus: Bus) -> None:
    service = Service()
    service.trouble = lambda _items: OSError("away")
    await send(bus, 1)

    async with working(pool, bus, service):
        await until(lambda: bool(service.retries))

    assert service.log == [("prepare", 1)]
    assert await bus.stream_messages(topics.UPLINKS) == 1


async def test_shard_that_is_lost_leaves_the_batch_and_the_others_are_committed(pool: Pool, bus: Bus) -> None:
    service = Service()
    service.trouble = lambda items: ShardsLost(SERVICE, [1]) if 1 in items else None
    for shard in range(2):
        await send(bus, shard, shard=shard)

    async with working(pool, bus, service, shards=2, linger_s=lambda _: 0.5):
        await until(lambda: service.committed() == [0])

    assert [shard.is_ours for shard in service.shards if shard.number == 1] == [False]
    assert await bus.stream_messages(topics.UPLINKS) == 1


async def test_shard_whose_lease_was_not_renewed_in_time_is_dropped(pool: Pool, bus: Bus) -> None:
    service = Service()

    def check(_items: list[int]) -> Exception | None:
        for shard in service.shards:
            shard.lease.check()
        return None

    service.trouble = check

    def age(lease: Lease) -> None:
        lease.renewed_at -= STOP_AFTER_S + 1

    await send(bus, 1)
    async with working(pool, bus, service, change=age):
        await until(lambda: bool(service.shards) and not service.shards[0].is_ours)

    assert service.committed() == []


async def test_message_delivered_once_more_is_worked_on_once(pool: Pool, bus: Bus) -> None:
    service = Service()
    await send(bus, 1)
    lease = await take_lease(pool, SERVICE, 0, "a")
    assert lease is not None
    reader = await bus.read_shard(topics.UPLINKS, topics.uplinks(0), "ingest-0-1")
    (message,) = await reader.fetch()
    shard = await service.open_shard(lease)

    taken = [await shard.hold(message), await shard.hold(message)]

    assert taken == [True, False]
    assert list(shard.held) == [1]


async def test_shard_is_read_no_further_ahead_than_one_fetch(pool: Pool, bus: Bus) -> None:
    service = Service()
    for item in range(20):
        await send(bus, item)

    async with working(pool, bus, service, run=False, fetch_messages=5, read_ahead=2):
        await until(lambda: bool(service.shards and service.shards[0].waiting))
        for _ in range(5):
            await bus.unacknowledged(topics.UPLINKS)  # The reader has its turn.
        waiting = len(service.shards[0].waiting)

    assert waiting == 5


async def test_shard_that_is_given_away_is_finished_first_and_reads_no_more(pool: Pool, bus: Bus) -> None:
    service, gate = Service(), asyncio.Event()
    service.committing = gate.wait
    await send(bus, 1)

    async with working(pool, bus, service):
        await until(lambda: bool(service.shards and service.shards[0].held))
        service.shards[0].lease.draining.set()
        await asyncio.sleep(0)
        assert service.shards[0].is_ours
        gate.set()
        await until(lambda: not service.shards[0].is_ours)
        await send(bus, 2)

    assert service.committed() == [1]
    assert service.shards[0].is_leaving


def crashed(times: int, in_hand: tuple[int, int] | None = None) -> Callable[[Lease], None]:
    def change(lease: Lease) -> None:
        lease.crashes, lease.in_hand, lease.has_passed = times, in_hand, lambda: False

    return change


async def test_guarded_shard_is_worked_off_item_by_item_each_written_down_before(pool: Pool, bus: Bus) -> None:
    service = Service()
    noted: list[tuple[int, int]] = []
    held: list[set[int]] = []

    async def look() -> None:
        noted.append(tuple(await pool.fetchrow(IN_HAND, 0)))
        held.append(set(service.shards[0].held))

    service.committing = look
    await send(bus, 10, 11)
    await send(bus, 12)

    async with working(pool, bus, service, change=crashed(GUARDED_AFTER), fetch_messages=5, read_ahead=1):
        await drained(bus)

    assert [entry for entry in service.log if entry[0] == "commit"] == [
        ("commit", 10),
        ("commit", 11),
        ("commit", 12),
    ]
    assert noted == [(1, 0), (1, 1), (2, 0)]
    assert held == [{1}, {1}, {2}]
    assert tuple(await pool.fetchrow(IN_HAND, 0)) == (None, None)


async def test_nothing_else_is_under_way_while_an_item_of_a_guarded_shard_is_in_hand(pool: Pool, bus: Bus) -> None:
    service, gate = Service(), asyncio.Event()
    committed_when_decoded: list[list[int]] = []

    class Watched(Octets):
        def decode(self, message: Message) -> Decoded:
            committed_when_decoded.append(service.committed())
            return super().decode(message)

    def change(lease: Lease) -> None:
        if lease.shard == 1:
            crashed(GUARDED_AFTER)(lease)

    service.shard_class, service.committing = Watched, gate.wait
    await send(bus, 1, shard=0)
    async with working(pool, bus, service, shards=2, change=change, prepare_ahead=True):
        await until(lambda: ("prepare", 1) in service.log)
        await send(bus, 2, shard=1)
        for _ in range(10):
            assert await pool.fetchval(IN_HAND, 1) is None
            await asyncio.sleep(0.02)
        gate.set()
        await drained(bus)

    assert committed_when_decoded == [[], [1]]
    assert service.committed() == [1, 2]


async def test_shard_is_guarded_no_longer_than_what_its_dead_owner_was_given(pool: Pool, bus: Bus) -> None:
    service = Service()

    def change(lease: Lease) -> None:
        lease.crashes, lease.has_passed = GUARDED_AFTER, lambda: service.committed()[:2] == [10, 11]

    await send(bus, 10, 11)
    await send(bus, 12, 13)

    async with working(pool, bus, service, change=change):
        await drained(bus)

    assert [entry for entry in service.log if entry[0] == "commit"] == [
        ("commit", 10),
        ("commit", 11),
        ("commit", 12, 13),
    ]


async def test_item_in_hand_at_the_third_crash_is_rejected_without_being_looked_at(pool: Pool, bus: Bus) -> None:
    service, looked_at = Service(), []
    service.trouble = looked_at.extend  # pyright: ignore[reportAttributeAccessIssue]
    await send(bus, 10, 11, 12)

    async with working(pool, bus, service, change=crashed(QUARANTINE_AFTER, (1, 1))):
        await drained(bus)

    assert service.quarantined() == [(11, "poison")]
    assert looked_at == [10, 12]


async def test_message_that_was_being_decoded_at_the_third_crash_is_rejected_whole(pool: Pool, bus: Bus) -> None:
    service = Service()
    await send(bus, 10, 11)
    await send(bus, 12)

    async with working(pool, bus, service, change=crashed(QUARANTINE_AFTER, (1, WHOLE_MESSAGE))):
        await drained(bus)

    assert service.quarantined() == [(10, "poison")]
    assert service.committed() == [12]


async def test_item_of_a_guarded_shard_that_fails_is_rejected_and_its_neighbours_are_committed(
    pool: Pool, bus: Bus
) -> None:
    service = Service()
    service.trouble = refusing(11)
    await send(bus, 10, 11, 12)

    async with working(pool, bus, service, change=crashed(GUARDED_AFTER)):
        await drained(bus)

    assert service.committed() == [10, 12]
    assert service.quarantined() == [(11, "no 11")]
    assert tuple(await pool.fetchrow(IN_HAND, 0)) == (None, None)


async def test_what_completes_without_a_message_counts_as_what_the_next_wait_follows_from() -> None:
    """Windows that end by the clock bring no message: the next batch waits for its neighbours all the same."""
    anything: Any = None
    shard = Octets(Lease(SERVICE, 0, 1, asyncio.get_running_loop().time()))
    worker = ShardWorker[Part](anything, Service(), Pace(10, 100, 0, linger_s=float))
    worker._shards = [shard]
    shard.units = [Part(shard, (number,), [number]) for number in range(30)]

    together, _ = await worker._take_batch()

    assert len(together) == 30
    assert worker._linger_s() == 30.0
