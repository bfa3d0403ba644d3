"""Exports as a user has them: asked for, written by maintenance, downloaded whole or in parts, and who may."""

import asyncio
import csv
import hashlib
import io
import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.auth import caller_transaction
from api.routes import exports as routes
from core.runtime.postgres import Pool, open_pool
from ingest.exports import store
from ingest.exports.runner import DENIED_TEXT, DISK_TEXT, export_next
from registry.tenants import create_api_key
from tests.api.conftest import client_of

ROOM = 1 << 30
T0 = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RANGE = {"from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"}


@pytest.fixture
async def maintenance(database) -> AsyncGenerator[Pool]:
    """As the service that writes, which may do what `registry.rights` says."""
    async with open_pool(database.url_of("maintenance"), "territoire-tests", size=3) as pool:
        yield pool


@pytest.fixture
async def fleet(registry, observations) -> dict[str, int]:
    """Two containers, 200 readings of each, one of them suspect; a room with one within a second."""
    found: dict[str, int] = {}
    for name in ("Bac ; « rue »", "=Bac 2"):
        asset = await registry.asset(name=name, tags=["verre"])
        device = await registry.device(asset_id=asset["id"])
        found[name] = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
        await observations.readings(found[name], {T0 + n * MINUTE: n / 8 for n in range(199)})
        await observations.readings(found[name], {T0 + 199 * MINUTE: 1e21}, flags=1)
        found[f"asset of {name}"] = asset["id"]
    room = await registry.asset(kind="room", name="Salle", commune="Brest")
    device = await registry.device(asset_id=room["id"])
    found["Salle"] = await observations.datastream(device["dev_eui"], room["id"], "temperature", "Cel")
    await observations.readings(found["Salle"], {T0 + timedelta(microseconds=1500): -2.25})
    found["asset of Salle"] = room["id"]
    return found


async def ask(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v1/exports", json=RANGE | body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def made(client: httpx.AsyncClient, maintenance: Pool, **body: Any) -> tuple[dict[str, Any], bytes]:
    job = await ask(client, **body)
    assert await export_next(maintenance, "m1", ROOM) is not None
    shown = (await client.get(f"/v1/exports/{job['id']}")).json()
    assert (shown["state"], shown["reason"], shown["progress"]) == ("done", None, 1.0)
    file = await client.get(f"/v1/exports/{job['id']}/file")
    assert (file.status_code, len(file.content)) == (200, shown["octets"])
    return shown, file.content


async def test_each_format_says_the_same_readings(client, fleet, maintenance: Pool) -> None:
    job, octets = await made(client, maintenance)
    rows = list(csv.DictReader(io.StringIO(octets.decode())))
    _, lines = await made(client, maintenance, format="ndjson")
    _, sheet = await made(client, maintenance, spreadsheet=True, kind="room")
    now = await client.get("/v1/measurements/export", params=RANGE)

    assert (job["streams"], job["readings"], len(rows)) == (3, 401, 401)
    assert now.content == octets
    assert rows[0] == {
        "datastream_id": str(fleet["=Bac 2"]), "asset": "'=Bac 2", "kind": "glass_container",
        "commune": "Landerneau", "position": "", "channel": "", "quantity": "fill_level", "unit": "%",
        "time": "2026-03-01T00:00:00Z", "value": "0", "flags": "",
    }  # fmt: skip
    assert [(rows[n]["value"], rows[n]["flags"]) for n in (1, 198, 199)] == [
        ("0.125", ""), ("24.75", ""), ("1e+21", "suspect")
    ]  # fmt: skip
    assert (rows[-1]["time"], rows[-1]["value"]) == ("2026-03-01T00:00:00.001500Z", "-2.25")
    assert [rows[n]["asset"] for n in (199, 200, 399, 400)] == ["'=Bac 2", *["Bac ; « rue »"] * 2, "Salle"]
    parsed = [json.loads(line) for line in lines.decode().splitlines()]
    assert [float(row["value"]) for row in rows] == [one["value"] for one in parsed]
    assert [row["time"] for row in rows] == [one["time"] for one in parsed]
    assert (parsed[199]["flags"], parsed[0]["asset"]) == (["suspect"], "=Bac 2")
    assert sheet.decode() == (
        "\ufeffflux;actif;type;commune;position;voie;grandeur;unité;instant;valeur;marques\n"
        f"{fleet['Salle']};Salle;room;Brest;;;temperature;Cel;01/03/2026 01:00:00;-2,25;\n"
    )


async def test_parquet_has_columns_of_their_types(client, fleet, maintenance: Pool) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    _, octets = await made(client, maintenance)
    rows = list(csv.DictReader(io.StringIO(octets.decode())))

    _, file = await made(client, maintenance, format="parquet")

    table = pq.read_table(io.BytesIO(file))
    assert [str(field.type) for field in table.schema][-3:-1] == ["timestamp[us, tz=UTC]", "double"]
    columns = table.to_pydict()
    assert columns["value"] == [float(row["value"]) for row in rows]
    assert [at.timestamp() for at in columns["time"]] == [
        datetime.fromisoformat(row["time"]).timestamp() for row in rows
    ]
    assert columns["flags"] == [row["flags"] for row in rows]
    assert [columns["asset"][n] for n in (0, 200, 400)] == ["=Bac 2", "Bac ; « rue »", "Salle"]
    # Also what several datastreams share, like their kind, stands in the file once.
    group = pq.ParquetFile(io.BytesIO(file)).metadata.row_group(0)
    parts = [group.column(place) for place in range(group.num_columns)]
    in_full = {part.path_in_schema for part in parts if "RLE_DICTIONARY" not in part.encodings}
    assert in_full == {"time", "value"}


async def test_parquet_without_its_extra_is_refused_in_a_sentence(
    client, fleet, maintenance: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.exports.parquet.find_spec", lambda name: None)

    refused = await client.post("/v1/exports", json=RANGE | {"format": "parquet"})

    assert (refused.status_code, "territoire[parquet]" in refused.json()["detail"]) == (422, True)


REJECTED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"from": "1926-01-01T00:00:00Z"}, "1970"),
    ({"from": "1990-01-01T00:00:00Z"}, "7305 jours au plus"),
    ({"from": "2026-05-01T00:00:00Z"}, "précéder"),
    ({"format": "ndjson", "spreadsheet": True}, "csv"),
    ({"quantity": "noise"}, "aucun flux"),
    ({"datastream_ids": [999_999]}, "flux 999999 introuvable"),
)


