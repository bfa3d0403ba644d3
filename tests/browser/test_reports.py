"""A report from the list to its PDF: seen, kept, sent to a team, given a name, at a desk and on a telephone."""

from pathlib import Path

from playwright.async_api import expect

from tests.browser.conftest import Scene, Visit

TELEPHONE = {"width": 390, "height": 844}


async def test_a_report_is_seen_kept_sent_to_a_team_and_given_a_name(
    visit: Visit, scene: Scene, tmp_path: Path
) -> None:
    visitor = await visit("service_manager")
    page = await visitor.open("/rapports")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Rapports")
    await page.screenshot(path=tmp_path / "list.png", full_page=True)

    await page.get_by_role("button", name="Voir le rapport").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Rapport d")
    await expect(page.get_by_role("heading", name="À retenir")).to_be_visible()
    await page.screenshot(path=tmp_path / "preview.png", full_page=True)
    await page.set_viewport_size(TELEPHONE)
    await page.screenshot(path=tmp_path / "telephone.png", full_page=True)
    await page.locator("table.report summary").first.click()
    await expect(page.locator("table.report .hint").first).to_be_visible()

    await page.goto(f"{scene.run.api_url}/rapports")
    await page.locator("section[aria-labelledby=made-title] .feed a").first.click()
    await expect(page.get_by_role("heading", name="Versions")).to_be_visible()
    await page.screenshot(path=tmp_path / "report.png", full_page=True)
    async with page.expect_request("**/report.csv"):
        await page.get_by_role("link", name="Pour un tableur").click()
    pdf = await page.request.get(
        scene.run.api_url + str(await page.get_by_role("link", name="Rapport en PDF").get_attribute("href"))
    )
    assert (await pdf.body()).startswith(b"%PDF-")

    await page.goto(f"{scene.run.api_url}/rapports")
    await page.locator("#to-service").select_option("waste")
    await page.get_by_role("button", name="Lui envoyer les rapports").click()
    await expect(page.get_by_role("status")).to_contain_text("le 2 de chaque mois")
    await page.locator("#look-name").fill("Pays de Landerneau")
    await page.get_by_role("button", name="Enregistrer").click()
    await expect(page.locator("#look-name")).to_have_value("Pays de Landerneau")
    await page.screenshot(path=tmp_path / "settings.png", full_page=True)
    await visitor.is_accessible()
