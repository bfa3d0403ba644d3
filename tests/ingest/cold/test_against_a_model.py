"""Drawn histories against a dictionary: of what was written, forgotten, erased or reclassified exports tell."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from core.runtime.postgres import Pool
from ingest.cold.files import read_file
from ingest.maintenance.retention import Term
from ingest.rollups import roll_up
from tests.ingest.cold.cold_world import LONG_AGO, NOW, Cold, Row, tenant_of

STEPS = 16
# Of weeks that are written to, in days: a file for each of them is enough.
AGES = (5, 100, 180, 190, 290, 360, 700, 1090, 1100, 1300)
TERMS = (Term("measurement", 36, 12), Term("measurement", 6, 12), Term("measurement", 12, 12))
FLAGS = {0: "", 1: "suspect"}


class Model:
    """What was written of streams that are not personal, and was no later than retention."""

    def __init__(self, streams: Sequence[int]) -> None:
        self.rows: dict[tuple[int, datetime], tuple[float, int]] = {}
        self.streams = list(streams)

    def expected(self, ids: Sequence[int], since: datetime, until: datetime) -> list[Row]:
        """In the order of a file."""
        return [
            (stream, at, *_shown(self.rows[stream, at]))
            for stream in ids
            for at in sorted(instant for one, instant in self.rows if one == stream)
            if since <= at < until
        ]


def _shown(reading: tuple[float, int]) -> tuple[float, str]:
    return reading[0], FLAGS[reading[1]]


@pytest.mark.parametrize("seed", range(3))
async def test_exports_are_what_a_dictionary_holds(pool: Pool, measuring, cold: Cold, seed: int) -> None:
    draw = random.Random(seed)
    streams: list[int] = []
    for _ in range(3):
        streams += await measuring.datastreams("temperature", 2, privacy_class=draw.choice((0, 1)))
    model = Model(streams)
    tenant = await tenant_of(pool, streams[0])
    world = _World(pool, measuring, cold, model, draw)
    deeds = [*[world.write] * 4, world.change, world.remove, *[world.forget] * 3, world.erase, world.reclassify]
    await world.write()

    for _ in range(STEPS):
        await draw.choice(deeds)()
        ids = draw.sample(model.streams, draw.randint(1, len(model.streams)))
        since, until = sorted(draw.choices([LONG_AGO, NOW, *(at for _, at in model.rows)], k=2))
        until = max(until, since + timedelta(microseconds=1))

        assert await cold.rows(tenant, ids, since=since, until=until) == model.expected(ids, since, until)

    assert cold.files() == sorted(
        row["name"] for row in await pool.fetch("SELECT name FROM observation.cold_file")
    )
    for name in cold.files():
        for part in read_file(cold.folder / name, None):
            assert set(part.ids.tolist()) <= set(model.streams)


class _World:
    def __init__(self, pool: Pool, measuring, cold: Cold, model: Model, draw: random.Random) -> None:
        self._pool, self._measuring, self._cold, self._model, self._draw = pool, measuring, cold, model, draw
        self._term = draw.choice(TERMS)

    async def _cut(self, stream: int) -> datetime:
        """Before it a reading that comes in is late, and not kept."""
        found = await self._pool.fetchval(
            "SELECT max(before) FROM observation.forgotten WHERE hypertable = 'measurement' AND id IN (0, $1)",
            stream,
        )
        return found or LONG_AGO

    async def write(self) -> None:
        """New readings at any age, which rollups take into account."""
        for stream in self._draw.sample(self._model.streams, min(2, len(self._model.streams))):
            cut = await self._cut(stream)
            for _ in range(5):
                at = NOW - timedelta(days=self._draw.choice(AGES), minutes=self._draw.randint(0, 5000))
                if (stream, at) in self._model.rows:
                    continue
                reading = (self._draw.randint(-99, 99) / 4, self._draw.randint(0, 1))
                await self._measuring.write((stream, at, *reading))
                if at >= cut:
                    self._model.rows[stream, at] = reading
        await roll_up(self._pool, force=True)

    async def _warm(self) -> tuple[int, datetime] | None:
        """A reading that is in the hypertable still."""
        places = sorted(self._model.rows)
        self._draw.shuffle(places)
        for stream, at in places:
            if at >= await self._cut(stream):
                return stream, at
        return None

    async def change(self) -> None:
        """As decoding again does."""
        place = await self._warm()
        if place is not None:
            self._model.rows[place] = (1000.5, 0)
            await self._pool.execute(
                "UPDATE observation.measurement SET value = 1000.5, flags = 0 "
                "WHERE datastream_id = $1 AND time = $2",
                *place,
            )

    async def remove(self) -> None:
        """Likewise."""
        place = await self._warm()
        if place is not None:
            del self._model.rows[place]
            await self._pool.execute(
                "DELETE FROM observation.measurement WHERE datastream_id = $1 AND time = $2", *place
            )

    async def forget(self) -> None:
        """Retention, at an instant that only moves on: nothing changes of what exports say."""
        cold_files = await self._cold.forget(self._term, NOW)
        assert cold_files.failure is None

    async def _drop_stream(self, stream: int) -> list[int]:
        """Of the asset of a stream: all its streams leave the model."""
        same = [
            row["id"]
            for row in await self._pool.fetch(
                "SELECT d.id FROM datastream d JOIN datastream o ON o.asset_id = d.asset_id WHERE o.id = $1",
                stream,
            )
        ]
        self._model.streams = [one for one in self._model.streams if one not in same]
        self._model.rows = {place: row for place, row in self._model.rows.items() if place[0] not in same}
        return same

    async def erase(self) -> None:
        """A device, with all that it has said; two streams stay in any case."""
        if len(self._model.streams) > 2:
            stream = self._draw.choice(self._model.streams)
            row = await self._pool.fetchrow("SELECT tenant_id, device_id FROM datastream WHERE id = $1", stream)
            await self._drop_stream(stream)
            await self._cold.erase(self._pool, row["tenant_id"], "device", row["device_id"])

    async def reclassify(self) -> None:
        """An asset becomes a dwelling; two streams stay in any case."""
        if len(self._model.streams) > 2:
            stream = self._draw.choice(self._model.streams)
            await self._drop_stream(stream)
            await self._pool.execute(
                "UPDATE asset SET privacy_class = 2 WHERE id = (SELECT asset_id FROM datastream WHERE id = $1)",
                stream,
            )
            await self.forget()
