"""`territoire bench console`: the console in Chromium, as who opens it on a Monday morning finds it.

Supervision with a cold cache, each page's answer, the state of ten thousand assets and their map, frames at fifty
a second while somebody clicks, and a hundred people who look on at once.
"""

import asyncio
import os
import secrets
import statistics
import time
from collections.abc import Sequence
from typing import Any

import httpx
import msgspec
from playwright.async_api import Browser, Page
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from api.asset_state_store import EVERYTHING, list_states
from core.runtime.postgres import Pool, open_pool
from lab.bench.console_streams import CORES_BELOW, MEMORY_BELOW_MB, STOPS_WITHIN_S, measure_streams
from lab.bench.console_world import add_many
from lab.bench.processes import cpu_seconds
from lab.browser.chromium import DESKTOP, log_in, open_chromium
from lab.browser.pages import NoExample, address_of, page_paths
from lab.fleet.tenancy import prepare_tenant
from lab.history.cpu import cpu_seconds_of
from lab.load.load import Load, open_load
from registry.entering import tenant_transaction
from registry.passwords import Passwords
from registry.people import enter_person
from registry.tenants import authenticate
from services.supervisor.run_info import RunInfo

ASSETS, GATEWAYS, ON_THE_MAP = 1_200, 24, 10_000
COLD_VISITS = 5
STATES_READ = 20
SESSIONS, STREAMS_COUNTED_S = 100, 30.0
REQUESTS, FEWEST_REQUESTS, OF_ALL = 40, 5, 0.95
# Of a page that takes seconds it is known soon enough.
PAGE_WITHIN_S = 10.0
# Without JavaScript this page listens for a while before it answers.
LISTENS = frozenset({"/trames"})
FRAMES_PER_S = 50.0
FRAMES_WATCHED_AFTER_S = 5.0
LOOK_AT_HEAP_EVERY_S, CLICK_EVERY_S = 5.0, 2.0
PAN_STEPS, PAN_STEP_S, PAN_PX = 60, 0.03, 12
SETTLED_AFTER_MS = 1_500
# More than this at the end than after the first quarter is growth.
STEADY = 1.15
GOALS = {
    "first_paint_ms": 300.0,
    "transferred_kb": 150.0,
    "interactive_ms": 1_000.0,
    "server_p95_ms": 80.0,
    "states_ms": 50.0,
    "map_drawn_ms": 1_500.0,
    "pan_longest_frame_ms": 100.0,
    "heap_growth": STEADY,
    "lost_clicks": 0,
    "streams_cores": CORES_BELOW,
    "streams_memory_mb": MEMORY_BELOW_MB,
    "streams_ended": 0,
    "stopped_after_s": STOPS_WITHIN_S,
}
LOADED = """(settledMs) => new Promise((done) => {
  let last = 0;
  const look = (list) => list.getEntries().forEach((one) => {
    last = Math.max(last, one.startTime + one.duration);
  });
  new PerformanceObserver(look).observe({ type: "longtask", buffered: true });
  setTimeout(() => {
    const [page] = performance.getEntriesByType("navigation");
    const files = performance.getEntriesByType("resource");
    const paint = performance.getEntriesByName("first-contentful-paint")[0];
    const before = files.filter((one) => one.startTime < page.loadEventEnd + settledMs);
    done({ paint: paint ? paint.startTime : null,
           interactive: Math.max(page.domContentLoadedEventEnd, last),
           octets: before.reduce((sum, one) => sum + one.transferSize, page.transferSize),
           files: before.length + 1 });
  }, settledMs);
})"""
DRAWN = "() => document.querySelector('.cluster, .leaflet-marker-icon') && performance.now()"
WATCH_FRAMES = """() => { const gaps = window.gaps = []; let last = performance.now();
  const look = (now) => { gaps.push(now - last); last = now; requestAnimationFrame(look); };
  requestAnimationFrame(look); }"""


