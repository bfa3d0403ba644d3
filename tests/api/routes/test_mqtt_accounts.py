from core.runtime.postgres import Pool

GATEWAY_ID = "0080e115000a9b72"
ACCOUNTS = f"/v1/gateways/{GATEWAY_ID}/mqtt-accounts"
PARTNERS = "/v1/mqtt-accounts"


async def test_an_account_is_shown_once_two_are_valid_during_a_rotation_and_one_withdrawn_is_gone(
    client, registry, pool: Pool
) -> None:
    await registry.gateway(gateway_id=GATEWAY_ID)

    made = [(await client.post(ACCOUNTS, json={})).json() for _ in range(3)]
    listed = (await client.get(ACCOUNTS)).json()["items"]
    removed = await client.delete(f"{ACCOUNTS}/{made[2]['id'].upper()}")
    again = await client.delete(f"{ACCOUNTS}/{made[2]['id']}")

    assert [account["username"] for account in listed] == [made[2]["username"], made[1]["username"]]
    assert [account["expires_at"] is None for account in listed] == [True, False]
    assert [account["applied_at"] for account in listed] == [None, None]
    assert made[0]["username"] == f"tgw_{made[0]['id']}"
    assert (removed.status_code, again.status_code) == (204, 404)
    assert [account["id"] for account in (await client.get(ACCOUNTS)).json()["items"]] == [made[1]["id"]]
    kept = str([tuple(row) for row in await pool.fetch("SELECT * FROM mqtt_account")])
    noted = str([tuple(row) for row in await pool.fetch("SELECT details::text FROM audit")])
    assert not any(account["password"] in kept + noted + str(listed) for account in made)


async def test_a_partners_account_is_bound_to_the_tenants_prefix_and_rotates_with_its_topics(client) -> None:
    asked = {"name": "Hyperviseur", "reads": ["application/+/device/+/event/up"], "publishes": ["alerte/#"]}

    made = (await client.post(PARTNERS, json=asked)).json()
    rotated = await client.post(f"{PARTNERS}/{made['id']}/rotations", json={"keep_former_hours": 1})
    of_former = await client.post(f"{PARTNERS}/{made['id']}/rotations", json={})
    listed = (await client.get(PARTNERS)).json()["items"]

    assert (rotated.status_code, of_former.status_code) == (201, 404)
    assert [account["id"] for account in listed] == [made["id"], rotated.json()["id"]]
    assert [account["expires_at"] is None for account in listed] == [False, True]
    assert all({key: account[key] for key in asked} == asked for account in listed)
    assert {account["prefix"] for account in listed} == {"territoire/partner/sdef/"}
    assert (await client.delete(f"{PARTNERS}/{made['id']}")).status_code == 204
    assert len((await client.get(PARTNERS)).json()["items"]) == 1


async def test_topics_that_could_leave_the_tenants_prefix_are_rejected(client) -> None:
    wrong = ["/a", "a//b", "#/a", "a/#/b", "a+", "a/b#", "$SYS/#", "%u/a", "a/${b}", "", "a\tb", "a" * 201]

    answers = [
        await client.post("/v1/mqtt-accounts", json={"name": "Hyperviseur", "reads": topics})
        for topics in ([], ["a"] * 21, *([topic] for topic in wrong))
    ]

    assert [answer.status_code for answer in answers] == [422] * len(answers)
    assert (await client.get(PARTNERS)).json()["items"] == []
