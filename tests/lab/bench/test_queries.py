"""The four questions of `bench queries` on a small history: the API and psql are asked the same thing."""

from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from core.runtime.postgres import Pool
from lab.bench.list_queries import list_reads
from lab.bench.queries import NoHistory, literal, measure, p95, plan_queries
from lab.history.load import load_history
from services.supervisor.run_info import RunInfo

MEASUREMENTS = 50_000


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        ([1, 2, 3], "int[]"),
        (datetime(2026, 10, 25, 0, 30, 0, 1, tzinfo=UTC), "timestamptz"),
        ([datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 3, 29, tzinfo=UTC)], "timestamptz[]"),
        (list[datetime](), "timestamptz[]"),
        (timedelta(microseconds=1), "interval"),
        (75.5, "float8"),
        ("Europe/Paris", "text"),
    ],
)
async def test_a_parameter_is_for_psql_what_it_is_for_the_driver(pool: Pool, value: object, type_: str) -> None:
    assert await pool.fetchval(f"SELECT $1::text::{type_}", literal(value)) == value


def test_the_95th_percentile_of_few_runs_is_near_the_slowest() -> None:
    assert p95([5.0]) == 5.0
    assert 9.0 < p95([float(n) for n in range(1, 11)]) <= 10.0


async def test_without_a_history_there_is_nothing_to_ask(pool: Pool) -> None:
    with pytest.raises(NoHistory, match="simulate --history"):
        await plan_queries(pool)


async def test_every_question_is_answered_by_the_api_and_by_psql(run: RunInfo, pool: Pool) -> None:
    quiet = Console(quiet=True)
    since = datetime.now(UTC).date() - timedelta(days=40)
    await load_history(run, measurements=MEASUREMENTS, workers=1, since=since, console=quiet)
    assets = await pool.fetchval("SELECT count(DISTINCT asset_id) FROM datastream")

    figures = {one.name: one for one in await measure(run, 2, quiet, explain=True)}

    against_psql = ["last_values", "year_by_hour", "month_by_day", "meters_by_month", "days_above"]
    lists = list(figures)[len(against_psql) :]
    assert list(figures)[: len(against_psql)] == against_psql
    assert lists == list(list_reads(0, 0))
    assert min(figures[name].rows for name in ("assets?sort=name", "devices?sort=id", "latest?sort=-value")) > 0
    assert 0 < figures["assets/map"].rows <= assets
    assert figures["last_values"].rows == assets
    assert figures["year_by_hour"].rows > 24 * 30
    assert figures["month_by_day"].rows > 29
    assert figures["meters_by_month"].rows >= 1
    assert figures["days_above"].rows >= 1
    for one in figures.values():
        assert 0 < one.median_ms <= one.p95_ms
        if one.name in lists:
            assert one.reached == (one.p95_ms <= one.goal_ms)
            continue
        assert 0 < one.psql_median_ms <= one.psql_p95_ms
        assert one.ratio_to_psql > 0
        assert one.reached == (one.median_ms <= one.goal_ms)