class ConsoleFigures(msgspec.Struct, frozen=True):
    """What was measured; times in milliseconds."""

    assets: int
    first_paint_ms: float
    transferred_kb: float
    requests: int
    interactive_ms: float
    server_p95_ms: float
    slowest_page: str
    pages: dict[str, float]
    """The server's p95 of each."""
    pages_cpu: dict[str, float]
    """Milliseconds of the API's process for a request: what does not depend on who else uses the machine."""
    states_ms: float
    states_cpu_ms: float
    """PostgreSQL's."""
    map_assets: int
    map_drawn_ms: float
    pan_longest_frame_ms: float
    frames_s: float
    frames_per_s: float
    heap_mb: list[float]
    heap_growth: float
    """The last quarter against the second: the first fills the table."""
    clicks: int
    lost_clicks: int
    streams: int
    streams_cores: float
    streams_memory_mb: float
    streams_ended: int
    streams_p95_ms: float
    stopped_after_s: float
    load: float
    """Of the machine, at the end."""

    @property
    def missed(self) -> list[str]:
        """The goals that were not reached."""
        return [name for name, goal in GOALS.items() if getattr(self, name) > goal]


class Bench:
    """A browser, and somebody who may see everything of a tenant."""

    def __init__(self, run: RunInfo, pool: Pool, browser: Browser, password: str) -> None:
        self._run, self._pool, self._browser, self._password = run, pool, browser, password
        self._states: dict[int, Any] = {}

    async def enter(self, tenant_id: int) -> None:
        """Make a person of this tenant, and log in."""
        email = f"mesure-{tenant_id}@localhost"
        async with self._pool.acquire() as connection:
            hashed = await Passwords().hash_of(self._password)
            await enter_person(connection, tenant_id, email, "Mesure", hashed, "operator")
        context = await self._browser.new_context()
        try:
            await log_in(await context.new_page(), self._run.api_url, email, self._password)
            self._states[tenant_id] = await context.storage_state()
        finally:
            await context.close()

    async def open(self, tenant_id: int, address: str) -> Page:
        """With a cold cache."""
        context = await self._browser.new_context(storage_state=self._states[tenant_id], viewport=DESKTOP)
        page = await context.new_page()
        await page.goto(f"{self._run.api_url}{address}")
        return page

    async def cold_visits(self, tenant_id: int, progress: Progress) -> list[dict[str, float]]:
        """Supervision, by somebody who was never here."""
        task = progress.add_task("Supervision, cache vide", total=COLD_VISITS)
        found: list[dict[str, float]] = []
        for _ in range(COLD_VISITS):
            page = await self.open(tenant_id, "/supervision")
            found.append(await page.evaluate(LOADED, SETTLED_AFTER_MS))
            await page.context.close()
            progress.advance(task)
        return found

    async def server_times(self, tenant_id: int, progress: Progress) -> dict[str, tuple[float, float]]:
        """The server's p95 of every page, one request after the other, and the API's CPU for one."""
        api = {"api": pid_of(self._run, "api")}
        cookies = {one["name"]: one["value"] for one in self._states[tenant_id]["cookies"]}
        pages = [one for one in page_paths() if one.right is not None and one.path not in LISTENS]
        task = progress.add_task("Réponses du serveur", total=len(pages))
        times: dict[str, tuple[float, float]] = {}
        async with httpx.AsyncClient(
            base_url=self._run.api_url,
            cookies=cookies,
            headers={"Accept": "text/html"},
            trust_env=False,
            timeout=30,
        ) as client:
            for one in pages:
                progress.advance(task)
                try:
                    address = await address_of(one, self._pool, tenant_id)
                except NoExample:
                    continue
                taken: list[float] = []
                (await client.get(address)).raise_for_status()  # The first compiles the template.
                until, cpu = time.monotonic() + PAGE_WITHIN_S, cpu_seconds(api)["api"]
                while len(taken) < FEWEST_REQUESTS or (len(taken) < REQUESTS and time.monotonic() < until):
                    began = time.perf_counter()
                    (await client.get(address)).raise_for_status()
                    taken.append(1_000 * (time.perf_counter() - began))
                spent = 1_000 * (cpu_seconds(api)["api"] - cpu) / len(taken)
                times[one.path] = sorted(taken)[int(OF_ALL * (len(taken) - 1))], spent
        return times

    async def map_of_many(self, tenant_id: int) -> tuple[float, float]:
        """Until the map is drawn, and the longest frame while it is dragged."""
        page = await self.open(tenant_id, "/carte")
        drawn = await (await page.wait_for_function(DRAWN, polling="raf")).json_value()
        await asyncio.sleep(1)
        box = await page.locator("#map").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        await page.evaluate(WATCH_FRAMES)
        await page.mouse.move(x, y)
        await page.mouse.down()
        for step in range(PAN_STEPS):
            # To and fro: what is at the edge comes in, too.
            away = PAN_PX * (step if step < PAN_STEPS / 2 else PAN_STEPS - step)
            await page.mouse.move(x + away, y + away / 3)
            await asyncio.sleep(PAN_STEP_S)
        await page.mouse.up()
        longest = await page.evaluate("() => Math.max(...window.gaps)")
        await page.context.close()
        return float(drawn), float(longest)

    async def frames(self, load: Load, seconds: float, progress: Progress) -> tuple[list[float], int, int]:
        """The heap in MB while frames come, after a collection each time; clicks, and those that did nothing."""
        page = await self.open(load.tenant.id, "/trames")
        session: Any = await page.context.new_cdp_session(page)  # What it answers has no type.
        task = progress.add_task("Trames en direct", total=seconds)
        await page.locator("#pause").wait_for()
        playing = asyncio.create_task(load.play(FRAMES_PER_S, seconds + FRAMES_WATCHED_AFTER_S), name="load")
        heap: list[float] = []
        clicks = lost = 0
        began = looked = time.monotonic()
        try:
            while (now := time.monotonic()) < began + seconds:
                progress.update(task, completed=now - began)
                before = await page.locator("#pause").get_attribute("aria-pressed")
                await page.locator("#pause").click()
                clicks += 1
                lost += await page.locator("#pause").get_attribute("aria-pressed") == before
                if before == "false":  # Go on, or there is nothing to see.
                    continue
                if now - looked >= LOOK_AT_HEAP_EVERY_S or not heap:
                    await session.send("HeapProfiler.collectGarbage")
                    heap.append((await session.send("Runtime.getHeapUsage"))["usedSize"] / 1e6)
                    looked = now
                await asyncio.sleep(CLICK_EVERY_S)
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
        shown = await page.locator("#frames tbody tr").count()
        await page.context.close()
        return heap, clicks, lost + (0 if shown else clicks)


