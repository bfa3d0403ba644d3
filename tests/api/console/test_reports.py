"""Reports in the console: seen as they would be, kept, with what late data has changed, and given a logo."""

from core.runtime.postgres import Pool
from tests.api.console.conftest import hidden
from tests.api.landerneau import make_landerneau, write_late
from tests.api.metering import Metering
from tests.api.pictures import png

JULY = {"commune": "Landerneau", "mois": "2026-07", "service": "all"}


async def test_a_report_is_seen_kept_and_says_what_late_data_has_changed(
    enter, tenancy, other_tenancy, registry, observations, pool: Pool
) -> None:
    manager, stranger = await enter(tenancy.id, "service_manager"), await enter(other_tenancy.id, "reader")
    empty = await manager.get("/rapports")
    landerneau = await make_landerneau(Metering(pool, registry, tenancy.id), registry, observations, pool)
    seen = await manager.get("/rapports/apercu", params=JULY)
    kept = await manager.post("/rapports/apercu", data=JULY | {"csrf": hidden(seen, "csrf")})
    again = await manager.post("/rapports/apercu", data=JULY | {"csrf": hidden(seen, "csrf")})
    await write_late(pool, observations, landerneau.bin)
    later = await manager.post("/rapports/apercu", data=JULY | {"csrf": hidden(seen, "csrf")})
    first, second = await manager.get(kept.headers["location"]), await manager.get(later.headers["location"])
    listed = await manager.get("/rapports")

    assert "posez un premier équipement" in empty.text
    assert (seen.status_code, "Rapport de juillet 2026 : Landerneau" in seen.text) == (200, True), seen.text
    assert "électricité : 372 kWh, +20 % sur un an" in seen.text
    assert "inconnu (rien n’a été mesuré)" in seen.text
    assert (kept.status_code, again.status_code) == (303, 409)
    assert "changé depuis la dernière version" in again.text
    assert "Des données tardives ont fait une version suivante" in first.text
    assert "Jours à 75 % ou plus : 2,8 j au lieu de 2,0 j" in second.text
    assert "2 chiffres changés" in listed.text
    assert (await stranger.get(kept.headers["location"])).status_code == 404
    assert "Landerneau" not in (await stranger.get("/rapports")).text


async def test_who_receives_reports_and_how_they_look(enter, tenancy, client) -> None:
    manager = await enter(tenancy.id, "service_manager")
    team = (await client.post("/v1/teams", json={"name": "Élus"})).json()["id"]
    token = {"csrf": hidden(await manager.get("/rapports"), "csrf")}
    added = await manager.post("/rapports", data=token | {"act": "add", "team_id": str(team), "service": "waste"})
    twice = await manager.post("/rapports", data=token | {"act": "add", "team_id": str(team), "service": "waste"})
    look = token | {"act": "look", "name": "Pays de Landerneau", "language": "en"}
    named = await manager.post("/rapports", data=look, files={"logo": ("l.png", png(), "image/png")})
    wrong = await manager.post("/rapports", data=look, files={"logo": ("l.gif", b"GIF89a", "image/gif")})
    page = await manager.get("/rapports")
    removed = await manager.post("/rapports", data=token | {"act": "remove", "recipient": "1"})
    plain = await manager.post("/rapports", data=token | {"act": "no_logo"})

    assert (added.status_code, twice.status_code, named.status_code, wrong.status_code) == (303, 409, 303, 422)
    assert "un logo est un PNG" in wrong.text
    assert 'value="Pays de Landerneau"' in page.text
    assert "/v1/report-identity/logo" in page.text
    assert (removed.status_code, plain.status_code) == (303, 303)
    assert "Personne encore" in (await manager.get("/rapports")).text
