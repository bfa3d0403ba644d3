"""The lists of trades, and a street that is switched off and lit again."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from tests.api.console.conftest import hidden

DAY = timedelta(days=1)
ODD = "<script>Borne é 🗑️</script>" + "x" * 150


async def test_the_menu_has_the_trades_of_which_there_is_something(enter, registry, tenancy) -> None:
    await registry.asset(kind="glass_container")
    browser = await enter(tenancy.id, "reader")

    bins, rooms = await browser.get("/dechets"), await browser.get("/salles")

    menu = bins.text.partition('class="subnav"')[0]
    assert re.findall(r'<li><a href="(/dechets|/salles|/compteurs|/eclairage)"', menu) == ["/dechets"]
    assert "Aucune salle encore" in rooms.text


async def test_bins_rooms_and_meters_are_listed_and_what_is_unknown_is_said_to_be(
    enter, registry, observations, tenancy, other_tenancy
) -> None:
    now = datetime.now(UTC)
    for kind, name, quantity, unit, readings in (
        ("glass_container", ODD, "fill_level", "%", {now - n * DAY: 90.0 - 10 * n for n in range(6)}),
        ("glass_container", "Borne muette", "fill_level", "%", {now - 9 * DAY: 99.0}),
        ("glass_container", "Borne neuve", "fill_level", "%", {}),
        ("room", "Classe de CE2", "co2", "[ppm]", {now: 1620.0}),
        ("water_meter", "Piscine", "water_volume", "L", {now - 2 * DAY: 1_000.0, now: 5_000.0}),
    ):
        asset = await registry.asset(kind=kind, name=name, commune="Landerneau")
        device = await registry.device(asset_id=asset["id"])
        stream = await observations.datastream(device["dev_eui"], asset["id"], quantity, unit)
        if readings:
            await observations.readings(stream, readings)
    browser, other = await enter(tenancy.id, "reader"), await enter(other_tenancy.id, "reader")

    bins = (await browser.get("/dechets?genre=glass_container&commune=Landerneau")).text
    rooms, meters = (await browser.get("/salles")).text, (await browser.get("/compteurs")).text
    none = (await browser.get("/dechets?commune=Nulle%20part")).text

    rows = re.findall(r"<tr>\s*<td>.*?</tr>", bins, re.DOTALL)
    assert [name in row for name, row in zip((ODD[-9:], "Borne muette", "Borne neuve"), rows, strict=True)] == [
        True
    ] * 3
    assert "<meter" in rows[0]
    assert "90 %" in rows[0]
    assert rows[0].count("v-") == 6
    assert "<script>Borne" not in bins
    assert "inconnu" in rows[1]
    assert "était 99 %" in re.sub(r"\s+", " ", rows[1])
    assert "<meter" not in rows[1] + rows[2]
    assert "jamais mesuré" in rows[2]
    assert "1\u202f620 ppm" in rooms
    assert "aérer sans attendre" in rooms
    assert "5 m³" in meters
    assert "Rien ne répond à ce filtre" in none
    for address in ("/dechets", "/salles", "/compteurs", "/eclairage"):
        assert "Landerneau" not in (await other.get(address)).text, address


async def test_a_street_is_switched_off_after_one_question_followed_and_lit_again(
    enter, client, registry, observations, pool, tenancy, other_tenancy
) -> None:
    cabinet = await registry.cabinet(name="Armoire 12", street="rue de Brest")
    address = f"/eclairage/{cabinet['id']}"
    browser, reader = await enter(tenancy.id, "service_manager"), await enter(tenancy.id, "reader")
    other = await enter(other_tenancy.id, "service_manager")
    page = await browser.get(address)
    token = {"csrf": hidden(page, "csrf")}
    ends = (datetime.now(UTC) + timedelta(hours=1)).astimezone(ZoneInfo("Europe/Paris")).strftime("%Y-%m-%dT%H:%M")
    off = {"action": "off", "reason": "Travaux <b>", "off_until": ends}

    without_reason = await browser.post(address, data=token | off | {"reason": " "})
    too_long = await browser.post(address, data=token | off | {"off_until": "2199-01-01T00:00"})
    for no_end in ("", "ce soir"):
        endless = await browser.post(address, data=token | off | {"off_until": no_end})
        assert (endless.status_code, "heure" in endless.text) == (422, True)
    asked = await browser.post(address, data=token | off)
    listed = (await client.get("/v1/lighting/commands")).json()["items"]
    # As the question's own form has it.
    again = {name: hidden(asked, name) for name in ("csrf", "action", "reason", "off_until")}
    again["reason"] = again["reason"].replace("&lt;", "<").replace("&gt;", ">")
    done = await browser.post(address, data=again | {"confirm": "yes"})
    after = await browser.get(address)
    waiting = await browser.get(f"{address}/ordre")

    assert "état inconnu" in page.text
    assert "éteinte" not in page.text
    assert (without_reason.status_code, too_long.status_code) == (422, 422)
    assert "Dites pourquoi" in without_reason.text
    assert f'value="{ends}"' in without_reason.text
    assert "dans 12 heures au plus" in too_long.text
    assert "Éteindre rue de Brest, Landerneau ?" in asked.text
    assert listed == []
    assert done.headers["location"] == address
    [command] = (await client.get("/v1/lighting/commands")).json()["items"]
    assert (command["action"], command["reason"], command["state"]) == ("off", "Travaux <b>", "queued")
    assert datetime.fromisoformat(command["off_until"]) == datetime.strptime(ends, "%Y-%m-%dT%H:%M").replace(
        tzinfo=ZoneInfo("Europe/Paris")
    )
    assert "attend son émission" in after.text
    assert f'hx-get="{address}/ordre"' in waiting.text

    await pool.execute("UPDATE lighting_command SET state = 'failed', failure = 'no_read_back'")
    failed = (await browser.get(f"{address}/ordre")).text
    await pool.execute("UPDATE lighting_command SET state = 'applied', failure = NULL, applied_at = now()")
    applied = await browser.get(f"{address}/ordre")
    lit = await browser.post(
        address, data={name: hidden(applied, name) for name in ("csrf", "action", "confirm", "reason")}
    )

    assert "état inconnu" in failed
    assert "hx-get" not in failed
    assert "Rallumer" not in failed
    assert "appliqué : l’armoire l’a dit" in applied.text
    assert lit.status_code == 303
    assert (await client.get("/v1/lighting/commands")).json()["items"][0]["action"] == "on"
    assert ['name="off_until"' in (await one.get(address)).text for one in (browser, reader)] == [True, False]
    assert (
        await reader.post(address, data=off | {"csrf": hidden(await reader.get(address), "csrf")})
    ).status_code == 403
    assert (await other.get(address)).status_code == 404
    assert (
        await other.post(address, data=off | {"csrf": hidden(await other.get("/compte"), "csrf")})
    ).status_code == 404


async def test_clocks_are_listed_with_what_they_hold_and_what_depends_on_the_platform(
    enter, client, other_client, registry, pool, tenancy
) -> None:
    drifting = await registry.cabinet(name="Armoire 21", commune="Brest")
    relay = await registry.cabinet(name="Armoire 22", commune="Metz")
    await pool.execute(
        "INSERT INTO lighting_shadow (asset_id, tenant_id, device_id, holds_program, desired_since, desired_hash, "
        "losses, reported_hash, reported_at, clock_valid, clock_offset_s, drifts_since) VALUES "
        "($1, $3, 1, true, now(), '\\x01020304', '{}', '\\x05060708', now(), true, -7, now()), "
        "($2, $3, 1, false, now(), NULL, '{dépend de la plateforme}', NULL, NULL, NULL, NULL, NULL)",
        drifting["id"],
        relay["id"],
        tenancy.id,
    )

    async def listed(query: str) -> list[str]:
        answer = await client.get(f"/v1/lighting/shadows{query}")
        return [item["name"] for item in answer.json()["items"]]

    assert await listed("") == ["Armoire 21", "Armoire 22"]
    for query in ("?drifts=true", "?commune=Brest", "?holds_program=true"):
        assert await listed(query) == ["Armoire 21"], query
    for query in ("?drifts=false", "?holds_program=false", f"?cursor={drifting['id']}"):
        assert await listed(query) == ["Armoire 22"], query
    shown = (await client.get("/v1/lighting/shadows?limit=1")).json()
    assert shown["next"] == str(drifting["id"])
    assert shown["items"][0]["desired_hash"] == "01020304"
    assert (await other_client.get("/v1/lighting/shadows")).json()["items"] == []
    browser = await enter(tenancy.id, "reader")
    page = (await browser.get("/eclairage/horloges")).text
    only = (await browser.get("/eclairage/horloges?etat=plateforme")).text
    assert "tient un autre programme" in page
    assert "-7 s" in page.replace("−", "-").replace("\u202f", " ").replace("\xa0", " ")
    assert "Armoire 21" not in only
    assert "dépend de la plateforme" in only
    address = f"/eclairage/horloges/{drifting['id']}/programme"
    manager = await enter(tenancy.id, "service_manager")
    form = await manager.get("/eclairage/horloges")
    refused = await manager.post(address, data={"csrf": hidden(form, "csrf")})
    assert address not in page
    assert form.text.count('/programme"') == form.text.count(address) == 1
    # Its device is no clock any more: the reason is said at the head of the list.
    assert (refused.status_code, refused.headers["location"]) == (303, "/eclairage/horloges")
    assert "ne s’envoie pas" in (await manager.get("/eclairage/horloges")).text.replace("'", "’").replace(
        "&#39;", "’"
    )


async def test_a_cabinet_with_a_dimmer_is_dimmed_after_one_question_and_one_without_is_offered_none(
    enter, client, registry, tenancy
) -> None:
    relay = await registry.cabinet(name="Armoire 31")
    cabinet = await registry.asset(kind="lighting_cabinet", name="Armoire 32", street="rue du Port")
    profile = await registry.profile(
        codec="territoire.clock", device_class="C", capabilities=["switch", "dim", "program"]
    )
    await registry.device(profile, asset_id=cabinet["id"])
    browser, address = await enter(tenancy.id, "service_manager"), f"/eclairage/{cabinet['id']}"
    without, page = await browser.get(f"/eclairage/{relay['id']}"), await browser.get(address)
    dim = {"csrf": hidden(page, "csrf"), "action": "dim", "level": "40", "dim_reason": "Marché <b>"}

    wrong = await browser.post(address, data=dim | {"level": "0"})
    unsaid = await browser.post(address, data=dim | {"dim_reason": ""})
    asked = await browser.post(address, data=dim)
    nothing = (await client.get("/v1/lighting/commands")).json()["items"]
    done = await browser.post(address, data=dim | {"confirm": "yes"})
    [command] = (await client.get("/v1/lighting/commands")).json()["items"]

    assert ('id="dim-title"' in page.text, 'id="dim-title"' in without.text) == (True, False)
    assert (wrong.status_code, unsaid.status_code, nothing) == (422, 422, [])
    assert 'value="Marché &lt;b&gt;"' in wrong.text
    assert "Dites pourquoi" in unsaid.text
    assert "Graduer rue du Port, Landerneau à 40 % ?" in asked.text
    assert done.headers["location"] == address
    assert (command["action"], command["level"], command["reason"]) == ("dim", 40, "Marché <b>")
    assert "graduer à 40 %" in (await browser.get(address)).text
