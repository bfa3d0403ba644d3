import secrets

import httpx
from fastapi import FastAPI

from api.auth import REMEMBERED_KEYS, REMEMBERED_S, Authenticator
from core.runtime.postgres import Pool
from registry.tenants import create_api_key, revoke_api_key


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_key_that_another_replica_revoked_is_rejected_after_five_seconds(
    pool: Pool, api_pool: Pool, tenancy
) -> None:
    clock = Clock()
    authenticator = Authenticator(api_pool, clock)

    known = await authenticator.principal(tenancy.key)
    await revoke_api_key(pool, tenancy.key.split("_")[1])
    clock.now = REMEMBERED_S - 0.1
    remembered = await authenticator.principal(tenancy.key)
    clock.now = REMEMBERED_S
    refused = await authenticator.principal(tenancy.key)

    assert REMEMBERED_S <= 5
    assert known is not None
    assert remembered == known
    assert refused is None


async def test_a_wrong_key_is_never_remembered(api_pool: Pool, tenancy) -> None:
    authenticator = Authenticator(api_pool, Clock())
    await authenticator.principal(tenancy.key)

    wrong = [tenancy.key + "x", tenancy.key[:-1], "terr_é_x", "x" * 10_000, "terr_" + secrets.token_hex(6) + "_s"]

    assert [await authenticator.principal(key) for key in wrong] == [None] * len(wrong)
    assert len(authenticator._known) == 1


async def test_the_number_of_remembered_keys_is_bounded(pool: Pool, api_pool: Pool, tenancy, monkeypatch) -> None:
    monkeypatch.setattr("api.auth.REMEMBERED_KEYS", 2)
    authenticator = Authenticator(api_pool, Clock())
    for name in "abcd":
        await authenticator.principal(await create_api_key(pool, tenancy.id, name, ["read"]))

    assert REMEMBERED_KEYS <= 10_000
    assert len(authenticator._known) == 2


async def test_a_key_has_addresses_a_rate_and_an_instant_of_its_last_use(
    app: FastAPI, client: httpx.AsyncClient, pool: Pool
) -> None:
    made = await client.post(
        "/v1/api-keys",
        json={"name": "SI", "roles": ["read"], "addresses": ["192.0.2.0/24"], "requests_per_minute": 2},
    )
    wrong = await client.post("/v1/api-keys", json={"name": "SI", "roles": ["read"], "addresses": ["ici"]})
    people = await client.post("/v1/api-keys", json={"name": "SI", "roles": ["people"]})
    headers = {"Authorization": f"Bearer {made.json()['key']}"}
    answers: list[httpx.Response] = []
    for address in ("198.51.100.1", "192.0.2.7", "192.0.2.7", "192.0.2.7"):
        transport = httpx.ASGITransport(app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as partner:
            answers.append(await partner.get("/v1/teams"))
    shown = next(
        key for key in (await client.get("/v1/api-keys")).json()["items"] if key["id"] == made.json()["id"]
    )

    assert (made.status_code, wrong.status_code, people.status_code) == (201, 422, 422)
    assert [answer.status_code for answer in answers] == [403, 200, 200, 429]
    assert [answers[place].headers["ratelimit-remaining"] for place in (1, 2, 3)] == ["1", "0", "0"]
    assert 1 <= int(answers[3].headers["retry-after"]) <= 60
    assert answers[3].headers["ratelimit-limit"] == "2"
    assert (shown["addresses"], shown["requests_per_minute"]) == (["192.0.2.0/24"], 2)
    assert shown["last_used_at"] is not None
    lines = await pool.fetch("SELECT details FROM audit WHERE action = 'reject'")
    assert [(line["details"]["why"], line["details"]["address"]) for line in lines] == [
        ("cette clé ne vaut pas depuis 198.51.100.1", "198.51.100.1")
    ]
