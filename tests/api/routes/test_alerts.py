import pytest


async def test_alerts_are_listed_by_state_and_taken_on(client, registry, observations, tenancy) -> None:
    first, second = await registry.asset(), await registry.asset()
    older = await observations.alert(tenancy.id, first["id"])
    newer = await observations.alert(tenancy.id, second["id"])

    async def listed(**query) -> list[int]:
        return [alert["id"] for alert in (await client.get("/v1/alerts", params=query)).json()["items"]]

    assert await listed() == [newer, older]
    assert await listed(asset_id=first["id"]) == [older]
    taken = await client.post(f"/v1/alerts/{older}/acknowledge")
    again = await client.post(f"/v1/alerts/{older}/acknowledge")

    assert (taken.json()["workflow"], taken.json()["acknowledged_by"]) == ("acknowledged", "clé de sdef")
    assert again.json() == taken.json()
    assert (await client.get(f"/v1/alerts/{older}")).json() == taken.json()
    assert await listed(state="open") == [newer]
    assert await listed(state=["open", "acknowledged"]) == [newer, older]


async def test_pages_of_alerts_leave_nothing_out(client, registry, observations, tenancy) -> None:
    ids = [await observations.alert(tenancy.id, (await registry.asset())["id"]) for _ in range(5)]

    seen, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/alerts", params=query)).json()
        seen += [alert["id"] for alert in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break

    assert seen == ids[::-1]


async def test_a_rule_is_changed_in_part(client) -> None:
    rules = {rule["name"]: rule for rule in (await client.get("/v1/alert-rules")).json()["items"]}
    bin_75 = rules["bin_75"]
    path = f"/v1/alert-rules/{bin_75['id']}"

    changed = await client.patch(path, json={"fire_value": 80, "severity": "major"})

    assert changed.json() == bin_75 | {"fire_value": 80, "severity": "major"}
    assert (await client.get(path)).json() == changed.json()


@pytest.mark.parametrize(
    "spoil", [{"severity": "dire"}, {"message": ""}, {"for_readings": 0}, {"fire_value": "x"}]
)
async def test_a_wrong_change_of_a_rule_is_refused(client, spoil) -> None:
    rule = (await client.get("/v1/alert-rules")).json()["items"][0]

    assert (await client.patch(f"/v1/alert-rules/{rule['id']}", json=spoil)).status_code == 422


async def test_a_rule_that_would_end_where_it_has_not_begun_is_refused_and_stays_as_it_is(client) -> None:
    rules = {rule["name"]: rule for rule in (await client.get("/v1/alert-rules")).json()["items"]}
    path = f"/v1/alert-rules/{rules['bin_75']['id']}"

    refused = await client.patch(path, json={"fire_value": 50})
    both = await client.patch(path, json={"fire_value": 50, "clear_value": 40})

    assert refused.status_code == 422
    assert "au-delà" in refused.json()["detail"]
    assert (both.json()["fire_value"], both.json()["clear_value"]) == (50, 40)
