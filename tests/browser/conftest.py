"""One stack, one fleet on the air and one browser for all of the session; a context of its own for each visit."""

import asyncio
import os
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Response

from api.console.language import COOKIE
from core.runtime.postgres import Pool, open_pool
from lab.browser.chromium import DESKTOP, log_in, open_chromium
from lab.browser.examples import make_examples, plan_export, publish_container
from lab.browser.pages import PagePath, address_of
from lab.browser.school import build_school
from lab.device import sensors
from lab.device.device import Device
from lab.fleet.build import GatewayServers, build_udp_gateway
from lab.fleet.pilot import CABINET, EM400, LIGHT_POINT, PILOT
from lab.fleet.plan import FleetPlan, Kind, plan_fleet, plan_gateways
from lab.fleet.provision import Provisioner
from lab.fleet.tenancy import prepare_tenant
from lab.radio.medium import RadioMedium
from lab.simulator.driver import Fleet, build_fleet
from lab.stack_process import background_stack
from registry.passwords import Passwords
from registry.people import enter_person
from services.supervisor.run_info import RunInfo
from tests.system.conftest import new_home

PASSWORD = "cormoran-bleu-et-galet-9"
ROLES = ("operator", "service_manager", "field_agent", "reader")
OURS, NEIGHBOUR = ("ville", "Ville de Kerlaz"), ("voisine", "Communauté voisine")
# A device that is slow to be heard, a machine that is busy: patience, not a promise.
PATIENCE_S = 90.0
INTERVAL_S = 5.0
FAILED = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is here shares the stack's loop, and starts processes."""
    folder = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(folder):
            if isinstance(item, pytest.Function) and iscoroutinefunction(item.function):
                item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            item.add_marker(pytest.mark.starts_processes)
            item.add_marker(pytest.mark.timeout(300))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a failed test's pages showed is kept beside the results."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@dataclass(frozen=True, slots=True)
class Scene:
    """What everybody looks at."""

    run: RunInfo
    pool: Pool
    tenant_id: int
    neighbour_id: int
    fleet: Fleet
    assets: dict[bytes, int]
    stranger: bytes
    """A gateway that speaks without being registered."""
    api: Provisioner
    """With a key of the tenant's that may do everything."""

    def device(self, kind: type) -> Device:
        """One of the fleet, on the air."""
        return next(one for one in self.fleet.devices if isinstance(one.application, kind))


async def until(condition: Callable[[], Awaitable[Any]], what: str) -> Any:
    """What the condition gives once it is something."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = await condition()
        if found:
            return found
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.1)


@pytest.fixture(scope="session")
def browser_folder() -> Iterator[Path]:
    with new_home("browser") as home:
        yield home


def _full(source: random.Random, _number: int) -> sensors.Container:
    return sensors.Container(source, fill=80.0, rise=0.05, is_em400=True, burns=False)


def _plan() -> FleetPlan:
    """Two of each kind of the pilot's, with cabinets that switch, and bins that are full from the first day."""
    kinds = [kind for _, kind in PILOT for _ in range(2)]
    kinds += [kind for _, kind in PILOT if kind.profile in {CABINET, LIGHT_POINT}]
    kinds += [Kind(EM400, "glass_container", "Borne pleine", _full)] * 3
    return plan_fleet("ville", kinds, 2)


async def _things(api: Provisioner, assets: dict[bytes, int]) -> None:
    """One of what pages show, beyond the fleet and its alerts."""
    await make_examples(api, min(assets.values()), NEIGHBOUR[0])
    endpoint = {"url": "http://127.0.0.1:9/alertes", "description": "Supervision <b>é</b>"}
    await api.post("/v1/webhook-endpoints", endpoint)
    dashboard = {"url": "http://127.0.0.1:9/mesures", "description": "Tableau de bord", "purpose": "measurements"}
    address = await api.post("/v1/webhook-endpoints", dashboard)
    wanted = {"endpoint_id": address["id"], "description": "Remplissage des bacs", "quantity": "fill_level"}
    await api.post("/v1/measurement-webhooks", wanted)


async def _people(pool: Pool, tenant_id: int, slug: str) -> None:
    hashed = await Passwords().hash_of(PASSWORD)
    async with pool.acquire() as connection:
        for role in ROLES:
            await enter_person(connection, tenant_id, f"{role}@{slug}.example", "Jeanne Le Goff", hashed, role)


async def _neighbour(run: RunInfo, pool: Pool) -> int:
    tenant, key = await prepare_tenant(pool, *NEIGHBOUR)
    await _people(pool, tenant.id, NEIGHBOUR[0])
    api = Provisioner(run.api_url, key)
    rooms = [Kind(kind.profile, kind.asset_kind, "Salle voisine", kind.application) for _, kind in PILOT[-3:]]
    plan = plan_fleet("voisine", rooms, 1)
    try:
        await api.create_gateways(plan.gateways)
        await api.create_devices(plan.devices, INTERVAL_S, lambda: None)
    finally:
        await api.close()
    return tenant.id


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scene(browser_folder: Path) -> AsyncGenerator[Scene]:
    """A tenant whose fleet is heard, measured and in alert; another beside it, whose devices are not heard."""
    async with AsyncExitStack() as opened:
        run = await opened.enter_async_context(background_stack(browser_folder, {}))
        pool = await opened.enter_async_context(open_pool(run.database_url, "territoire-tests", size=4))
        tenant, key = await prepare_tenant(pool, *OURS)
        await _people(pool, tenant.id, OURS[0])
        neighbour_id = await _neighbour(run, pool)
        api = Provisioner(run.api_url, key)
        opened.push_async_callback(api.close)
        plan = _plan()
        tokens = await api.create_gateways(plan.gateways)
        assets = await api.create_devices(plan.devices, INTERVAL_S * 4, lambda: None)
        servers = GatewayServers.of(run, tokens)
        fleet = build_fleet(plan, servers=servers, interval_s=INTERVAL_S, join_spread_s=10.0)
        [unregistered] = plan_gateways(1, "stranger")
        stranger = build_udp_gateway(unregistered, RadioMedium(random.Random(1)), random.Random(1), servers.udp)
        on_air = [asyncio.create_task(fleet.run()), asyncio.create_task(stranger.run())]
        await _things(api, assets)
        made = Scene(run, pool, tenant.id, neighbour_id, fleet, assets, unregistered.gateway_id, api)
        try:
            await until(lambda: _is_alive(made, on_air), "the fleet is heard")
            await publish_container(api, "pleine")
            await plan_export(api)
            await build_school(api, pool, tenant.id)
            yield made
        finally:
            for task in on_air:
                task.cancel()
            await asyncio.gather(*on_air, return_exceptions=True)


