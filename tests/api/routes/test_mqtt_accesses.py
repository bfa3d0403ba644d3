"""MQTT accesses over the API: who may make one, see it, renew its password and remove it, and when it ends."""

import httpx
import pytest

from api.dependencies import Access
from core.runtime.postgres import Pool
from ingest.applications import QUEUE
from registry.tenants import create_api_key
from tests.api.conftest import client_of, person_client

PATH = "/v1/mqtt-accesses"
BODY = {"name": "Node-RED du service Eau"}
ACCOUNTS = "SELECT id, publishes, reads, expires_at FROM mqtt_account ORDER BY created_at, id"


@pytest.fixture
async def person(app, pool: Pool, tenancy):
    async with await person_client(app, pool, tenancy.id, "reader") as opened:
        yield opened


async def made(client: httpx.AsyncClient, **fields) -> dict:
    answer = await client.post(PATH, json=BODY | fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_reader_makes_an_access_for_itself_and_others_do_not_see_it(
    app, client, other_client, person, pool: Pool, tenancy
) -> None:
    created = await made(person)
    access, account = created["access"], created["account"]
    here = f"{PATH}/{access['id']}"
    async with (
        await person_client(app, pool, tenancy.id, "field_agent") as colleague,
        await person_client(app, pool, tenancy.id, "service_manager") as manager,
    ):
        unseen = [await one.get(here) for one in (colleague, other_client)]
        not_theirs = [await one.delete(here) for one in (colleague, other_client)]
        nothing = [(await one.get(PATH)).json()["items"] for one in (colleague, other_client)]
        seen = (await manager.get(here)).json()
        of_another = await manager.post(f"{here}/rotations", json={})
        as_partners = [await client.get(path) for path in ("/v1/applications", "/v1/mqtt-accounts")]
        by_applications = [
            await client.get(f"/v1/applications/{access['id']}"),
            await client.patch(f"/v1/applications/{access['id']}", json={"enabled": False}),
            await client.delete(f"/v1/applications/{access['id']}"),
            await client.delete(f"/v1/mqtt-accounts/{account['username'].removeprefix('tpa_')}"),
        ]
        removed = await manager.delete(here)

    root = f"territoire/events/sdef/application/{access['application_id']}"
    assert (access["topics"], access["username"]) == (root, account["username"])
    assert (access["mine"], seen["mine"], access["reason"]) == (True, False, None)
    assert access["mqtt_url"] == "mqtts://mqtt.example.fr:8883"
    assert len(account["password"]) == 43  # 32 octets, drawn.
    assert "password" not in str(seen)
    assert [one.status_code for one in (*unseen, *not_theirs)] == [404] * 4
    assert nothing == [[], []]
    assert (of_another.status_code, of_another.json()["errors"][0]["code"]) == (403, "not_owner")
    assert [one.json()["items"] for one in as_partners] == [[], []]
    assert [one.status_code for one in by_applications] == [404] * 4
    assert removed.status_code == 204
    assert await pool.fetch(ACCOUNTS) == []


async def test_its_accounts_publish_or_read_its_own_topics_and_a_renewal_leaves_two_that_read(
    person, pool: Pool
) -> None:
    access = (await made(person))["access"]
    topics = [f"application/{access['application_id']}/#"]
    first = await pool.fetch(ACCOUNTS)
    answers = [
        await person.post(f"{PATH}/{access['id']}/rotations", json={"keep_former_hours": hours})
        for hours in (24, 24, 0)
    ]
    after = await pool.fetch(
        "SELECT id FROM mqtt_account WHERE reads <> '{}' AND coalesce(expires_at > now(), true)"
    )
    shown = (await person.get(f"{PATH}/{access['id']}")).json()

    assert sorted((list(row["publishes"]), list(row["reads"])) for row in first) == [([], topics), (topics, [])]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len({answer.json()["password"] for answer in answers}) == 3
    assert [f"tpa_{row['id']}" for row in after] == [answers[-1].json()["username"]] == [shown["username"]]


@pytest.mark.parametrize(
    "ending",
    [
        "UPDATE api_key SET revoked_at = now() WHERE id = $1",
        "UPDATE api_key SET expires_at = now() - interval '1 s' WHERE id = $1",
        "UPDATE api_key SET roles = '{lighting}' WHERE id = $1",
        "UPDATE api_key SET addresses = '{192.0.2.0/24}' WHERE id = $1",
    ],
)
async def test_an_access_ends_with_the_right_of_its_key(
    app, client, registry, pool: Pool, tenancy, ending
) -> None:
    key = await create_api_key(pool, tenancy.id, "Node-RED", ("read",))
    async with client_of(app, key) as program:
        access = (await made(program))["access"]
    device = await registry.device()
    device_id = await pool.fetchval("SELECT id FROM device WHERE dev_eui = $1", bytes.fromhex(device["dev_eui"]))

    async def queued() -> int:
        await pool.execute("DELETE FROM observation.application_event")
        await pool.execute(QUEUE, [device_id], [1_700_000_000_000_000], [bytes(16)])
        await pool.execute("SELECT queue_application_event($1, 'status', '{}')", device_id)
        return await pool.fetchval("SELECT count(*) FROM observation.application_event")

    before = await queued()
    await pool.execute(ending, access["key_id"])
    shown = (await client.get(f"{PATH}/{access['id']}")).json()

    assert before == 2
    assert await queued() == 0
    assert shown["reason"] == "key_ended"
    assert "révoquée" in shown["to_do"]


async def test_an_access_ends_with_the_role_of_its_person_and_in_a_closed_tenant(
    client, person, pool: Pool, tenancy
) -> None:
    access = (await made(person))["access"]
    here = f"{PATH}/{access['id']}"
    await pool.execute("UPDATE person SET disabled_at = now()")
    disabled = (await client.get(here)).json()["reason"]
    await pool.execute("UPDATE person SET disabled_at = NULL")
    again = (await client.get(here)).json()["reason"]
    await pool.execute("DELETE FROM membership")
    gone = (await client.get(here)).json()["reason"]

    assert (disabled, again, gone) == ("person_gone", None, "person_gone")


async def test_what_makes_no_access_is_said_in_french(app, client, person, pool: Pool, tenancy) -> None:
    key = await create_api_key(pool, tenancy.id, "Node-RED", ("read",))
    key_id = key.split("_")[1]
    by_reader = await person.post(PATH, json=BODY | {"key_id": key_id})
    unknown = await client.post(PATH, json=BODY | {"key_id": "00000000"})
    of_key = await made(client, key_id=key_id)
    twice = await client.post(PATH, json=BODY)
    for number in range(10):
        await made(person, name=f"n{number}")
    too_many = await person.post(PATH, json={"name": "n10"})
    await pool.execute("UPDATE api_key SET addresses = '{0.0.0.0/0,::/0}' WHERE id = $1", key_id)
    bound = await client.post(PATH, json={"name": "lié", "key_id": key_id})
    object.__setattr__(app.state.platform, "access", Access())
    without = await client.post(PATH, json={"name": "sans"})

    assert (of_key["access"]["key_id"], of_key["access"]["mine"]) == (key_id, False)
    assert [one.status_code for one in (by_reader, unknown, twice, too_many, bound, without)] == [
        403, 422, 409, 409, 422, 409,
    ]  # fmt: skip
    assert "10 accès MQTT au plus" in too_many.json()["detail"]
    assert "pas de courtier" in without.json()["detail"]
    assert "operate" not in by_reader.text


async def test_a_foreign_broker_still_takes_the_operator(person) -> None:
    answer = await person.post("/v1/applications", json={"name": "SI", "mqtt_url": "mqtts://a.example"})

    assert answer.status_code == 403
