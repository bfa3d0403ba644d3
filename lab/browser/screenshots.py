"""Pictures of every page: desktop and phone, light and dark, of the demonstration's data."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.async_api import Browser, FloatRect, Page, ViewportSize
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from core.runtime.postgres import Pool, open_pool
from lab.browser.chromium import DESKTOP, PHONE, log_in, open_chromium
from lab.browser.examples import make_examples, plan_export, publish_container
from lab.browser.pages import NoExample, PagePath, address_of, page_paths
from lab.browser.school import build_school
from lab.fleet.provision import Provisioner
from lab.fleet.tenancy import prepare_tenant
from lab.simulator.demo import TENANT
from registry.passwords import Passwords
from registry.people import enter_person
from services.supervisor.run_info import RunInfo

Theme = Literal["light", "dark"]

EMAIL, NAME = "camille@demonstration.example", "Camille Le Bihan"
SIZES: dict[str, ViewportSize] = {"bureau": DESKTOP, "telephone": PHONE}
THEMES: tuple[Theme, ...] = ("light", "dark")
DATA_WITHIN_S = 300.0
LOOK_EVERY_S = 1.0
# Most of the fleet was heard more than once, and bins were full for two messages.
HEARD = 0.95
ALERTS = 8
# Maps and curves are drawn after the page is there; frames come by themselves.
DRAWN_AFTER_S = 0.8
FRAMES_PAGE, FRAMES_AFTER_S = "/trames", 5.0
# A list of hundreds of lines is seen by its first screens.
SCREENS_MOST = 3
COUNT = """
SELECT (SELECT count(*) FROM device WHERE tenant_id = $1) AS devices,
       (SELECT count(DISTINCT s.device_id) FROM observation.latest l JOIN datastream s ON s.id = l.datastream_id
        WHERE s.tenant_id = $1) AS heard,
       (SELECT count(*) FROM alert WHERE tenant_id = $1) AS alerts
"""

# The account of an earlier run has a password that nobody kept.
RENEW_PASSWORD = "UPDATE person SET password_hash = $2 WHERE email = $1"

OFFERED = "SELECT id FROM asset WHERE tenant_id = $1 AND kind = 'sub_meter' ORDER BY id LIMIT 1"


class DemonstrationLate(Exception):
    """The demonstration has no data after minutes; the message is for the operator."""


@dataclass(slots=True)
class Photographer:
    """Somebody with every right in the demonstration's tenant, and a browser."""

    run: RunInfo
    pool: Pool
    browser: Browser
    tenant_id: int
    password: str
    folder: Path

    async def take_all(self, progress: Progress) -> list[str]:
        """Every picture; what went wrong, by page."""
        pages = page_paths()
        task = progress.add_task("Photographies", total=len(pages) * len(SIZES) * len(THEMES))
        failures: dict[str, None] = {}
        for size, viewport in SIZES.items():
            for theme in THEMES:
                async with self._opened(viewport, theme) as (person, nobody):
                    for one in pages:
                        try:
                            await self._photograph(nobody if one.right is None else person, one, size, theme)
                        except NoExample as missing:
                            failures[str(missing)] = None
                        progress.advance(task)
        return list(failures)

    @asynccontextmanager
    async def _opened(self, viewport: ViewportSize, theme: Theme) -> AsyncGenerator[tuple[Page, Page]]:
        """A page of the person's, and one of nobody's."""
        is_phone = viewport is PHONE
        contexts = [
            await self.browser.new_context(
                viewport=viewport,
                color_scheme=theme,
                locale="fr-FR",
                timezone_id="Europe/Paris",
                is_mobile=is_phone,
                has_touch=is_phone,
            )
            for _ in range(2)
        ]
        try:
            person, nobody = [await context.new_page() for context in contexts]
            await log_in(person, self.run.api_url, EMAIL, self.password)
            yield person, nobody
        finally:
            for context in contexts:
                await context.close()

    async def _photograph(self, page: Page, one: PagePath, size: str, theme: Theme) -> None:
        await page.goto(f"{self.run.api_url}{await address_of(one, self.pool, self.tenant_id)}")
        await asyncio.sleep(FRAMES_AFTER_S if one.path == FRAMES_PAGE else DRAWN_AFTER_S)
        viewport = SIZES[size]
        height: int = await page.evaluate("document.documentElement.scrollHeight")
        shown = max(viewport["height"], min(height, SCREENS_MOST * viewport["height"]))
        picture = self.folder / f"{one.name}-{size}-{'clair' if theme == 'light' else 'sombre'}.png"
        clip: FloatRect = {"x": 0, "y": 0, "width": viewport["width"], "height": shown}
        await page.screenshot(path=picture, full_page=True, clip=clip)


async def _until_there_is_data(pool: Pool, progress: Progress) -> int:
    """The demonstration's tenant, once its fleet was heard and its bins are full."""
    task = progress.add_task("Équipements entendus", total=None)
    try:
        async with asyncio.timeout(DATA_WITHIN_S):
            while True:
                tenant_id = await pool.fetchval("SELECT id FROM tenant WHERE slug = $1", TENANT[0])
                if tenant_id is not None:
                    found = await pool.fetchrow(COUNT, tenant_id)
                    assert found is not None
                    progress.update(task, total=found["devices"] or None, completed=found["heard"])
                    enough = found["devices"] and found["heard"] >= HEARD * found["devices"]
                    if enough and found["alerts"] >= ALERTS:
                        return tenant_id
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise DemonstrationLate(f"la démonstration n'a pas assez de données après {DATA_WITHIN_S:.0f} s") from None


async def _make_examples(run: RunInfo, pool: Pool, tenant_id: int) -> None:
    """Of what the demonstration has none, once; shown and offered to the operator's tenant."""
    if await pool.fetchval("SELECT count(*) FROM team WHERE tenant_id = $1", tenant_id):
        return
    neighbour = await pool.fetchval("SELECT slug FROM tenant WHERE id <> $1 ORDER BY id LIMIT 1", tenant_id)
    asset_id = await pool.fetchval(OFFERED, tenant_id)
    _, key = await prepare_tenant(pool, *TENANT)
    api = Provisioner(run.api_url, key)
    try:
        await make_examples(api, asset_id, neighbour)
        await publish_container(api, "")
        await plan_export(api)
        await build_school(api, pool, tenant_id)
    finally:
        await api.close()


async def take_screenshots(run: RunInfo, folder: Path, console: Console) -> list[str]:
    """Wait until the running demonstration has data, then take every picture; what went wrong, by page.

    Raises:
        BrowserMissing: there is no Chromium.
        DemonstrationLate: the fleet is not heard.
        ProvisioningFailed: the API rejects an example.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console) as progress:
        async with open_pool(run.database_url, "screenshots", size=2) as pool, open_chromium() as browser:
            tenant_id = await _until_there_is_data(pool, progress)
            await _make_examples(run, pool, tenant_id)
            password = secrets.token_urlsafe(24)
            async with pool.acquire() as connection:
                hashed = await Passwords().hash_of(password)
                if await enter_person(connection, tenant_id, EMAIL, NAME, hashed, "operator") is None:
                    await connection.execute(RENEW_PASSWORD, EMAIL, hashed)
            photographer = Photographer(run, pool, browser, tenant_id, password, folder)
            return await photographer.take_all(progress)
