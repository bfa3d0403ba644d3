"""Exports in the console: asked for by a form that a link has filled in, followed, downloaded, deleted."""

from datetime import UTC, datetime, timedelta

from core.runtime.postgres import Pool, open_pool
from ingest.exports.drops import Dropper
from ingest.exports.runner import export_next
from registry.keys import KeyWrap
from tests.api.conftest import KEK
from tests.api.console.conftest import hidden
from tests.ingest.exports.sftp_server import PASSWORD, USER, sftp_server


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
    by_day = await reader.post("/exports", data=form | {"bucket": "day"})
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
    assert [one.status_code for one in (wrong, none, sent, deleted, by_day)] == [422, 422, 303, 303, 303]
    assert await pool.fetchval("SELECT bucket FROM export_job WHERE id = 2") == "day"
    assert "aucun flux ne correspond" in none.text
    assert "attend son tour" in waiting.text
    assert 'hx-get="/exports/avancement"' in waiting.text
    assert 'href="/exports/1/fichier"' in done.text
    assert "hx-get" not in done.text.partition('id="exports"')[2].partition(">")[0]
    assert (file.status_code, "20,5" in file.text) == (200, True)
    assert "arrêté" in gone.text
    assert "/fichier" not in gone.text


async def test_a_drop_is_planned_tested_accepted_run_and_removed(
    enter, tenancy, registry, observations, database, pool: Pool, tmp_path
) -> None:
    room = await registry.asset(kind="room", name="Salle")
    device = await registry.device(asset_id=room["id"])
    stream = await observations.datastream(device["dev_eui"], room["id"], "temperature", "Cel")
    await observations.readings(stream, {datetime.now(UTC) - timedelta(days=1): 20.5})
    manager = await enter(tenancy.id, "service_manager")
    reader = await enter(tenancy.id, "reader")
    await pool.execute("UPDATE tenant SET webhook_allow_list = '{127.0.0.1/32}'")
    page = await manager.get("/exports/depots")
    csrf = hidden(page, "csrf")
    form = {
        "csrf": csrf, "name": "Chaque nuit", "form": "spreadsheet", "frequency": "day", "at_hour": "0",
        "on_day": "1", "covers": "previous", "target": "sftp", "host": "127.0.0.1", "username": USER,
        "password": PASSWORD, "directory": "entree", "every_hours": "1",
    }  # fmt: skip

    async def act(name: str, **fields: str):
        return await manager.post("/exports/depots/1", data={"csrf": csrf, "act": name, **fields})

    async with (
        sftp_server(tmp_path / "sftp") as server,
        open_pool(database.url_of("maintenance"), "maintenance", size=2) as maintenance,
    ):
        dropper = Dropper(maintenance, KeyWrap("kek-1", KEK), "m1", None)
        wrong = await manager.post("/exports/depots", data=form | {"port": str(server.port), "file_name": "x.csv"})
        planned = await manager.post("/exports/depots", data=form | {"port": str(server.port)})
        early = await act("drop")
        await dropper.work()
        seen = await manager.get("/exports/depots/1")
        accepted = await act("accept", host_key=server.host_key)
        dropped = await act("drop")
        await dropper.work()
        await export_next(maintenance, "m1", 1 << 30)
        await pool.execute("UPDATE export_drop SET next_at = now()")
        await dropper.work()
        shown = await reader.get("/exports/depots/1")
        listed = await reader.get("/exports/depots")
        repeated = await act("repeat", number="1")
        others = [(await act(name)).status_code for name in ("test", "suspend", "resume", "nothing")]
        secret = await act("secret", password="autre")
        files = server.files()
    refused = await reader.post("/exports/depots", data=form)
    removed = await act("delete", sure="1")
    gone = await manager.get("/exports/depots")

    assert [one.status_code for one in (wrong, planned, early, refused)] == [422, 303, 409, 403]
    assert "même nom" in wrong.text
    assert PASSWORD not in wrong.text
    assert "Accepter la clé de machine vue" in seen.text
    assert "comparez la clé de machine" in seen.text
    assert [one.status_code for one in (accepted, dropped, repeated, secret, removed)] == [303] * 5
    assert others == [303, 303, 303, 422]
    assert len(files) == 1
    assert "20,5" in next(iter(files.values())).decode()
    assert next(iter(files)) in shown.text
    assert "l’endroit prend des fichiers" in shown.text
    assert "Retirer ce dépôt" not in shown.text
    assert "déposé" in listed.text
    assert "Rien n’est planifié." in gone.text
