"""The feed of measurements: nothing is missed and nothing repeated from one cursor to the next."""

from base64 import urlsafe_b64decode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.runtime.postgres import Connection, Pool, connect
from ingest.insertion import insert_measurements
from ingest.maintenance.feed import HELD_AFTER, FeedWatch
from ingest.maintenance.pruning import FEED
from lorawan.instants import to_us
from registry.cursors import feed_cursor
from registry.feed import Position, WantedChanges, read_changes, read_state
from tests.entering import enter_tenant

NOW = datetime.now(UTC).replace(microsecond=0)
WRITERS = 3
NOTE = "INSERT INTO observation.feed (datastream_ids, times) VALUES (ARRAY[$1::int], ARRAY[$2::timestamptz])"
VALUE = "INSERT INTO observation.measurement VALUES ($1, $2, 1, 0)"
WRITE = "SELECT pg_current_xact_id()"
LIVE = WantedChanges(("live",))


@pytest.fixture
async def stream(registry, observations) -> int:
    asset = await registry.asset(tags=["centre"])
    device = await registry.device(asset_id=asset["id"])
    return await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")


async def store(pool: Pool, stream: int, ago: timedelta, value: float) -> None:
    """As ingest does with what may be there already."""
    async with pool.acquire() as connection:
        await insert_measurements(connection, [(stream, to_us(NOW - ago), value, 0)])


async def follow(client, after: str, **more: object) -> tuple[list[tuple[object, ...]], str]:
    """Everything from a cursor on, in pages of two."""
    items: list[tuple[object, ...]] = []
    while True:
        answer = await client.get("/v1/measurements", params={"after": after, "limit": 2, **more})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        items += [(one["datastream_id"], one["value"], one["change"]) for one in page["items"]]
        after = page["next"]
        if not page["has_more"]:
            return items, after


async def test_what_comes_in_whichever_way_is_there_once_and_says_what_it_is(
    client, other_client, stream: int, pool: Pool, database
) -> None:
    begin = (await client.get("/v1/measurements")).json()
    assert (begin["items"], begin["has_more"]) == ([], False)
    minute = timedelta(minutes=1)

    await store(pool, stream, minute, 10)
    await store(pool, stream, 60 * minute, 11)
    await store(pool, stream, minute, 10)  # Delivered once more: nothing new.
    path = f"/v1/datastreams/{stream}/manual-readings"
    for ago, value in ((2 * minute, 12), (minute, 13)):
        answer = await client.post(path, json={"time": (NOW - ago).isoformat(), "value": value})
        assert answer.status_code == 201, answer.text
    await pool.execute("DELETE FROM observation.measurement WHERE time = $1", NOW - 60 * minute)
    items, cursor = await follow(client, begin["next"])

    # Of an instant that has changed twice the value that is in force is read both times.
    assert items == [
        (stream, 13, "new"), (stream, None, "removed"), (stream, 12, "manual"), (stream, 13, "corrected")
    ]  # fmt: skip
    assert await follow(client, cursor) == ([], cursor)
    await store(pool, stream, 3 * minute, 14)
    assert (await follow(client, cursor))[0] == [(stream, 14, "new")]
    # Filters, and who may not see it.
    for wanted, count in (
        ({"datastream_id": stream}, 5), ({"datastream_id": stream + 1}, 0), ({"quantity": "fill_level"}, 5),
        ({"quantity": "humidity"}, 0), ({"kind": "glass_container", "tag": "centre", "commune": "Landerneau"}, 5),
        ({"kind": "room"}, 0), ({"tag": "bourg"}, 0), ({"commune": "Daoulas"}, 0),
    ):  # fmt: skip
        assert len((await follow(client, begin["next"], **wanted))[0]) == count, wanted
    theirs = (await other_client.get("/v1/measurements")).json()["next"]
    assert (await follow(other_client, "oldest"))[0] == []
    # Cursors that are none, one after the other.
    epoch, tenant, xid, number, place = msgspec.json.decode(_octets(cursor))
    for wrong, status, code in (
        (theirs, 422, "cursor"), ("rien", 422, "cursor"), ("", 422, "cursor"), ("Mg", 422, "cursor"),
        (feed_cursor("12345678", tenant, Position(xid, number, place)), 409, "other_epoch"),
        (feed_cursor(epoch, tenant, Position(xid + 1_000_000, 1, 1)), 409, "other_epoch"),
    ):  # fmt: skip
        answer = await client.get("/v1/measurements", params={"after": wrong})
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (status, code), wrong
    # After seven days it is pruned, and who is behind is told.
    assert (await client.get("/v1/measurements", params={"after": begin["next"]})).status_code == 200
    admin = await connect(database.admin_url)
    await admin.execute(
        "UPDATE observation.feed SET at = at - interval '8 days' WHERE number IN "
        "(SELECT number FROM observation.feed ORDER BY xid, number LIMIT 2)"
    )
    await admin.close()
    for deleted in (1, 1, 0):
        assert await pool.execute(FEED, timedelta(days=7), 1) == f"DELETE {deleted}"
    answer = await client.get("/v1/measurements", params={"after": begin["next"]})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (410, "forgotten")
    assert len((await follow(client, "oldest"))[0]) == 3
    assert await follow(client, cursor) == ([(stream, 14, "new")], (await follow(client, "oldest"))[1])


def _octets(cursor: str) -> bytes:
    return urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))


# Each step: whose turn it is. A writer begins, writes, writes, commits, and begins anew; a reader reads.
SCHEDULES = st.lists(st.sampled_from([*range(WRITERS), "read", "read"]), min_size=12, max_size=60)


