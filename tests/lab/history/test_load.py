"""A small history in a real database: exact, summed up as a recount has it, written once, resumed, removed."""

import asyncio
from datetime import UTC, date, datetime

import pytest
from rich.console import Console

from core.runtime.postgres import Pool
from ingest.recount import recount
from lab.history import load
from lab.history.load import HistoryRejected, Summary, load_history, remove_history
from services.supervisor.run_info import RunInfo

# One asset of each kind; clocks change on 29 March.
SINCE, TODAY = date(2026, 3, 4), datetime(2026, 4, 2, 10, tzinfo=UTC)


async def write(run: RunInfo) -> Summary:
    return await load_history(
        run, measurements=50_000, workers=2, since=SINCE, today=TODAY, console=Console(quiet=True)
    )


async def counts(pool: Pool) -> tuple[int, int, int]:
    row = await pool.fetchrow(
        "SELECT (SELECT count(*) FROM observation.measurement), (SELECT count(*) FROM observation.rollup_hour), "
        "(SELECT count(*) FROM observation.latest)"
    )
    assert row is not None
    return row[0], row[1], row[2]


async def test_a_history_is_exact_and_summed_up_as_a_recount_has_it(run: RunInfo, pool: Pool) -> None:
    summary = await write(run)

    stored = await pool.fetchrow(
        "SELECT count(*), min(time) AT TIME ZONE 'Europe/Paris', max(time) FROM observation.measurement"
    )
    assert summary.complete
    assert stored is not None
    assert (await counts(pool)) == (summary.measurements, summary.rollup_hours, summary.datastreams)
    assert stored[0] > 40_000
    assert stored[1].date().isoformat() == "2026-03-04"
    assert stored[2] == datetime(2026, 4, 1, 22, tzinfo=UTC)  # An index at the last midnight.
    assert await recount(pool) == []
    # Indexes and states have their instants, as ingest rolls up: a recount says nothing where there are none.
    ordered = await pool.fetch(
        "SELECT d.quantity, bool_and(h.first_at IS NOT NULL) AS has_instants, bool_and(h.seconds IS NOT NULL) "
        "AS has_seconds FROM observation.rollup_day h JOIN datastream d ON d.id = h.datastream_id "
        "WHERE d.quantity = ANY(ARRAY['water_volume', 'switch_state', 'co2']) GROUP BY 1 ORDER BY 1"
    )
    assert [tuple(row) for row in ordered] == [
        ("co2", False, False),
        ("switch_state", True, True),
        ("water_volume", True, False),
    ]
    assert await pool.fetchval("SELECT count(*) FROM observation.measurement WHERE flags = 1") > 0
    assert await pool.fetchval("SELECT count(*) FROM observation.dirty") == 0


async def test_a_second_history_of_the_same_tenant_is_rejected_until_it_is_removed(
    run: RunInfo, pool: Pool
) -> None:
    first = await write(run)
    before = await counts(pool)

    with pytest.raises(HistoryRejected, match="--remove"):
        await write(run)

    assert await counts(pool) == before
    assert await remove_history(run) == first.datastreams
    assert await counts(pool) == (0, 0, 0)
    assert await pool.fetchval("SELECT count(*) FROM device") == 0
    with pytest.raises(HistoryRejected, match="pas d'historique"):
        await remove_history(run)
    assert (await write(run)).measurements == first.measurements


async def test_an_interrupted_history_goes_on_where_it_was(
    run: RunInfo, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow = load._follow

    async def interrupt(processes, reports, stop, advance):
        asyncio.get_running_loop().call_later(0, stop)
        return await follow(processes, reports, stop, advance)

    monkeypatch.setattr(load, "_follow", interrupt)
    interrupted = await write(run)
    monkeypatch.undo()

    whole = await write(run)

    assert not interrupted.complete
    assert whole.complete
    assert whole.found == interrupted.measurements
    assert (await counts(pool))[0] == whole.measurements
    assert await recount(pool) == []


async def test_a_disk_without_room_is_reported_before_anything_is_written(run: RunInfo, pool: Pool) -> None:
    with pytest.raises(HistoryRejected, match="Go"):
        await load_history(run, measurements=10**12, console=Console(quiet=True))

    assert await pool.fetchval("SELECT count(*) FROM tenant WHERE slug = 'historique'") == 0
