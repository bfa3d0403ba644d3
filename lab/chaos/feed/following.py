"""Follows the feed from outside while services die: what is stored is read once per cursor, by whichever way.

Two readers ask for pages, two hold an event stream, one is sent webhooks. Meanwhile frames come late, readings are
typed and corrected, frames are decoded again, and retention drops chunks.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import httpx

from core.runtime.postgres import DATABASE_AWAY, Pool, PostgresError
from lab.chaos.feed.readers import PATH, Key, PageReader, Reader, StreamReader, WebhookReader, key_of, of_key
from lab.chaos.outcome import CaseFailed
from lab.chaos.scene import SECOND_US, Scene
from lab.fleet.provision import Provisioner
from lab.simulator.pushed import Pushed
from lab.simulator.receiver import Received, receive_webhooks

TRIES_EVERY_S, WITHIN_S = 0.5, 120.0
# Two readers with cursors of their own, whose pages end elsewhere.
LIMITS = (1_000, 397)
# Two streams, which come back to one that goes on.
HANG_UPS = (5, 13)
# A batch a second; each so manieth is taken, and its answer is lost.
BATCH = {"batch_most": 1_000, "batch_seconds": 1}
LOSES_ANSWER_EVERY = 9
# Until a delivery is on its way; then alerting is killed before it has the answer.
DELIVERS_WITHIN_S = 30.0
TYPED_EVERY_S = 0.5
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
EXAMPLES = 3

# What the tenant has measured of the last minutes; 64 is corrected, 4 manual.
STORED = """
SELECT m.datastream_id, m.time, m.flags & 68 AS typed, m.value FROM observation.measurement m
JOIN datastream d ON d.id = m.datastream_id
WHERE d.tenant_id = $1 AND m.time >= $2
"""
# Where a reader begins that begins now, while nothing of this tenant is being written.
BEGINS_AT = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"
# What the feed has of the tenant since, committed or not yet shown to anybody.
CHANGES = """
SELECT u.id, u.time, count(*) AS times
FROM observation.feed f CROSS JOIN LATERAL unnest(f.datastream_ids, f.times) AS u (id, time)
JOIN datastream d ON d.id = u.id
WHERE d.tenant_id = $1 AND f.xid >= $2::text::xid8 GROUP BY 1, 2
"""
COUNT_CHANGES = """
SELECT count(*) FROM observation.feed f CROSS JOIN LATERAL unnest(f.datastream_ids) AS u (id)
JOIN datastream d ON d.id = u.id WHERE d.tenant_id = $1 AND f.xid >= $2::text::xid8
"""
SUBJECTS = """
SELECT f.origin, f.subject, count(*) AS times FROM observation.feed f
LEFT JOIN alert a ON f.origin = 'alert' AND a.id = f.subject
LEFT JOIN lighting_command c ON f.origin = 'command' AND c.id = f.subject
WHERE f.subject IS NOT NULL AND coalesce(a.tenant_id, c.tenant_id) = $1 AND f.xid >= $2::text::xid8 GROUP BY 1, 2
"""
COUNT_OLD = """
SELECT count(*) FROM observation.measurement m JOIN datastream d ON d.id = m.datastream_id
WHERE d.tenant_id = $1 AND m.time < $2
"""
NOW = "SELECT now()"


@dataclass(slots=True)
class Typed:
    """What was entered by hand and accepted: old readings, which retention is to drop."""

    old: int = 0


class Measured(NamedTuple):
    """One measurement as it is stored; `typed`: which of the flags of somebody who typed it."""

    value: float
    typed: int


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database has at one instant: measurements of the last minutes, and what its feed has since."""

    measured: dict[Key, Measured]
    changes: Counter[Key]
    subjects: Counter[tuple[str, int]]


