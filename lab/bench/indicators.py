"""`territoire bench indicators`: figures that people decide by, over HTTP, against psql and against their goals.

On a stack with the history of `simulate --history`, the same that `bench queries` asks, and what
`lab.bench.indicator_world` adds to it. Elapsed times are worth something on a quiet machine; CPU always is.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from rich.console import Console
from rich.table import Table

from core.model.calendar_buckets import edges_of, moved
from core.runtime.postgres import Pool, open_pool
from indicators.network.store import LIST_COVERAGE
from indicators.waste.days_above_store import KNOWN_MONTHS
from indicators.waste.refresh import refresh_fill_days
from lab.bench.indicator_reports import (
    AllReportsFigures,
    ReportFigures,
    lines,
    measure_all,
    measure_report,
    spread_communes,
)
from lab.bench.indicator_round import RoundFigures, line, measure_round
from lab.bench.indicator_world import BUILDINGS, COVERED, COVERED_DAYS, World, make_world
from lab.bench.list_pages import Asker
from lab.bench.processes import cpu_seconds
from lab.bench.queries import (
    BINS,
    FULL,
    INDEX_DAYS,
    METERS,
    PICK_METERS,
    PICK_OF_KIND,
    QueryFigures,
    measure_psql,
    p95,
)
from services.supervisor.run_info import RunInfo

WARM_UP = 2
# As ingest writes them under load: so many values a transaction.
PER_BATCH = 500
VALUES_PER_S = 10_000
FEED_A_DAY = """
INSERT INTO observation.feed (n, datastream_ids, times)
SELECT count(*), array_agg(datastream_id), array_agg(time) FROM (
    SELECT datastream_id, time, row_number() OVER (ORDER BY time, datastream_id) / $3 AS batch
    FROM observation.measurement WHERE time >= $1::timestamptz AND time < $2::timestamptz) AS m
GROUP BY batch
"""
COUNT_FEED = "SELECT coalesce(sum(n), 0)::int FROM observation.feed WHERE number > $1"
LAST_OF_FEED = "SELECT coalesce(max(number), 0) FROM observation.feed"
# The superuser has no tenant, and psql binds no NULL.
COVERAGE_OF_TENANT = LIST_COVERAGE.replace(
    "a.tenant_id = ANY((SELECT visible_tenants())::int[])", "a.tenant_id = $3::int"
).replace("AND ($3::text IS NULL OR a.commune = $3)", "")


@dataclass(frozen=True, slots=True)
class Question:
    """A request, how much came, and its heaviest statement with what it is given."""

    name: str
    label: str
    goal_ms: float
    key: str
    path: str
    parameters: Mapping[str, Any]
    count: Callable[[Any], int]
    statement: str
    arguments: tuple[Any, ...]


class RefreshFigures(msgspec.Struct, frozen=True):
    """Days of bins from the feed of all measurements, whole days of them: medians of the days."""

    days: int
    values: int
    """Of a day, in the median."""
    median_ms: float
    client_cpu_us: float
    """Of a value that the feed names, whether it is of a bin or not."""
    server_cpu_us: float

    @property
    def cores(self) -> float:
        """What ten thousand values a second would take of them."""
        return (self.client_cpu_us + self.server_cpu_us) * VALUES_PER_S / 1e6


class Figures(msgspec.Struct, frozen=True):
    """What was measured, and how busy the machine was."""

    requests: list[QueryFigures]
    refresh: RefreshFigures | None
    report: ReportFigures | None
    reports: AllReportsFigures | None
    round: RoundFigures | None
    load: float

    @property
    def missed(self) -> list[str]:
        """The goals that were not reached, elapsed."""
        others = {"report": self.report, "reports": self.reports, "round": self.round}
        return [one.name for one in self.requests if not one.reached] + [
            name for name, one in others.items() if one is not None and not one.is_reached
        ]


async def plan_questions(pool: Pool, world: World) -> list[Question]:
    """What is asked, of as many of the history's assets as it has."""
    picked = await pool.fetch(PICK_OF_KIND, world.tenant_id, "glass_container", "fill_level", BINS)
    bins = [row["id"] for row in picked]
    meters = [row["id"] for row in await pool.fetch(PICK_METERS, world.tenant_id, METERS)]
    return [
        _days_above(world, bins),
        _meters_by_month(world, meters),
        _savings(world),
        _coverage(world),
    ]


