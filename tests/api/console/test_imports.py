"""Imports in the console: tried, shown, imported; also what the routes of the API say on the way."""

import json

from core.runtime.postgres import Pool, open_pool
from registry.bulk_imports.runner import import_next
from registry.keys import KeyWrap
from services.maintenance.app import WRITERS
from tests.api.conftest import KEK
from tests.api.console.conftest import hidden

CABINETS = "external_reference;name;commune;latitude\nARM-1;Armoire <b>École</b>;Brest;\nARM-2;;Brest;91\n"


async def test_a_file_is_tried_its_refused_lines_are_shown_and_then_it_goes_in(
    enter, client, other_client, tenancy, database, pool: Pool
) -> None:
    manager = await enter(tenancy.id, "service_manager")
    page = await manager.get("/imports")
    form = {"csrf": hidden(page, "csrf"), "kind": "cabinets", "coordinates": "wgs84"}
    empty = await manager.post("/imports", data=form, files={"file": ("vide.csv", b"")})
    large = await manager.post("/imports", data=form, files={"file": ("gros.csv", b"x" * (33 << 20))})
    sent = await manager.post("/imports", data=form, files={"file": ("a/armoires.csv", CABINETS.encode("cp1252"))})
    address = sent.headers["location"]
    keys = KeyWrap("kek-1", KEK)
    async with open_pool(database.url_of("maintenance"), "maintenance", size=1) as maintenance:
        waiting = await manager.get(address)
        await import_next(maintenance, keys, "maintenance-1")
        tried = await manager.get(address)
        count = await pool.fetchval("SELECT count(*) FROM asset")
        await manager.post(address, data={"csrf": hidden(tried, "csrf"), "confirm": "1"})
        await import_next(maintenance, keys, "maintenance-1")
    done = await manager.get(address)
    rejected = await manager.get(f"{address}/refus")
    again = await manager.post(address, data={"csrf": hidden(page, "csrf"), "confirm": "1"})
    exported = await manager.get("/imports/exports/cabinets")
    model = await client.get("/v1/import-kinds/cabinets/model.csv")
    number = address.rpartition("/")[2]
    part = await client.put(f"/v1/imports/{number}/parts/1", json={"content": "YQ=="})
    gap = (await client.post("/v1/imports", json={"kind": "devices"})).json()["id"]
    too_early = await client.post(f"/v1/imports/{gap}/start")
    await client.put(f"/v1/imports/{gap}/parts/2", json={"content": "YQ=="})
    missing = await client.post(f"/v1/imports/{gap}/start")

    assert (empty.status_code, "choisissez un fichier" in empty.text) == (422, True)
    assert large.status_code == 413
    assert sent.status_code == 303
    assert "attend son tour" in waiting.text
    assert count == 0
    assert "Importer pour de bon" in tried.text
    assert "entre -90 et 90 attendu" in tried.text
    assert await pool.fetchval("SELECT name FROM asset") == "Armoire <b>École</b>"
    assert "Importer pour de bon" not in done.text
    assert rejected.text.splitlines() == [
        "\ufeffline;column;reason;external_reference;name;commune;latitude",
        "3;latitude;entre -90 et 90 attendu;ARM-2;;Brest;91",
    ]
    assert again.status_code == 303
    assert exported.text.splitlines()[1].startswith("ARM-1;Armoire <b>École</b>;;Brest;")
    assert model.text.splitlines()[0] == exported.text.splitlines()[0]
    assert [one.status_code for one in (part, too_early, missing)] == [409, 409, 409]
    assert "le morceau 1 manque" in missing.json()["detail"]
    assert (await other_client.get(f"/v1/imports/{number}/rejected.csv")).status_code == 404


RULE_COLUMNS = "name;kind;quantity;severity;message;fire_op;fire_value;clear_op;clear_value"
RULE = "air_{n};threshold;co2;{severity};{{asset}} : aérer;>=;1000;<=;800"
RING = [[[-4.3, 48.4], [-4.2, 48.4], [-4.2, 48.5], [-4.3, 48.5], [-4.3, 48.4]]]
CROSSED = [[[-4.3, 48.4], [-4.2, 48.5], [-4.2, 48.4], [-4.3, 48.5], [-4.3, 48.4]]]
# Of each kind a file with a line that is right and one that is not; what is wrong there, and its correction.
FILES = {
    "assets": (
        "kind;external_reference;name;latitude;longitude\nroom;S-1;Salle 1;48.4;-4.2\nroom;S-2;Salle 2;95;-4.2\n",
        ("95", "48.4"),
    ),
    "gateways": (
        "gateway_id;name;latitude;longitude\n70b3d57ed0001234;A;48.4;-4.2\n70b3d57ed00012;B;48.4;-4.2\n",
        ("70b3d57ed00012;", "70b3d57ed0001299;"),
    ),
    "contacts": (
        "team;email;name;rung;after_minutes\nVoirie;a@ville.example;A;1;5\nVoirie;sans-arobase;B;2;30\n",
        ("sans-arobase", "b@ville.example"),
    ),
    "rules": (
        "\n".join((RULE_COLUMNS, RULE.format(n=1, severity="warning"), RULE.format(n=2, severity="terrible"), "")),
        ("terrible", "major"),
    ),
}


async def test_refused_lines_of_every_kind_are_said_corrected_and_imported_as_they_are(
    enter, client, tenancy, database
) -> None:
    manager = await enter(tenancy.id, "service_manager")
    await client.post("/v1/teams", json={"name": "Voirie"})
    token = {"csrf": hidden(await manager.get("/imports"), "csrf"), "coordinates": "wgs84"}
    keys = KeyWrap("kek-1", KEK)

    async with open_pool(database.url_of("maintenance"), "maintenance", size=1) as maintenance:

        async def imported(kind: str, name: str, content: str) -> str:
            sent = await manager.post(
                "/imports", data=token | {"kind": kind}, files={"file": (name, content.encode())}
            )
            assert sent.status_code == 303, sent.text
            await import_next(maintenance, keys, "maintenance-1", WRITERS)
            await manager.post(sent.headers["location"], data=token | {"confirm": "1"})
            await import_next(maintenance, keys, "maintenance-1", WRITERS)
            return sent.headers["location"]

        for kind, (content, (wrong, right)) in FILES.items():
            address = await imported(kind, f"{kind}.csv", content)
            page = (await manager.get(address)).text
            assert "Lignes refusées" in page, (kind, page)
            rejected = (await manager.get(f"{address}/refus")).text
            assert rejected.count("\n") == 2, (kind, rejected)
            assert wrong in rejected, (kind, rejected)
            again = await imported(kind, "refus.csv", rejected.replace(wrong, right))
            done = (await client.get(f"/v1{again}")).json()
            assert (done["refused"], done["created"]) == (0, 1), (kind, done)
        outlines = [
            {"type": "Feature", "properties": {"insee": insee, "name": insee}, "geometry": geometry}
            for insee, geometry in (
                ("29103", {"type": "Polygon", "coordinates": RING}),
                ("29019", {"type": "Polygon", "coordinates": CROSSED}),
            )
        ]
        crossed = json.dumps({"type": "FeatureCollection", "features": outlines})
        address = await imported("commune-outlines", "communes.geojson", crossed)
    page = (await manager.get(address)).text
    assert "Lignes refusées" in page
    assert "se croise" in page
    rejected = (await manager.get(f"{address}/refus")).text
    assert "29019" in rejected
