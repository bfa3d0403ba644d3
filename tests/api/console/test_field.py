"""What a technician does beside a cabinet: find, place, photograph, hear, replace; and gateways' credentials."""

import re
from datetime import UTC, datetime, timedelta

import httpx

from core.runtime.postgres import Pool
from tests.api.console.conftest import hidden
from tests.api.photos import ONE_PIXEL, jpeg


async def token_of(browser: httpx.AsyncClient, address: str) -> dict[str, str]:
    return {"csrf": hidden(await browser.get(address), "csrf")}


async def test_a_telephone_places_a_device_and_sees_it_heard(
    enter, registry, observations, tenancy, client, pool: Pool
) -> None:
    asset = await registry.asset(name="Armoire 7", kind="lighting_cabinet", street="rue du Port")
    await registry.asset(name="Loin d’ici", latitude=48.6, longitude=-4.0)
    gateway = await registry.gateway(name="Château d’eau")
    device = await registry.device()
    dev_eui = device["dev_eui"]
    browser = await enter(tenancy.id, "field_agent")

    wrong = await browser.get("/pose?code=bonjour")
    unknown = await browser.get(f"/pose?code={'ab' * 8}")
    code = f"LW:D0:1122334455667788:{dev_eui.upper()}:AABB1122:SYYWWNNNNNN"
    found = await browser.get("/pose", params={"code": code, "q": "port"})
    page = await browser.get(f"/pose/{dev_eui}?actif={asset['id']}")
    sent = {"csrf": hidden(page, "csrf"), "actif": str(asset["id"]), "latitude": "48,4412", "longitude": "-4.21"}
    photo = {"photo": ("photo.jpg", jpeg(exif=b"MM\0*GPS"), "image/jpeg")}
    refused = await browser.post(f"/pose/{dev_eui}", data=sent | {"latitude": "148"}, files=photo)
    placed = await browser.post(f"/pose/{dev_eui}", data=sent | {"remark": "porte nord"}, files=photo)

    assert (wrong.status_code, "Un DevEUI est attendu" in wrong.text, 'value="bonjour"' in wrong.text) == (
        422,
        True,
        True,
    )
    assert "n’est pas enregistré" in unknown.text
    assert "secret" not in unknown.text  # Who registers has another right.
    assert f"/pose/{dev_eui}?actif={asset['id']}" in found.text
    assert "Loin d’ici" not in found.text
    assert refused.status_code == 422
    assert 'value="148"' in refused.text
    assert placed.status_code == 303, placed.text
    shown = (await client.get(f"/v1/assets/{asset['id']}")).json()
    assert (shown["latitude"], shown["longitude"]) == (48.4412, -4.21)
    assert [one["dev_eui"] for one in shown["devices"]] == [dev_eui]
    assert await pool.fetchval("SELECT content FROM asset_photo") == ONE_PIXEL

    waiting = await browser.get(placed.headers["location"])
    fragment = waiting.text.split('hx-get="')[1].split('"')[0].replace("&amp;", "&")
    since = int(fragment.split("depuis=")[1])
    assert "appuyez sur son bouton" in waiting.text
    assert f'href="{placed.headers["location"]}"' in waiting.text  # Without a script.
    await observations.uplink(dev_eui, datetime.fromtimestamp(since - 60, UTC), gateways=[gateway["gateway_id"]])
    assert "À l’écoute" in (await browser.get(fragment)).text
    await observations.uplink(dev_eui, datetime.now(UTC) + timedelta(seconds=1), gateways=[gateway["gateway_id"]])
    heard = await browser.get(fragment)
    assert "Château d’eau" in heard.text
    assert "-80" in heard.text
    assert "hx-get" not in heard.text

    around = await browser.get("/pose", params={"code": dev_eui, "lat": "48.4413", "lon": "-4.2102"})
    assert "Armoire 7" in around.text
    assert re.search(r"\d+ m<", around.text)


