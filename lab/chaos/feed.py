"""Follows the feed of measurements from outside while services die: what is stored is read once per cursor.

Meanwhile frames come late, readings are typed and corrected, frames are decoded again, and retention drops chunks.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import httpx
import msgspec

from core.runtime.postgres import DATABASE_AWAY, Pool, PostgresError
from lab.chaos.processes import CaseFailed
from lab.chaos.scene import SECOND_US, Scene

PATH = "/v1/measurements"
READS_EVERY_S, TRIES_EVERY_S, WITHIN_S = 0.2, 0.5, 120.0
# Two readers with cursors of their own, whose pages end elsewhere.
LIMITS = (1_000, 97)
TYPED_EVERY_S = 0.5
LIVE = frozenset({"new", "late"})
SINCE = timedelta(minutes=40)
# Each so manieth frame of a device was kept by its gateways; what is a quarter of an hour old is late.
LATE_EVERY, LATE_BY = 4, timedelta(minutes=20)
# Typed of then, and dropped with their chunk by a maintenance that keeps one month and looks all the time.
OLD, OLD_READINGS = timedelta(days=70), 12
FORGETFUL = {
    "TERRITOIRE_KEEP_MEASUREMENTS_MONTHS": "1",
    "TERRITOIRE_KEEP_PERSONAL_MEASUREMENTS_MONTHS": "1",
    "TERRITOIRE_HOUSEKEEPING_EVERY_S": "2",
    "TERRITOIRE_ROLLUPS_EVERY_S": "1",
}
READY_WITHIN_S = 60.0
EXAMPLES = 3

# What the tenant has measured of the last minutes; 64 is corrected, 4 manual.
STORED = """
SELECT m.datastream_id, m.time, m.flags & 68 AS typed FROM observation.measurement m
JOIN datastream d ON d.id = m.datastream_id
WHERE d.tenant_id = $1 AND m.time >= $2
"""
COUNT_OLD = """
SELECT count(*) FROM observation.measurement m JOIN datastream d ON d.id = m.datastream_id
WHERE d.tenant_id = $1 AND m.time < $2
"""
NOW = "SELECT now()"

Key = tuple[int, datetime]


class Changed(msgspec.Struct):
    """One item of the feed, as far as it is counted."""

    datastream_id: int
    time: datetime
    change: str


class Read(msgspec.Struct):
    """One answer."""

    items: list[Changed]
    next: str
    has_more: bool


@dataclass(slots=True)
class FeedReader:
    """Keeps its cursor with what it has read, as docs/api.md says, and asks again when it got no answer."""

    client: httpx.AsyncClient
    limit: int
    cursor: str
    read: Counter[Key] = field(default_factory=Counter[Key])
    late: int = 0
    others: Counter[str] = field(default_factory=Counter[str])
    failures: int = 0
    wrong: str = ""

    async def follow(self) -> None:
        """Read on, until cancelled."""
        while True:
            page = await self._ask()
            if page is not None:
                self.cursor = page.next
                self.read.update((one.datastream_id, one.time) for one in page.items if one.change in LIVE)
                self.late += sum(one.change == "late" for one in page.items)
                self.others.update(one.change for one in page.items if one.change not in LIVE)
            await asyncio.sleep(0 if page is not None and page.has_more else READS_EVERY_S)

    async def _ask(self) -> Read | None:
        try:
            answer = await self.client.get(PATH, params={"after": self.cursor, "limit": self.limit})
        except httpx.HTTPError:
            self.failures += 1
            return None
        if answer.status_code == HTTPStatus.OK:
            return msgspec.json.decode(answer.content, type=Read)
        self.failures += 1
        if answer.status_code in {HTTPStatus.CONFLICT, HTTPStatus.GONE, HTTPStatus.UNPROCESSABLE_ENTITY}:
            self.wrong = answer.text[:200]
        return None


@dataclass(slots=True)
class Typed:
    """What was entered by hand and accepted: old readings, which retention is to drop."""

    old: int = 0


@asynccontextmanager
async def following_feed(scene: Scene) -> AsyncGenerator[None]:
    """Two readers follow while the history changes behind them; then what they have is counted.

    Raises:
        CaseFailed: something is missing in what one of them has read, or there twice, or is not forgotten.
    """
    headers = {"Authorization": f"Bearer {scene.load.api_key}"}
    url = scene.processes.run.api_url
    async with (
        _forgetful_maintenance(scene),
        httpx.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False) as client,
    ):
        began = await _stored(scene.pool, scene.load.tenant.id)
        first = await client.get(PATH)
        first.raise_for_status()
        # What came in between the two is no one's: the load has not begun.
        readers = [FeedReader(client, limit, first.json()["next"]) for limit in LIMITS]
        typed = Typed()
        typing = asyncio.create_task(_type_readings(client, readers[0], typed), name="type readings")
        tasks = [
            *(asyncio.create_task(reader.follow(), name="follow the feed") for reader in readers),
            asyncio.create_task(_decode_again(client, readers[0]), name="decode again"),
            typing,
        ]
        try:
            with _late_frames(scene):
                yield
            typing.cancel()
            found = await _until_read(scene, readers, began)
            found += await _until_forgotten(scene, typed)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    others = ", ".join(f"{change} {count}" for change, count in sorted(readers[0].others.items()))
    failures = sum(reader.failures for reader in readers)
    scene.notes.append(
        f"fil : {readers[0].read.total()} lues, dont {readers[0].late} en retard, {others or 'rien de changé'}, "
        f"{typed.old} oubliées, {failures} échecs"
    )
    if found:
        raise CaseFailed("; ".join(found))


@contextmanager
def _late_frames(scene: Scene) -> Generator[None]:
    pacer = scene.load.pacer
    pacer.late_every, pacer.late_by_us = LATE_EVERY, round(LATE_BY.total_seconds() * SECOND_US)
    try:
        yield
    finally:
        pacer.late_every = 0


@asynccontextmanager
async def _forgetful_maintenance(scene: Scene) -> AsyncGenerator[None]:
    """Maintenance of our own, whose retention runs every other second.

    Raises:
        CaseFailed: it does not start.
    """
    try:
        await scene.processes.replace("maintenance", FORGETFUL)
        unready = await scene.processes.until_ready(READY_WITHIN_S)
        if unready:
            raise CaseFailed(f"{', '.join(unready)} : pas prêt avec une rétention d'un mois")
        yield
    finally:
        await scene.processes.give_back("maintenance")


async def _until_forgotten(scene: Scene, typed: Typed) -> list[str]:
    """What is wrong with retention, once it had time to drop what was typed of long ago."""
    deadline, left = time.monotonic() + WITHIN_S, 1
    while left and time.monotonic() < deadline:
        with suppress(PostgresError, *DATABASE_AWAY):
            now: datetime = await scene.pool.fetchval(NOW)
            left = await scene.pool.fetchval(COUNT_OLD, scene.load.tenant.id, now - OLD / 2)
        await asyncio.sleep(TRIES_EVERY_S)
    if left:
        return [f"rétention : {left} vieilles mesures sont encore là"]
    return [] if typed.old else ["rétention : rien à oublier n'a été enregistré"]


async def _stored(pool: Pool, tenant_id: int) -> dict[Key, int]:
    """By datastream and instant, whether somebody has typed it."""
    while True:
        with suppress(PostgresError, *DATABASE_AWAY):
            now: datetime = await pool.fetchval(NOW)
            rows = await pool.fetch(STORED, tenant_id, now - SINCE, timeout=120)
            return {(row[0], row[1]): row[2] for row in rows}
        await asyncio.sleep(TRIES_EVERY_S)


async def _until_read(scene: Scene, readers: list[FeedReader], began: dict[Key, int]) -> list[str]:
    """What is wrong once the readers had time to read all that is stored now."""
    stored = await _stored(scene.pool, scene.load.tenant.id)
    # What was typed where nothing was is not of the radio.
    expected = {key for key, typed in stored.items() if key not in began and typed != 4}  # noqa: PLR2004
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline and any(  # noqa: ASYNC110 - Another process's table has no event.
        not expected <= reader.read.keys() for reader in readers
    ):
        await asyncio.sleep(TRIES_EVERY_S)
    found: list[str] = []
    for reader in readers:
        missing = expected - reader.read.keys()
        twice = [key for key, times in reader.read.items() if times > 1]
        for what, keys in (("manquantes", sorted(missing)), ("en double", sorted(twice))):
            if keys:
                named = ", ".join(f"{id_} {at:%H:%M:%S.%f}" for id_, at in keys[:EXAMPLES])
                found.append(f"fil par {reader.limit} : {len(keys)} mesures {what} ({named})")
        if reader.wrong:
            found.append(f"fil par {reader.limit} : {reader.wrong}")
        if not reader.late:
            found.append(f"fil par {reader.limit} : rien n'est arrivé en retard")
    return found if expected else [*found, "fil : rien n'a été enregistré"]


async def _type_readings(client: httpx.AsyncClient, reader: FeedReader, typed: Typed) -> None:
    """First readings of long ago; then now one of an instant without any, now one that corrects another."""
    while not reader.read:  # noqa: ASYNC110 - Another process has no event.
        await asyncio.sleep(TRIES_EVERY_S)
    while typed.old < OLD_READINGS:
        datastream_id, at = next(iter(reader.read))
        typed.old += await _type(client, datastream_id, at - OLD - timedelta(hours=typed.old), typed.old)
    for number in range(10**6):
        datastream_id, at = next(reversed(reader.read))
        if number % 2:
            at -= timedelta(days=1, seconds=number)
        await _type(client, datastream_id, at, number % 100)
        await asyncio.sleep(TYPED_EVERY_S)


async def _type(client: httpx.AsyncClient, datastream_id: int, at: datetime, value: int) -> bool:
    body: dict[str, Any] = {"time": at.isoformat(), "value": value}
    with suppress(httpx.HTTPError):
        return (await client.post(f"/v1/datastreams/{datastream_id}/manual-readings", json=body)).is_success
    return False


async def _decode_again(client: httpx.AsyncClient, reader: FeedReader) -> None:
    while True:
        await asyncio.sleep(TRIES_EVERY_S)
        with suppress(httpx.HTTPError):
            if reader.read and (await client.post("/v1/redecodes", json={})).is_success:
                return
