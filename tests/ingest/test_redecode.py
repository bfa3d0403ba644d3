"""Decoding again: what is stored afterwards is what live ingest would have stored with that codec."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import pytest

from core.messages.measurements import Flag
from core.messages.uplinks import Uplink
from core.runtime.postgres import Pool, PostgresError
from decoders.javascript.pool import CodecPool, PoolUnavailable
from ingest import redecode as redecoding
from ingest.batch import UplinkMessage
from ingest.prepare import Registry, prepare
from ingest.recount import recount
from ingest.redecode import redecode_next
from ingest.registry_cache import KnownDevices, KnownGateways
from ingest.rollups import roll_up
from ingest.scripts import Scripts
from ingest.store import Store
from ingest.workers import NoWorkers
from registry.redecodes import cancel_redecode, read_redecode, request_redecode
from tests.forked_programs import start_program
from tests.ingest.conftest import Planted
from tests.ingest.test_vendor_codecs import Codecs

NOW_US = 1_795_597_200_000_000  # 2026-11-25, 9 o'clock UTC
DAY_US = 86_400_000_000
HOUR = timedelta(hours=1)
# The first byte is a temperature; the others are of the hours before, the newest first.
RIGHT = """
function decodeUplink(input) {
  if (input.bytes[0] === 255) return { errors: ['débranché'] };
  var history = [];
  for (var i = 1; i < input.bytes.length; i++) {
    history.push({ t: input.bytes[i] / 10, at: Math.floor(input.recvTime / 3600000 - i) * 3600 });
  }
  return { data: { temperature: input.bytes[0] / 10, humidity: 50, history: history } };
}
"""
# Misplaces the comma, and the history by half an hour; reads what the other rejects.
WRONG = RIGHT.replace("/ 10", "").replace("- i) * 3600", "- i) * 3600 + 1800").replace("=== 255", "> 255")
WRONG = WRONG.replace("humidity: 50, ", "")
MAPPING = [
    {"path": "temperature", "quantity": "temperature"},
    {"path": "humidity", "quantity": "relative_humidity"},
    {"path": "history[*].t", "quantity": "temperature", "time": {"path": "at"}},
]


class World:
    """A tenant whose devices are read by two versions of one codec."""

    def __init__(self, pool: Pool, workers: CodecPool) -> None:
        self.pool = pool
        self.workers = workers
        self.planted = Planted(pool)
        self.codecs = Codecs(self.planted)
        self.wrong = self.right = self.profile = 0

    async def begin(self) -> None:
        await self.planted.begin()
        self.wrong = await self.codecs.version(WRONG, name="sonde")
        self.right = await self.codecs.version(RIGHT, name="sonde")
        self.profile = await self.codecs.profile(self.wrong, MAPPING)

    async def ingest(self, uplinks: Sequence[Uplink]) -> None:
        async def suspend(version_id: int) -> None:
            pytest.fail(f"version {version_id} is suspended")

        scripts = Scripts(self.workers, asyncio.Queue(), suspend)
        registry = Registry(self.pool, KnownDevices(self.pool), KnownGateways(self.pool), scripts)
        prepared = await prepare([UplinkMessage("uplinks", 1, uplinks)], registry)
        await Store(self.pool).write([], prepared)

    async def ask(self, **what: Any) -> int:
        given = {"since": datetime(2026, 1, 1, tzinfo=UTC), "until": datetime(2100, 1, 1, tzinfo=UTC), **what}
        async with self.pool.acquire() as connection:
            # What the clock of this machine says is none of the test's business.
            job = await request_redecode(connection, self.planted.tenant_id, requested_by="essai", **given)
            await connection.execute("UPDATE redecode SET until = $2 WHERE id = $1", job.id, given["until"])
        return job.id

    async def work(self, owner: str = "m1") -> None:
        while await redecode_next(self.pool, self.workers, owner):
            pass

    async def redecode(self, **what: Any) -> Any:
        job = await self.ask(**what)
        await self.work()
        return await read_redecode(self.pool, job)

    async def values(self, device_id: int) -> dict[tuple[str, datetime], tuple[float, int]]:
        rows = await self.pool.fetch(
            "SELECT d.quantity, m.time, m.value, m.flags FROM observation.measurement m "
            "JOIN datastream d ON d.id = m.datastream_id WHERE d.device_id = $1",
            device_id,
        )
        return {(row["quantity"], row["time"]): (row["value"], row["flags"]) for row in rows}

    async def changes(self, origin: str, device_id: int) -> list[tuple[str, datetime]]:
        rows = await self.pool.fetch(
            "SELECT d.quantity, u.time FROM observation.feed f, unnest(f.datastream_ids, f.times) AS u (id, time) "
            "JOIN datastream d ON d.id = u.id WHERE f.origin = $1 AND d.device_id = $2",
            origin,
            device_id,
        )
        return [(row["quantity"], row["time"]) for row in rows]

    async def uplinks(self, device_id: int) -> list[tuple[Any, ...]]:
        rows = await self.pool.fetch(
            "SELECT time, status, reason, decoded::text, codec, codec_version, payload FROM observation.uplink "
            "WHERE device_id = $1 ORDER BY time",
            device_id,
        )
        return [tuple(row) for row in rows]


@pytest.fixture
async def world(pool: Pool) -> AsyncIterator[World]:
    workers = CodecPool(1)
    await workers.start()
    made = World(pool, workers)
    await made.begin()
    yield made
    await workers.close()


def frames(device_id: int, count: int = 40, *, every_us: int = 3_600_000_000) -> list[Uplink]:
    """Hourly frames up to now, each with the two hours before; every seventh has no sensor."""
    made: list[Uplink] = []
    for number in range(count):
        time_us = NOW_US - (count - number) * every_us + 123_456 + number
        payload = bytes(
            [255 if number % 7 == 3 else 200 + number % 5, 100 + (number - 1) % 50, 100 + (number - 2) % 50]
        )
        identity = uuid5(NAMESPACE_OID, f"{device_id} {number}").bytes
        made.append(
            Uplink(identity, device_id, 1, number, 1, payload, False, time_us, time_us + 9, 0, 0, 0, False, [])
        )
    return made


def unflagged(values: dict[Any, tuple[float, int]]) -> dict[Any, tuple[float, int]]:
    return {key: (value, flags & ~Flag.REDECODED) for key, (value, flags) in values.items()}


async def oracle(world: World, uplinks: Sequence[Uplink], version: int) -> tuple[dict[Any, Any], list[Any]]:
    """What live ingest makes of the same frames of another device, with this version."""
    profile = await world.codecs.profile(version, MAPPING)
    device = await world.planted.device(profile)
    again = [frame.__class__(*[*_fields(frame)[:1], device, *_fields(frame)[2:]]) for frame in uplinks]
    await world.ingest(again)
    return await world.values(device), await world.uplinks(device)


def _fields(uplink: Uplink) -> list[Any]:
    return [getattr(uplink, name) for name in uplink.__struct_fields__]


async def test_what_is_stored_is_what_live_ingest_would_have_made(world: World) -> None:
    device = await world.planted.device(world.profile)
    uplinks = frames(device)
    await world.ingest(uplinks)
    wrong = await world.values(device)
    values, stored = await oracle(world, uplinks, world.right)

    job = await world.redecode(device_id=device, codec_version_id=world.right)

    assert unflagged(await world.values(device)) == values
    assert unflagged(wrong) != values
    assert await world.uplinks(device) == stored
    assert all(flags & Flag.REDECODED for _, flags in (await world.values(device)).values())
    assert (job.state, job.frames, job.frames_done) == ("done", 40, 40)
    assert (job.frames_decoded, job.frames_failed) == (34, 6)
    assert (job.values_removed, job.values_written) == (len(wrong), len(values))
    live, again = await world.changes("live", device), await world.changes("redecoded", device)
    assert sorted(live) == sorted(set(live)) == sorted(wrong)
    assert sorted(again) == sorted(wrong.keys() | values.keys())


async def test_decoding_once_more_changes_nothing(world: World) -> None:
    device = await world.planted.device(world.profile)
    await world.ingest(frames(device))
    await world.redecode(device_id=device, codec_version_id=world.right)
    await world.pool.execute("DELETE FROM observation.dirty")
    before = await world.pool.fetch(
        "SELECT ctid, xmin, * FROM observation.measurement ORDER BY datastream_id, time"
    )
    uplinks = await world.pool.fetch("SELECT ctid, xmin FROM observation.uplink ORDER BY ctid")

    job = await world.redecode(device_id=device, codec_version_id=world.right)

    assert (job.state, job.frames_done, job.values_removed, job.values_written) == ("done", 40, 0, 0)
    assert before == await world.pool.fetch(
        "SELECT ctid, xmin, * FROM observation.measurement ORDER BY datastream_id, time"
    )
    assert uplinks == await world.pool.fetch("SELECT ctid, xmin FROM observation.uplink ORDER BY ctid")
    assert await world.pool.fetchval("SELECT count(*) FROM observation.dirty") == 0


async def test_and_back_again_leaves_nothing_of_the_way(world: World) -> None:
    device = await world.planted.device(world.profile)
    await world.ingest(frames(device))
    first = await world.values(device)

    await world.redecode(device_id=device, codec_version_id=world.right)
    await world.redecode(device_id=device)  # As its profile says.

    assert unflagged(await world.values(device)) == first


async def test_rollups_and_last_values_are_right_afterwards(world: World) -> None:
    """Against a recount from raw."""
    device = await world.planted.device(world.profile)
    await world.ingest(frames(device))
    await roll_up(world.pool)

    await world.redecode(device_id=device, codec_version_id=world.right)
    await roll_up(world.pool)

    assert await recount(world.pool) == []
    latest = await world.pool.fetch(
        "SELECT datastream_id, time, value, flags FROM observation.latest ORDER BY datastream_id"
    )
    expected = await world.pool.fetch(
        "SELECT DISTINCT ON (datastream_id) datastream_id, time, value, flags FROM observation.measurement "
        "ORDER BY datastream_id, time DESC"
    )
    assert latest == expected


async def test_what_fails_now_has_no_values_any_more(world: World) -> None:
    """Neither has its datastream a last value, when there was no other."""
    device = await world.planted.device(world.profile)
    uplinks = [frame for frame in frames(device) if frame.payload[0] == 255]
    await world.ingest(uplinks)
    assert await world.values(device)

    job = await world.redecode(device_id=device, codec_version_id=world.right)

    assert await world.values(device) == {}
    assert await world.pool.fetchval("SELECT count(*) FROM observation.latest") == 0
    assert {(row[1], row[2]) for row in await world.uplinks(device)} == {("undecodable", "unreadable")}
    assert job.frames_failed == len(uplinks)


async def test_only_failed_frames_when_asked(world: World) -> None:
    await world.pool.execute("UPDATE device_profile SET codec_version_id = $1", world.right)
    device = await world.planted.device(world.profile)
    await world.ingest(frames(device))

    job = await world.redecode(device_id=device, codec_version_id=world.wrong, only_failed=True)

    assert (job.frames, job.frames_done, job.frames_decoded) == (6, 6, 6)
    assert {row[5] for row in await world.uplinks(device)} == {1, 2}


async def test_a_period_a_profile_and_other_tenants_bound_it(world: World) -> None:
    one, other = await world.planted.device(world.profile), await world.planted.device(world.profile)
    apart = await world.planted.device(await world.codecs.profile(world.wrong, MAPPING))
    stranger = Planted(world.pool)
    stranger.tenant_id = await world.pool.fetchval(
        "INSERT INTO tenant (slug, name) VALUES ('x', 'X') RETURNING id"
    )
    theirs = await stranger.device(world.profile)
    for device in (one, other, apart, theirs):
        await world.ingest(frames(device))
    since, until = (
        datetime.fromtimestamp(NOW_US / 1e6, UTC) - 20 * HOUR,
        datetime.fromtimestamp(NOW_US / 1e6, UTC) - 10 * HOUR,
    )

    job = await world.redecode(
        device_profile_id=world.profile, codec_version_id=world.right, since=since, until=until
    )

    assert job.frames == job.frames_done == 20
    for device in (one, other):
        assert {row[0] for row in await world.uplinks(device) if row[5] == 2} == {
            row[0] for row in await world.uplinks(device) if since <= row[0] < until
        }
    assert {row[5] for device in (apart, theirs) for row in await world.uplinks(device)} == {1}


async def test_readings_that_people_typed_stay(world: World) -> None:
    device = await world.planted.device(world.profile)
    uplinks = frames(device)
    await world.ingest(uplinks)
    stream = await world.pool.fetchval("SELECT id FROM datastream WHERE quantity = 'temperature'")
    at = datetime.fromtimestamp(NOW_US / 1e6, UTC) - 5 * HOUR  # Where the right version puts a value of a history.
    manual = await world.pool.fetchval(
        "INSERT INTO observation.measurement VALUES ($1, $2, 12.5, $3) RETURNING time", stream, at, Flag.MANUAL
    )

    await world.redecode(device_id=device, codec_version_id=world.right)

    assert (await world.values(device))["temperature", manual] == (12.5, Flag.MANUAL)


async def test_values_go_to_what_the_device_served_then(world: World) -> None:
    device = await world.planted.device(world.profile)
    asset, later = await world.planted.asset(), await world.planted.asset()
    moved = datetime.fromtimestamp(NOW_US / 1e6, UTC) - 20 * HOUR
    for served, since, until in ((asset, None, moved), (later, moved, None)):
        await world.pool.execute(
            "INSERT INTO assignment (tenant_id, asset_id, device_id, during) "
            "VALUES ($1, $2, $3, tstzrange($4, $5))",
            world.planted.tenant_id, served, device, since, until,
        )  # fmt: skip
    await world.ingest(frames(device))

    await world.redecode(device_id=device, codec_version_id=world.right)

    rows = await world.pool.fetch(
        "SELECT d.asset_id, min(m.time), max(m.time) FROM observation.measurement m "
        "JOIN datastream d ON d.id = m.datastream_id WHERE d.quantity = 'relative_humidity' GROUP BY d.asset_id"
    )
    bounds = {row[0]: (row[1], row[2]) for row in rows}
    assert bounds[asset][1] < moved <= bounds[later][0]
    assert bounds.keys() == {asset, later}


async def test_a_native_codec_by_its_name(world: World) -> None:
    profile = await world.planted.profile("inconnu")
    device = await world.planted.device(profile)
    payload = bytes.fromhex("01755c0367010104824408050001")
    await world.ingest(
        [Uplink(*[*_fields(frame)[:4], 85, payload, *_fields(frame)[6:]]) for frame in frames(device, 3)]
    )
    assert {row[1] for row in await world.uplinks(device)} == {"undecodable"}

    job = await world.redecode(device_id=device, codec="milesight.em400")

    assert job.frames_decoded == 3
    assert {key[0] for key in await world.values(device)} == {"battery_level", "temperature", "distance", "tilt"}


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ({"codec": "rien.du_tout"}, "le codec « rien.du_tout » n'existe pas"),
        ({}, "le codec sonde v1 est suspendu"),
    ],
)
async def test_a_job_without_a_codec_that_runs_fails_and_touches_nothing(world: World, what, reason: str) -> None:
    device = await world.planted.device(world.profile)
    await world.ingest(frames(device))
    before = await world.values(device)
    await world.pool.execute(
        "UPDATE codec_version SET quarantined_at = now(), quarantine_reason = 'trop lent' WHERE id = $1",
        world.wrong,
    )

    job = await world.redecode(device_id=device, **what)

    assert (job.state, job.reason) == ("failed", reason)
    assert await world.values(device) == before


async def test_without_workers_the_job_waits(world: World) -> None:
    device = await world.planted.device(world.profile)
    await world.ingest(frames(device))
    job = await world.ask(device_id=device, codec_version_id=world.right)

    with pytest.raises(PoolUnavailable):
        await redecode_next(world.pool, NoWorkers(), "m1")
    await world.work()

    assert (await read_redecode(world.pool, job)).state == "done"


async def test_a_cancelled_job_stops_between_two_days(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    device = await world.planted.device(world.profile)
    await world.ingest(frames(device, 72))
    job = await world.ask(device_id=device, codec_version_id=world.right)
    replace_day = redecoding.replace_day

    async def cancelled_after(*given: Any) -> None:
        await replace_day(*given)
        async with world.pool.acquire() as connection:
            await cancel_redecode(connection, job)

    monkeypatch.setattr(redecoding, "replace_day", cancelled_after)
    await world.work()

    ended = await read_redecode(world.pool, job)
    redone = {row[0].date() for row in await world.uplinks(device) if row[5] == 2}
    assert (ended.state, len(redone)) == ("cancelled", 1)
    assert ended.frames_done == sum(row[5] == 2 for row in await world.uplinks(device))


async def test_a_database_that_fails_in_the_middle_of_a_day_leaves_it_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was half replaced is as before; the next attempt goes on there and counts nothing twice."""
    device = await world.planted.device(world.profile)
    uplinks = frames(device, 72)
    await world.ingest(uplinks)
    values, _ = await oracle(world, uplinks, world.right)
    job = await world.ask(device_id=device, codec_version_id=world.right)
    from ingest import redecode_store  # noqa: PLC0415

    update, failed = redecode_store._update_uplinks, []

    async def failing(*given: Any) -> None:
        await update(*given)
        if len(failed) < 3:
            failed.append(1)
            raise PostgresError("the server is gone")

    monkeypatch.setattr(redecode_store, "_update_uplinks", failing)
    for _ in range(3):
        with pytest.raises(PostgresError):
            await world.work()
    await world.work()

    ended = await read_redecode(world.pool, job)
    assert (ended.state, ended.frames_done) == ("done", 72)
    assert unflagged(await world.values(device)) == values


