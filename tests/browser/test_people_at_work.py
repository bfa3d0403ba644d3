"""What people do with the console, in a real browser, on a stack whose fleet is on the air."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable

from playwright.async_api import expect

from lab.browser.pages import PagePath
from lab.device.sensors import Cabinet, RoomAir
from lab.radio.clock import now_us
from tests.browser.conftest import NEIGHBOUR, PASSWORD, PATIENCE_S, Scene, Visit, tab_to, until

LIVE_WITHIN_S = 2.0
PATIENCE_MS = PATIENCE_S * 1_000
OPEN = "SELECT id FROM alert WHERE tenant_id = $1 AND workflow = 'open' ORDER BY id LIMIT 1"


async def open_alert(scene: Scene) -> int:
    """One that nobody has acknowledged yet."""

    async def found() -> int | None:
        return await scene.pool.fetchval(OPEN, scene.tenant_id)

    return await until(found, "an open alert")


async def state_of(scene: Scene, alert_id: int) -> tuple[str, str]:
    row = await scene.pool.fetchrow("SELECT workflow, acknowledged_by FROM alert WHERE id = $1", alert_id)
    return row["workflow"], row["acknowledged_by"]


async def test_a_wrong_password_is_told_and_the_right_one_leads_to_the_page_that_was_asked_for(
    visit: Visit, scene: Scene
) -> None:
    visitor = await visit(None)
    page = await visitor.open("/alertes?gravite=major")
    await page.locator("#email").fill("reader@ville.example")
    await page.locator("#password").fill("pas-le-bon-mot-de-passe")
    await page.get_by_role("button", name="Se connecter").click()

    await expect(page.get_by_role("alert")).to_contain_text("mot de passe")
    await expect(page.locator("#email")).to_have_value("reader@ville.example")
    assert await page.locator("#password").input_value() == ""
    assert [problem for problem in visitor.problems if " 401 " not in problem] == []
    visitor.problems.clear()

    await page.locator("#password").fill(PASSWORD)
    await page.get_by_role("button", name="Se connecter").click()

    await expect(page.get_by_role("heading", level=1)).to_have_text("Alertes")
    assert page.url == f"{scene.run.api_url}/alertes?gravite=major"
    await page.get_by_role("button", name="Se déconnecter").click()
    await expect(page).to_have_url(re.compile("/connexion"))
    await page.goto(f"{scene.run.api_url}/alertes")
    await expect(page).to_have_url(re.compile("/connexion"))


async def test_the_map_shows_as_many_assets_as_the_database_has(visit: Visit, scene: Scene) -> None:
    visitor = await visit("reader")
    page = await visitor.open("/carte")
    placed = await scene.pool.fetchval(
        "SELECT count(*) FROM asset WHERE tenant_id = $1 AND latitude IS NOT NULL", scene.tenant_id
    )

    async def in_one_cluster() -> bool:
        if await page.locator(".cluster").count() == 1:
            return await page.locator(".cluster").inner_text() == str(placed)
        away = page.locator(".leaflet-control-zoom-out:not(.leaflet-disabled)")
        if await away.count():
            await away.click()
        return False

    assert placed >= len(scene.fleet.devices)
    await page.locator(".cluster").first.wait_for()
    await until(in_one_cluster, "far enough away all are one cluster")


async def test_a_frame_is_shown_within_two_seconds_after_it_was_sent(visit: Visit, scene: Scene) -> None:
    device = scene.device(RoomAir)
    visitor = await visit("reader")
    page = await visitor.open(f"/trames?capteur={device.dev_eui.hex()}")
    await page.locator("#pause").wait_for()
    # Its own turns are a measure as good: the first is to be sure that somebody listens.
    row = page.locator("#frames tbody tr").filter(has_text=device.dev_eui.hex())
    await row.first.wait_for(timeout=PATIENCE_MS)
    session = device.session
    assert session is not None

    f_cnt, sent_at = session.f_cnt_up, time.monotonic()
    device.send(device.application.next_message(now_us()), now_us())
    mine = row.filter(has=page.locator(f"td:nth-child(5):text-is('{f_cnt}')"))
    await mine.wait_for(timeout=PATIENCE_MS)
    took_s = time.monotonic() - sent_at

    assert took_s < LIVE_WITHIN_S
    await page.locator("#pause").click()
    await expect(page.locator("#pause")).to_have_attribute("aria-pressed", "true")
    shown = await row.count()
    sent = len(scene.fleet.sent)
    await until(_another(scene, sent, device.dev_eui), "another frame of it")
    assert await row.count() == shown


def _another(scene: Scene, since: int, dev_eui: bytes) -> Callable[[], Awaitable[bool]]:
    async def sent() -> bool:
        return any(one.dev_eui == dev_eui and one.received_by for one in scene.fleet.sent[since:])

    return sent


async def test_an_alert_that_was_acknowledged_is_so_after_a_reload_and_for_others(
    visit: Visit, scene: Scene
) -> None:
    alert_id = await open_alert(scene)
    page = await (await visit("field_agent")).open(f"/alertes/{alert_id}")
    await page.get_by_role("button", name="Prendre en charge").click()
    await expect(page.get_by_role("button", name="Prendre en charge")).to_have_count(0)

    await page.reload()

    await expect(page.locator("main")).to_contain_text("prise en charge")
    assert await state_of(scene, alert_id) == ("acknowledged", "Jeanne Le Goff")
    others = await (await visit("reader")).open(f"/alertes/{alert_id}")
    await expect(others.locator("main")).to_contain_text("prise en charge")
    await expect(others.get_by_role("button", name="Terminer")).to_have_count(0)


async def test_the_keyboard_alone_acknowledges_an_alert(visit: Visit, scene: Scene) -> None:
    """From the login's page to the list, to the alert, to the button, by Tab and Enter."""
    alert_id = await open_alert(scene)
    page = await (await visit("field_agent")).open("/alertes?etat=open")

    await tab_to(page, f'a[href="/alertes/{alert_id}"]')
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/alertes/{alert_id}")
    await tab_to(page, "main button")
    await page.keyboard.press("Enter")

    await expect(page.locator("main [role=status]")).to_be_visible()
    assert (await state_of(scene, alert_id))[0] == "acknowledged"


