"""What network and ingest, as processes, do with a batch that crashes them or fails, and at a takeover.

The fault is injected from outside, by a trigger in the database that stops, or rejects, what one item writes:
so nothing here depends on how a service works through its shards. Who stopped there is killed, as by a fault.
"""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.messages import topics
from core.messages.batch import encode_batch
from core.messages.uplinks import Uplink
from core.runtime.bus import Bus, connect_bus
from core.runtime.clock import wall_clock_us
from core.runtime.postgres import Connection, Pool, connect
from lorawan.crypto import SessionCipher, SessionKeys
from lorawan.identifiers import DevAddr, slot_of_dev_addr
from lorawan.session import build_uplink
from services.supervisor.forking import ForkedProcess
from tests.forked_programs import start_program
from tests.ingest.conftest import Planted
from tests.network.conftest import KEK, Network

PATIENCE_S = 60
SHARDS = 4
ITEMS = (1, 2, 3, 4, 5)
DEADLY = 3
UNREADABLE = b"\x07nonsense"
NOT_GRANTED = """
SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database
WHERE l.locktype = 'advisory' AND NOT l.granted AND d.datname = current_database()
"""
# `harm.item` is what the trigger's column says of an item; `done` has the items in the order of their commits.
HARM = """
CREATE TABLE harm (item bigint PRIMARY KEY, how text NOT NULL);
CREATE TABLE done (id bigserial PRIMARY KEY, item bigint NOT NULL);
CREATE FUNCTION do_harm() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    this bigint;
    way text;
BEGIN
    EXECUTE format('SELECT ($1).%%I::bigint', TG_ARGV[0]) INTO this USING NEW;
    SELECT how INTO way FROM harm WHERE item = this;
    IF way = 'stop' THEN
        PERFORM pg_advisory_xact_lock(4711);
    ELSIF way = 'refuse' THEN
        RAISE numeric_value_out_of_range USING MESSAGE = 'refused by the test';
    END IF;
    RETURN NEW;
END
$$;
CREATE FUNCTION note_done() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    EXECUTE format('INSERT INTO done (item) SELECT ($1).%%I::bigint', TG_ARGV[0]) USING NEW;
    RETURN NULL;
END
$$;
CREATE TRIGGER a_harm BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION do_harm('{column}');
CREATE TRIGGER z_done AFTER {event} ON {table} FOR EACH ROW EXECUTE FUNCTION note_done('{column}');
""".replace("%%", "%")
ADD_SESSION = """
INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id)
VALUES ($1, $2, '\\xa8118f802ebf08dc6237c30463a2facbf887aa31902385c1',
        '\\x39114098a15d6f92d7f013215b5b41a8982dac5934763618', 'kek-1')
"""
CIPHER = SessionCipher(SessionKeys(bytes([0x11]) * 16, bytes([0x22]) * 16))
# Of shard 0, one for each item.
ADDRESSES = list(
    islice((a for n in range(1000) if slot_of_dev_addr(a := DevAddr(n.to_bytes(4))) % SHARDS == 0), len(ITEMS) + 2)
)