async def test_a_worker_that_is_killed_again_and_again_loses_and_doubles_nothing(
    world: World, database_url: str, tmp_path: Path
) -> None:
    """kill -9 at random moments; the next process of the same name goes on at once."""
    device = await world.planted.device(world.profile)
    uplinks = frames(device, 200)
    await world.ingest(uplinks)
    values, stored = await oracle(world, uplinks, world.right)
    job = await world.ask(device_id=device, codec_version_id=world.right)

    killed = 0
    while (await read_redecode(world.pool, job)).state in ("waiting", "running"):
        log = tmp_path / f"{killed}.log"
        process = await start_program(
            "tests.ingest.redecoding_worker", os.environ | {"DATABASE_URL": database_url}, log
        )
        async with asyncio.timeout(60):
            while b"ready" not in log.read_bytes():  # noqa: ASYNC110 - A file has no event.
                await asyncio.sleep(0.01)
        reached = (await read_redecode(world.pool, job)).frames_done
        async with asyncio.timeout(60):
            # Another process writes it, and the database has no event for it.
            while (now := await read_redecode(world.pool, job)).frames_done == reached and now.state != "done":  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        killed += 1

    ended = await read_redecode(world.pool, job)
    assert (ended.state, ended.frames_done) == ("done", 200)
    assert unflagged(await world.values(device)) == values
    assert await world.uplinks(device) == stored
    assert killed > 1


