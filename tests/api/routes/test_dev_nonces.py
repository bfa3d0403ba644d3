"""Why joins are rejected is shown, and DevNonces are flushed, one device's or many."""

from typing import Any

import pytest

from core.runtime.postgres import Pool
from tests.entering import enter_tenant


async def device_id(pool: Pool, device: dict[str, Any]) -> int:
    return await pool.fetchval("SELECT id FROM device WHERE dev_eui = $1", bytes.fromhex(device["dev_eui"]))


async def used(pool: Pool, device: dict[str, Any], *nonces: int) -> None:
    await pool.execute(
        "INSERT INTO dev_nonce (device_id, dev_nonce) SELECT $1, unnest($2::int[])",
        await device_id(pool, device),
        nonces,
    )


async def insert_rejection(
    pool: Pool, device: dict[str, Any], reason: str, dev_nonce: int = 3, times: int = 1
) -> None:
    await pool.execute(
        "INSERT INTO frame_refusal (subject, reason, device_id, gateway_id, dev_nonce, times, first_at, last_at) "
        "VALUES ($1, $2, $3, '\\x0102030405060708', $4, $5, now(), now())",
        bytes.fromhex(device["dev_eui"]),
        reason,
        await device_id(pool, device),
        dev_nonce,
        times,
    )


async def join_of(client, device: dict[str, Any]) -> dict[str, Any] | None:
    return (await client.get(f"/v1/devices/{device['dev_eui']}")).json()["join"]


async def nonces_left(pool: Pool, device: dict[str, Any]) -> int:
    return await pool.fetchval(
        "SELECT count(*) FROM dev_nonce WHERE device_id = $1", await device_id(pool, device)
    )


async def test_a_device_that_is_rejected_says_why_with_its_highest_dev_nonce_and_what_to_do(
    client, registry, pool: Pool
) -> None:
    device = await registry.device(await registry.profile(mac_version="1.0.4"))
    await used(pool, device, 1, 2, 900)
    await insert_rejection(pool, device, "dev_nonce_not_increasing", 3, 12)

    join = await join_of(client, device)

    assert join["highest_dev_nonce"] == 900
    assert join["dev_nonces"] == 3
    assert join["must_increase"] is True
    assert (join["reason"], join["refused_dev_nonce"], join["refusals"]) == ("dev_nonce_not_increasing", 3, 12)
    assert "il a reculé" in join["explanation"]
    assert f"DELETE /v1/devices/{device['dev_eui']}/dev-nonces" in join["advice"]


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("mic", "AppKey"),
        ("disabled", "Réactivez"),
        ("wrong_kek", "exploitant"),
        ("dev_nonce_used", "Effacez"),
        ("join_nonce_used_up", "nouvelle AppKey"),
        ("device_flood", "antenne"),
        ("something_new", "exploitant"),
    ],
)
async def test_every_rejection_says_what_to_do(client, registry, pool: Pool, reason: str, advice: str) -> None:
    device = await registry.device()
    await insert_rejection(pool, device, reason)

    assert advice in (await join_of(client, device))["advice"]


async def test_a_device_that_never_joined_and_one_that_was_accepted_get_different_advice(
    client, registry, pool: Pool
) -> None:
    silent, joined = await registry.device(), await registry.device()
    await used(pool, joined, 1)

    assert (await join_of(client, silent))["advice"].startswith("Aucune demande d'activation")
    assert (await join_of(client, joined))["advice"].startswith("L'activation est acceptée")


async def test_a_device_that_was_received_since_needs_nothing(client, registry, pool: Pool) -> None:
    device = await registry.device()
    await insert_rejection(pool, device, "dev_nonce_used")
    await pool.execute(
        "INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id, first_uplink_at, "
        "last_uplink_at) VALUES ($1, '\\x01020304', 'x', 'x', 'kek-1', now(), now() + interval '1 second')",
        await device_id(pool, device),
    )

    assert (await join_of(client, device))["advice"] == "Le capteur a émis depuis : il n'y a rien à faire."