def _items(answer: Any) -> int:
    return len(answer["items"])


def _days_above(world: World, bins: list[int]) -> Question:
    since = world.today - timedelta(days=365)
    given = {"from": since.isoformat(), "to": world.today.isoformat(), "threshold": FULL, "datastream_id": bins}
    return Question(
        "days_above", f"jours à {FULL} % ou plus de {len(bins)} bornes, un an", 100, world.key,
        "/v1/waste/days-above", given, _items, KNOWN_MONTHS, (bins, since, world.today, FULL),
    )  # fmt: skip


def year_before(today: date, zone: ZoneInfo) -> list[datetime]:
    """The edges of the twelve months that are over."""
    until = datetime.combine(today.replace(day=1), datetime.min.time(), zone)
    return edges_of(until.replace(year=until.year - 1), until, "month", zone)


def _meters_by_month(world: World, meters: list[int]) -> Question:
    edges = year_before(world.today, world.zone)
    given = {"from": edges[0].isoformat(), "to": edges[-1].isoformat(), "bucket": "month", "datastream_id": meters}
    return Question(
        "meters_by_month", f"{len(meters)} compteurs, un an par mois", 150, world.key,
        "/v1/measurements/series", given, _items, INDEX_DAYS, (meters, edges[0], edges[-1]),
    )  # fmt: skip


def _savings(world: World) -> Question:
    edges, meters = (
        year_before(world.today, world.zone),
        [id_ for of_building in world.meters for id_ in of_building],
    )
    return Question(
        "savings", f"économies de {len(world.meters)} bâtiments ({len(meters)} compteurs)", 1_000, world.key,
        "/v1/indicators/buildings/savings", {"limit": BUILDINGS},
        lambda answer: sum(item["n"] > 0 for item in answer["items"]),
        INDEX_DAYS, (meters, edges[0], edges[-1]),
    )  # fmt: skip


def _coverage(world: World) -> Question:
    return Question(
        "coverage", f"couverture de {COVERED} actifs sur {COVERED_DAYS} jours", 500, world.key_of_covered,
        "/v1/network/communes", {"days": COVERED_DAYS},
        lambda answer: sum(item["known"] for item in answer["items"]),
        COVERAGE_OF_TENANT, (world.today - timedelta(days=COVERED_DAYS), world.today, world.covered_id),
    )  # fmt: skip


async def ask(run: RunInfo, question: Question, runs: int) -> QueryFigures:
    """One of them, again and again, and its statement by psql."""
    asker = Asker(run, question.key)
    rows = question.count(asker.get(question.path, question.parameters)[0].json())
    for _ in range(WARM_UP):
        asker.get(question.path, question.parameters)
    before = cpu_seconds(asker.pids)
    times = [asker.get(question.path, question.parameters)[1] for _ in range(runs)]
    after = cpu_seconds(asker.pids)
    client, server = ((after[name] - before[name]) * 1_000 / runs for name in ("api", "postgres"))
    in_psql = await measure_psql(run.database_admin_url, question.statement, question.arguments, runs)
    median, bare = statistics.median(times), statistics.median(in_psql)
    return QueryFigures(
        name=question.name,
        label=question.label,
        rows=rows,
        goal_ms=question.goal_ms,
        median_ms=round(median, 1),
        p95_ms=round(p95(times), 1),
        client_cpu_ms=round(client, 1),
        server_cpu_ms=round(server, 1),
        psql_median_ms=round(bare, 2),
        psql_p95_ms=round(p95(in_psql), 2),
        ratio_to_psql=round(median / bare, 2),
        reached=median <= question.goal_ms,
    )