async def test_two_replicas_do_not_do_the_same_job(world: World) -> None:
    devices = [await world.planted.device(world.profile) for _ in range(2)]
    for device in devices:
        await world.ingest(frames(device))
    jobs = [await world.ask(device_id=device, codec_version_id=world.right) for device in devices]

    await asyncio.gather(world.work("m1"), world.work("m2"))

    ended = [await read_redecode(world.pool, job) for job in jobs]
    assert [(one.state, one.frames_done) for one in ended] == [("done", 40)] * 2


async def test_a_day_of_many_frames_is_one_transaction(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading in parts never cuts a day."""
    monkeypatch.setattr(redecoding, "AT_ONCE", 10)
    device = await world.planted.device(world.profile)
    uplinks = frames(device, 60)
    await world.ingest(uplinks)
    values, _ = await oracle(world, uplinks, world.right)
    days: list[set[int]] = []
    replace_day = redecoding.replace_day

    async def noting(*given: Any) -> None:
        await replace_day(*given)
        days.append({one.uplink.time_us // DAY_US for one in given[-1].interpreted})

    monkeypatch.setattr(redecoding, "replace_day", noting)
    job = await world.redecode(device_id=device, codec_version_id=world.right)

    assert job.frames_done == 60
    assert [len(day) for day in days] == [1] * len({frame.time_us // DAY_US for frame in uplinks})
    assert unflagged(await world.values(device)) == values
