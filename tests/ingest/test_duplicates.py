"""An uplink is stored once, whichever way and however often it comes: against the real tables."""

from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import NAMESPACE_OID, uuid5

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.messages.uplinks import Reception, Uplink
from core.runtime.postgres import Pool
from ingest.batch import UplinkMessage
from ingest.prepare import Registry, prepare
from ingest.registry_cache import KnownDevices, KnownGateways
from ingest.store import Store, Written

MakeUplink = Callable[..., Uplink]
NOW_US = 1_795_597_200_000_000  # 2026-11-25
MINUTE_US = 60_000_000
GATEWAYS = [bytes([0, 128, 0, 0, 0, 0, 0, number]) for number in range(2)]
TABLES = ("uplink", "uplink_seen", "reception", "measurement", "latest")


class Writer(NamedTuple):
    """The write path, without the bus."""

    registry: Registry
    store: Store

    async def write(self, *uplinks: Uplink) -> Written:
        return await self.store.write([], await prepare([UplinkMessage("s", 1, uplinks)], self.registry))


@pytest.fixture
def writer(pool: Pool) -> Writer:
    return Writer(Registry(pool, KnownDevices(pool), KnownGateways(pool)), Store(pool))


@pytest.fixture
async def device_id(planted: Any) -> int:
    return await planted.device(await planted.profile("milesight.em400"))


def duplicate_of(uplink: Uplink, source: str, after_us: int, **changes: Any) -> Uplink:
    """The same frame, received by another network server."""
    values: dict[str, Any] = {name: getattr(uplink, name) for name in Uplink.__struct_fields__}
    changed = {
        "uplink_id": uuid5(NAMESPACE_OID, f"{source} {after_us}").bytes,
        "session_id": 0,
        "time_us": uplink.time_us + after_us,
        "receptions": [Reception(GATEWAYS[1], 0, -111.0, -2.0)],
    }
    return Uplink(**(values | changed | changes))


async def tables(pool: Pool) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table: [tuple(row) for row in await pool.fetch(f"SELECT t FROM observation.{table} t ORDER BY t::text")]
        for table in TABLES
    }


@pytest.mark.parametrize("ours_first", [True, False])
@pytest.mark.parametrize("in_one_batch", [True, False])
async def test_a_copy_from_another_source_within_ten_minutes_adds_its_receptions_only(
    planted: Any, writer: Writer, device_id: int, make_uplink: MakeUplink, ours_first: bool, in_one_batch: bool
) -> None:
    ours = make_uplink(device_id)
    theirs = duplicate_of(ours, "wanesy", 9 * MINUTE_US if ours_first else -9 * MINUTE_US)
    uplinks = (ours, theirs) if ours_first else (theirs, ours)

    if in_one_batch:
        await writer.write(*uplinks)
    else:
        for uplink in uplinks:
            await writer.write(uplink)

    rows = await planted.pool.fetch("SELECT time, uplink_id FROM observation.uplink")
    assert [row["uplink_id"].bytes for row in rows] == [uplinks[0].uplink_id]
    receptions = await planted.pool.fetch("SELECT * FROM observation.reception ORDER BY gateway_id")
    assert [row["gateway_id"] for row in receptions] == planted.gateways
    assert {row["uplink_id"].bytes for row in receptions} == {uplinks[0].uplink_id}
    assert {row["time"] for row in receptions} == {rows[0]["time"]}
    assert await planted.count("measurement") == 4
    assert await planted.count("uplink_seen") == 1


async def test_after_ten_minutes_and_under_another_session_of_ours_it_is_a_new_uplink(
    planted: Any, writer: Writer, device_id: int, make_uplink: MakeUplink
) -> None:
    first = make_uplink(device_id)
    later = duplicate_of(first, "wanesy", 10 * MINUTE_US + 1)
    rejoined = duplicate_of(later, "ours", 1_000_000, session_id=2)
    reset = duplicate_of(rejoined, "ours", 20 * MINUTE_US, session_id=2)
    rejoined_again = duplicate_of(reset, "ours again", 2_000_000, session_id=3)

    await writer.write(first)
    await writer.write(later)
    await writer.write(rejoined)  # A copy of what came without a session of ours.
    await writer.write(first, later)  # All of it once more.
    await writer.write(reset, rejoined_again)

    assert await planted.count("uplink") == 4
    assert await planted.count("measurement") == 16
    seen = await planted.pool.fetchrow("SELECT * FROM observation.uplink_seen")
    assert seen["session_id"] == 3


