"""`territoire bench queries`: what the console asks most, as the API asks it, against psql and against the goals.

On a stack with the history of `simulate --history`. Each query runs as the API's role under row security, by the
API's own functions; its heaviest statement runs in psql too, word for word, by the superuser on the bare tables.
"""

import asyncio
import gc
import os
import re
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

import msgspec
from rich.console import Console
from rich.table import Table

from api.store import LATEST, read_latest
from core.model.calendar_buckets import Unit, counterparts, edges_of, spans_of
from core.runtime.lifetime import GC_THRESHOLDS
from core.runtime.postgres import Connection, Pool, open_pool
from indicators.waste import days_above_store
from indicators.waste.days_above import days_above
from ingest.series import series_choice, series_statements, series_store
from lab.bench.list_queries import GOAL_MS, MIDDLE, list_reads
from lab.history.cpu import cpu_seconds_of
from lab.history.load import SLUG
from registry.entering import Proof, tenant_transaction
from registry.tenants import authenticate, create_api_key, find_tenant, revoke_api_key
from registry.wanted_datastreams import WantedDatastreams
from services.supervisor.postgres import binaries, libpq_environment
from services.supervisor.run_info import RunInfo

ASSETS, SERIES, BINS, METERS = 10_000, 2_000, 88, 200
# A year, and the one before that stands beside it.
YEARS = 2
# Of a hundred thousand points the goal is 3 s.
MAP_GOAL_MS = 300.0
FULL = 75  # Per cent.
# What the first ones cost (connections, catalogues, plans) is not what users wait for all day.
WARM_UP = 2
TIMING = re.compile(r"^Time: ([0-9.]+) ms", re.MULTILINE)

# One datastream of each asset; the order is that of digests: neighbours on the disk are not neighbours here.
PICK_OF_ASSETS = """
SELECT min(d.id) AS id FROM datastream d WHERE d.tenant_id = $1
GROUP BY d.asset_id ORDER BY md5(d.asset_id::text) LIMIT $2
"""
PICK_ANY = "SELECT id FROM datastream WHERE tenant_id = $1 ORDER BY md5(id::text) LIMIT $2"
PICK_METERS = """
SELECT id FROM datastream WHERE tenant_id = $1 AND quantity = 'water_volume' ORDER BY md5(id::text) LIMIT $2
"""
PICK_OF_KIND = """
SELECT d.id FROM datastream d JOIN asset a ON a.id = d.asset_id
WHERE d.tenant_id = $1 AND a.kind = $2 AND d.quantity = $3 ORDER BY md5(d.id::text) LIMIT $4
"""
# As packed_indexes() has it, on the bare tables.
INDEX_DAYS = """
SELECT s.id, a.* FROM unnest($1::int[]) AS s (id) CROSS JOIN LATERAL (
    SELECT CASE WHEN min(n) = max(n) THEN ARRAY[min(n)] ELSE array_agg(n) END, max(suspects),
           string_agg(float8send(first), ''), string_agg(float8send(last), ''),
           string_agg(timestamptz_send(first_at), ''), string_agg(timestamptz_send(last_at), ''),
           count(first_at), count(falls)
    FROM (SELECT bucket, n, suspects, first, last, first_at, last_at, falls FROM rollup_day
          WHERE datastream_id = s.id AND bucket >= $2 AND bucket < $3 ORDER BY bucket) AS day) AS a
"""
READ_TIMEZONE = "SELECT timezone FROM deployment"


class NoHistory(Exception):
    """The stack has no history to ask for; the message says how to write one."""


@dataclass(frozen=True, slots=True)
class Query:
    """One question: how the API answers it, and its heaviest statement with what it is given."""

    name: str
    label: str
    goal_ms: float
    read: Callable[[Connection], Awaitable[int]]
    """How many rows or values came."""
    statement: str | None = None
    """None: a list, which is several and no one that is the heaviest; its goal is of its 95th percentile."""
    arguments: tuple[Any, ...] = ()


class QueryFigures(msgspec.Struct, frozen=True):
    """Milliseconds of one query or request, elapsed and of CPU, and of its statement in psql as superuser."""

    name: str
    label: str
    rows: int
    goal_ms: float
    median_ms: float
    p95_ms: float
    client_cpu_ms: float
    """Of who asks PostgreSQL, the API's process or our own: it does not depend on who else uses the machine."""
    server_cpu_ms: float
    """Of PostgreSQL, mean of the runs; 0 when it runs elsewhere."""
    psql_median_ms: float
    psql_p95_ms: float
    ratio_to_psql: float
    reached: bool

    @property
    def is_reached_by_cpu(self) -> bool:
        """Whether a quiet machine would reach it: there nothing waits but for the processor."""
        return self.client_cpu_ms + self.server_cpu_ms <= self.goal_ms


