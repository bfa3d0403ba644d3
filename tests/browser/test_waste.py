"""A round by people: planned by keyboard, driven with one hand on a telephone, and seen on the map."""

import re
from datetime import UTC, datetime, timedelta

from playwright.async_api import expect

from tests.browser.conftest import Scene, Visit, tab_to, until

PHONE = {"width": 360, "height": 740}
LEAST_PX = 48
HOME = "/dechets/tournees"


async def test_a_round_is_planned_by_keyboard_and_drawn_in_its_order(visit: Visit) -> None:
    page = await (await visit("service_manager")).open(f"{HOME}/nouvelle?threshold=1")

    async def is_measured() -> bool:
        await page.reload()
        return await page.locator("input[name=laisser]").count() > 0

    await until(is_measured, "the level of a bin")
    # What the last round had is filled in.
    await tab_to(page, "#name")
    await page.keyboard.type("Essai <é>")
    await page.get_by_label("Volume d’une borne").fill("4")
    await page.keyboard.press("Enter")
    await page.wait_for_url(re.compile(rf"{HOME}/\d+$"))

    await expect(page.get_by_role("heading", level=1)).to_have_text("Essai <é>")
    stops = await page.locator("table tbody tr").count()
    assert stops > 0
    await expect(page.locator("#round-map")).to_have_attribute("data-drawn", str(stops))
    assert await page.locator("#round-map .leaflet-marker-icon").count() == stops + 2
    sheet = await page.request.get(page.url.replace("/dechets/tournees/", "/v1/rounds/") + "/round.pdf")
    assert (await sheet.body()).startswith(b"%PDF")


async def test_a_round_is_driven_on_a_telephone_with_one_hand_and_taken_back(visit: Visit, scene: Scene) -> None:
    round_id = await scene.pool.fetchval("SELECT min(id) FROM waste_round WHERE tenant_id = $1", scene.tenant_id)
    visitor = await visit("field_agent", viewport=PHONE, has_touch=True, is_mobile=True)
    page = await visitor.open(f"{HOME}/{round_id}/terrain")
    first = await page.locator("h1").inner_text()
    emptied = page.get_by_role("button", name="Vidée")
    box = await emptied.bounding_box()
    assert box is not None
    assert box["height"] >= LEAST_PX
    assert box["width"] > PHONE["width"] * 0.8
    # Where a thumb is.
    assert box["y"] + box["height"] < PHONE["height"]

    await emptied.tap()
    await expect(page.locator("h1")).not_to_have_text(first)
    await page.get_by_role("button", name="Reprendre").tap()
    await expect(page.locator("h1")).to_have_text(first)
    await page.locator("summary", has_text="Passée").tap()
    await page.get_by_role("button", name="inaccessible").tap()

    await expect(page.locator("[role=status]")).to_contain_text("non vidée, inaccessible")
    await expect(page.locator("h1")).not_to_have_text(first)
    await visitor.is_accessible()
    outcome = await scene.pool.fetch(
        "SELECT outcome FROM waste_round_outcome WHERE round_id = $1 ORDER BY id DESC LIMIT 3", round_id
    )
    assert [row["outcome"] for row in outcome] == ["skipped", "withdrawn", "emptied"]


async def test_a_level_is_read_where_nothing_is_received_and_a_ticket_is_typed(visit: Visit, scene: Scene) -> None:
    page = await (await visit("field_agent", viewport=PHONE)).open("/dechets/zones-blanches")
    await page.locator("summary", has_text="Relever").first.click()
    await page.get_by_label("Niveau, en pour cent").first.fill("62")
    await page.get_by_role("button", name="Enregistrer le relevé").first.click()
    await expect(page.locator("main [role=status]")).to_contain_text("compte comme une mesure")

    await page.goto(f"{scene.run.api_url}/dechets/tonnages")
    await page.locator("summary", has_text="Saisir un bon").click()
    await page.get_by_label("Numéro du bon").fill("B-essai")
    yesterday = datetime.now(UTC) - timedelta(days=1)
    await page.get_by_label("Pesé le").fill(f"{yesterday:%Y-%m-%dT%H:%M}")
    await page.get_by_label("Poids net, kg").fill("4 210")
    await page.get_by_role("button", name="Saisir le bon").click()
    await expect(page.locator("main")).to_contain_text("B-essai")
