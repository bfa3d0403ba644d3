"""Sensors' health in the console: what is wrong, and one click to silence."""

import re

import pytest

from api.console.health import views
from tests.api.console.conftest import hidden


async def test_what_is_wrong_with_sensors_is_shown_filtered_and_silenced_in_one_click(
    enter, registry, tenancy, other_tenancy, client, pool
) -> None:
    asset = await registry.asset(name="Borne <7>", commune="Landerneau")
    device = await registry.device(name="EM <7>", asset_id=asset["id"])
    await pool.execute("UPDATE assignment SET during = tstzrange(now() - interval '10 days', NULL)")
    browser, agent = await enter(tenancy.id, "service_manager"), await enter(tenancy.id, "field_agent")

    page = await browser.get("/sante")
    filtered = await browser.get("/sante", params={"cause": "weak", "commune": "Landerneau"})
    table = await browser.get("/sante/export", params={"cause": "never_heard"})
    token = {"csrf": hidden(page, "csrf")}
    muted = await browser.post("/sante/silence", data=token | {"actif": str(asset["id"])})
    strange = await (await enter(other_tenancy.id, "service_manager")).get("/sante")

    assert "Borne &lt;7&gt;" in page.text
    assert f"/capteurs/{device['dev_eui']}" in page.text
    assert "<strong>jamais entendu</strong> depuis sa pose, 10 jours" in page.text
    assert "Taire une semaine" in page.text
    assert "Rien à signaler" in filtered.text
    assert "EM &lt;7&gt;" not in filtered.text
    assert "EM <7>" in table.text
    assert muted.status_code == 303
    (silence,) = (await client.get("/v1/silences")).json()["items"]
    assert (silence["asset_id"], silence["reason"]) == (asset["id"], "capteur à remplacer")
    of_agent = (await agent.get("/sante")).text
    assert "Taire une semaine" not in of_agent
    assert "/pose?q=Borne%20%3C7%3E" in of_agent
    refused = await agent.post(
        "/sante/silence", data={"csrf": hidden(await agent.get("/compte"), "csrf"), "actif": "1"}
    )
    assert refused.status_code == 403
    assert "Borne" not in strange.text


async def test_page_of_sound_sensors_says_where_the_list_goes_on_and_keeps_the_filters(
    enter, registry, tenancy, pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "JUDGED", 1)
    profile = await registry.profile()
    for name in ("neuf", "perdu"):
        await registry.device(profile, name=name, asset_id=(await registry.asset(commune="Brest"))["id"])
    await pool.execute(
        "UPDATE assignment SET during = tstzrange(now() - interval '10 days', NULL) "
        "WHERE device_id = (SELECT id FROM device WHERE name = 'perdu')"
    )
    browser = await enter(tenancy.id, "service_manager")

    first = (await browser.get("/sante", params={"commune": "Brest"})).text
    (address,) = re.findall(r'<a class="button second" href="(/sante\?[^"]*suite=\d+)"', first)
    second = (await browser.get(address.replace("&amp;", "&"))).text
    last = (await browser.get("/sante", params={"suite": "2147483647"})).text

    assert f'hx-get="{address}"' in first
    assert "commune=Brest" in address
    assert "Rien sur cette page ; la liste continue." in first
    assert ">perdu</a>" not in first
    assert ">perdu</a>" in second
    assert "Rien d’autre à signaler." in last


async def test_reliability_of_models_is_a_page_of_its_own(enter, registry, tenancy, other_tenancy) -> None:
    asset = await registry.asset()
    await registry.device(await registry.profile(vendor="Maison", model="M <1>"), asset_id=asset["id"])

    browser = await enter(tenancy.id, "service_manager")
    shown, chosen = (await browser.get("/sante/modeles")).text, (await browser.get("/sante")).text
    strange = await enter(other_tenancy.id, "service_manager")

    assert "Maison M &lt;1&gt;" in shown
    assert "<option>M &lt;1&gt;</option>" in chosen
    assert 'hx-get="/sante/modeles"' in chosen
    assert "M &lt;1&gt;" not in (await strange.get("/sante/modeles")).text + (await strange.get("/sante")).text