@asynccontextmanager
async def following_feed(scene: Scene) -> AsyncGenerator[None]:
    """Five readers follow while the history changes behind them; then what they have is counted.

    Raises:
        CaseFailed: something is missing in what one of them has taken, or there twice, or is not forgotten.
    """
    headers = {"Authorization": f"Bearer {scene.load.api_key}"}
    url = scene.processes.run.api_url
    received = Received(loses_answer_every=LOSES_ANSWER_EVERY)
    async with (
        scene.processes.replaced({"maintenance": FORGETFUL}, "avec une rétention d'un mois"),
        httpx.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False) as client,
        receive_webhooks(received) as receiver,
    ):
        webhook = await _subscribe(url, scene.load.api_key, receiver, received)
        first = await client.get(PATH)
        first.raise_for_status()
        # What came in between is no one's: the load has not begun.
        begins_at: str = await scene.pool.fetchval(BEGINS_AT)
        began = await _stored(scene.pool, scene.load.tenant.id, begins_at)
        cursor: str = first.json()["next"]
        pages = [PageReader(client, limit, cursor) for limit in LIMITS]
        streams = [StreamReader(client, cursor, events) for events in HANG_UPS]
        readers: list[Reader] = [*pages, *streams, webhook]
        typed = Typed()
        typing = asyncio.create_task(_type_readings(client, pages[0], typed), name="type readings")
        tasks = [
            *(asyncio.create_task(reader.follow(), name=f"follow the feed: {reader.name}") for reader in readers),
            asyncio.create_task(_decode_again(client, pages[0]), name="decode again"),
            typing,
        ]
        scene.worst_moments["alerting"] = lambda: _unanswered(received)
        try:
            with _late_frames(scene):
                yield
            typing.cancel()
            found = await _until_read(scene, readers, began, begins_at)
            found += await _until_forgotten(scene, typed)
        finally:
            received.may_answer.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    scene.notes += _figures(pages, streams, webhook)
    scene.notes.append(f"{typed.old} vieilles mesures oubliées")
    if found:
        raise CaseFailed("; ".join(found))


def _figures(
    pages: Sequence[PageReader], streams: Sequence[StreamReader], webhook: WebhookReader
) -> Iterator[str]:
    counted = pages[0].account
    changes = ", ".join(f"{change} {count}" for change, count in sorted(counted.changes.items()))
    failures = sum(page.failures for page in pages)
    yield f"fil : {counted.times.total()} lus ({changes}), {failures} échecs"
    taken, subjects = streams[0].account.times.total(), streams[0].account.subjects.total()
    connections = sum(stream.connections for stream in streams)
    yield f"flux : {taken} lus, {subjects} alertes ou ordres, {connections} connexions"
    batches = len(webhook.pushed.received.ids)
    yield f"{webhook.name} : {webhook.account.times.total()} lus en {batches} lots, {webhook.repeated} répétés"


async def _subscribe(url: str, key: str, receiver: str, received: Received) -> WebhookReader:
    api = Provisioner(url, key)
    try:
        address = {"url": receiver, "description": "lecteur extérieur", "purpose": "measurements"}
        endpoint = await api.post("/v1/webhook-endpoints", address)
        received.secret = endpoint["secret"]
        webhook = await api.post("/v1/measurement-webhooks", {"endpoint_id": endpoint["id"], **BATCH})
    finally:
        await api.close()
    return WebhookReader(Pushed(received, webhook["id"]))


@asynccontextmanager
async def _unanswered(received: Received) -> AsyncGenerator[None]:
    """While a batch is taken whose answer has not left: who sends it dies without knowing."""
    received.may_answer.clear()
    received.arrived.clear()
    try:
        async with asyncio.timeout(DELIVERS_WITHIN_S):
            await received.arrived.wait()
        yield
    except TimeoutError:
        raise CaseFailed(f"aucun lot n'est arrivé en {DELIVERS_WITHIN_S:.0f} s") from None
    finally:
        received.may_answer.set()


@contextmanager
def _late_frames(scene: Scene) -> Generator[None]:
    pacer = scene.load.pacer
    pacer.late_every, pacer.late_by_us = LATE_EVERY, round(LATE_BY.total_seconds() * SECOND_US)
    try:
        yield
    finally:
        pacer.late_every = 0


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


async def _stored(pool: Pool, tenant_id: int, begins_at: str) -> Stored:
    while True:
        with suppress(PostgresError, *DATABASE_AWAY):
            async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
                now: datetime = await connection.fetchval(NOW)
                measured = await connection.fetch(STORED, tenant_id, now - SINCE, timeout=120)
                changes = await connection.fetch(CHANGES, tenant_id, begins_at, timeout=120)
                subjects = await connection.fetch(SUBJECTS, tenant_id, begins_at, timeout=120)
            return Stored(
                {key_of(row[0], row[1]): Measured(row["value"], row["typed"]) for row in measured},
                Counter({key_of(row[0], row[1]): row["times"] for row in changes}),
                Counter({(row[0], row[1]): row["times"] for row in subjects}),
            )
        await asyncio.sleep(TRIES_EVERY_S)