async def test_a_manager_registers_and_makes_what_is_not_there(enter, registry, tenancy, client) -> None:
    profile = await registry.profile()
    browser = await enter(tenancy.id, "service_manager")
    dev_eui = "70b3d57ed0009999"
    token = await token_of(browser, f"/pose?code=LW:D0:1122334455667788:{dev_eui}:AABB1122")
    given = {"name": "EM400 n° 9", "join_eui": "1122334455667788", "device_profile_id": str(profile["id"])}

    short = await browser.post(f"/pose/{dev_eui}/enregistrer", data=token | given | {"secret": "0011"})
    made = await browser.post(f"/pose/{dev_eui}/enregistrer", data=token | given | {"secret": "5A" * 16})
    asset = await browser.post(
        f"/pose/{dev_eui}/equipement", data=token | {"kind": "glass_container", "name": "Borne <9>"}
    )

    assert (short.status_code, "EM400 n° 9" in short.text, "0011" in short.text) == (422, True, False)
    assert made.headers["location"] == f"/pose?code={dev_eui}", made.text
    assert (await client.get(f"/v1/devices/{dev_eui}")).json()["join_eui"] == "1122334455667788"
    assert "Borne &lt;9&gt;" in (await browser.get(asset.headers["location"])).text
    made_id = asset.headers["location"].partition("actif=")[2]
    page = await browser.get(f"/equipements/{made_id}")
    links = f"/partage/nouveau?equipement={made_id}", f"/silences/nouveau?travaux=oui&equipement={made_id}"
    agent = await enter(tenancy.id, "field_agent")
    seen = (await agent.get(f"/equipements/{made_id}")).text
    for link in links:
        assert f'href="{link.replace("&", "&amp;")}"' in page.text
        assert link.replace("&", "&amp;") not in seen
        assert "Borne &lt;9&gt;" in (await browser.get(link)).text  # Filled in already.


async def test_equipment_is_found_by_numbers_and_its_page_says_who_serves_hears_and_sees_it(
    enter, registry, observations, tenancy, other_tenancy, client, other_client
) -> None:
    asset = await registry.asset(name="Borne 3")
    gateway = await registry.gateway(name="Mairie")
    first, second = await registry.device(asset_id=asset["id"]), await registry.device(name="Tout neuf")
    path = f"/equipements/{asset['id']}"
    now = datetime.now(UTC)
    stream = await observations.datastream(first["dev_eui"], asset["id"], "fill_level", "%")
    await observations.readings(stream, {now - timedelta(minutes=n): 40.0 + n for n in range(5)})
    await observations.uplink(first["dev_eui"], now, gateways=[gateway["gateway_id"]])
    former = await observations.alert(tenancy.id, asset["id"])
    assert (await client.post(f"/v1/alerts/{former}/close", json={"reason": "doublon"})).status_code == 200
    await observations.alert(tenancy.id, asset["id"])
    grant = await client.post("/v1/grants", json={"tenant": other_tenancy.slug, "asset_id": asset["id"]})
    assert (await other_client.post(f"/v1/grants/{grant.json()['id']}/accept")).status_code == 200
    browser = await enter(tenancy.id, "field_agent")

    part = await browser.get("/equipements", params={"q": second["dev_eui"][4:12].upper()})
    page = await browser.get(path)
    token = {"csrf": hidden(page, "csrf")}
    tomorrow = f"{now + timedelta(days=1):%Y-%m-%d}"  # Its end is behind now in every time zone.
    dated = await browser.get(f"{path}?periode=dates&du={(now - timedelta(days=3)):%Y-%m-%d}&au={tomorrow}")
    air = await observations.datastream(first["dev_eui"], asset["id"], "temperature", "Cel")
    await observations.readings(air, {now - timedelta(minutes=n): 19.5 for n in range(5)})
    several = await browser.get(f"{path}?flux={stream}&avec={air}&avec={air + 1}&periode=30j&compare=annee")
    odd = await browser.get(f"{path}?periode=dates&du=2026-13-45&au=hier&compare=x&flux=999999")
    no_photo = await browser.post(
        f"{path}/photos", data=token, files={"photo": ("a.png", b"\x89PNG", "image/png")}
    )
    photo = await browser.post(f"{path}/photos", data=token, files={"photo": ("a.jpg", jpeg(), "image/jpeg")})
    replaced = await browser.post(
        f"/capteurs/{first['dev_eui']}/remplacer", data=token | {"dev_eui": second["dev_eui"].upper()}
    )
    after = await browser.get(replaced.headers["location"])

    assert f"/capteurs/{second['dev_eui']}" in part.text
    for said in ("Mairie", "-80", "1 alerte passée", "partage en cours", "40"):
        assert said in page.text, said
    assert f'value="{tomorrow}"' in dated.text
    assert 'id="curve"' in dated.text
    heads = re.findall(r'<th scope="col" data-series="([^"]+)" data-unit="([^"]*)"', several.text)
    assert heads == [("Remplissage", "%"), ("avant", "%"), ("Température", "°C")]
    assert "19,5" in several.text.partition('<table id="curve"')[2]
    assert odd.status_code == 200
    assert (no_photo.status_code, "pas une photo JPEG" in no_photo.text) == (422, True)
    assert photo.status_code == 303
    assert re.search(r'<img src="/v1/photos/\d+"', after.text)
    assert "capteur d’avant" in after.text
    assert [
        one["dev_eui"]
        for one in (await client.get(f"/v1{path.replace('equipements', 'assets')}")).json()["devices"]
    ] == [second["dev_eui"]]
    reader = await enter(tenancy.id, "reader")
    read = await reader.get(path)
    assert (read.status_code, "Ajouter la photo" in read.text, "Poser ici" in read.text) == (200, False, False)
    assert (await reader.post(f"{path}/photos", data=await token_of(reader, "/compte"))).status_code == 403
    theirs = await enter(other_tenancy.id, "field_agent")
    stranger = await token_of(theirs, "/compte")
    for act in ("remplacer", "jonction"):
        answer = await theirs.post(f"/capteurs/{second['dev_eui']}/{act}", data=stranger | {"dev_eui": "ab" * 8})
        assert answer.status_code == 403, act
    sent = await theirs.post(f"{path}/photos", data=stranger, files={"photo": ("a.jpg", jpeg(), "image/jpeg")})
    assert sent.status_code == 403
    assert "elle seule le pose" in (await theirs.get(f"/pose?code={second['dev_eui']}")).text