async def measure(run: RunInfo, seconds: float, console: Console) -> ConsoleFigures:
    """Everything, on a stack that runs; frames for so long.

    Raises:
        BrowserMissing: there is no Chromium.
        ProvisioningFailed, JoinsTakeTooLong: the fleet.
    """
    async with (
        open_pool(run.database_url, "bench", size=2) as pool,
        open_load(run, devices=ASSETS, gateways=GATEWAYS, console=console) as load,
        open_chromium() as browser,
    ):
        await load.play(FRAMES_PER_S * 4, ASSETS / FRAMES_PER_S / 4 * 2)
        many, key = await prepare_tenant(pool, "carte", "Dix mille équipements")
        await add_many(run.database_admin_url, many.id, ON_THE_MAP)
        states_ms, states_cpu_ms = await read_states(run, pool, key)
        bench = Bench(run, pool, browser, secrets.token_urlsafe(24))
        await bench.enter(load.tenant.id)
        await bench.enter(many.id)
        with Progress(console=console, transient=True) as progress:
            visits = await bench.cold_visits(load.tenant.id, progress)
            times = await bench.server_times(load.tenant.id, progress)
            drawn, longest = await bench.map_of_many(many.id)
            heap, clicks, lost = await bench.frames(load, seconds, progress)
        tenant_id = load.tenant.id
    # The last: it ends the API.
    streams = await measure_streams(run, SESSIONS, STREAMS_COUNTED_S, tenant_id)
    slowest = max(times, key=lambda path: times[path])
    return ConsoleFigures(
        assets=ASSETS,
        first_paint_ms=_median(visits, "paint"),
        transferred_kb=_median(visits, "octets") / 1_000,
        requests=round(_median(visits, "files")),
        interactive_ms=_median(visits, "interactive"),
        server_p95_ms=times[slowest][0],
        slowest_page=slowest,
        pages={path: round(taken, 1) for path, (taken, _) in times.items()},
        pages_cpu={path: round(spent, 1) for path, (_, spent) in times.items()},
        states_ms=states_ms,
        states_cpu_ms=states_cpu_ms,
        map_assets=ON_THE_MAP,
        map_drawn_ms=drawn,
        pan_longest_frame_ms=longest,
        frames_s=seconds,
        frames_per_s=FRAMES_PER_S,
        heap_mb=[round(one, 2) for one in heap],
        heap_growth=heap_growth(heap),
        clicks=clicks,
        lost_clicks=lost,
        streams=streams.sessions,
        streams_cores=streams.cores,
        streams_memory_mb=streams.memory_mb,
        streams_ended=streams.ended,
        streams_p95_ms=streams.p95_ms,
        stopped_after_s=streams.stopped_after_s,
        load=os.getloadavg()[0],
    )


