"""Every list of the API over HTTP, a page of fifty in each order, at 10,000 assets; and the map of 100,000.

Which lists and orders there are is what the API's own document says, so a new one is measured from its first day.
"""

import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from core.runtime.postgres import open_pool
from lab.bench.console_world import add_many
from lab.bench.processes import cpu_seconds
from lab.bench.queries import p95
from lab.fleet.tenancy import ALL_ROLES, prepare_tenant
from lab.simulator.stack_memory import pss_mb
from registry.tenants import create_api_key
from services.supervisor.run_info import RunInfo

SHOWN = 50
GOAL_MS, MAP_GOAL_MS = 60.0, 3_000.0
# Of the world that is made: in the middle of it, and around it.
NEAR, BOX = {"near": "-4.12,48.39", "radius": "3000"}, {"bbox": "-4.14,48.37,-4.10,48.41"}
# Of datastreams that are named or of a period of some bins, 2,000 at most: no lists of all.
OF_SOME = ("/v1/measurements/readings", "/v1/waste/emptyings")
# What people ask besides orders.
FILTERED: Mapping[str, Sequence[Mapping[str, str]]] = {
    "/v1/assets": ({"q": "rue 7"}, {"state": "silent"}, {"kind": "room", "sort": "state"}, BOX),
    "/v1/devices": ({"q": "Capteur 77"}, {"state": "silent"}, NEAR, {"state": "ok", "sort": "-battery_percent"}),
    "/v1/measurements/latest": ({"quantity": "temperature", "sort": "-value"}, BOX),
    "/v1/asset-states": ({"state": "silent"}, {"kind": "room"}, BOX),
    "/v1/alerts": ({"severity": "critical"}, BOX),
}
MAP_RUNS = 5
# A minute and key: what the limit is for is measured elsewhere.
ENOUGH = 60_000


class ListFigures(msgspec.Struct, frozen=True):
    """Milliseconds of one request; the CPU that the API and PostgreSQL spent on it."""

    request: str
    rows: int
    goal_ms: float
    best_ms: float
    median_ms: float
    p95_ms: float
    api_cpu_ms: float
    database_cpu_ms: float

    @property
    def is_reached(self) -> bool:
        """Whether the 95th percentile is."""
        return self.p95_ms <= self.goal_ms


class MapFigures(msgspec.Struct, frozen=True):
    """The compact map of many, and what it does to the API's memory."""

    points: int
    octets: int
    median_ms: float
    slowest_ms: float
    api_cpu_ms: float
    database_cpu_ms: float
    memory_before_mb: float
    memory_after_mb: float


class PageFigures(msgspec.Struct, frozen=True):
    """What was measured, and how busy the machine was."""

    lists: list[ListFigures]
    map: MapFigures | None
    load: float

    @property
    def missed(self) -> list[str]:
        """The requests whose goals were not reached."""
        over = [one.request for one in self.lists if not one.is_reached]
        if self.map is not None and self.map.slowest_ms > MAP_GOAL_MS:
            over.append(f"/v1/assets/map ({self.map.points})")
        return over


