"""Publications in the console, and the page that everybody reads."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape

from core.runtime.postgres import Pool
from tests.api.console.conftest import hidden

ODD_NAME = "<script>alert('é 🗑️')</script>\"" + "x" * 140


async def test_an_officer_publishes_a_manager_approves_and_everybody_reads_it_until_it_is_withdrawn(
    enter, browser, client, registry, observations, tenancy, pool: Pool
) -> None:
    hall = await registry.asset(kind="room", name=ODD_NAME, privacy_class=1)
    device = await registry.device(asset_id=hall["id"])
    stream = await observations.datastream(device["dev_eui"], hall["id"], "temperature", "Cel")
    now = datetime.now(UTC)
    await observations.readings(stream, {now - timedelta(minutes=5): 20.5})
    await pool.executemany(
        "INSERT INTO observation.rollup_day (datastream_id, bucket, n, suspects, sum, min, max, first, last) "
        "SELECT $1, date_add(date_trunc('day', now(), timezone), make_interval(days => $2), timezone), "
        "2, 0, $3, 1, 2, 1, 2 FROM deployment",
        [(stream, -day, 36.0 + day) for day in (1, 2, 5)],
    )
    officer, manager = await enter(tenancy.id, "open_data_officer"), await enter(tenancy.id, "service_manager")
    asset_page = await officer.get(f"/equipements/{hall['id']}")
    form = await officer.get(f"/publications/nouvelle?actif={hall['id']}")
    filled = {"csrf": hidden(form, "csrf"), "actif": str(hall["id"]), "name": ODD_NAME, "slug": "salle"}
    filled |= {"delay_seconds": "0", "may_embed": "1"}
    empty = await officer.post("/publications/nouvelle", data=filled)
    made = await officer.post("/publications/nouvelle", data=filled | {"quantities": "temperature"})
    address = made.headers["location"]
    page = await officer.get(address)
    unread = await browser.get("/public/salle")
    preview = await officer.get(f"{address}/apercu")
    seen = await manager.get(address)
    token = {"csrf": hidden(seen, "csrf"), "version": hidden(seen, "version")}
    await manager.post(
        "/publications", data=token | {"hosts": "https://www.ville.example\nhttps://*.Brest.example"}
    )
    wrong = await manager.post("/publications", data=token | {"hosts": "http://x.example'; script-src *"})
    stale = await manager.post(f"{address}/approbation", data=token | {"version": "x"})
    approved = await manager.post(f"{address}/approbation", data=token)
    public = await browser.get("/public/salle")
    kept = await browser.get("/public/salle", headers={"If-None-Match": public.headers["etag"]})
    english = await browser.get("/public/salle", headers={"Accept-Language": "en-GB,en;q=0.9,fr;q=0.5"})
    shown = await manager.get(address)
    asked = await manager.post(f"{address}/retrait", data=token)
    await manager.post(f"{address}/retrait", data=token | {"confirm": "1"})
    gone, never = await browser.get("/public/salle"), await browser.get("/public/%C3%89cole'--")
    plain = await registry.asset(kind="room", name="Halle")
    closed = await client.post(
        "/v1/publications", json={"asset_id": plain["id"], "name": "Halle", "quantities": ["temperature"]}
    )
    alone = await browser.get(f"/public/{closed.json()['slug']}")

    assert f"/publications/nouvelle?actif={hall['id']}" in asset_page.text
    assert (empty.status_code, "Cochez au moins une grandeur" in empty.text) == (422, True)
    assert 'value="salle"' in empty.text
    assert (made.status_code, unread.status_code) == (303, 404)
    assert "Un responsable de la collectivité" in page.text
    assert f"{address}/approbation" not in page.text
    assert "20,5\u00a0°C" in preview.text
    assert (wrong.status_code, stale.status_code, approved.status_code) == (422, 412, 303)
    for text in (public.text, shown.text, preview.text, form.text):
        assert "<script>alert" not in text
        assert text.count("<h1") == 1
    assert (public.status_code, kept.status_code) == (200, 304)
    assert "set-cookie" not in public.headers
    assert "<script" not in public.text
    assert " style=" not in public.text
    assert public.headers["cache-control"] == "public, max-age=60"
    assert public.headers["vary"] == "Accept-Encoding, Accept-Language"
    ancestors = re.search("frame-ancestors ([^;]*)", public.headers["content-security-policy"])
    assert ancestors is not None
    assert ancestors[1] == "https://*.brest.example https://www.ville.example"
    assert "il y a 5 minutes" in public.text
    assert public.text.count("<circle") == 3
    assert public.text.count("<polyline") == 2  # A day that nobody knows ends a line.
    assert public.text.count("inconnu") == 27
    assert "18,5\u00a0°C" in public.text
    assert 'lang="en"' in english.text
    assert "5 minutes ago" in english.text
    embed = re.search('<textarea id="embed" readonly>(.*?)</textarea>', shown.text)
    assert embed is not None
    assert unescape(embed[1]).startswith('<iframe src="http')
    assert "<script>" not in unescape(embed[1])
    assert (asked.status_code, gone.status_code, never.status_code) == (422, 410, 404)
    assert "a pris fin" in gone.text
    assert "frame-ancestors 'none'" in gone.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in alone.headers["content-security-policy"]
    assert "jamais mesuré" in alone.text or "Rien n’est mesuré" in alone.text
