"""A second, different value for one instant is kept, and counts where its source is authoritative."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from core.messages.measurements import Flag
from core.messages.uplinks import Uplink
from core.runtime.postgres import Pool
from ingest.batch import UplinkMessage
from ingest.maintenance.retention import Term, forget
from ingest.prepare import prepare
from ingest.recount import recount
from ingest.rollups import roll_up
from tests.ingest.test_duplicates import NOW_US, Writer, duplicate_of
from tests.ingest.test_duplicates import writer as writer  # noqa: PLC0414 - A fixture.

MakeUplink = Callable[..., Uplink]


def warm(tenths: int) -> bytes:
    """A frame that says a temperature in tenths of a degree, and nothing else."""
    return bytes.fromhex("0367") + tenths.to_bytes(2, "little")


@pytest.fixture
async def device_id(planted: Any) -> int:
    return await planted.device(await planted.profile("milesight.em400"))


@pytest.fixture
async def sources(planted: Any) -> tuple[int, int]:
    """An ordinary source and an authoritative one."""
    rows = await planted.pool.fetch(
        "INSERT INTO lns_source (tenant_id, kind, transport, name, token_sha256, authoritative) "
        "SELECT $1, 'generic', 'http', name, sha256(name::bytea), name = 'b' FROM unnest(ARRAY['a', 'b']) AS name "
        "RETURNING id",
        planted.tenant_id,
    )
    return rows[0]["id"], rows[1]["id"]


async def stored(pool: Pool) -> list[tuple[float, int]]:
    return [
        (round(row["value"], 1), row["flags"])
        for row in await pool.fetch("SELECT value, flags FROM observation.measurement ORDER BY time")
    ]


async def kept(pool: Pool) -> list[tuple[float, int | None]]:
    rows = await pool.fetch("SELECT value, source_id FROM observation.correction ORDER BY received_at NULLS FIRST")
    return [(round(row["value"], 1), row["source_id"]) for row in rows]


@pytest.mark.parametrize("in_one_batch", [True, False])
async def test_a_second_value_is_kept_and_the_first_one_counts(
    pool: Pool,
    writer: Writer,
    device_id: int,
    sources: tuple[int, int],
    make_uplink: MakeUplink,
    in_one_batch: bool,
) -> None:
    first = make_uplink(device_id, 1, warm(257), time_us=NOW_US)
    second = make_uplink(device_id, 2, warm(300), time_us=NOW_US, session_id=0, source_id=sources[0])
    for uplinks in ((first, second),) if in_one_batch else ((first,), (second,)):
        await writer.write(*uplinks)

    assert await stored(pool) == [(25.7, 0)]
    assert await kept(pool) == [(25.7, None), (30.0, sources[0])]


async def test_an_authoritative_sources_value_counts_in_rollups_and_last_values(
    pool: Pool, writer: Writer, device_id: int, sources: tuple[int, int], make_uplink: MakeUplink
) -> None:
    await writer.write(make_uplink(device_id, 1, warm(257), time_us=NOW_US))
    await roll_up(pool, force=True)

    await writer.write(make_uplink(device_id, 2, warm(300), time_us=NOW_US, session_id=0, source_id=sources[1]))
    await roll_up(pool, force=True)

    assert await stored(pool) == [(30.0, Flag.CORRECTED)]
    assert await pool.fetchval("SELECT value FROM observation.latest") == pytest.approx(30)
    assert await pool.fetchval("SELECT max FROM observation.rollup_hour") == pytest.approx(30)
    assert await recount(pool) == []


async def test_nobody_is_notified_of_a_correction_also_when_it_is_delivered_again(
    pool: Pool, writer: Writer, device_id: int, sources: tuple[int, int], make_uplink: MakeUplink
) -> None:
    first = make_uplink(device_id, 1, warm(257), time_us=NOW_US)
    second = make_uplink(device_id, 2, warm(300), time_us=NOW_US, session_id=0, source_id=sources[1])

    async def published(*uplinks: Uplink) -> list[float]:
        prepared = await prepare([UplinkMessage("s", 1, uplinks)], writer.registry)
        written = await writer.store.write([], prepared)
        return [round(row[2], 1) for rows in written.to_publish(prepared).values() for row in rows]

    assert await published(first) == [25.7]
    assert await published(first) == [25.7]
    assert await published(second) == []
    assert await published(second) == []
    assert await kept(pool) == [(25.7, None), (30.0, sources[1])]


async def test_a_frame_that_another_lns_received_too_is_no_correction(
    pool: Pool, writer: Writer, device_id: int, sources: tuple[int, int], make_uplink: MakeUplink
) -> None:
    ours = make_uplink(device_id, 1, warm(257), time_us=NOW_US)

    await writer.write(ours)
    await writer.write(duplicate_of(ours, "b", 0, source_id=sources[1]))

    assert (await stored(pool), await kept(pool)) == ([(25.7, 0)], [])


async def test_what_somebody_typed_stays_what_it_is_against_every_source(
    pool: Pool, writer: Writer, device_id: int, sources: tuple[int, int], make_uplink: MakeUplink
) -> None:
    await writer.write(make_uplink(device_id, 1, warm(257), time_us=NOW_US))
    await pool.execute("UPDATE observation.measurement SET flags = $1", int(Flag.MANUAL))

    await writer.write(make_uplink(device_id, 2, warm(300), time_us=NOW_US, session_id=0, source_id=sources[1]))

    assert await stored(pool) == [(25.7, Flag.MANUAL)]
    assert await kept(pool) == [(25.7, None), (30.0, sources[1])]


async def test_a_meters_memory_that_says_otherwise_is_kept_once_however_often_it_is_sent(
    pool: Pool, writer: Writer, device_id: int, make_uplink: MakeUplink
) -> None:
    """Each uplink repeats what it remembers: here the second one remembers the first one's instant otherwise."""
    first = make_uplink(device_id, 1, warm(257), time_us=NOW_US)
    await writer.write(first)
    [datastream] = [row["id"] for row in await pool.fetch("SELECT id FROM datastream")]

    for f_cnt in (2, 3):
        prepared = await prepare(
            [UplinkMessage("s", f_cnt, [make_uplink(device_id, f_cnt, warm(258))])], writer.registry
        )
        prepared.uplinks[0].history = [(datastream, NOW_US, 31.0, 0), (datastream, NOW_US - 1, 7.0, 0)]
        prepared.batch = None
        written = await writer.store.write([], prepared)
        assert (datastream, NOW_US, 31.0) in written.batch.corrections

    assert await stored(pool) == [(7.0, 0), (25.7, 0), (25.8, 0), (25.8, 0)]
    assert await kept(pool) == [(25.7, None), (31.0, None)]


async def test_corrections_go_with_the_term_of_their_measurements(
    pool: Pool, writer: Writer, device_id: int, make_uplink: MakeUplink
) -> None:
    old_us = NOW_US - 400 * 86_400_000_000
    for f_cnt, at_us in enumerate((old_us, old_us, NOW_US, NOW_US), 1):
        await writer.write(make_uplink(device_id, f_cnt, warm(250 + f_cnt), time_us=at_us, received_at_us=at_us))
    await roll_up(pool, force=True)
    assert len(await kept(pool)) == 4

    await forget(pool, Term("measurement", 12, 12), datetime.now(UTC))

    assert [value for value, _ in await kept(pool)] == [25.3, 25.4]
