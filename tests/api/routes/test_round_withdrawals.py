"""What was said of a stop by mistake, taken back: no emptying, no tonne, and all of it in the journal."""

from datetime import UTC, datetime, timedelta

ROUND = {
    "truck_volume_l": 25_000,
    "truck_weight_kg": 11_000,
    "depot": {"latitude": 48.4, "longitude": -4.5},
    "outlet": {"latitude": 48.4, "longitude": -4.4},
}


async def test_a_stop_that_is_taken_back_was_not_emptied(client, other_client, registry, pool) -> None:
    asset = await registry.asset(
        name="Borne", kind="glass_container", latitude=48.41, longitude=-4.45, attributes={"volume_l": 4000}
    )
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
    body = ROUND | {"planned_for": tomorrow, "include_asset_ids": [asset["id"]]}
    made = await client.post("/v1/rounds", json=body)
    assert made.status_code == 201, made.text
    address = f"/v1/rounds/{made.json()['id']}/stops/{asset['id']}/outcome"
    yesterday = datetime.now(UTC) - timedelta(days=1)
    since = {"from": f"{yesterday - timedelta(days=2):%Y-%m-%d}", "to": tomorrow}

    nothing = await client.delete(address)
    await client.post(address, json={"outcome": "emptied", "at": yesterday.isoformat()})
    tonnes = (await client.get("/v1/waste/tonnage", params=since)).json()["items"]
    theirs = await other_client.delete(address)
    back = await client.delete(address)
    again = await client.delete(address)
    after = (await client.get("/v1/waste/tonnage", params=since)).json()["items"]
    whole = (await client.get(f"/v1/rounds/{made.json()['id']}")).json()
    actions = await pool.fetch("SELECT action FROM audit WHERE entity = 'waste_round' ORDER BY id")

    assert (nothing.status_code, theirs.status_code, again.status_code) == (404, 404, 404)
    # Nobody measured it: the truck kept room for all of its 4 m3.
    assert [(one["emptyings"], one["cubic_metres"], one["tonnes"]) for one in tonnes] == [(1, 4, 1.32)]
    assert (back.status_code, back.json()["outcome"], after) == (200, None, [])
    assert (whole["emptied"], whole["skipped"], whole["stops"]) == (0, 0, 1)
    assert [row["action"] for row in actions] == ["create", "record", "withdraw"]