async def test_an_abp_device_has_no_joins(client, registry) -> None:
    abp = {"activation": "ABP", "dev_addr": "01ab23cd", "nwk_s_key": "11" * 16, "app_s_key": "22" * 16}
    device = await registry.device(app_key=None, join_eui=None, **abp)

    flushed = await client.delete(f"/v1/devices/{device['dev_eui']}/dev-nonces")

    assert await join_of(client, device) is None
    assert flushed.status_code == 409


async def test_flushing_one_device_forgets_its_nonces_and_its_rejection_but_no_join_nonce_audited(
    client, registry, pool: Pool
) -> None:
    device, other = await registry.device(), await registry.device()
    await used(pool, device, 1, 2)
    await used(pool, other, 1)
    await insert_rejection(pool, device, "dev_nonce_used")
    await pool.execute("INSERT INTO join_nonce VALUES ($1, 41)", await device_id(pool, device))

    answer = await client.delete(f"/v1/devices/{device['dev_eui']}/dev-nonces")
    audit = await pool.fetchrow("SELECT * FROM audit WHERE action = 'flush_dev_nonces'")
    join = await join_of(client, device)

    assert answer.json() == {"devices": 1, "dev_nonces": 2}
    assert (join["dev_nonces"], join["reason"]) == (0, None)
    assert await nonces_left(pool, other) == 1
    assert await pool.fetchval("SELECT last_join_nonce FROM join_nonce") == 41
    assert (audit["entity_id"], audit["details"]["before"]["dev_nonces"]) == (device["dev_eui"], 2)


async def test_many_devices_are_flushed_by_name_or_by_profile(client, registry, pool: Pool) -> None:
    profile = await registry.profile()
    one, two, three = await registry.device(profile), await registry.device(profile), await registry.device()
    for device in (one, two, three):
        await used(pool, device, 1, 2)

    by_name = await client.post("/v1/dev-nonce-flushes", json={"dev_euis": [one["dev_eui"], three["dev_eui"]]})
    by_profile = await client.post("/v1/dev-nonce-flushes", json={"device_profile_id": profile["id"]})
    audited = await pool.fetch("SELECT details FROM audit WHERE action = 'flush_dev_nonces' ORDER BY id")

    assert by_name.json() == {"devices": 2, "dev_nonces": 4}
    assert by_profile.json() == {"devices": 2, "dev_nonces": 2}
    assert [row["details"]["before"]["dev_euis"] for row in audited] == [
        [one["dev_eui"], three["dev_eui"]],
        [one["dev_eui"], two["dev_eui"]],
    ]


@pytest.mark.parametrize("body", [{}, {"dev_euis": []}, {"dev_euis": ["ab" * 8], "device_profile_id": 1}])
async def test_which_devices_are_flushed_must_be_said_in_one_way(client, body: dict[str, Any]) -> None:
    assert (await client.post("/v1/dev-nonce-flushes", json=body)).status_code == 422


async def test_anothers_device_is_neither_flushed_nor_diagnosed(
    client, registry, other_registry, pool: Pool
) -> None:
    own, others = await registry.device(), await other_registry.device()
    for device in (own, others):
        await used(pool, device, 1)

    one = await client.delete(f"/v1/devices/{others['dev_eui']}/dev-nonces")
    many = await client.post("/v1/dev-nonce-flushes", json={"dev_euis": [own["dev_eui"], others["dev_eui"]]})

    assert (one.status_code, many.status_code) == (404, 404)
    assert [await nonces_left(pool, device) for device in (own, others)] == [1, 1]


async def test_the_definer_functions_reach_no_other_tenant(
    registry, other_registry, tenancy, pool: Pool, api_pool: Pool
) -> None:
    others = await device_id(pool, await other_registry.device())
    await pool.execute("INSERT INTO dev_nonce VALUES ($1, 1)", others)
    async with api_pool.acquire() as connection, connection.transaction():
        await enter_tenant(connection, tenancy.id)
        seen = [
            await connection.fetch("SELECT * FROM join_diagnosis($1)", others),
            await connection.fetch("SELECT * FROM downlink_preflight($1)", others),
            await connection.fetch("SELECT * FROM flush_dev_nonces($1)", [others]),
        ]

    assert seen == [[], [], []]
    assert await pool.fetchval("SELECT count(*) FROM dev_nonce") == 1