async def test_what_cannot_be_exported_is_refused_in_french(client, fleet) -> None:
    for body, said in REJECTED:
        answer = await client.post("/v1/exports", json=RANGE | body)

        assert (answer.status_code, said in answer.text) == (422, True), answer.text


async def test_what_another_tenant_has_is_nobody_elses(
    client, other_client, fleet, maintenance: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = await made(client, maintenance)
    monkeypatch.setattr(store, "STREAMS_MOST", 2)

    many = await client.post("/v1/exports", json=RANGE)
    stolen = await other_client.post("/v1/exports", json=RANGE | {"datastream_ids": [fleet["Salle"]]})
    of_asset = await other_client.post("/v1/exports", json=RANGE | {"asset_ids": [fleet["asset of Salle"]]})
    looked = [
        (await other_client.get(path)).status_code
        for path in (f"/v1/exports/{job['id']}", f"/v1/exports/{job['id']}/file")
    ]

    assert (many.status_code, "plus de 2 flux" in many.text) == (422, True)
    assert (stolen.status_code, of_asset.status_code, looked) == (422, 422, [404, 404])


async def test_a_download_goes_on_where_it_stopped(
    client, fleet, maintenance: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PART_OCTETS", 1000)
    job, whole = await made(client, maintenance)
    path = f"/v1/exports/{job['id']}/file"

    first = await client.get(path, headers={"Range": "bytes=0-4321"})
    tag = first.headers["etag"]
    rest = await client.get(path, headers={"Range": "bytes=4322-", "If-Range": tag})
    answers = {
        "last": await client.get(path, headers={"Range": "bytes=-10"}),
        "changed": await client.get(path, headers={"Range": "bytes=4322-", "If-Range": '"other"'}),
        "same": await client.get(path, headers={"If-None-Match": tag}),
        "beyond": await client.get(path, headers={"Range": f"bytes={len(whole)}-"}),
        "several": await client.get(path, headers={"Range": "bytes=0-1,4-5"}),
    }

    assert tag == f'"{hashlib.sha256(whole).hexdigest()}"'
    assert first.headers["content-range"] == f"bytes 0-4321/{len(whole)}"
    assert first.content + rest.content == whole
    assert {name: one.status_code for name, one in answers.items()} == {
        "last": 206, "changed": 200, "same": 304, "beyond": 416, "several": 200,
    }  # fmt: skip
    assert answers["last"].content == whole[-10:]
    assert answers["beyond"].headers["content-range"] == f"bytes */{len(whole)}"
    assert "content-encoding" not in answers["changed"].headers


async def test_fifty_who_read_slowly_hold_no_connection(
    app, client, fleet, maintenance: Pool, tenancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has had its first octets, and takes no more; the pool of the API has four connections."""
    monkeypatch.setattr(store, "PART_OCTETS", 1000)
    job, whole = await made(client, maintenance)
    reading, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def read_slowly() -> int:
        taken = 0

        async def send(message: Any) -> None:
            nonlocal taken
            if message["type"] == "http.response.body" and message["body"]:
                if not taken:
                    begun.release()
                    await reading.wait()
                taken += len(message["body"])

        async def receive() -> Any:
            await asyncio.Event().wait()

        path = f"/v1/exports/{job['id']}/file"
        headers = [(b"authorization", f"Bearer {tenancy.key}".encode()), (b"host", b"api")]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers,
            "client": ("192.0.2.1", 1), "server": ("api", 80), "root_path": "",
        }  # fmt: skip
        await app(scope, receive, send)
        return taken

    clients = [asyncio.create_task(read_slowly()) for _ in range(50)]
    for _ in clients:
        await asyncio.wait_for(begun.acquire(), 20)

    assert app.state.platform.pool.get_idle_size() == app.state.platform.pool.get_size()
    reading.set()
    assert set(await asyncio.gather(*clients)) == {len(whole)}


async def test_rights_are_those_of_when_it_runs_and_of_when_it_is_read(
    client, other_client, other_tenancy, app, pool: Pool, fleet, maintenance: Pool
) -> None:
    """Of a neighbour's container two hours are shared; then the grant is withdrawn."""
    shared = {
        "tenant": "autre",
        "asset_id": fleet["asset of =Bac 2"],
        "data_from": "2026-03-01T01:00:00Z",
        "data_to": "2026-03-01T03:00:00Z",
    }
    grant = (await client.post("/v1/grants", json=shared)).json()
    assert (await other_client.post(f"/v1/grants/{grant['id']}/accept")).status_code == 200

    job, octets = await made(other_client, maintenance)
    streamed = await other_client.get("/v1/measurements/export", params=RANGE)
    waiting = await ask(other_client)
    assert (await client.delete(f"/v1/grants/{grant['id']}")).status_code in {200, 204}
    assert await export_next(maintenance, "m1", ROOM)
    late = (await other_client.get(f"/v1/exports/{waiting['id']}")).json()
    refused = await other_client.get(f"/v1/exports/{job['id']}/file")

    rows = list(csv.DictReader(io.StringIO(octets.decode())))
    assert (rows[0]["time"], rows[-1]["time"], len(rows)) == (
        "2026-03-01T01:00:00Z", "2026-03-01T02:59:00Z", 120,
    )  # fmt: skip
    assert streamed.content == octets
    assert (late["state"], late["readings"]) == ("done", 0)
    assert (refused.status_code, refused.json()["detail"]) == (403, routes.WITHDRAWN_TEXT)
    part = await _part_as(app, other_tenancy.key, job["id"])
    assert part is None


async def _part_as(app, key: str, job_id: int) -> bytes | None:
    """What a download that is under way gets."""
    principal = await app.state.authenticator.principal(key)
    async with caller_transaction(app.state.platform.pool, principal) as connection:
        return await store.read_part(connection, job_id, 0)


async def test_a_key_that_was_revoked_gets_no_file(client, tenancy, app, pool: Pool, fleet, maintenance) -> None:
    key = await create_api_key(pool, tenancy.id, "BI", ("read",))
    async with client_of(app, key) as partner:
        job = await ask(partner)
    async with pool.acquire() as connection:
        await connection.execute("UPDATE api_key SET revoked_at = now() WHERE id = $1", key.split("_")[1])

    await export_next(maintenance, "m1", ROOM)

    shown = (await client.get(f"/v1/exports/{job['id']}")).json()
    assert (shown["state"], shown["reason"], shown["octets"]) == ("failed", DENIED_TEXT, 0)


async def test_a_key_of_some_kinds_exports_those_and_sees_no_other_exports(
    client, tenancy, app, pool: Pool, fleet, maintenance
) -> None:
    key = await create_api_key(pool, tenancy.id, "salles", ("read",))
    await pool.execute("UPDATE api_key SET asset_kinds = '{room}' WHERE id = $1", key.split("_")[1])
    everything, _ = await made(client, maintenance)

    async with client_of(app, key) as limited:
        job, octets = await made(limited, maintenance)
        theirs = await limited.get(f"/v1/exports/{everything['id']}/file")
        listed = (await limited.get("/v1/exports")).json()["items"]
        cancelled = await limited.post(f"/v1/exports/{job['id']}/cancel")

    assert [row["asset"] for row in csv.DictReader(io.StringIO(octets.decode()))] == ["Salle"]
    assert (theirs.status_code, [one["id"] for one in listed], cancelled.status_code) == (404, [job["id"]], 200)


async def test_a_full_disk_and_a_full_place_leave_nothing_that_looks_whole(
    client, fleet, pool: Pool, database, maintenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PART_OCTETS", 1000)
    place, disk = await ask(client), await ask(client)
    await export_next(maintenance, "m1", 5000)
    async with open_pool(database.admin_url, "territoire-tests", size=1) as admin:
        await admin.execute(
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full'; END $$; "
            "CREATE TRIGGER no_room BEFORE INSERT ON export_part FOR EACH ROW WHEN (NEW.number = 3) "
            "EXECUTE FUNCTION no_room()"
        )
    await export_next(maintenance, "m1", ROOM)

    shown = [(await client.get(f"/v1/exports/{job['id']}")).json() for job in (place, disk)]
    files = [await client.get(f"/v1/exports/{job['id']}/file") for job in (place, disk)]

    assert [one["state"] for one in shown] == ["failed", "failed"]
    assert "remplissent leur place" in shown[0]["reason"]
    assert shown[1]["reason"] == DISK_TEXT
    assert [one.status_code for one in files] == [409, 409]
    assert await pool.fetchval("SELECT count(*) FROM export_part") == 0


async def test_a_job_that_was_cut_short_begins_again_and_one_that_was_cancelled_stops(
    client, fleet, pool: Pool, maintenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill -9 of the process that had it: parts are there, and no end."""
    monkeypatch.setattr(store, "PART_OCTETS", 1000)
    job = await ask(client)
    assert await store.claim_export(maintenance, "dead")
    await store.put_part(maintenance, job["id"], "dead", 0, b"half")
    early = await client.get(f"/v1/exports/{job['id']}/file")

    nothing = await export_next(maintenance, "m1", ROOM)
    await pool.execute("UPDATE export_job SET taken_until = now()")
    again = await export_next(maintenance, "m1", ROOM)
    fenced = await store.put_part(maintenance, job["id"], "dead", 99, b"late")
    file = await client.get(f"/v1/exports/{job['id']}/file")
    cancelled = await client.post(f"/v1/exports/{job['id']}/cancel")
    gone = await client.get(f"/v1/exports/{job['id']}/file")

    assert (early.status_code, nothing, again is not None, fenced) == (409, None, True, False)
    assert file.content.startswith(b"datastream_id,")
    assert len(file.content.splitlines()) == 402
    assert (cancelled.json()["state"], gone.status_code) == ("cancelled", 409)
    assert await pool.fetchval("SELECT count(*) FROM export_part") == 0


async def test_what_tells_of_a_dwelling_is_audited_and_goes_with_its_erasure(
    client, registry, observations, pool: Pool, maintenance
) -> None:
    asset = await registry.asset(kind="dwelling", name="Logement 1")
    device = await registry.device(asset_id=asset["id"])
    stream = await observations.datastream(device["dev_eui"], asset["id"], "temperature", "Cel")
    await observations.readings(stream, {T0: 20})
    job, _ = await made(client, maintenance)

    audited = await pool.fetchval(
        "SELECT count(*) FROM audit WHERE action = 'read' AND entity = 'asset' AND entity_id = $1",
        str(asset["id"]),
    )
    statements = await pool.fetch(
        "SELECT statement FROM erasure_step WHERE relation LIKE 'export%' ORDER BY place"
    )
    await pool.execute(
        "INSERT INTO erasure (tenant_id, kind, subject_id, reason, requested_by, datastream_ids) "
        "SELECT tenant_id, 'asset', id, 'r', 'a', $2 FROM asset WHERE id = $1",
        asset["id"],
        [stream],
    )
    for row in statements:
        statement = row[0].replace("$2", "1000").replace("($1)", "e")
        statement = statement.replace("SELECT count(*)", "SELECT count(*) INTO n")
        declared = "DECLARE e erasure; n bigint; BEGIN SELECT * INTO e FROM erasure"
        await pool.execute(f"DO $x$ {declared}; {statement}; END $x$")

    shown = (await client.get(f"/v1/exports/{job['id']}")).json()
    assert audited == 1
    assert (shown["state"], "effacées" in shown["reason"]) == ("failed", True)
    assert (await client.get(f"/v1/exports/{job['id']}/file")).status_code == 409
    assert await pool.fetchval("SELECT count(*) FROM export_part") == 0


async def test_what_is_too_much_at_once_is_asked_for_as_a_file(client, fleet, monkeypatch) -> None:
    monkeypatch.setattr(routes, "LINES_AT_ONCE", 7)
    paged = await client.get("/v1/measurements/export", params=RANGE | {"format": "ndjson"})
    monkeypatch.setattr(routes, "LINES_MOST", 400)
    refused = await client.get("/v1/measurements/export", params=RANGE)

    assert len({(one["datastream_id"], one["time"]) for one in map(json.loads, paged.text.splitlines())}) == 401
    assert (refused.status_code, "POST /v1/exports" in refused.text) == (422, True)