@dataclass
class World:
    """One service, its shard 0, and what is done to it."""

    service: str
    stream: str
    subject: str
    bus: Bus
    pool: Pool
    admin: Connection
    environment: dict[str, str]
    log: Path
    refused: tuple[str, str]
    """The reason and the detail of what the database rejects."""
    make: Callable[[int], Any]
    """The item of this number, as it goes into a message."""
    column_of: dict[int, int]
    """By number: how the trigger's column calls the item."""
    kept_of: Callable[[int], bytes]
    """What quarantine keeps of an item."""
    processes: list[ForkedProcess] = field(default_factory=list[ForkedProcess])

    async def send(self, *numbers: int) -> None:
        await self.bus.publish(self.subject, encode_batch([self.make(number) for number in numbers]))

    async def start(self, instance: str = "a") -> ForkedProcess:
        environment = self.environment | {"TERRITOIRE_INSTANCE": instance}
        process = await start_program(f"services.{self.service}", environment, self.log)
        self.processes.append(process)
        return process

    async def harm(self, number: int, how: str) -> None:
        await self.admin.execute("INSERT INTO harm VALUES ($1, $2)", self.column_of[number], how)

    async def stopped_at_the_deadly_item(self, process: ForkedProcess) -> None:
        async def is_there() -> bool:
            assert process.returncode is None, self.log.read_text("utf-8")[-2000:]
            return await self.admin.fetchval(f"SELECT EXISTS ({NOT_GRANTED})")

        await self.until(is_there)

    async def kill(self, process: ForkedProcess) -> None:
        """At once; its backends, which would wait on, go with it."""
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await self.admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'territoire_service' "
            f"AND pid IN ({NOT_GRANTED})"
        )

        async def is_gone() -> bool:
            return not await self.admin.fetchval(f"SELECT EXISTS ({NOT_GRANTED})")

        await self.until(is_gone)

    async def done(self) -> list[int]:
        """The numbers of the items that are committed, in the order of their commits."""
        numbers = {column: number for number, column in self.column_of.items()}
        return [numbers[row["item"]] for row in await self.admin.fetch("SELECT item FROM done ORDER BY id")]

    async def quarantined(self) -> list[tuple[Any, ...]]:
        rows = await self.pool.fetch(
            "SELECT service, subject, sequence, reason, detail, data FROM observation.quarantine ORDER BY id"
        )
        return [tuple(row) for row in rows]

    async def drained(self) -> None:
        async def is_empty() -> bool:
            return await self.bus.stream_messages(self.stream) == 0

        await self.until(is_empty)

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not await condition():  # noqa: ASYNC110 - What another process does has no event here.
                await asyncio.sleep(0.05)


@pytest.fixture(params=["network", "ingest"])
async def world(
    request: pytest.FixtureRequest,
    pool: Pool,
    database: Any,
    nats_url: str,
    tmp_path: Path,
    make_uplink: Callable[..., Uplink],
) -> AsyncGenerator[World]:
    environment = os.environ | {
        "TERRITOIRE_DATABASE_URL": database.service_url,
        "TERRITOIRE_NATS_URL": nats_url,
        "TERRITOIRE_KEK": KEK.hex(),
        "TERRITOIRE_LINGER_MS": "0",
    }
    async with AsyncExitStack() as ending:
        bus = await ending.enter_async_context(connect_bus(nats_url, "test"))
        await bus.ensure_streams()
        admin = await connect(database.admin_url, "test-harm")
        ending.push_async_callback(admin.close)
        planted = Planted(pool)
        await planted.begin()
        build = network_world if request.param == "network" else ingest_world
        made = await build(planted, bus, admin, environment, tmp_path / "service.log", make_uplink)
        await admin.execute("SELECT pg_advisory_lock(4711)")
        try:
            yield made
        finally:
            for process in made.processes:
                process.send_signal(signal.SIGKILL)
                await process.wait()


async def network_world(
    planted: Planted, bus: Bus, admin: Connection, environment: dict[str, str], log: Path, _make_uplink: Any
) -> World:
    """An item is the first frame of a device, and done when the device's session says so."""
    profile_id = await planted.profile("milesight.em400")
    column_of: dict[int, int] = {}
    for number, address in enumerate(ADDRESSES):
        column_of[number] = device_id = await planted.device(profile_id)
        await admin.execute("UPDATE device SET slot = $2 WHERE id = $1", device_id, slot_of_dev_addr(address))
        await admin.execute(ADD_SESSION, device_id, address)
    await admin.execute(HARM.format(event="UPDATE OF f_cnt_up", table="session", column="device_id"))
    phys = [build_uplink(address, CIPHER, 0, f_port=2, payload=b"%d" % n) for n, address in enumerate(ADDRESSES)]
    copies = Network.frames_of

    def frame(number: int) -> Any:
        of_nobody: Any = None  # It asks nothing of its world but the time.
        (copy,) = copies(of_nobody, phys[number], time_us=wall_clock_us())
        return copy

    return World(
        "network",
        topics.FRAMES,
        topics.frames(0),
        bus,
        planted.pool,
        admin,
        environment,
        log,
        ("defect", "NumericValueOutOfRangeError: refused by the test"),
        frame,
        column_of,
        lambda number: phys[number],
    )


