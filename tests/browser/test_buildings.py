"""Buildings: months beside each other, a baseline that is retired and resumed, rooms, leaks, on a phone too."""

import re

import pytest
from playwright.async_api import expect

from lab.browser.chromium import PHONE
from tests.browser.conftest import Scene, Visit

PAGES = ("", "/economies", "/air", "/fuites?prix=4", "/ouvertures")


async def school_of(scene: Scene) -> int:
    return await scene.pool.fetchval(
        "SELECT id FROM asset WHERE tenant_id = $1 AND kind = 'building'", scene.tenant_id
    )


async def test_a_building_is_read_on_a_phone_with_every_figure_open(visit: Visit, scene: Scene) -> None:
    visitor = await visit("reader", viewport=PHONE, is_mobile=True, has_touch=True)
    school = await school_of(scene)
    for tab in PAGES:
        page = await visitor.open(f"/batiments/{school}{tab}")
        await page.evaluate("document.querySelectorAll('main details').forEach((one) => (one.open = true))")

        await visitor.is_accessible()
        assert await page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")

    page = await visitor.open(f"/batiments/{school}")
    # Heat, electricity and water: each chart is drawn from its own table, and its legend stays in its box.
    await expect(page.locator(".chart canvas")).to_have_count(3)
    boxes = await page.evaluate(
        "[...document.querySelectorAll('.chart')].map((one) => [one.getBoundingClientRect().bottom, "
        "one.querySelector('.u-legend').getBoundingClientRect().bottom])"
    )
    assert all(legend <= box + 1 for box, legend in boxes)


async def test_savings_are_proven_in_words_and_a_baseline_is_retired_and_resumed(
    visit: Visit, scene: Scene
) -> None:
    visitor = await visit("service_manager")
    page = await visitor.open("/batiments")
    await page.get_by_role("link", name="École des Dunes").first.click()
    await page.get_by_role("link", name="Économies", exact=True).click()
    await expect(page.get_by_text("économie prouvée")).to_be_visible()

    await page.get_by_role("button", name="Retirer cette référence").click()
    await expect(page.get_by_text("elle peut être reprise").first).to_be_visible()
    await expect(page.get_by_text("économie prouvée")).to_have_count(0)
    await page.get_by_role("button", name="Reprendre cette référence").click()
    await expect(page.get_by_text("économie prouvée")).to_be_visible()


async def test_a_baseline_that_reaches_into_the_works_is_refused_beside_what_was_typed(
    visit: Visit, scene: Scene
) -> None:
    visitor = await visit("service_manager")
    page = await visitor.open(f"/batiments/{await school_of(scene)}/economies")
    for name, value in {
        "from": "2025-01", "to": "2025-12", "works_from": "2025-06-01", "works_to": "2025-08-31",
        "label": "Chaudière",
    }.items():  # fmt: skip
        await page.locator(f"#{name}").fill(value)
    await page.get_by_role("button", name="Figer la référence").click()

    await expect(page.get_by_role("alert")).to_contain_text("la référence va jusque dans les travaux")
    await expect(page.locator("#label")).to_have_value("Chaudière")
    await visitor.is_accessible()
    assert [problem for problem in visitor.problems if " 422 " not in problem] == []
    visitor.problems.clear()


@pytest.mark.parametrize("tab", ["", "/economies", "/air", "/fuites", "/ouvertures"])
async def test_each_table_is_taken_away_as_a_file(visit: Visit, scene: Scene, tab: str) -> None:
    visitor = await visit("reader")
    page = await visitor.open(f"/batiments/{await school_of(scene)}{tab}")

    async with page.expect_download() as download:
        await page.get_by_role("link", name="Exporter (CSV)").click()

    assert re.fullmatch(r"[a-z]+-\d+\.csv", (await download.value).suggested_filename)