def requests_of(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each list of the document with its parameters: in every order, and filtered."""
    for path, operations in document["paths"].items():
        parameters = {one["name"]: one for one in operations.get("get", {}).get("parameters", ())}
        if "{" in path or "limit" not in parameters or path in OF_SOME:
            continue
        orders = parameters.get("sort", {}).get("schema", {}).get("enum", ())
        given = [{"sort": order} | (NEAR if order.endswith("distance") else {}) for order in orders] or [{}]
        for one in (*given, *FILTERED.get(path, ())):
            yield path, {"limit": str(SHOWN), **one}


class Asker:
    """Asks the API as a program does, and knows what its answers cost."""

    def __init__(self, run: RunInfo, key: str) -> None:
        services = {one.name: one.pid for one in run.services}
        self.pids = {name: pid for name in ("api", "postgres") if (pid := services[name]) is not None}
        self.client = httpx.Client(
            base_url=run.api_url, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False
        )

    def get(self, path: str, parameters: Mapping[str, str]) -> tuple[httpx.Response, float]:
        """The answer, and how many milliseconds it took."""
        began = time.perf_counter()
        answer = self.client.get(path, params=dict(parameters))
        return answer.raise_for_status(), (time.perf_counter() - began) * 1_000

    def list_figures(self, path: str, parameters: dict[str, str], runs: int) -> list[ListFigures]:
        """Of the first page, and of the second where there is one."""
        first, _ = self.get(path, parameters)
        pages = [parameters]
        following = first.json().get("next")
        if following is not None and "sort" in parameters:
            pages.append(parameters | {"cursor": following})
        found: list[ListFigures] = []
        for page in pages:
            rows = len(self.get(path, page)[0].json()["items"])
            before = cpu_seconds(self.pids)
            times = [self.get(path, page)[1] for _ in range(runs)]
            after = cpu_seconds(self.pids)
            api, database = ((after[name] - before[name]) * 1_000 / runs for name in ("api", "postgres"))
            asked = "&".join(f"{name}={value}" for name, value in page.items() if name not in ("limit", "cursor"))
            second = " (page 2)" if "cursor" in page else ""
            found.append(
                ListFigures(
                    f"{path}{'?' if asked else ''}{asked}{second}",
                    rows,
                    GOAL_MS,
                    round(min(times), 1),
                    round(statistics.median(times), 1),
                    round(p95(times), 1),
                    round(api, 1),
                    round(database, 1),
                )
            )
        return found

    def map_figures(self, points: int) -> MapFigures:
        """Whole, as a program of maps reads it."""
        before_mb = pss_mb(self.pids["api"])
        answer, _ = self.get("/v1/assets/map", {})
        found, octets = len(answer.json()["features"]), len(answer.content)
        assert found == points, f"{found} points of {points}"
        before = cpu_seconds(self.pids)
        times = [self.get("/v1/assets/map", {})[1] for _ in range(MAP_RUNS)]
        after = cpu_seconds(self.pids)
        api, database = ((after[name] - before[name]) * 1_000 / MAP_RUNS for name in ("api", "postgres"))
        return MapFigures(
            points,
            octets,
            round(statistics.median(times), 1),
            round(max(times), 1),
            round(api, 1),
            round(database, 1),
            round(before_mb, 1),
            round(pss_mb(self.pids["api"]), 1),
        )


async def make_tenant(run: RunInfo, slug: str, name: str, assets: int) -> str:
    """A tenant with so many assets, their devices, last values and alerts; a key that may see them."""
    async with open_pool(run.database_url, "bench", size=1) as pool:
        tenant, _ = await prepare_tenant(pool, slug, name)
        async with pool.acquire() as connection:
            key = await create_api_key(connection, tenant.id, "bench", ALL_ROLES, requests_per_minute=ENOUGH)
    await add_many(run.database_admin_url, tenant.id, assets)
    return key


def measure(run: RunInfo, keys: Sequence[str], points: int, runs: int, console: Console) -> PageFigures:
    """Every list with the first key; with the second one the map."""
    asker = Asker(run, keys[0])
    asked = list(requests_of(asker.get("/openapi.json", {})[0].json()))
    lists: list[ListFigures] = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Listes", total=len(asked))
        for path, parameters in asked:
            lists += asker.list_figures(path, parameters, runs)
            progress.advance(task)
    mapped = Asker(run, keys[1]).map_figures(points) if points else None
    return PageFigures(lists, mapped, os.getloadavg()[0])


def print_figures(console: Console, figures: PageFigures) -> None:
    """One table, the slowest first."""
    table = Table()
    table.add_column("liste de 50", overflow="fold")
    for column in ("lignes", "objectif", "meilleure", "médiane", "p95", "CPU API", "CPU PostgreSQL", ""):
        table.add_column(column)
    for one in sorted(figures.lists, key=lambda one: -one.p95_ms):
        table.add_row(
            one.request,
            str(one.rows),
            f"{one.goal_ms:g} ms",
            *(f"{value:.1f}" for value in (one.best_ms, one.median_ms, one.p95_ms)),
            *(f"{value:.1f}" for value in (one.api_cpu_ms, one.database_cpu_ms)),
            "[green]atteint[/green]" if one.is_reached else "[red]manqué[/red]",
        )
    console.print(table)
    if figures.map is not None:
        one = figures.map
        console.print(
            f"carte de {one.points} points : {one.octets / 1e6:.1f} Mo, médiane {one.median_ms:.0f} ms, "
            f"la plus longue {one.slowest_ms:.0f} ms (objectif {MAP_GOAL_MS:g} ms) ; "
            f"API {one.api_cpu_ms:.0f} ms de processeur, PostgreSQL {one.database_cpu_ms:.0f} ms ; "
            f"mémoire de l'API {one.memory_before_mb:.0f} Mo avant, {one.memory_after_mb:.0f} Mo après"
        )
    console.print(f"{os.cpu_count()} processeurs, charge {figures.load:.1f}")