async def refresh(run: RunInfo, pool: Pool, world: World, days: int) -> RefreshFigures:
    """Each day's measurements once more through the feed, as ingest writes them, and what that costs."""
    postgres = {one.name: one.pid for one in run.services if one.name == "postgres" and one.pid is not None}
    await refresh_fill_days(pool)  # All that has been written before.
    values, times, client, server = list[int](), list[float](), list[float](), list[float]()
    for number in range(days, 0, -1):
        day = world.today - timedelta(days=number)
        since, until = (
            datetime.combine(one, datetime.min.time(), world.zone) for one in (day, moved(day, "day", 1))
        )
        last = await pool.fetchval(LAST_OF_FEED)
        await pool.execute(FEED_A_DAY, since, until, PER_BATCH)
        count: int = await pool.fetchval(COUNT_FEED, last)
        before, began, began_cpu = cpu_seconds(postgres), time.perf_counter(), time.process_time()
        await refresh_fill_days(pool)
        client.append((time.process_time() - began_cpu) * 1e6 / count)
        times.append((time.perf_counter() - began) * 1_000)
        spent = cpu_seconds(postgres).get("postgres", 0.0) - before.get("postgres", 0.0)
        server.append(spent * 1e6 / count)
        values.append(count)
    return RefreshFigures(
        days=days,
        values=round(statistics.median(values)),
        median_ms=round(statistics.median(times), 1),
        client_cpu_us=round(statistics.median(client), 2),
        # Its clock has ticks of 10 ms: what all days took counts, not that of one.
        server_cpu_us=round(statistics.mean(server), 2),
    )


PARTS = ("days_above", "meters_by_month", "savings", "coverage", "refresh", "round", "report", "reports")


async def measure(run: RunInfo, runs: int, only: Sequence[str] = PARTS) -> Figures:
    """Every part that is asked for, one after the other.

    Raises:
        NoHistory: nothing was loaded into this stack.
        ProvisioningFailed: the API rejected something.
    """
    world = await make_world(run)
    async with open_pool(run.database_url, "bench-indicators", size=1) as pool:
        questions = [one for one in await plan_questions(pool, world) if one.name in only]
        requests = [await ask(run, question, runs) for question in questions]
        refreshed = await refresh(run, pool, world, runs) if "refresh" in only else None
        planned = await measure_round(run, pool, world, runs) if "round" in only else None
        if {"report", "reports"} & set(only):
            await spread_communes(run, world)
        report = await asyncio.to_thread(measure_report, run, world, runs) if "report" in only else None
        reports = await measure_all(run, pool) if "reports" in only else None
    return Figures(requests, refreshed, report, reports, planned, round(os.getloadavg()[0], 1))


def run_bench(run: RunInfo, runs: int, only: Sequence[str]) -> Figures:
    """`measure`, in a loop of its own."""
    return asyncio.run(measure(run, runs, only))


def print_figures(console: Console, figures: Figures) -> None:
    """For people."""
    table = Table()
    table.add_column("indicateur", overflow="fold")
    for column in (
        "réponses", "objectif", "médiane", "p95", "CPU API", "CPU PostgreSQL", "psql", "rapport", "par la durée",
        "par le CPU",
    ):  # fmt: skip
        table.add_column(column)
    for one in figures.requests:
        table.add_row(
            one.label,
            str(one.rows),
            f"{one.goal_ms:g} ms",
            *(f"{value:.1f}" for value in (one.median_ms, one.p95_ms, one.client_cpu_ms, one.server_cpu_ms)),
            f"{one.psql_median_ms:.1f}",
            f"{one.ratio_to_psql:.2f}",
            _verdict(yes=one.reached),
            _verdict(yes=one.is_reached_by_cpu),
        )
    console.print(table)
    if figures.refresh is not None:
        one = figures.refresh
        console.print(
            f"jours des bornes, tenus à jour par le fil : {one.values} valeurs par jour d'historique en "
            f"{one.median_ms:.0f} ms ; par valeur {one.client_cpu_us:.1f} µs du service et "
            f"{one.server_cpu_us:.1f} µs de PostgreSQL : {one.cores:.2f} cœur pour 10 000 valeurs/s"
        )
    if figures.round is not None:
        console.print(line(figures.round))
    for said in lines(figures.report, figures.reports):
        console.print(said)
    console.print(f"{os.cpu_count()} processeurs, charge {figures.load:.1f}")


def _verdict(*, yes: bool) -> str:
    return "[green]atteint[/green]" if yes else "[red]manqué[/red]"
