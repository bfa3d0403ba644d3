"""What a batch asks of the workers, and what becomes of frames that no codec can read at present."""

import asyncio
from collections.abc import Sequence

import pytest

from core.messages.uplinks import Uplink
from decoders.javascript.pool import Answer, Call, PoolUnavailable
from ingest.batch import Prepared, UplinkMessage
from ingest.prepare import Registry, prepare
from ingest.registry_cache import KnownDevices, KnownGateways
from ingest.scripts import Scripts
from ingest.workers import LateWorkers, NoWorkers
from tests.ingest.conftest import Planted
from tests.ingest.test_vendor_codecs import THERMOMETER, Codecs

DEFECT = "function decodeUplink(input) { /* un défaut du moteur */ }"
SLOW = "function decodeUplink(input) { /* lent */ }"


class Asked:
    """Workers that answer at once, but for a slow script, and remember what they were asked."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.released: list[str] = []

    async def call(self, calls: Sequence[Call]) -> list[Answer]:
        self.calls += calls
        if calls[0].script.source == SLOW:
            await asyncio.Event().wait()
        if calls[0].script.source == DEFECT:
            raise RuntimeError("a defect of ours")
        return [Answer(output={"data": {"temperature": call.input["bytes"][0]}}) for call in calls]

    def release(self, key: str) -> None:
        self.released.append(key)


class Rig:
    """A registry whose scripts are run by these workers."""

    def __init__(self, planted: Planted, workers: Asked | NoWorkers | LateWorkers) -> None:
        async def suspend(version_id: int) -> None:
            pytest.fail(f"version {version_id} is suspended")

        self.planted = planted
        self.codecs = Codecs(planted)
        scripts = Scripts(workers, asyncio.Queue(), suspend)
        pool = planted.pool
        self.registry = Registry(pool, KnownDevices(pool), KnownGateways(pool), scripts)

    async def device(self, source: str, *, shared: bool = False) -> int:
        version = await self.codecs.version(source, shared=shared)
        return await self.planted.device(await self.codecs.profile(version, shared=shared))

    async def read(self, *uplinks: Uplink) -> Prepared:
        return await prepare([UplinkMessage("s", 1, uplinks)], self.registry)


def reasons(prepared: Prepared) -> list[str | None]:
    return [interpreted.reason for interpreted in prepared.uplinks]


async def test_without_workers_frames_wait_and_their_neighbours_go_on(planted: Planted, make_uplink) -> None:
    rig = Rig(planted, NoWorkers())
    vendor, native = await rig.device(THERMOMETER), await planted.device(await planted.profile("milesight.em400"))

    prepared = await rig.read(make_uplink(vendor, 1, b"\x10"), make_uplink(native, 1))

    assert reasons(prepared) == ["no_workers", None]
    assert [one.status for one in prepared.uplinks] == ["undecodable", "decoded"]
    assert prepared.uplinks[0].uplink.payload == b"\x10"


async def test_workers_that_do_not_start_are_not_started_again_at_once(
    planted: Planted, make_uplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    async def start(_pool: object) -> None:
        started.append(1)
        raise PoolUnavailable("no process")

    monkeypatch.setattr("ingest.workers.CodecPool.start", start)
    rig = Rig(planted, LateWorkers(1, None))
    vendor = await rig.device(THERMOMETER)

    waiting = [await rig.read(make_uplink(vendor, f_cnt, b"\x10")) for f_cnt in (1, 2)]

    assert [reasons(prepared)[0] for prepared in waiting] == ["no_workers"] * 2
    assert started == [1]


async def test_a_script_that_takes_its_time_makes_its_own_frames_wait_and_no_others(
    planted: Planted, make_uplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.scripts.ANSWERS_WITHIN_S", 0.2)
    rig = Rig(planted, Asked())
    slow, quick, broken = [await rig.device(source) for source in (SLOW, THERMOMETER, DEFECT)]

    prepared = await rig.read(
        make_uplink(slow, 1, b"\x10"), make_uplink(quick, 1, b"\x11"), make_uplink(broken, 1, b"\x12")
    )

    assert [one.status for one in prepared.uplinks] == ["undecodable", "decoded", "undecodable"]
    assert reasons(prepared) == ["no_workers", None, "no_workers"]


async def test_a_batch_asks_about_frames_with_a_payload_and_once_for_each_script(
    planted: Planted, make_uplink
) -> None:
    workers = Asked()
    rig = Rig(planted, workers)
    vendor = await rig.device(THERMOMETER)
    uplinks = [make_uplink(vendor, f_cnt, bytes([f_cnt])) for f_cnt in range(1, 4)]
    late = make_uplink(vendor, 4, b"\x04", late=True)
    empty = make_uplink(vendor, 5, b"")

    prepared = await rig.read(*uplinks, late, empty)

    assert [call.input["bytes"] for call in workers.calls] == [[1], [2], [3]]
    assert workers.calls[0].input["recvTime"] == uplinks[0].time_us // 1000
    assert [one.status for one in prepared.uplinks] == ["decoded", "decoded", "decoded", "empty"]


async def test_two_tenants_of_one_offered_version_share_no_context(planted: Planted, make_uplink) -> None:
    workers = Asked()
    rig = Rig(planted, workers)
    mine = await rig.device(THERMOMETER, shared=True)
    profile = await planted.pool.fetchval("SELECT device_profile_id FROM device WHERE id = $1", mine)
    theirs = await planted.device(profile)
    other = await planted.pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('quimper', 'Q') RETURNING id")
    await planted.pool.execute("UPDATE device SET tenant_id = $1 WHERE id = $2", other, theirs)

    await rig.read(make_uplink(mine, 1, b"\x10"), make_uplink(theirs, 1, b"\x10"))

    first, second = (call.script for call in workers.calls)
    assert first.source == second.source
    assert first.key != second.key