class Writer:
    """Goes one step at a time through transactions of two batches."""

    def __init__(self, connection: Connection, stream: int) -> None:
        self._connection, self._stream, self._step = connection, stream, 0

    async def step(self, at: datetime) -> datetime | None:
        """Returns the instant that it has written, if it has."""
        self._step += 1
        match self._step % 4:
            case 1:
                await self._connection.execute("BEGIN")
            case 0:
                await self._connection.execute("COMMIT")
            case _:
                await self._connection.execute(VALUE, self._stream, at)
                await self._connection.execute(NOTE, self._stream, at)
                return at
        return None

    async def finish(self) -> None:
        if self._step % 4:
            await self._connection.execute("COMMIT")


class Reader:
    """Reads by our cursor, and as one would who remembers the last number that was seen."""

    def __init__(self, pool: Pool, api_pool: Pool, tenant_id: int) -> None:
        self._pool, self._api_pool, self._tenant_id = pool, api_pool, tenant_id
        self.ours: list[datetime | None] = []
        self.naive: list[datetime] = []
        self._position, self._last = Position(0, 0, 0), 0

    async def begin(self) -> None:
        async with self._api_pool.acquire() as connection:
            self._position = (await read_state(connection)).now
        self._last = await self._pool.fetchval("SELECT coalesce(max(number), 0) FROM observation.feed")

    async def read(self) -> None:
        async with self._api_pool.acquire() as connection, connection.transaction():
            await enter_tenant(connection, self._tenant_id)
            entries, self._position, _ = await read_changes(connection, self._position, LIVE, 3)
        self.ours += [entry.time for entry in entries]
        numbered = "SELECT number, times FROM observation.feed WHERE number > $1"
        for number, times in await self._pool.fetch(numbered, self._last):
            self.naive += times
            self._last = max(self._last, number)


async def play(schedule: Sequence[int | str], reader: Reader, writers: Sequence[Writer]) -> int:
    """How many batches the naive reader has lost; ours has each once."""
    await reader.begin()
    written: list[datetime] = []
    for place, turn in enumerate(schedule):
        if isinstance(turn, str):
            await reader.read()
        elif (at := await writers[turn].step(NOW + timedelta(seconds=place))) is not None:
            written.append(at)
    for writer in writers:
        await writer.finish()
    for _ in range(len(written) // 3 + 1):
        await reader.read()
    assert sorted(time for time in reader.ours if time is not None) == sorted(written)
    assert len(reader.naive) == len(set(reader.naive))
    return len(written) - len(reader.naive)


async def test_a_cursor_is_behind_a_row_since_a_killed_server_gives_other_numbers_again(
    client, stream: int, pool: Pool
) -> None:
    """Of a transaction that wrote nothing to the disk nothing is known after a crash, not even its number."""
    await store(pool, stream, timedelta(minutes=1), 1)
    _, end = await follow(client, "oldest")
    cursors = {end, (await client.get("/v1/measurements")).json()["next"]}
    async with pool.acquire() as connection:
        for _ in range(3):
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(WRITE)
            await transaction.rollback()
    cursors |= {(await client.get("/v1/measurements")).json()["next"], (await follow(client, end))[1]}
    await store(pool, stream, timedelta(minutes=2), 2)

    assert len(cursors) == 2  # Behind the last row: by its number, or by that of its transaction.
    for cursor in cursors:
        assert (await follow(client, cursor))[0] == [(stream, 2, "new")]


async def test_whatever_the_order_of_commits_a_reader_gets_each_batch_once_and_a_naive_one_loses_some(
    stream: int, tenancy, database, pool: Pool, api_pool: Pool
) -> None:
    connections = [await connect(database.service_url) for _ in range(WRITERS)]
    await pool.execute(VALUE, stream, NOW)  # Whoever makes a chunk locks it until the end.
    schedules: list[list[int | str]] = [[0, 0, 1, 1, 1, 1, "read", 0, 0, "read"]]

    @settings(max_examples=30, deadline=None, database=None)
    @given(SCHEDULES)
    def collect(schedule: list[int | str]) -> None:
        schedules.append(schedule)

    collect()
    lost = 0
    for schedule in schedules:
        await pool.execute("DELETE FROM observation.measurement")
        writers = [Writer(connection, stream) for connection in connections]
        lost += await play(schedule, Reader(pool, api_pool, tenancy.id), writers)
    assert lost > 0
    for connection in connections:
        await connection.close()


async def test_a_transaction_that_writes_for_ten_seconds_is_named_and_forgotten_when_it_ends(
    database, pool: Pool
) -> None:
    watch = FeedWatch()
    connection = await connect(database.service_url)
    assert await watch.look(pool) == timedelta()
    await connection.execute("BEGIN")
    await connection.execute(WRITE)
    await pool.execute(WRITE)  # The newest of all holds nothing.
    assert await watch.look(pool) == timedelta()
    seen = watch._oldest
    assert seen is not None
    watch._oldest = (seen[0], seen[1] - HELD_AFTER)  # The clock goes on.
    await connection.execute("ROLLBACK")
    assert await watch.look(pool) == timedelta()
    await connection.execute("BEGIN")
    await connection.execute(WRITE)
    await pool.execute(WRITE)
    await watch.look(pool)
    seen = watch._oldest
    assert seen is not None
    watch._oldest = (seen[0], seen[1] - HELD_AFTER)

    assert await watch.look(pool) >= HELD_AFTER

    row = await pool.fetchrow("SELECT held_xid, held_since, holder FROM observation.feed_state")
    assert row is not None
    assert (row["held_xid"], row["held_since"]) == watch._oldest
    assert "processus" in row["holder"]
    await connection.execute("ROLLBACK")
    assert await watch.look(pool) == timedelta()
    assert await pool.fetchval("SELECT held_xid FROM observation.feed_state") is None
    await connection.close()