async def ingest_world(
    planted: Planted, bus: Bus, admin: Connection, environment: dict[str, str], log: Path, make_uplink: Any
) -> World:
    """An item is an uplink of one device, and done when its row is there."""
    device_id = await planted.device(await planted.profile("milesight.em400"))
    await admin.execute(HARM.format(event="INSERT", table="observation.uplink", column="f_cnt"))

    def uplink(number: int) -> Uplink:
        return make_uplink(device_id, number)

    return World(
        "ingest",
        topics.UPLINKS,
        topics.uplinks(0),
        bus,
        planted.pool,
        admin,
        environment,
        log,
        ("refused_value", "refused by the test"),
        uplink,
        {number: number for number in range(len(ITEMS) + 2)},
        lambda number: msgspec.msgpack.encode(uplink(number)),
    )


async def deaths_at_the_deadly_item(world: World, times: int) -> list[list[int]]:
    """What was committed when it was reached, each time that the service was killed there."""
    committed: list[Sequence[int]] = []
    for _ in range(times):
        process = await world.start()
        await world.stopped_at_the_deadly_item(process)
        committed.append(await world.done())
        await world.kill(process)
    return [list(numbers) for numbers in committed]


async def test_item_in_hand_at_the_third_crash_is_quarantined_and_its_neighbours_are_done(world: World) -> None:
    await world.harm(DEADLY, "stop")
    await world.send(*ITEMS)

    committed = await deaths_at_the_deadly_item(world, 3)
    await world.start()
    await world.drained()
    await world.send(6)
    await world.drained()

    # All together, twice; then one by one.
    assert committed == [[], [], [1, 2]]
    assert await world.done() == [1, 2, 4, 5, 6]
    assert await world.quarantined() == [(world.service, world.subject, 1, "poison", "3", world.kept_of(DEADLY))]


async def test_item_that_succeeds_after_two_crashes_is_done_like_its_neighbours(world: World) -> None:
    await world.harm(DEADLY, "stop")
    await world.send(*ITEMS)

    committed = await deaths_at_the_deadly_item(world, 2)
    await world.admin.execute("DELETE FROM harm")
    await world.start()
    await world.drained()

    assert committed == [[], []]
    assert await world.done() == [1, 2, 3, 4, 5]
    assert await world.quarantined() == []


async def test_item_that_the_database_rejects_is_quarantined_and_its_neighbours_are_done(world: World) -> None:
    await world.harm(DEADLY, "refuse")
    await world.send(0)
    await world.send(*ITEMS)

    process = await world.start()
    await world.drained()

    assert process.returncode is None
    assert await world.done() == [0, 1, 2, 4, 5]
    assert await world.quarantined() == [(world.service, world.subject, 2, *world.refused, world.kept_of(DEADLY))]


async def test_message_that_is_no_batch_is_quarantined_whole_and_its_neighbours_are_done(world: World) -> None:
    await world.send(1, 2)
    await world.bus.publish(world.subject, UNREADABLE)
    await world.send(3)

    await world.start()
    await world.drained()

    assert await world.done() == [1, 2, 3]
    ((service, subject, sequence, reason, detail, data),) = await world.quarantined()
    assert (service, subject, sequence, data) == (world.service, world.subject, 2, UNREADABLE)
    assert (reason, detail) == ("unreadable_batch", "version byte 07, this program reads 1 and 2")


async def test_takeover_does_everything_unacknowledged_in_order_and_nothing_twice(world: World) -> None:
    await world.harm(DEADLY, "stop")
    await world.send(1)
    first = await world.start("first")
    await world.drained()
    await world.send(2, DEADLY)
    await world.send(4)
    await world.send(5)
    await world.stopped_at_the_deadly_item(first)
    next_owner = await world.start("next")
    await world.kill(first)
    await world.admin.execute("DELETE FROM harm")
    await world.drained()

    assert await world.done() == [1, 2, 3, 4, 5]
    assert await world.quarantined() == []
    assert next_owner.returncode is None
    owner = "SELECT owner FROM shard_lease WHERE service = $1 AND shard = 0"
    assert await world.pool.fetchval(owner, world.service) == "next"