async def read_states(run: RunInfo, service: Pool, key: str) -> tuple[float, float]:
    """Milliseconds of the statement for all assets of a tenant as the API asks it, and PostgreSQL's CPU for it."""
    principal = await authenticate(service, key)
    assert principal is not None
    taken: list[float] = []
    async with open_pool(f"{run.database_admin_url}?role=territoire_api", "bench-states", size=1) as pool:
        backend: int = await pool.fetchval("SELECT pg_backend_pid()")  # The pool has one connection.
        before = cpu_seconds_of(backend)
        for _ in range(STATES_READ):
            async with tenant_transaction(pool, principal.proof) as connection:
                began = time.perf_counter()
                found = await list_states(connection, EVERYTHING, most=ON_THE_MAP)
                taken.append(1_000 * (time.perf_counter() - began))
            assert len(found) == ON_THE_MAP
        spent = 1_000 * (cpu_seconds_of(backend) - before) / STATES_READ
    return statistics.median(taken), spent


def pid_of(run: RunInfo, service: str) -> int:
    """Of the one replica."""
    pid = run.replicas(service)[0].pid
    assert pid is not None, f"{service} does not run"
    return pid


def _median(visits: Sequence[dict[str, float]], name: str) -> float:
    return statistics.median(visit[name] for visit in visits)


def heap_growth(heap: Sequence[float]) -> float:
    """The last quarter against the second: until then the table fills, and what is compiled is."""
    quarter = max(1, len(heap) // 4)
    if len(heap) < 2 * quarter + 1:
        return 1.0
    return round(statistics.mean(heap[-quarter:]) / statistics.mean(heap[quarter : 2 * quarter]), 3)


def print_figures(console: Console, figures: ConsoleFigures) -> None:
    """A table, in the form of docs/performance.md."""
    table = Table("mesure", "atteint", "objectif", title="Console dans Chromium", title_justify="left")
    rows = {
        f"Supervision, {figures.assets} équipements, cache vide : première image": ("first_paint_ms", "ms"),
        f"la même : transféré, en {figures.requests} requêtes": ("transferred_kb", "kB"),
        "la même : utilisable": ("interactive_ms", "ms"),
        f"réponse du serveur, p95 de la page la plus lente ({figures.slowest_page})": ("server_p95_ms", "ms"),
        f"état de {figures.map_assets} équipements (PostgreSQL : {figures.states_cpu_ms:.0f} ms de processeur)": (
            "states_ms",
            "ms",
        ),
        f"carte de {figures.map_assets} équipements : dessinée": ("map_drawn_ms", "ms"),
        "la même, glissée : image la plus longue": ("pan_longest_frame_ms", "ms"),
        f"{figures.frames_per_s:g} trames/s pendant {figures.frames_s:g} s : tas à la fin": (
            "heap_growth",
            "fois",
        ),
        f"la même : clics perdus sur {figures.clicks}": ("lost_clicks", ""),
        f"{figures.streams} sessions sur Supervision, 10 changements/s : API": ("streams_cores", "cœur"),
        "les mêmes : mémoire de l'API": ("streams_memory_mb", "Mo"),
        f"les mêmes : coupées (vu après {figures.streams_p95_ms:.0f} ms, p95)": ("streams_ended", ""),
        "les mêmes : de SIGTERM à la fin de l'API": ("stopped_after_s", "s"),
    }
    for what, (name, unit) in rows.items():
        missed = " : manqué" if name in figures.missed else ""
        table.add_row(what, f"{getattr(figures, name):.4g} {unit}", f"{GOALS[name]:g} {unit}{missed}")
    console.print(table)
    over = {path: ms for path, ms in figures.pages.items() if ms > GOALS["server_p95_ms"]}
    for path in sorted(over, key=lambda path: -over[path]):
        console.print(
            f"  {path} : p95 {over[path]:.0f} ms, dont API {figures.pages_cpu[path]:.0f} ms de processeur"
        )
    console.print(f"{os.cpu_count()} processeurs, charge {figures.load:.1f}")
