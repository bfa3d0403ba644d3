"""Exports in the console: asked for by a form that a link has filled in, followed, downloaded, deleted."""

from datetime import UTC, datetime, timedelta

from core.runtime.postgres import Pool, open_pool
from ingest.exports.runner import export_next
from tests.api.console.conftest import hidden


async def test_a_file_is_asked_for_followed_downloaded_and_deleted(
    enter, tenancy, registry, observations, database, pool: Pool
) -> None:
    asset = await registry.asset(kind="room", name="Salle")
    device = await registry.device(asset_id=asset["id"])
    stream = await observations.datastream(device["dev_eui"], asset["id"], "temperature", "Cel")
    await observations.readings(stream, {datetime.now(UTC) - timedelta(hours=1): 20.5})
    reader = await enter(tenancy.id, "reader")
    page = await reader.get(f"/exports?actif={asset['id']}&grandeur=temperature")
    today = datetime.now(UTC).date()
    period = {"from": (today - timedelta(days=2)).isoformat(), "to": (today + timedelta(days=1)).isoformat()}
    form = {"csrf": hidden(page, "csrf"), "asset_id": str(asset["id"]), "form": "spreadsheet", **period}

    wrong = await reader.post("/exports", data=form | {"from": "hier"})
    none = await reader.post("/exports", data=form | {"kind": "bench"})
    sent = await reader.post("/exports", data=form)
    waiting = await reader.get("/exports/avancement")
    async with open_pool(database.url_of("maintenance"), "maintenance", size=2) as maintenance:
        await export_next(maintenance, "m1", 1 << 30)
    done = await reader.get("/exports")
    file = await reader.get("/exports/1/fichier")
    deleted = await reader.post("/exports/1", data={"csrf": hidden(page, "csrf")})
    gone = await reader.get("/exports")

    listed = await reader.get("/equipements?genre=room")
    followed = await reader.get("/v1/assets.csv?limit=1000&kind=room")
    unknown = await reader.get("/v1/nothing.csv")

    assert f'value="{asset["id"]}"' in page.text
    assert 'href="/v1/assets.csv?limit=1000&amp;kind=room"' in listed.text
    assert (followed.headers["content-disposition"], ",Salle," in followed.text) == (
        'attachment; filename="assets.csv"', True,
    )  # fmt: skip
    assert unknown.status_code == 404
    assert [one.status_code for one in (wrong, none, sent, deleted)] == [422, 422, 303, 303]
    assert "aucun flux ne correspond" in none.text
    assert "attend son tour" in waiting.text
    assert 'hx-get="/exports/avancement"' in waiting.text
    assert 'href="/exports/1/fichier"' in done.text
    assert "hx-get" not in done.text.partition('id="exports"')[2].partition(">")[0]
    assert (file.status_code, "20,5" in file.text) == (200, True)
    assert "arrêté" in gone.text
    assert "/fichier" not in gone.text
