"""A device from its place in the street to a decoder of its own, in a real browser with real frames."""

import asyncio
import random
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from playwright.async_api import Page, expect

from lab.browser.chromium import PHONE
from lab.device.device import Device
from lab.device.routine import join_and_send
from lab.device.sensors import RoomAir
from lab.fleet.build import build_device
from lab.fleet.pilot import ERS_CO2, PILOT
from lab.fleet.placement import nearest_links
from lab.fleet.plan import JOIN_EUI, DevicePlan, plan_device
from tests.browser.conftest import INTERVAL_S, PATIENCE_S, Scene, Visit, until

IS_JPEG = "document.querySelector('#photo').files[0]?.type === 'image/jpeg'"
PATIENCE_MS = PATIENCE_S * 1_000
HEARD_WITHIN_S = 10.0
[ROOM] = [kind for _, kind in PILOT if kind.profile == ERS_CO2]
PROFILE = "SELECT id FROM device_profile WHERE tenant_id = $1 AND name = $2"
INSTALLED = """
SELECT a.latitude, a.longitude, encode(d.dev_eui, 'hex'),
       (SELECT count(*) FROM asset_photo p WHERE p.asset_id = a.id)
FROM asset a JOIN assignment o ON o.asset_id = a.id JOIN device d ON d.id = o.device_id WHERE a.id = $1
"""
MEASURED = """
SELECT l.value FROM observation.latest l
JOIN datastream s ON s.id = l.datastream_id JOIN device d ON d.id = s.device_id
WHERE d.dev_eui = $1 AND s.quantity = $2 AND s.channel = ''
"""
# One field whose name says nothing, one that may be a code.
SCRIPT = """function decodeUplink(input) {
  var b = input.bytes;
  return { data: { temperature: ((b[1] << 8) | b[2]) / 10, val4: b[4], presence: b[9] } };
}"""
HOTTER = 100


async def register(scene: Scene, plan: DevicePlan) -> int:
    """The device with its key, on nothing yet, and an asset that nobody has placed: its id."""
    device = {
        "dev_eui": plan.dev_eui.hex(),
        "join_eui": JOIN_EUI.hex(),
        "name": "Sonde neuve",
        "device_profile_id": await scene.pool.fetchval(PROFILE, scene.tenant_id, plan.profile.name),
        "app_key": plan.app_key.hex(),
    }
    await scene.api.post("/v1/devices", device)
    return (await scene.api.post("/v1/assets", {"kind": "room", "name": "Préau d’Audierne"}))["id"]


@asynccontextmanager
async def switched_on(scene: Scene, plan: DevicePlan) -> AsyncGenerator[Device]:
    """On the air among the fleet's gateways."""
    sent, fleet = scene.fleet.sent, scene.fleet
    links = nearest_links(plan, fleet.gateways, random.Random(plan.number))
    device = build_device(plan, links, fleet.devices[0].medium, random.Random(plan.number), record=sent.append)
    life = asyncio.create_task(join_and_send(device, asyncio.Event(), INTERVAL_S, 0))
    try:
        yield device
    finally:
        life.cancel()
        with suppress(asyncio.CancelledError):
            await life


async def test_a_phone_installs_a_device_and_sees_it_heard(visit: Visit, scene: Scene, tmp_path: Path) -> None:
    """By touch: the number, the asset, where the phone is, a photo; then the frame with its RSSI and gateway."""
    plan = plan_device(ROOM, 4_000, "phone")
    asset_id = await register(scene, plan)
    here = {"latitude": round(plan.latitude, 6), "longitude": round(plan.longitude, 6)}
    visitor = await visit(
        "field_agent",
        viewport=PHONE,
        is_mobile=True,
        has_touch=True,
        geolocation=here,
        permissions=["geolocation"],
    )
    page = await visitor.open("/pose")
    picture = tmp_path / "photo.png"  # Which the browser makes a JPEG of.
    await page.screenshot(path=picture)

    await page.locator("#code").fill(":".join(re.findall("..", plan.dev_eui.hex().upper())))
    await page.get_by_role("button", name="Continuer").tap()
    await page.locator("#q").fill("PRÉAU d’Aud")
    await page.get_by_role("button", name="Chercher").tap()
    await page.get_by_role("link", name="Préau d’Audierne").tap()
    await page.get_by_role("button", name="Prendre ma position").tap()
    await expect(page.locator("#latitude")).to_have_value(f"{plan.latitude:.6f}")
    await page.locator("#photo").set_input_files(picture)
    # Waiting for a function evaluates it in the page, which its policy refuses from the second time on.
    await until(lambda: page.evaluate(IS_JPEG), "the photo is a JPEG")
    await page.get_by_role("button", name="Posé ici").tap()

    await expect(page.locator("#heard")).to_contain_text("Rien n’est encore venu")
    installed = await scene.pool.fetchrow(INSTALLED, asset_id)
    assert tuple(installed) == (here["latitude"], here["longitude"], plan.dev_eui.hex(), 1)
    async with switched_on(scene, plan) as device:
        await until(lambda: _has_sent(scene, device), "its first measure is received")
        await expect(page.locator("#heard")).to_contain_text("Entendu", timeout=HEARD_WITHIN_S * 1_000)
    said = await page.locator("#heard").inner_text()
    assert re.search(r"RSSI\s*[−-]\d+\s*dBm", said), said
    assert any(link.gateway.name in said for link in device.links), said
    await visitor.open(f"/equipements/{asset_id}")
    await expect(page.locator("main img")).to_have_count(1)


