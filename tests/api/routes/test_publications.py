"""What is published is all that anybody reads, from the instant it is published until it is withdrawn."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI

from api.public_pages import value_of_day
from core.model.quantities import Kind
from core.runtime.postgres import Pool
from registry.publications import PublicDay, slug_of
from tests.api.conftest import client_of, person_client
from tests.entering import transfer

NOW = datetime.now(UTC)
# What SQL that runs as the API's role may try without anybody's proof.
FORGE = """
SELECT set_config('app.tenant', $1, true), set_config('app.operator', 'on', true),
       set_config('app.proved', $1 || '|{operate}', true), set_config('app.seal', repeat('0', 64), true)
"""


async def measured(observations: Any, registry: Any, asset: dict[str, Any], **values: float) -> None:
    device = await registry.device(asset_id=asset["id"])
    for quantity, value in values.items():
        stream = await observations.datastream(device["dev_eui"], asset["id"], quantity, "1")
        await observations.readings(
            stream, {NOW - timedelta(minutes=5): value, NOW - timedelta(minutes=40): value - 1}
        )


async def publish(client: httpx.AsyncClient, asset: dict[str, Any], **fields: Any) -> dict[str, Any]:
    body = {"asset_id": asset["id"], "name": "École", "quantities": ["temperature"]} | fields
    answer = await client.post("/v1/publications", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_everybody_reads_what_is_published_older_than_its_delay_and_nothing_of_class_2(
    app: FastAPI, client, registry, observations, tenancy, pool: Pool
) -> None:
    school = await registry.asset(kind="building", name="École")
    room, flat = (
        await registry.asset(kind="room", name="Salle"),
        await registry.asset(kind="dwelling", name="Loge"),
    )
    old = await registry.asset(kind="room", name="Grenier")
    for below in (room, flat, old):
        moved = await client.put(f"/v1/assets/{below['id']}/parent", json={"parent_id": school["id"]})
        assert moved.status_code == 200, moved.text
    await client.put(f"/v1/assets/{old['id']}/archived", json={"archived": True})
    for asset, value in ((school, 20.0), (room, 21.0), (flat, 99.0), (old, 98.0)):
        await measured(observations, registry, asset, temperature=value, co2=97.0)
    personal = await client.post(
        "/v1/publications", json={"asset_id": flat["id"], "name": "Loge", "quantities": ["temperature"]}
    )
    made = await publish(client, school, includes_below=True)
    delayed = await publish(client, room, delay_seconds=1800, slug="salle")
    silent = await publish(client, room, quantities=["relative_humidity", "co2"], delay_seconds=86_400)

    async with client_of(app, None) as anybody:
        answer = await anybody.get("/v1/public/ecole")
        again = await anybody.get("/v1/public/ecole", headers={"If-None-Match": answer.headers["etag"]})
        later = (await anybody.get("/v1/public/salle")).json()
        unknown = (await anybody.get(f"/v1/public/{silent['slug']}")).json()
        odd = [
            await anybody.get(f"/v1/public/{name}") for name in ("jamais", "É", "a%00", "%27--", "x" * 200, "A")
        ]

    assert personal.status_code == 422
    assert (made["slug"], made["state"], made["privacy_class"]) == ("ecole", "published", 0)
    assert silent["slug"] == "ecole-2"
    assert [(one["asset"], one["value"]) for one in answer.json()["values"]] == [("École", 20.0), ("Salle", 21.0)]
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert "set-cookie" not in answer.headers
    assert (again.status_code, again.content) == (304, b"")
    assert [one["value"] for one in later["values"]] == [20.0]
    assert [(one["value"], one["time"], one["unknown_since"]) for one in unknown["values"]] == [(None, None, None)]
    assert len(later["values"][0]["days"]) == 30
    assert {one.status_code for one in odd} == {404}
    async with pool.acquire() as connection:
        first = await connection.fetchval("SELECT asset_id FROM publication WHERE id = $1", delayed["id"])
    assert first == room["id"]


async def test_a_raised_class_withdraws_it_at_once_below_it_is_left_out_and_elsewhere_it_ends_too(
    app: FastAPI, client, registry, observations, tenancy, other_tenancy, pool: Pool
) -> None:
    rooms = [await registry.asset(kind="room", name=f"Salle {n}") for n in range(4)]
    await client.put(f"/v1/assets/{rooms[3]['id']}/parent", json={"parent_id": rooms[0]["id"]})
    for number, room in enumerate(rooms):
        await measured(observations, registry, room, temperature=20.0 + number)
    slugs = [(await publish(client, room, includes_below=True))["slug"] for room in rooms[:3]]

    await pool.execute("UPDATE asset SET privacy_class = 2 WHERE id = $1", rooms[3]["id"])
    async with client_of(app, None) as anybody:
        left_out = (await anybody.get(f"/v1/public/{slugs[0]}")).json()
        await pool.execute("UPDATE datastream SET stated_class = 1 WHERE asset_id = $1", rooms[0]["id"])
        await client.put(f"/v1/assets/{rooms[1]['id']}/archived", json={"archived": True})
        await transfer(pool, tenancy.id, rooms[2]["id"], other_tenancy.id)
        gone = [await anybody.get(f"/v1/public/{slug}") for slug in slugs]
    listed = (await client.get("/v1/publications")).json()["items"]
    lines = await pool.fetch(
        "SELECT tenant_id, details ->> 'reason' FROM audit WHERE actor = 'territoire' ORDER BY 2"
    )
    revived = await client.patch(f"/v1/publications/{listed[0]['id']}", json={"until": None, "delay_seconds": 1})

    assert [one["asset"] for one in left_out["values"]] == ["Salle 0"]
    assert [one.status_code for one in gone] == [410, 410, 410]
    assert all("a pris fin" in one.json()["detail"] and "Salle" not in one.text for one in gone)
    assert sorted((one["state"], one["withdrawn_reason"]) for one in listed) == [
        ("withdrawn", reason) for reason in ("archived", "class", "transferred")
    ]
    assert [tuple(line) for line in lines] == [
        (tenancy.id, reason) for reason in ("archived", "class", "transferred")
    ]
    assert revived.status_code == 409


async def test_class_1_waits_for_an_approval_by_name_and_an_address_stays_its_tenants(
    app: FastAPI, client, other_client, registry, other_registry, observations, tenancy, other_tenancy, pool: Pool
) -> None:
    hall = await registry.asset(kind="room", name="Mairie", privacy_class=1)
    await measured(observations, registry, hall, temperature=19.0)
    made = await publish(client, hall, slug="mairie")
    path = f"/v1/publications/{made['id']}"
    by_key = await client.post(f"{path}/approval")
    async with client_of(app, None) as anybody:
        before = await anybody.get("/v1/public/mairie")
        preview = (await client.get(f"{path}/preview")).json()
        async with await person_client(app, pool, tenancy.id, "open_data_officer") as officer:
            may_not = await officer.post(f"{path}/approval")
        async with await person_client(app, pool, tenancy.id, "service_manager") as person:
            approved = (await person.post(f"{path}/approval")).json()
        shown = await anybody.get("/v1/public/mairie")
        tag = (await client.get(path)).headers["etag"]
        more = await client.patch(path, json={"quantities": ["temperature", "co2"]}, headers={"If-Match": tag})
        stale = await client.patch(path, json={"delay_seconds": 5}, headers={"If-Match": tag})
        hidden = await anybody.get("/v1/public/mairie")
        theirs = await other_registry.asset()
        taken = await other_client.post(
            "/v1/publications",
            json={"asset_id": theirs["id"], "name": "M", "slug": "mairie", "quantities": ["co2"]},
        )
        others = await client.post(
            "/v1/publications", json={"asset_id": theirs["id"], "name": "M", "quantities": ["co2"]}
        )
        await client.post(f"{path}/withdrawal")
        still_taken = await other_client.post(
            "/v1/publications",
            json={"asset_id": theirs["id"], "name": "M", "slug": "mairie", "quantities": ["co2"]},
        )
        never_read = await anybody.get("/v1/public/mairie")
        again = await publish(client, hall, slug="mairie")

    assert (made["state"], made["privacy_class"]) == ("to_approve", 1)
    assert (by_key.status_code, may_not.status_code, before.status_code) == (403, 403, 404)
    assert [one["value"] for one in preview["values"]] == [19.0]
    assert (approved["state"], len(approved["approved_by"]) > 0) == ("published", True)
    assert shown.status_code == 200
    assert (more.json()["state"], more.json()["approved_by"], stale.status_code) == ("to_approve", None, 412)
    assert hidden.status_code == 404
    assert (taken.status_code, still_taken.status_code, others.status_code) == (409, 409, 422)
    assert never_read.status_code == 404
    assert again["state"] == "to_approve"


async def test_sql_of_the_api_without_anybody_sees_nothing_but_what_is_published(
    app: FastAPI, client, registry, observations, tenancy, pool: Pool, api_pool: Pool
) -> None:
    room = await registry.asset(kind="room", name="Salle")
    draft = await registry.asset(kind="room", name="Bureau", privacy_class=1)
    for asset in (room, draft):
        await measured(observations, registry, asset, temperature=20.0, co2=900.0)
    await publish(client, room, slug="salle")
    waiting = await publish(client, draft, slug="bureau")
    async with api_pool.acquire() as connection, connection.transaction():
        await connection.execute(FORGE, str(tenancy.id))
        rows = await connection.fetch("SELECT * FROM public_values('salle', NULL)")
        nothing = [
            await connection.fetchval(f"SELECT count(*) FROM {name}")
            for name in (
                *("publication", "publication_host", "asset", "datastream", "measurement", "latest", "rollup_day"),
                *("public_values('bureau', NULL)", "public_page('bureau', NULL)", "public_days('bureau', NULL)"),
                *(f"public_values('', {waiting['id']})", f"public_page('', {waiting['id']})"),
            )
        ]
        refused = 0
        for attempt in (
            "SELECT shown_publication('salle', NULL)",
            "SELECT assets_below(1, true)",
            "SELECT withdraw_publications(1, NULL, 'asked')",
            "UPDATE publication SET privacy_class = 0",
            "UPDATE publication SET approved_at = now()",
            "INSERT INTO publication (tenant_id, asset_id, slug, name, approved_by) SELECT 1, 1, 'x', 'x', 'x'",
        ):
            try:
                async with connection.transaction():
                    await connection.execute(attempt)
            except Exception as error:  # noqa: BLE001 - Its name is compared.
                refused += type(error).__name__ == "InsufficientPrivilegeError"

    assert [(row["asset"], row["quantity"], row["value"]) for row in rows] == [("Salle", "temperature", 20.0)]
    assert nothing == [0] * len(nothing)
    assert refused == 6


def test_an_address_is_made_of_a_name_and_a_day_of_an_index_is_known_only_between_two_readings() -> None:
    def day(number: int, last: float, *, is_broken: bool = False) -> PublicDay:
        return PublicDay(1, NOW.date() + timedelta(days=number), 24, 5.0, 0.25, last, is_broken)

    days = {one.day: one for one in (day(0, 10), day(1, 12), day(3, 20), day(4, 5), day(5, 9, is_broken=True))}
    counted = [value_of_day(Kind.COUNTER, days, NOW.date() + timedelta(days=n)) for n in range(6)]

    assert [slug_of(name) for name in ("École Pasteur, 2ᵉ étage", "  L'Île 🗑️ ", "🗑️", "é" * 200)] == [
        *("ecole-pasteur-2e-etage", "l-ile", "page", "e" * 63),
    ]
    assert counted == [None, 2, None, None, None, None]
    assert value_of_day(Kind.BOOLEAN, days, NOW.date()) == 0.25
    assert value_of_day(Kind.GAUGE, days, NOW.date() + timedelta(days=2)) is None