async def test_a_gateway_that_speaks_without_being_registered_is_claimed(visit: Visit, scene: Scene) -> None:
    gateway_id = scene.stranger.hex()
    page = await (await visit("operator")).open("/passerelles")

    async def is_listed() -> bool:
        await page.reload()
        return await page.locator(f"#name-{gateway_id}").count() == 1

    await until(is_listed, "it is heard")
    await page.locator(f"#name-{gateway_id}").fill("Château d’eau 🗼 <b>")
    await page.locator("li", has_text=gateway_id).get_by_role("button").click()

    await expect(page.get_by_role("heading", level=1)).to_have_text("Château d’eau 🗼 <b>")
    row = await scene.pool.fetchrow("SELECT name, tenant_id FROM gateway WHERE gateway_id = $1", scene.stranger)
    assert tuple(row) == ("Château d’eau 🗼 <b>", scene.tenant_id)
    reader = await (await visit("reader")).open("/passerelles")
    assert await reader.locator("#unknown-title").count() == 0


async def test_two_tenants_side_by_side_see_only_their_own(visit: Visit, scene: Scene) -> None:
    ours, theirs = await visit("service_manager"), await visit("service_manager", NEIGHBOUR[0])
    names = {
        tenant_id: {
            row["name"] for row in await scene.pool.fetch("SELECT name FROM asset WHERE tenant_id = $1", tenant_id)
        }
        for tenant_id in (scene.tenant_id, scene.neighbour_id)
    }

    for address in ("/supervision", "/carte", "/equipements", "/passerelles", "/alertes"):
        seen, seen_there = await asyncio.gather(ours.open(address), theirs.open(address))
        our_text, their_text = await seen.content(), await seen_there.content()
        assert not [name for name in names[scene.neighbour_id] if name in our_text], address
        assert not [name for name in names[scene.tenant_id] if f">{name}<" in their_text], address
    our_alert = await scene.pool.fetchval("SELECT id FROM alert WHERE tenant_id = $1 LIMIT 1", scene.tenant_id)
    answer = await theirs.page.goto(f"{scene.run.api_url}/alertes/{our_alert}")
    assert answer is not None
    assert answer.status == 404
    theirs.problems.clear()
    listening = await theirs.open("/trames")
    own = await ours.open("/trames")
    await own.locator("#frames tbody tr:visible").first.wait_for(timeout=PATIENCE_MS)
    heard = await listening.locator("#frames tbody").inner_text()
    assert not [dev_eui for dev_eui in scene.assets if dev_eui.hex() in heard]