async def plan_queries(pool: Pool) -> tuple[int, list[Query]]:
    """The history's tenant, the four questions of as many of its assets as it has, and the lists.

    Raises:
        NoHistory: there is no such tenant.
    """
    tenant = await find_tenant(pool, SLUG)
    series = [] if tenant is None else [row["id"] for row in await pool.fetch(PICK_OF_ASSETS, tenant.id, ASSETS)]
    if tenant is None or not series:
        raise NoHistory("pas d'historique dans cette base : ./territoire simulate --history l'écrit")
    zone = ZoneInfo(await pool.fetchval(READ_TIMEZONE))
    many = [row["id"] for row in await pool.fetch(PICK_ANY, tenant.id, SERIES)]
    bins = [row["id"] for row in await pool.fetch(PICK_OF_KIND, tenant.id, "glass_container", "fill_level", BINS)]
    meters = [row["id"] for row in await pool.fetch(PICK_METERS, tenant.id, METERS)]
    one = await pool.fetchval(PICK_OF_KIND, tenant.id, "room", "temperature", 1)
    today = datetime.combine(datetime.now(UTC).astimezone(zone).date(), datetime.min.time(), zone)
    middle = await pool.fetchrow(MIDDLE, tenant.id)
    assert middle is not None
    lists = list_reads(middle["longitude"], middle["latitude"])
    return tenant.id, [
        _last_values(series),
        _year_by_hour(one, today - timedelta(365), today, zone),
        _month_by_day(many, today - timedelta(30), today, zone),
        _meters_by_month(meters, today, zone),
        _days_above(bins, (today - timedelta(365)).date(), today.date()),
        *(
            Query(name, f"/v1/{name}", MAP_GOAL_MS if name == "assets/map" else GOAL_MS, read)
            for name, read in lists.items()
        ),
    ]


def _last_values(ids: list[int]) -> Query:
    async def read(connection: Connection) -> int:
        return len(await read_latest(connection, ids))

    return Query("last_values", f"dernières valeurs de {len(ids)} actifs", 25, read, LATEST, (ids,))


def _year_by_hour(id_: int, since: datetime, until: datetime, zone: ZoneInfo) -> Query:
    return Query(
        "year_by_hour", "une série, un an par heure", 15,
        _read_series([id_], edges_of(since, until, "hour", zone), "hour", zone),
        series_statements.HOURS, ([id_], since, until),
    )  # fmt: skip


def _month_by_day(ids: list[int], since: datetime, until: datetime, zone: ZoneInfo) -> Query:
    label = f"{len(ids)} séries, un mois par jour"
    return Query(
        "month_by_day", label, 100, _read_series(ids, edges_of(since, until, "day", zone), "day", zone),
        series_statements.DAYS, (ids, since, until),
    )  # fmt: skip


def _meters_by_month(ids: list[int], today: datetime, zone: ZoneInfo) -> Query:
    """Twelve months beside the twelve before and the same ones of the year before, as one request reads them."""
    until = today.replace(day=1)
    edges = edges_of(until.replace(year=until.year - 1), until, "month", zone)
    beside = [
        start
        for comparison in ("previous_period", "previous_year")
        for start in counterparts(edges, "month", zone, comparison)
        if start is not None
    ]
    every = sorted({*edges, *spans_of(beside, "month", zone)})
    label = f"{len(ids)} compteurs, un an par mois, deux comparaisons"
    return Query(
        "meters_by_month", label, 150, _read_series(ids, every, "month", zone),
        INDEX_DAYS, (ids, every[0], every[-1]),
    )  # fmt: skip


def _read_series(
    ids: list[int], edges: list[datetime], unit: Unit, zone: ZoneInfo
) -> Callable[[Connection], Awaitable[int]]:
    async def read(connection: Connection) -> int:
        chosen = await series_choice.select_series(connection, ids, WantedDatastreams(), SERIES)
        series = await series_choice.with_profiles(connection, chosen)
        found = await series_store.read_series(connection, series, edges, unit, zone)
        return sum(len(one.since) for one in found.series.values())

    return read


def _days_above(ids: list[int], since: date, until: date) -> Query:
    async def read(connection: Connection) -> int:
        bins = await days_above_store.select_bins(connection, ids, most=BINS)
        first_days = await days_above_store.read_first_days(connection, ids)
        known = await days_above_store.read_known_months(connection, ids, (since, until), FULL)
        return len(days_above(bins, known, first_days, (since, until), ["bin"]))

    label = f"jours à {FULL} % ou plus de {len(ids)} bornes, un an"
    return Query("days_above", label, 100, read, days_above_store.KNOWN_MONTHS, (ids, since, until, FULL))


async def measure_api(pool: Pool, proof: Proof, query: Query, runs: int) -> tuple[int, list[float], list[float]]:
    """How many rows it answers, and milliseconds of each run, elapsed and of our own CPU.

    Each run is a transaction of its own, as in a request.
    """
    rows, times, cpu = 0, list[float](), list[float]()
    for _ in range(WARM_UP + runs):
        began, began_cpu = time.perf_counter(), time.process_time()
        async with tenant_transaction(pool, proof) as connection:
            rows = await query.read(connection)
        times.append((time.perf_counter() - began) * 1_000)
        cpu.append((time.process_time() - began_cpu) * 1_000)
    return rows, times[WARM_UP:], cpu[WARM_UP:]