async def test_a_device_says_why_it_is_not_taken_and_is_archived(
    enter, registry, tenancy, client, pool: Pool
) -> None:
    device = await registry.device()
    path = f"/capteurs/{device['dev_eui']}"
    await pool.execute(
        "INSERT INTO frame_refusal (subject, reason, device_id, gateway_id, times, first_at, last_at, "
        "dev_nonce) SELECT dev_eui, 'dev_nonce_used', id, int8send(1), 3, now(), now(), 7 FROM device"
    )
    browser = await enter(tenancy.id, "service_manager")

    page = await browser.get(path)
    why = await browser.get("/trames/refus", params={"capteur": device["dev_eui"]})
    nobody = await browser.get("/trames/refus", params={"capteur": "ab" * 8})
    token = {"csrf": hidden(page, "csrf")}
    forgotten = await browser.post(f"{path}/jonction", data=token)
    await browser.post(f"{path}/etat", data=token | {"act": "disable"})
    archived = await browser.post(f"{path}/etat", data=token | {"act": "archive"})

    assert "Oublier ses numéros de jonction" in page.text
    for one in (page, why):
        assert "oubliez ses numéros de jonction" in one.text
    assert (nobody.status_code, "Aucun de vos capteurs" in nobody.text) == (404, True)
    assert forgotten.status_code == 303
    assert archived.status_code == 303
    assert (await client.get(f"/v1{path.replace('capteurs', 'devices')}")).json()["archived_at"] is not None
    assert "Sortir des archives" in (await browser.get(path)).text


async def test_a_gateways_page_makes_and_withdraws_credentials_and_says_what_it_hears(
    enter, registry, observations, tenancy, client, pool: Pool
) -> None:
    gateway = await registry.gateway()
    device = await registry.device(name="Sonde du pont")
    path = f"/passerelles/{gateway['gateway_id']}"
    await observations.uplink(device["dev_eui"], datetime.now(UTC), gateways=[gateway["gateway_id"]])
    await pool.execute(
        "INSERT INTO gateway_state (gateway_id, frontend, address, last_seen_at) "
        "SELECT id, 'basics_station', '192.0.2.1', now() FROM gateway"
    )
    browser = await enter(tenancy.id, "service_manager")
    page = await browser.get(path)
    token = {"csrf": hidden(page, "csrf")}

    made = await browser.post(f"{path}/jeton", data=token)
    account = await browser.post(f"{path}/compte-mqtt", data=token)
    wrong = await browser.post(f"{path}/station", data=token | {"tc_uri": "http://ailleurs"})
    ordered = await browser.post(f"{path}/station", data=token | {"tc_uri": "wss://stations.ville.example:443"})
    listed = await browser.get(path)

    assert "Sonde du pont" in page.text
    secret = re.search(r"Authorization: (tgw_\w+)", made.text)
    assert secret is not None
    assert secret[1] not in listed.text
    assert "client_id" in account.text
    assert (wrong.status_code, "http://ailleurs" in wrong.text) == (422, True)
    assert ordered.status_code == 303
    assert "l’adresse du réseau" in listed.text
    for what, act in (("tokens", "jeton"), ("mqtt-accounts", "compte-mqtt")):
        (one,) = (await client.get(f"/v1/gateways/{gateway['gateway_id']}/{what}")).json()["items"]
        assert (await browser.post(f"{path}/{act}", data=token | {"retirer": one["id"]})).status_code == 303
        assert (await client.get(f"/v1/gateways/{gateway['gateway_id']}/{what}")).json()["items"] == []
    assert (await browser.post(f"{path}/station", data=token | {"act": "withdraw"})).status_code == 303
