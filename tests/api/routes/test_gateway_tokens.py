from core.runtime.postgres import Pool

GATEWAY_ID = "0080e115000a9b72"
TOKENS = f"/v1/gateways/{GATEWAY_ID}/tokens"


async def test_a_token_is_shown_once_two_are_valid_during_a_rotation_and_one_withdrawn_is_gone(
    client, registry, pool: Pool
) -> None:
    await registry.gateway(gateway_id=GATEWAY_ID)

    made = [(await client.post(TOKENS, json={})).json()["token"] for _ in range(3)]
    listed = (await client.get(TOKENS)).json()["items"]
    ids = [token.split("_")[1] for token in made]
    removed = await client.delete(f"{TOKENS}/{ids[2]}")
    again = await client.delete(f"{TOKENS}/{ids[2]}")

    assert [token["id"] for token in listed] == [ids[2], ids[1]]
    assert [token["expires_at"] is None for token in listed] == [True, False]
    assert "secret" not in str(listed)
    assert (removed.status_code, again.status_code) == (204, 404)
    assert [token["id"] for token in (await client.get(TOKENS)).json()["items"]] == [ids[1]]
    kept = str([tuple(row) for row in await pool.fetch("SELECT * FROM gateway_token")])
    noted = str([tuple(row) for row in await pool.fetch("SELECT details::text FROM audit")])
    assert not any(token.split("_", 2)[2] in kept + noted for token in made)


async def test_a_former_token_that_is_not_kept_is_over_at_once(client, registry) -> None:
    await registry.gateway(gateway_id=GATEWAY_ID)
    await client.post(TOKENS, json={})

    await client.post(TOKENS, json={"keep_former_hours": 0})

    assert len((await client.get(TOKENS)).json()["items"]) == 1
