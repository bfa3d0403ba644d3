"""Lighting by people, by keyboard alone: a program, and a campaign that halts."""

import re

from playwright.async_api import expect

from tests.browser.conftest import PASSWORD, PATIENCE_S, Scene, Visit, tab_to

PATIENCE_MS = PATIENCE_S * 1_000
OLD_PROOF = """
UPDATE person_session SET proved_at = now() - interval '1 hour'
WHERE person_id = (SELECT id FROM person WHERE email = 'service_manager@ville.example')
"""


async def test_a_program_is_written_and_assigned(visit: Visit, scene: Scene) -> None:
    commune = await scene.pool.fetchval(
        "SELECT commune FROM asset WHERE tenant_id = $1 AND kind = 'lighting_cabinet' LIMIT 1", scene.tenant_id
    )
    page = await (await visit("service_manager")).open("/programmes/nouveau")
    await tab_to(page, "#name")
    await page.keyboard.type("Coupure du bourg <é>")
    await tab_to(page, "button[value=save]")
    await page.keyboard.press("Enter")
    await page.wait_for_url(re.compile(r"/programmes/\d+$"))

    await tab_to(page, "#commune")
    await page.keyboard.type(commune)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Affecter « Coupure du bourg <é> » ?")
    await tab_to(page, "button[name=confirm]")
    await page.keyboard.press("Enter")

    await expect(page.locator("main [role=status]")).to_contain_text("affecté")
    followers = await scene.pool.fetchval(
        "SELECT count(*) FROM lighting_assignment g JOIN lighting_program_version v ON v.id = g.version_id "
        "JOIN lighting_program p ON p.id = v.program_id WHERE p.name LIKE 'Coupure du bourg%'"
    )
    assert followers >= 1


async def test_a_campaign_is_approved_with_the_password_and_halts_after_its_first_cabinets(
    visit: Visit, scene: Scene
) -> None:
    """One of another key's, of whose cabinets some cannot be commanded any more. Where nobody knows when the sun
    sets, a campaign does not wait for dusk to be over."""
    campaign_id = await scene.pool.fetchval("SELECT max(id) FROM lighting_campaign WHERE state = 'draft'")
    kept = await scene.pool.fetch(
        "SELECT id, latitude, longitude FROM asset WHERE id = ANY(ARRAY("
        "SELECT asset_id FROM lighting_campaign_target WHERE campaign_id = $1))",
        campaign_id,
    )
    visitor = await visit("service_manager")
    await scene.pool.execute(OLD_PROOF)
    await scene.pool.executemany(
        "UPDATE asset SET latitude = NULL, longitude = NULL WHERE id = $1", [(row["id"],) for row in kept]
    )
    clocks = "UPDATE device_profile SET capabilities = $1 WHERE codec = 'territoire.clock' AND tenant_id = $2"
    await scene.pool.execute(clocks, [], scene.tenant_id)
    try:
        page = await visitor.open(f"/campagnes/{campaign_id}")
        await expect(page.locator("main")).to_contain_text("Ce qu’elle demande à chaque passerelle")
        await tab_to(page, "#proof")
        await page.keyboard.type(PASSWORD)
        await page.keyboard.press("Enter")
        await expect(page.locator("main [role=status]")).to_contain_text("Approuvée")
        await expect(page.locator("#avancement")).to_contain_text("arrêtée d’elle-même", timeout=PATIENCE_MS)
        await expect(page.locator("#avancement")).to_contain_text("préparez une autre campagne")
    finally:
        await scene.pool.execute(clocks, ["switch", "dim", "program"], scene.tenant_id)
        await scene.pool.executemany("UPDATE asset SET latitude = $2, longitude = $3 WHERE id = $1", kept)
    state = await scene.pool.fetchrow(
        "SELECT state, halted_for, approved_by FROM lighting_campaign WHERE id = $1", campaign_id
    )
    assert tuple(state) == ("halted", "canary_failed", "Jeanne Le Goff")