async def test_a_cabinet_is_commanded_by_keyboard_and_seen_applied(visit: Visit, scene: Scene) -> None:
    """What is asked first, what becomes of it without a reload, and what the simulated relay did."""
    device = next(one for one in scene.fleet.devices if isinstance(one.application, Cabinet) and one.is_class_c)
    page = await (await visit("service_manager")).open(f"/eclairage/{scene.assets[device.dev_eui]}")
    await page.locator("#reason").fill("essai du navigateur")
    await tab_to(page, "form:has(#reason) button")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Éteindre")
    assert isinstance(device.application, Cabinet)
    assert device.application.on
    await tab_to(page, "button[name=confirm]")
    await page.keyboard.press("Enter")

    await expect(page.locator("#etat")).to_contain_text("l’armoire l’a dit", timeout=PATIENCE_MS)
    assert not device.application.on
    state = await scene.pool.fetchval("SELECT state FROM lighting_command ORDER BY id DESC LIMIT 1")
    assert state in {"applied", "confirmed"}
    reader = await (await visit("reader")).open(f"/eclairage/{scene.assets[device.dev_eui]}")
    await expect(reader.locator("#etat")).to_contain_text("essai du navigateur")
    assert await reader.locator("main form").count() == 0


async def test_who_asks_for_english_reads_english(visit: Visit, scene: Scene) -> None:
    visitor = await visit("reader")
    page = await visitor.open("/supervision")
    await page.get_by_role("button", name="English").click()

    await expect(page.locator("html")).to_have_attribute("lang", "en")
    await expect(page.get_by_role("link", name="Equipment")).to_be_visible()
    for path, title in (("/alertes", "Alerts"), ("/equipements", "Equipment"), ("/passerelles", "Gateways")):
        await visitor.open(path)
        await expect(page.get_by_role("heading", level=1)).to_have_text(title)
    asset = PagePath("/equipements/{id}", "read")
    await visitor.open_example(asset)
    await visitor.is_accessible()


async def test_who_pauses_updates_reads_since_when_in_every_tab_until_they_resume(visit: Visit) -> None:
    visitor = await visit("reader")
    page = await visitor.open("/supervision")
    other = await page.context.new_page()
    await other.goto(page.url)
    await page.get_by_role("button", name="Suspendre les mises à jour").click()

    for tab in (page, other):
        await expect(tab.locator("#live-state")).to_have_text(re.compile(r"En pause : chiffres de \d"))
    await other.get_by_role("button", name="Reprendre les mises à jour").click()
    await expect(page.locator("#live-state")).to_have_text(re.compile(r"En direct ; chiffres de \d"))


async def test_what_the_map_shows_becomes_the_list_and_an_address(visit: Visit, scene: Scene) -> None:
    """By the button, by the keyboard alone, and without sideways scrolling at 320 pixels with every field open."""
    visitor = await visit("reader")
    page = await visitor.open("/carte")
    await page.locator(".cluster, #map[data-count='0']").first.wait_for()
    await page.locator(".leaflet-control-zoom-in").click()
    await tab_to(page, "#use-zone")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/carte?zone=*")

    assert page.url.partition("?")[2].count("=") == 1  # What was not chosen is not in it.
    await expect(page.locator(".chip")).to_contain_text("Dans la zone de la carte")
    await page.locator("details.more summary").focus()
    await expect(page.locator("#etiquette")).to_be_visible()
    await visitor.is_accessible()
    await page.set_viewport_size({"width": 320, "height": 640})
    wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
    await page.locator(".chip a").click()
    await expect(page.locator(".chip")).to_have_count(0)