async def test_a_late_copy_of_a_copy_is_received_under_the_uplink_that_is_stored(
    planted: Any, writer: Writer, device_id: int, make_uplink: MakeUplink
) -> None:
    theirs = duplicate_of(make_uplink(device_id), "wanesy", 0)
    ours = make_uplink(device_id, late=True, time_us=theirs.time_us + 5)

    await writer.write(theirs)
    await writer.write(ours)
    await writer.write(ours)

    ids = await planted.pool.fetch("SELECT uplink_id FROM observation.reception")
    assert {row["uplink_id"].bytes for row in ids} == {theirs.uplink_id}
    assert len(ids) == 2


async def test_a_copy_is_not_published_and_what_is_delivered_again_is(
    writer: Writer, device_id: int, make_uplink: MakeUplink
) -> None:
    ours = make_uplink(device_id)
    delivered = [UplinkMessage("s", 1, [ours, duplicate_of(ours, "wanesy", 1_000_000)])]

    for _ in range(2):
        prepared = await prepare(delivered, writer.registry)
        written = await writer.store.write([], prepared)

        assert [len(rows) for rows in written.to_publish(prepared).values()] == [4]


async def test_marks_are_written_once_for_the_hour_that_lasts_and_again_for_hours_that_are_over(
    planted: Any, writer: Writer, device_id: int, make_uplink: MakeUplink
) -> None:
    now = await planted.pool.fetchval("SELECT extract(epoch FROM now())::bigint * 1000000")
    edge = 1_795_597_200_000_000 - 24 * 3_600_000_000

    for f_cnt, time_us in enumerate((now, now - 1, edge, edge + 1), 1):
        await writer.write(make_uplink(device_id, f_cnt, time_us=time_us, received_at_us=time_us))

    rows = await planted.pool.fetch(
        "SELECT extract(epoch FROM hour)::bigint * 1000000 AS hour, datastream_ids FROM observation.dirty"
    )
    ids = sorted(row["id"] for row in await planted.pool.fetch("SELECT id FROM datastream"))
    assert all(row["datastream_ids"] == ids for row in rows)
    old = sorted(row["hour"] for row in rows if row["hour"] <= edge)
    assert old == [edge - 3_600_000_000, edge, edge]  # A value at the very edge also ends the hour before.
    assert len(rows) - len(old) == 1 + (now % 3_600_000_000 in (0, 1))


STEPS = st.lists(
    st.tuples(
        st.integers(0, 1),  # Counter.
        st.sampled_from((0, 0, 1, 2)),  # Session; 0 is another source each time.
        st.integers(0, 7 * MINUTE_US),  # After the one before.
    ),
    min_size=1,
    max_size=8,
)
CUTS = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), max_size=8)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, cuts=CUTS)
async def test_whatever_the_cut_and_the_repetition_of_batches_the_tables_are_the_same(
    planted: Any, device_id: int, make_uplink: MakeUplink, steps: list[tuple[int, int, int]], cuts: Any
) -> None:
    pool = planted.pool
    base, uplinks, after_us = make_uplink(device_id), list[Uplink](), 0
    for number, (f_cnt, session_id, step_us) in enumerate(steps):
        after_us += step_us
        source = f"session {session_id}" if session_id else f"source {number}"
        uplinks.append(duplicate_of(base, source, after_us, f_cnt=f_cnt, session_id=session_id))

    async def play(batches: list[list[Uplink]]) -> dict[str, list[tuple[Any, ...]]]:
        for table in TABLES:
            await pool.execute(f"DELETE FROM observation.{table}")
        writer = Writer(Registry(pool, KnownDevices(pool), KnownGateways(pool)), Store(pool))
        for batch in batches:
            await writer.write(*batch)
        return await tables(pool)

    begun, batches = 0, list[list[Uplink]]()
    for size, acknowledged in cuts:  # A crash leaves some of a batch un-acknowledged: it comes again.
        batches.append(uplinks[begun : begun + size])
        begun = min(len(uplinks), begun + min(size, acknowledged))
    once_each = await play([[uplink] for uplink in uplinks])

    assert await play([batch for batch in [*batches, uplinks[begun:]] if batch]) == once_each
