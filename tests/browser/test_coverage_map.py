"""The map of coverage: communes with what was observed of how many, and assets by how they are received."""

from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import expect

from core.model.outlines import read_outline
from lab.browser.chromium import DESKTOP, PHONE
from lab.fleet.communes import outlines
from registry.outlines import take_in
from tests.browser.conftest import Scene, Visit

# A third of the devices lose four frames of five.
DAYS = """
INSERT INTO observation.network_day
SELECT d.id, $2, s.asset_id, 40, r.n, r.n, r.n, 400, 2, 1, ARRAY[g.id], ARRAY[r.n], ARRAY[r.n], '{1}'
FROM device d JOIN assignment s ON s.device_id = d.id AND upper_inf(s.during),
     LATERAL (SELECT CASE WHEN d.id % 3 = 0 THEN 8 ELSE 40 END AS n) AS r,
     (SELECT id FROM gateway WHERE tenant_id = $1 ORDER BY id LIMIT 1) AS g
WHERE d.tenant_id = $1 ON CONFLICT DO NOTHING
"""


@pytest.mark.parametrize("size", ["desktop", "phone"])
async def test_communes_and_white_zones_are_on_the_map_and_beside_it(
    visit: Visit, scene: Scene, size: str
) -> None:
    await scene.pool.execute(DAYS, scene.tenant_id, datetime.now(UTC).date() - timedelta(days=2))
    async with scene.pool.acquire() as connection:
        for feature in outlines():
            await take_in(connection, scene.tenant_id, read_outline(feature), is_generated=True)
    visitor = await visit("reader", viewport=PHONE if size == "phone" else DESKTOP)
    try:
        page = await visitor.open("/couverture")
        await page.get_by_role("link", name="Sur la carte").click()

        await expect(page.locator("#map[data-communes]")).not_to_have_attribute("data-communes", "0")
        await expect(page.locator("#map")).not_to_have_attribute("data-count", "0")
        await expect(page.locator(".commune span").first).to_contain_text("%")
        await expect(page.get_by_role("heading", name="Zones blanches")).to_be_visible()
        await expect(page.locator(".feed .critical").first).to_contain_text("80 %")
        assert await page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        await visitor.is_accessible()
        await page.get_by_role("link", name="État des équipements").click()
        await page.wait_for_url("**/carte")
    finally:
        await scene.pool.execute("DELETE FROM commune_outline WHERE tenant_id = $1", scene.tenant_id)