async def _has_sent(scene: Scene, device: Device) -> bool:
    return any(one.dev_eui == device.dev_eui and one.received_by for one in scene.fleet.sent)


async def test_a_decoder_is_tried_mapped_confirmed_published_compared_switched_and_rolled_back(
    visit: Visit, scene: Scene
) -> None:
    """On the frames of a device of the fleet's, which is given the new profile, and its own back."""
    device = [one for one in scene.fleet.devices if _is_ers_co2(one.application)][-1]
    eui = device.dev_eui.hex()
    page = await (await visit("service_manager")).open(f"/atelier/essai?capteur={eui}")

    await page.locator("#source").fill(SCRIPT)
    await _click(page, "Essayer")
    await expect(page.locator("main [role=status]")).to_have_text(re.compile(r"trames? lues?, 0 illisible"))
    await expect(page.get_by_role("cell", name=re.compile(r"temperature = \d+(,\d)? °C")).first).to_be_visible()
    await expect(page.locator("label", has_text="confirmer : peut être un code")).to_be_visible()
    await _fill_the_first_empty_row(page, path="val4", quantity="relative_humidity", unit="%")
    await _click(page, "Essayer de nouveau")
    await expect(page.get_by_role("cell", name=re.compile(r"relative_humidity = \d+ %")).first).to_be_visible()
    await _publish(page, use="créer un modèle", name="ville.air", vendor="Acme", model="Air 2", interval="10")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Air de la ville")
    address = page.url
    profile_id = int(address.rpartition("/")[2])

    former = await scene.pool.fetchval("SELECT device_profile_id FROM device WHERE dev_eui = $1", device.dev_eui)
    await scene.api.patch(f"/v1/devices/{eui}", {"device_profile_id": profile_id})
    try:
        await until(lambda: _reads(scene, device, "relative_humidity"), "the new profile reads its frames")
        assert not await _reads(scene, device, "occupancy")
        await _click(page, "Confirmer")
        await expect(page.locator("#confirm-title")).to_have_count(0)
        await until(lambda: _reads(scene, device, "occupancy"), "what was confirmed is measured")

        await page.get_by_role("link", name="Essayer, ou corriger le script").click()
        assert await page.locator("#source").input_value() == SCRIPT
        await page.locator("#source").fill(SCRIPT.replace("/ 10", f"/ 10 + {HOTTER}"))
        await _publish(page, use="le mettre à l’essai à côté de ce qui lit Air de la ville", name="ville.air")
        assert page.url == address
        await until(lambda: _compared(page), "both versions have read a frame")
        await expect(page.locator("section:has(#shadow-title) mark").first).to_contain_text("temperature")
        assert await _reads(scene, device, "temperature", below=HOTTER)
        await _click(page, "Mettre en service…")
        await _click(page, "Oui")
        await expect(page.locator("dl.facts")).to_contain_text("ville.air v2")
        await until(lambda: _reads(scene, device, "temperature", above=HOTTER), "the second version reads")

        await _click(page, "Revenir à ce qui lisait avant…")
        await _click(page, "Oui")
        await expect(page.locator("dl.facts")).to_contain_text("ville.air v1")
        await until(lambda: _reads(scene, device, "temperature", below=HOTTER), "the first version reads again")
    finally:
        await scene.api.patch(f"/v1/devices/{eui}", {"device_profile_id": former})


def _is_ers_co2(application: object) -> bool:
    return isinstance(application, RoomAir) and application.model == "ers_co2"


async def _click(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name, exact=True).first.click()


async def _fill_the_first_empty_row(page: Page, **values: str) -> None:
    row = page.locator("table.rules tbody tr").filter(has=page.locator("input[name=path][value='']")).first
    for name, value in values.items():
        await row.locator(f"input[name={name}]").fill(value)


async def _publish(page: Page, use: str, **values: str) -> None:
    option = page.locator("#use option", has_text=use)
    await page.locator("#use").select_option(value=await option.get_attribute("value"))
    for name, value in values.items():
        await page.locator(f"#{name}").fill(value)
    await page.locator("#profile_name").fill("Air de la ville")
    await _click(page, "Publier")
    await page.wait_for_url("**/atelier/profils/*")


async def _reads(scene: Scene, device: Device, quantity: str, below: float = 1e9, above: float = -1e9) -> bool:
    """Whether its last value is such."""
    found = await scene.pool.fetchval(MEASURED, device.dev_eui, quantity)
    return found is not None and above < found < below


async def _compared(page: Page) -> bool:
    await page.reload()
    return await page.locator("#shadow-caption").count() == 1
