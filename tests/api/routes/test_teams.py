from core.runtime.postgres import Pool

PATH = "/v1/teams"
VOIRIE = {"name": "Voirie", "quiet_from": "20:00", "quiet_until": "07:00", "quiet_on_days_off": True}


async def test_a_team_is_made_changed_and_removed(client) -> None:
    made = await client.post(PATH, json=VOIRIE)
    path = f"{PATH}/{made.json()['id']}"
    changed = await client.put(path, json={"name": "Propreté", "digest_at": "06:45"})
    listed = (await client.get(PATH)).json()["items"]
    removed = await client.delete(path)

    assert made.status_code == 201
    assert made.json().items() >= (VOIRIE | {"digest_at": "07:30"}).items()
    assert changed.json()["quiet_from"] is None
    assert [(team["name"], team["digest_at"]) for team in listed] == [("Propreté", "06:45")]
    assert (removed.status_code, (await client.get(path)).status_code) == (204, 404)


async def test_hours_that_cannot_be_are_rejected(client) -> None:
    half = await client.post(PATH, json={"name": "a", "quiet_from": "20:00"})
    zoned = await client.post(PATH, json=VOIRIE | {"quiet_from": "20:00Z"})
    await client.post(PATH, json=VOIRIE)
    twice = await client.post(PATH, json=VOIRIE)

    assert (half.status_code, zoned.status_code, twice.status_code) == (422, 422, 409)


async def test_contacts_are_notified_by_mail_or_by_webhook(client, pool: Pool) -> None:
    path = f"{PATH}/{(await client.post(PATH, json=VOIRIE)).json()['id']}/contacts"
    endpoint = (
        await client.post("/v1/webhook-endpoints", json={"url": "https://a.example", "form": "chat"})
    ).json()

    second = await client.post(path, json={"name": "Chef", "rung": 1, "email": "chef@ville.example"})
    first = await client.post(path, json={"name": "Salon", "webhook_endpoint_id": endpoint["id"]})
    again = await client.post(path, json={"name": "Chef", "rung": 2, "email": "Chef@ville.example"})
    listed = (await client.get(path)).json()["items"]
    removed = await client.delete(f"{path}/{first.json()['id']}")

    assert (first.status_code, second.status_code, removed.status_code) == (201, 201, 204)
    assert [(one["rung"], one["name"], one["email"]) for one in listed] == [
        (0, "Salon", None),
        (1, "Chef", "chef@ville.example"),
        (2, "Chef", "chef@ville.example"),
    ]
    assert again.json()["webhook_endpoint_id"] == second.json()["webhook_endpoint_id"]
    assert await pool.fetchval("SELECT count(*) FROM webhook_endpoint WHERE form = 'email'") == 1


async def test_a_contact_is_reached_in_one_way_that_exists_and_is_the_tenants(client, other_client) -> None:
    path = f"{PATH}/{(await client.post(PATH, json=VOIRIE)).json()['id']}/contacts"
    theirs = (await other_client.post("/v1/webhook-endpoints", json={"url": "https://a.example"})).json()

    bodies = [
        {"name": "a"},
        {"name": "a", "email": "a@b.example", "webhook_endpoint_id": theirs["id"]},
        {"name": "a", "email": "pas une adresse"},
        {"name": "a", "webhook_endpoint_id": theirs["id"]},
    ]
    assert [(await client.post(path, json=body)).status_code for body in bodies] == [422] * 4
    assert (await client.get(path)).json()["items"] == []