async def measure_psql(admin_url: str, sql: str, arguments: Sequence[object], runs: int) -> list[float]:
    """Milliseconds that psql reports for the statement with the same parameters; the rows go to /dev/null.

    `search_path` puts the bare tables before the views of the same names.

    Raises:
        RuntimeError: psql says something else than times.
    """
    bound = " ".join(_quoted(argument) for argument in arguments)
    statement = f"{sql.strip()} \\bind {bound} \\g /dev/null\n"
    script = "SET search_path = observation, public;\n\\timing on\n" + statement * (WARM_UP + runs)
    process = await asyncio.create_subprocess_exec(
        str(binaries() / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env=libpq_environment(admin_url),
    )  # fmt: skip
    output, _ = await process.communicate(script.encode())
    times = [float(found) for found in TIMING.findall(output.decode())]
    if len(times) != WARM_UP + runs:
        raise RuntimeError(f"psql : {output.decode()[-500:]}")
    return times[WARM_UP:]


def _quoted(argument: object) -> str:
    return "'" + literal(argument).replace("\\", "\\\\").replace("'", "''") + "'"


def literal(argument: object) -> str:
    """The text form that PostgreSQL reads, of what the API's statements are given."""
    match argument:
        case list():
            elements = cast(list[object], argument)
            return "{" + ",".join(f'"{literal(element)}"' for element in elements) + "}"
        case date():  # An instant is one, too.
            return argument.isoformat()
        case timedelta():
            return f"{argument.total_seconds():.6f} s"
        case _:
            return str(argument)


def p95(times: Sequence[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(times, n=20, method="inclusive")[-1] if len(times) > 1 else times[0]


async def measure(
    run: RunInfo, runs: int, console: Console, *, explain: bool, lists: bool = True
) -> list[QueryFigures]:
    """Every query, one after the other; the lists, too, or not.

    Raises:
        NoHistory: nothing was loaded into this stack.
    """
    figures: list[QueryFigures] = []
    # As the API's own process looks for cycles.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    # The superuser's connection turned into the API's role when it opens: row security binds it from then on.
    async with (
        open_pool(run.database_url, "bench-queries", size=1) as service,
        open_pool(f"{run.database_admin_url}?role=territoire_api", "bench-queries", size=1) as pool,
    ):
        tenant_id, queries = await plan_queries(service)
        key = await create_api_key(service, tenant_id, "bench queries", ["read"])
        principal = await authenticate(service, key)
        assert principal is not None
        proof = principal.proof
        for query in queries:
            if query.statement is None and not lists:
                continue
            backend: int = await pool.fetchval("SELECT pg_backend_pid()")  # The pool has one connection.
            before = cpu_seconds_of(backend)
            rows, times, cpu = await measure_api(pool, proof, query, runs)
            server_cpu = (cpu_seconds_of(backend) - before) * 1_000 / (WARM_UP + runs)
            in_psql = [0.0]
            if query.statement is not None:
                in_psql = await measure_psql(run.database_admin_url, query.statement, query.arguments, runs)
            median, bare = statistics.median(times), statistics.median(in_psql)
            figures.append(
                QueryFigures(
                    name=query.name,
                    label=query.label,
                    rows=rows,
                    goal_ms=query.goal_ms,
                    median_ms=round(median, 2),
                    p95_ms=round(p95(times), 2),
                    client_cpu_ms=round(statistics.median(cpu), 2),
                    server_cpu_ms=round(server_cpu, 1),
                    psql_median_ms=round(bare, 2),
                    psql_p95_ms=round(p95(in_psql), 2),
                    ratio_to_psql=round(median / bare, 2) if bare else 0.0,
                    reached=(median if query.statement is not None else p95(times)) <= query.goal_ms,
                )
            )
            if explain and query.statement is not None:
                await _print_plan(pool, proof, query, console)
        await revoke_api_key(service, principal.key_id)
    return figures


async def _print_plan(pool: Pool, proof: Proof, query: Query, console: Console) -> None:
    async with tenant_transaction(pool, proof) as connection:
        lines = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {query.statement}", *query.arguments)
    console.print(f"[bold]{query.label}[/bold]")
    for line in lines:
        console.print(line[0][:200], markup=False, highlight=False)


def print_table(console: Console, figures: Sequence[QueryFigures]) -> None:
    """For people."""
    table = Table(
        "question", "réponses", "objectif", "médiane", "p95", "CPU client", "CPU serveur", "psql", "rapport", ""
    )
    for figure in figures:
        table.add_row(
            figure.label,
            str(figure.rows),
            f"{figure.goal_ms:g} ms",
            f"{figure.median_ms:.1f} ms",
            f"{figure.p95_ms:.1f} ms",
            f"{figure.client_cpu_ms:.1f} ms",
            f"{figure.server_cpu_ms:.0f} ms",
            f"{figure.psql_median_ms:.1f} ms",
            f"{figure.ratio_to_psql:.2f}",
            "[green]atteint[/green]" if figure.reached else "[red]manqué[/red]",
        )
    console.print(table)
    console.print(
        "API : rôle territoire_api sous sécurité des lignes ; psql : la même requête, superutilisateur, sans ; "
        f"{os.cpu_count()} processeurs, charge {os.getloadavg()[0]:.1f}"
    )