async def _until_read(scene: Scene, readers: Sequence[Reader], began: Stored, begins_at: str) -> list[str]:
    """What is wrong once the readers had time to read all that is stored: for as long as they get on.

    All is compared only once each has as much as is stored: of a million changes that takes seconds, in which
    nobody here reads.
    """
    tenant_id = scene.load.tenant.id
    before, deadline = [-1], time.monotonic() + WITHIN_S
    while True:
        read = [reader.account.times.total() for reader in readers]
        if read != before:
            before, deadline = read, time.monotonic() + WITHIN_S
        is_over = time.monotonic() > deadline
        if is_over or min(read) >= await _count_changes(scene.pool, tenant_id, begins_at):
            stored = await _stored(scene.pool, tenant_id, begins_at)
            found = [finding for reader in readers for finding in findings(reader, stored, began)]
            if is_over or not found:
                return found
        await asyncio.sleep(4 * TRIES_EVERY_S)


async def _count_changes(pool: Pool, tenant_id: int, begins_at: str) -> float:
    try:
        return await pool.fetchval(COUNT_CHANGES, tenant_id, begins_at, timeout=120)
    except (PostgresError, *DATABASE_AWAY):
        return math.inf  # Nobody has read all of what cannot be counted.


def findings(reader: Reader, stored: Stored, began: Stored) -> list[str]:
    """In what the account of one reader differs from the database, which has nothing else of this time."""
    account = reader.account
    # What was typed where nothing was is not of the radio.
    of_radio = {
        key
        for key, measured in stored.measured.items()
        if key not in began.measured and measured.typed != 4  # noqa: PLR2004
    }
    missing, besides = stored.changes - account.times, account.times - stored.changes
    differing = {
        key
        for key, value in account.values.items()
        if key in stored.measured and value != stored.measured[key].value
    }
    lines = [
        _line(reader, "changements manquants", missing),
        _line(reader, "changements en double", besides),
        _line(reader, "mesures jamais reçues", of_radio - account.live.keys()),
        _line(reader, "mesures reçues deux fois", (key for key, times in account.live.items() if times > 1)),
        _line(reader, "valeurs qui ne sont pas celles enregistrées", differing),
    ]
    lines += [f"{reader.name} : {one}" for one in reader.wrong]
    if isinstance(reader, StreamReader) and account.subjects != stored.subjects:
        lines.append(
            f"{reader.name} : {account.subjects.total()} alertes et ordres au lieu de {stored.subjects.total()}"
        )
    if not account.changes["late"]:
        lines.append(f"{reader.name} : rien n'est arrivé en retard")
    if not of_radio:
        lines.append(f"{reader.name} : rien n'a été enregistré")
    return [line for line in lines if line]


def _line(reader: Reader, what: str, keys: Iterable[Key]) -> str:
    found = sorted(keys)
    named = ", ".join(f"{id_} {at:%H:%M:%S.%f}" for id_, at in map(of_key, found[:EXAMPLES]))
    return f"{reader.name} : {len(found)} {what} ({named})" if found else ""


async def _type_readings(client: httpx.AsyncClient, reader: PageReader, typed: Typed) -> None:
    """First readings of long ago; then now one of an instant without any, now one that corrects another."""
    while not reader.account.live:  # noqa: ASYNC110 - Another process has no event.
        await asyncio.sleep(TRIES_EVERY_S)
    while typed.old < OLD_READINGS:
        datastream_id, at = of_key(next(iter(reader.account.live)))
        typed.old += await _type(client, datastream_id, at - OLD - timedelta(hours=typed.old), typed.old)
    for number in range(10**6):
        datastream_id, at = of_key(next(reversed(reader.account.live)))
        if number % 2:
            at -= timedelta(days=1, seconds=number)
        await _type(client, datastream_id, at, number % 100)
        await asyncio.sleep(TYPED_EVERY_S)


async def _type(client: httpx.AsyncClient, datastream_id: int, at: datetime, value: int) -> bool:
    body: dict[str, Any] = {"time": at.isoformat(), "value": value}
    with suppress(httpx.HTTPError):
        return (await client.post(f"/v1/datastreams/{datastream_id}/manual-readings", json=body)).is_success
    return False


async def _decode_again(client: httpx.AsyncClient, reader: PageReader) -> None:
    while True:
        await asyncio.sleep(TRIES_EVERY_S)
        with suppress(httpx.HTTPError):
            if reader.account.live and (await client.post("/v1/redecodes", json={})).is_success:
                return
