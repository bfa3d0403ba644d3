"""`territoire bench years`: what years behind an installation cost its start, its questions and its upkeep."""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from cli.backup import manifest_file
from core.runtime.postgres import Pool, open_pool
from ingest.maintenance.jobs import keep_house
from ingest.maintenance.settings import RetentionSettings
from lab.bench.queries import Query, QueryFigures, measure, plan_queries
from lab.history.cpu import cpu_seconds_of
from services.supervisor.run_info import RunInfo

# Of a pilot: what is asked of ten years has the goals of `bench queries`.
START_GOAL_S, DOCTOR_GOAL_S, BACKUP_GOAL_S, PASS_GOAL_S = 30.0, 5.0, 60.0, 10.0
PLANNED = 5
COUNT_PARTS = """
SELECT count(*)::int FROM pg_inherits WHERE inhparent = 'observation.rollup_hour'::regclass
"""
COUNT_CHUNKS = "SELECT count(*)::int FROM timescaledb_information.chunks WHERE hypertable_name = 'measurement'"


class Step(msgspec.Struct, frozen=True):
    """One thing that an installation does, elapsed and PostgreSQL's CPU; a goal of 0: none."""

    name: str
    seconds: float
    server_cpu_s: float
    goal_s: float

    @property
    def is_reached(self) -> bool:
        """Within its goal."""
        return not self.goal_s or self.seconds <= self.goal_s


class Plan(msgspec.Struct, frozen=True):
    """How a question is planned: parts and chunks that are looked at, and how long that takes."""

    name: str
    relations: int
    planning_ms: float


class YearsFigures(msgspec.Struct, frozen=True):
    """Everything of one run."""

    years: int
    parts: int
    chunks: int
    steps: list[Step]
    plans: list[Plan]
    queries: list[QueryFigures]

    @property
    def missed(self) -> list[str]:
        """Names of what was slower than its goal."""
        missed = [step.name for step in self.steps if not step.is_reached]
        return missed + [figure.name for figure in self.queries if not figure.reached]


async def retain(run: RunInfo) -> list[Step]:
    """A pass of maintenance that drops what is older than its terms, and one that finds nothing to do."""
    settings = RetentionSettings.model_validate(
        {"database_url": run.database_url, "nats_url": run.nats_url, "kek": run.kek}
    )
    steps: list[Step] = []
    async with open_pool(run.database_url, "bench", size=2, command_timeout=600) as pool:
        for name, goal in (("first_pass", 0.0), ("pass", PASS_GOAL_S)):
            async with _measured(run, name, goal, steps):
                await keep_house(pool, settings)
    return steps


@asynccontextmanager
async def _measured(run: RunInfo, name: str, goal_s: float, steps: list[Step]) -> AsyncGenerator[None]:
    """Add a step with what passes until the end."""
    postgres = run.service("postgres").pid
    began, began_cpu = time.monotonic(), cpu_seconds_of(postgres)
    yield
    seconds, cpu = time.monotonic() - began, cpu_seconds_of(postgres) - began_cpu
    steps.append(Step(name, round(seconds, 2), round(cpu, 2), goal_s))


async def examine(
    run: RunInfo, years: int, started_s: float, former: Sequence[Step], runs: int, console: Console
) -> YearsFigures:
    """Of a stack that has started on its history: `doctor`, `backup`, and the questions of every day."""
    steps = [*former, Step("start", round(started_s, 2), 0.0, START_GOAL_S)]
    file = Path(run.home) / "ten-years.dump"
    commands: Mapping[str, tuple[tuple[str, ...], float]] = {
        "doctor": (("doctor", "--home", run.home), DOCTOR_GOAL_S),
        "backup": (("backup", str(file), "--plain", "--home", run.home), BACKUP_GOAL_S),
    }
    for name, (arguments, goal) in commands.items():
        async with _measured(run, name, goal, steps):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "cli", *arguments,
                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            status = await process.wait()
        # The status of `doctor` is its worst finding.
        if name == "backup" and status:
            raise RuntimeError(f"backup ended with {status}")
    for written in (file, manifest_file(file)):
        written.unlink(missing_ok=True)
    async with open_pool(run.database_admin_url, "bench", size=1) as pool:
        parts, chunks = await pool.fetchval(COUNT_PARTS), await pool.fetchval(COUNT_CHUNKS)
    plans = await _read_plans(run)
    figures = await measure(run, runs, console, explain=False, lists=False)
    return YearsFigures(years, parts, chunks, steps, plans, figures)


async def _read_plans(run: RunInfo) -> list[Plan]:
    """Of each question that has one heaviest statement, on the bare tables."""
    plans: list[Plan] = []
    async with (
        open_pool(run.database_url, "bench", size=1) as service,
        open_pool(run.database_admin_url, "bench", size=1) as pool,
    ):
        _, queries = await plan_queries(service)
        await pool.execute("SET search_path = observation, public")
        for query in queries:
            if query.statement is None:
                continue
            explained = [await _explain(pool, query) for _ in range(PLANNED)]
            # The first ones read the catalogue.
            planning_ms = min(found["Planning Time"] for found in explained)
            plans.append(Plan(query.name, _relations(explained[0]["Plan"]), round(planning_ms, 2)))
    return plans


async def _explain(pool: Pool, query: Query) -> dict[str, Any]:
    explained = await pool.fetchval(f"EXPLAIN (SUMMARY, FORMAT JSON) {query.statement}", *query.arguments)
    return (msgspec.json.decode(explained) if isinstance(explained, str) else explained)[0]


def _relations(node: dict[str, Any]) -> int:
    """How many scans a plan has."""
    return ("Relation Name" in node) + sum(_relations(below) for below in node.get("Plans", []))


def print_years(console: Console, figures: YearsFigures) -> None:
    """For people."""
    table = Table("étape", "durée", "CPU de PostgreSQL", "objectif", "")
    for step in figures.steps:
        goal = f"{step.goal_s:g} s" if step.goal_s else ""
        outcome = "" if not goal else "[green]atteint[/green]" if step.is_reached else "[red]manqué[/red]"
        table.add_row(step.name, f"{step.seconds:.1f} s", f"{step.server_cpu_s:.1f} s", goal, outcome)
    console.print(table)
    for plan in figures.plans:
        console.print(f"{plan.name} : {plan.relations} relations, planifiée en {plan.planning_ms:.2f} ms")
    console.print(
        f"{figures.years} ans : {figures.parts} mois d'agrégats horaires, {figures.chunks} tranches de mesures"
    )
