"""Bins whose levels are written as ingest writes them: the rows, and what the feed says of them."""

from collections.abc import AsyncGenerator, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from core.runtime.postgres import Pool, connect, open_pool
from indicators.waste.emptyings import Emptying

PARIS = ZoneInfo("Europe/Paris")
MINUTE = timedelta(minutes=1)


class Stored(NamedTuple):
    """A day as it is kept: seconds, of them known, and at or above 75 %."""

    day: date
    seconds: int
    known: int
    full: int


class Bins:
    """Datastreams of levels, their readings and their days."""

    def __init__(self, pool: Pool, admin_url: str, measuring) -> None:
        self._pool, self._admin_url, self._measuring = pool, admin_url, measuring

    async def make(self, count: int = 1, *, expected: timedelta, privacy_class: int = 0) -> list[int]:
        made = await self._measuring.datastreams("fill_level", count, privacy_class=privacy_class)
        await self._pool.execute("UPDATE device_profile SET expected_interval = $1", expected)
        return made

    async def write(self, datastream: int, levels: Mapping[datetime, float], flags: int = 0) -> None:
        """New readings, or others for instants that have one."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.executemany(
                "INSERT INTO observation.measurement VALUES ($1, $2, $3, $4) "
                "ON CONFLICT (datastream_id, time) DO UPDATE SET value = excluded.value, flags = excluded.flags",
                [(datastream, at, level, flags) for at, level in levels.items()],
            )
            await self._record_changes(connection, datastream, levels)

    async def remove(self, datastream: int, instants: Iterable[datetime]) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "DELETE FROM observation.measurement WHERE datastream_id = $1 AND time = ANY($2)",
                datastream,
                list(instants),
            )
            await self._record_changes(connection, datastream, instants)

    async def _record_changes(self, connection, datastream: int, instants: Iterable[datetime]) -> None:
        await connection.execute(
            "INSERT INTO observation.dirty SELECT DISTINCT date_trunc('hour', at, 'UTC'), ARRAY[$1::int] "
            "FROM unnest($2::timestamptz[]) AS at",
            datastream,
            list(instants),
        )
        await connection.execute(
            "INSERT INTO observation.feed (n, datastream_ids, times) "
            "SELECT cardinality($2::timestamptz[]), array_fill($1::int, ARRAY[cardinality($2)]), $2",
            datastream,
            list(instants),
        )

    async def renew_feed(self) -> None:
        """As a restore does."""
        owner = await connect(self._admin_url)
        await owner.execute("SELECT renew_feed()")
        await owner.close()

    async def forget_feed(self) -> None:
        """As maintenance does after seven days."""
        await self._pool.execute(
            "UPDATE observation.feed_state SET (forgotten_xid, forgotten_number) = "
            "(SELECT xid, number FROM observation.feed ORDER BY xid DESC, number DESC LIMIT 1)"
        )
        await self._pool.execute("DELETE FROM observation.feed")

    async def emptied(self, datastream: int) -> list[Emptying]:
        rows = await self._pool.fetch(
            "SELECT at, not_before, before, after, suspect FROM observation.emptying WHERE datastream_id = $1 "
            "ORDER BY at",
            datastream,
        )
        return [Emptying(*row) for row in rows]

    async def days(self, datastream: int) -> list[Stored]:
        rows = await self._pool.fetch(
            "SELECT day, seconds, known, at_or_above[75] FROM observation.fill_day WHERE datastream_id = $1 "
            "ORDER BY day",
            datastream,
        )
        return [Stored(*row) for row in rows]


def at(month: int, day: int, hour: float = 0, minute: int = 0) -> datetime:
    """Of 2026, by the clocks of Paris at midnight of that day."""
    midnight = datetime(2026, month, day, tzinfo=PARIS).astimezone(UTC)
    return midnight + timedelta(hours=hour, minutes=minute)


@pytest.fixture
def bins(database, pool: Pool, measuring) -> Bins:
    return Bins(pool, database.admin_url, measuring)


@pytest.fixture
async def indicators_pool(database) -> AsyncGenerator[Pool]:
    """As the service connects, with its rights and no others."""
    async with open_pool(database.url_of("indicators"), "territoire-tests-indicators", size=2) as opened:
        yield opened
