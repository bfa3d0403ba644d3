"""A script that takes its time holds up its own uplinks, and no others of its message or its batch."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from core.messages import topics
from core.runtime.bus import Bus
from decoders.javascript.pool import Answer, Call
from ingest.registry_cache import KnownDevices
from registry.changes import Change
from tests.ingest.conftest import Planted
from tests.ingest.test_app import Ingesting, MakeUplink, Send, UntilDrained, published
from tests.ingest.test_vendor_codecs import THERMOMETER, Codecs

SLOW = "function decodeUplink(input) { /* lent */ }"
STATUSES = "SELECT device_id, f_cnt, status FROM observation.uplink ORDER BY device_id, f_cnt"


class Gated:
    """Workers that answer for the slow script once its gate is open, and for others at once."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.asked = 0

    async def call(self, calls: Sequence[Call]) -> list[Answer]:
        if calls[0].script.source == SLOW:
            self.asked += len(calls)
            await self.gate.wait()
        return [Answer(output={"data": {"temperature": call.input["bytes"][0]}}) for call in calls]

    def release(self, _key: str) -> None:
        pytest.fail("nothing was stopped")


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch) -> Gated:
    workers = Gated()

    @asynccontextmanager
    async def opened(*_: Any) -> AsyncGenerator[Gated]:
        yield workers

    monkeypatch.setattr("services.ingest.app.open_workers", opened)
    return workers


async def until_stored(planted: Planted, count: int) -> None:
    async with asyncio.timeout(20):
        while await planted.count("uplink") < count:  # noqa: ASYNC110 - The server has no event for it.
            await asyncio.sleep(0.02)


async def test_neighbours_of_a_slow_script_are_stored_and_published_before_it_answers(
    planted: Planted,
    bus: Bus,
    send: Send,
    make_uplink: MakeUplink,
    ingesting: Ingesting,
    until_drained: UntilDrained,
    gated: Gated,
) -> None:
    codecs = Codecs(planted)
    slow, quick = [
        await planted.device(await codecs.profile(await codecs.version(source))) for source in (SLOW, THERMOMETER)
    ]
    native = await planted.device(await planted.profile("milesight.em400"))

    async with ingesting():
        await send(make_uplink(slow, 1, b"\x10"), make_uplink(native, 1), make_uplink(quick, 1, b"\x11"))
        await until_stored(planted, 2)
        await send(make_uplink(slow, 2, b"\x12"), make_uplink(native, 2))
        await until_stored(planted, 3)
        stored = [tuple(row) for row in await planted.pool.fetch(STATUSES)]
        assert sorted(stored) == sorted([(native, 1, "decoded"), (native, 2, "decoded"), (quick, 1, "decoded")])
        # Its messages are not acknowledged: whoever ends now loses nothing.
        assert await bus.stream_messages(topics.UPLINKS) == 2
        gated.gate.set()
        await until_drained()

    stored = [tuple(row) for row in await planted.pool.fetch(STATUSES)]
    both = [(device, f_cnt, "decoded") for device in (slow, native) for f_cnt in (1, 2)]
    assert sorted(stored) == sorted([*both, (quick, 1, "decoded")])
    values = [entry for shard in range(4) for entry in await published(bus, shard)]
    assert len({(entry.datastream_id, entry.time_us) for entry in values}) == len(values)
    assert {entry.value for entry in values} >= {0x10, 0x11, 0x12}


async def test_what_waits_for_a_script_at_the_end_is_the_next_owner_s_and_nothing_is_there_twice(
    planted: Planted,
    send: Send,
    make_uplink: MakeUplink,
    ingesting: Ingesting,
    until_drained: UntilDrained,
    gated: Gated,
) -> None:
    codecs = Codecs(planted)
    slow = await planted.device(await codecs.profile(await codecs.version(SLOW)))
    native = await planted.device(await planted.profile("milesight.em400"))

    async with ingesting():
        await send(make_uplink(slow, 1, b"\x10"), make_uplink(native, 1))
        await until_stored(planted, 1)
    gated.gate.set()
    async with ingesting(instance="b"):
        await until_drained()

    assert sorted(tuple(row) for row in await planted.pool.fetch(STATUSES)) == sorted(
        [(slow, 1, "decoded"), (native, 1, "decoded")]
    )
    assert gated.asked == 2


async def test_a_script_that_never_answers_costs_its_uplinks_their_values_and_no_more(
    planted: Planted,
    send: Send,
    make_uplink: MakeUplink,
    ingesting: Ingesting,
    until_drained: UntilDrained,
    gated: Gated,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ingest.scripts.ANSWERS_WITHIN_S", 0.3)
    slow = await planted.device(await Codecs(planted).profile(await Codecs(planted).version(SLOW)))

    async with ingesting():
        await send(make_uplink(slow, 1, b"\x10"))
        await until_drained()

    rows = await planted.pool.fetch("SELECT status, reason, payload FROM observation.uplink")
    assert [tuple(row) for row in rows] == [("undecodable", "no_workers", b"\x10")]
    assert not gated.gate.is_set()


async def test_a_suspended_version_makes_its_own_devices_be_read_again_and_no_others(planted: Planted) -> None:
    codecs = Codecs(planted)
    version = await codecs.version(THERMOMETER)
    other = await codecs.version(SLOW)
    scripted = await planted.device(await codecs.profile(version))
    shadowed = await planted.device(await codecs.profile(None, codec="milesight.em400", shadow=version))
    others = [
        await planted.device(await codecs.profile(other)),
        await planted.device(await planted.profile("milesight.em400")),
    ]
    devices = KnownDevices(planted.pool)
    await devices.resolve([scripted, shadowed, *others])

    devices.apply([Change("codec_version", version)])

    assert [devices.known(id_) is None for id_ in (scripted, shadowed, *others)] == [True, True, False, False]