async def _is_alive(scene: Scene, on_air: list["asyncio.Task[None]"]) -> bool:
    for task in on_air:
        if task.done():
            task.result()
    joined = scene.fleet.joined == len(scene.fleet.devices)
    alerts = await scene.pool.fetchval("SELECT count(*) FROM alert WHERE tenant_id = $1", scene.tenant_id)
    return joined and alerts >= 3


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncGenerator[Browser]:
    async with open_chromium() as browser:
        yield browser


@dataclass
class Visitor:
    """A page in a context of its own, and what went wrong in it."""

    page: Page
    scene: Scene
    problems: list[str] = field(default_factory=list[str])

    def watch(self) -> None:
        self.page.on("console", self._read)
        self.page.on("pageerror", lambda error: self.problems.append(f"{self.page.url}: {error}"))
        self.page.on("response", self._see)

    def _read(self, message: ConsoleMessage) -> None:
        # Of an answer with an error's status the browser says so again.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.problems.append(f"{self.page.url}: {message.text}")

    def _see(self, response: Response) -> None:
        if response.status >= 400:
            self.problems.append(f"{self.page.url}: {response.status} {response.url}")

    async def open(self, address: str) -> Page:
        """Go there; whole, with what its scripts draw at once."""
        answer = await self.page.goto(f"{self.scene.run.api_url}{address}")
        assert answer is not None
        assert answer.status == 200, (address, answer.status, await answer.text())
        return self.page

    async def open_example(self, page: PagePath) -> Page:
        return await self.open(await address_of(page, self.scene.pool, self.scene.tenant_id))

    async def choose(self, language: str) -> None:
        """For what is opened from now on, as the foot of each page does it."""
        await self.page.context.add_cookies([{"name": COOKIE, "value": language, "url": self.scene.run.api_url}])

    async def is_accessible(self, rules: Sequence[str] = ()) -> None:
        """Without any violation that axe knows, its advice included; or of these rules alone."""
        only: dict[str, Any] = {"runOnly": list(rules)} if rules else {}
        if await self.page.evaluate("typeof axe") == "undefined":
            await self.page.evaluate(AXE_SCRIPT)
        options = {"resultTypes": ["violations"]} | only
        results = AxeResults(await self.page.evaluate("(options) => axe.run(options)", options))
        assert results.violations_count == 0, results.generate_report()


async def tab_to(page: Page, selector: str) -> None:
    """By keyboard alone."""
    for _ in range(200):
        await page.keyboard.press("Tab")
        if await page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"the keyboard does not come to {selector}")


Visit = Callable[..., Awaitable[Visitor]]


@pytest.fixture(scope="session")
def cookies() -> dict[tuple[str, str], Any]:
    """Of those who have logged in once: by tenant and role."""
    return {}


@pytest_asyncio.fixture(loop_scope="session")
async def visit(
    scene: Scene, chromium: Browser, cookies: dict[tuple[str, str], Any], request: pytest.FixtureRequest
) -> AsyncGenerator[Visit]:
    """Open a context of a person of this role; None: of nobody. At the end nothing went wrong in any of them."""
    contexts: list[BrowserContext] = []
    visitors: list[Visitor] = []

    async def open_context(role: str | None, tenant: str = OURS[0], **options: Any) -> Visitor:
        if role is not None and (tenant, role) not in cookies:
            entering = await chromium.new_context()
            await log_in(await entering.new_page(), scene.run.api_url, f"{role}@{tenant}.example", PASSWORD)
            cookies[tenant, role] = await entering.storage_state()
            await entering.close()
        state = None if role is None else cookies[tenant, role]
        # Without motion: colours are judged that are there, not those between two themes.
        usual = {"viewport": DESKTOP, "locale": "fr-FR", "timezone_id": "Europe/Paris", "reduced_motion": "reduce"}
        options = usual | options
        contexts.append(await chromium.new_context(storage_state=state, **options))
        contexts[-1].set_default_timeout(30_000)
        visitor = Visitor(await contexts[-1].new_page(), scene)
        visitor.watch()
        visitors.append(visitor)
        return visitor

    yield open_context
    if request.node.stash.get(FAILED, False):
        await _keep(visitors, request.node.name)
    for context in contexts:
        with suppress(Exception):
            await context.close()
    assert [problem for visitor in visitors for problem in visitor.problems] == []


async def _keep(visitors: Sequence[Visitor], test: str) -> None:
    results = os.environ.get("TERRITOIRE_TEST_RESULTS")
    if results is None:
        return
    for number, visitor in enumerate(visitors):
        picture = Path(results) / "pictures" / f"{test}-{number}.png"
        with suppress(Exception):
            await visitor.page.screenshot(path=picture, full_page=True)
