from datetime import UTC, datetime

import pytest

from alerting.addresses import url_owner
from core.runtime.postgres import Pool
from registry.keys import KeyWrap
from tests.api.conftest import KEK
from tests.proved import prove_all

PATH = "/v1/webhook-endpoints"


async def test_a_secret_is_shown_once(client) -> None:
    created = await client.post(PATH, json={"url": "https://si.example.fr/t", "description": "tournées"})
    endpoint = created.json()
    secret = endpoint.pop("secret")

    read = await client.get(f"{PATH}/{endpoint['id']}")
    listed = await client.get(PATH)

    assert created.status_code == 201
    assert secret.startswith("whsec_")
    assert read.json() == endpoint
    assert listed.json()["items"] == [endpoint]


async def test_an_endpoint_is_suspended_resumed_and_removed(client, pool: Pool) -> None:
    endpoint = (await client.post(PATH, json={"url": "https://si.example.fr/t"})).json()
    await prove_all(pool)
    path = f"{PATH}/{endpoint['id']}"

    suspended = await client.patch(path, json={"enabled": False})
    resumed = await client.patch(path, json={"enabled": True})
    removed = await client.delete(path)

    assert (suspended.json()["state"], resumed.json()["state"]) == ("disabled", "enabled")
    assert removed.status_code == 204
    assert (await client.get(path)).status_code == 404


async def test_an_address_that_cannot_be_used_is_rejected_in_french(client) -> None:
    answer = await client.post(PATH, json={"url": "ftp://si.example.fr/t"})

    assert answer.status_code == 422
    assert "doit commencer par https://" in answer.json()["detail"]


async def test_attempts_are_listed_newest_first(client, pool: Pool, tenancy) -> None:
    endpoint = (await client.post(PATH, json={"url": "https://si.example.fr/t"})).json()
    for attempt in (1, 2):
        await pool.execute(
            "INSERT INTO webhook_attempt (tenant_id, endpoint_id, message_id, alert_id, attempt, at, outcome, "
            "status, duration_ms) VALUES ($1, $2, 'msg_1', 1, $3, $4, 'failed', 500, 12)",
            tenancy.id,
            endpoint["id"],
            attempt,
            datetime.now(UTC),
        )

    first = (await client.get(f"{PATH}/{endpoint['id']}/attempts", params={"limit": 1})).json()
    second = await client.get(f"{PATH}/{endpoint['id']}/attempts", params={"cursor": first["next"]})

    assert [attempt["attempt"] for attempt in first["items"] + second.json()["items"]] == [2, 1]
    assert (await client.get(f"{PATH}/999999/attempts")).status_code == 404


@pytest.mark.parametrize("form", ["chat", "teams"])
async def test_of_a_chat_only_the_host_is_shown(client, pool: Pool, form: str) -> None:
    """The whole address is a password to the channel."""
    url = "https://mattermost.example.fr:8443/hooks/secret?code=secret"
    created = (await client.post(PATH, json={"url": url, "form": form})).json()
    read = (await client.get(f"{PATH}/{created['id']}")).json()
    listed = (await client.get(PATH)).json()["items"]
    audited = await pool.fetchval("SELECT string_agg(to_jsonb(a)::text, '') FROM audit a")

    assert {one["url"] for one in (created, read, *listed)} == {"https://mattermost.example.fr:8443/…"}
    sealed, sealed_for = await pool.fetchrow("SELECT url_wrapped, sealed_for FROM webhook_endpoint")
    assert "secret" not in await pool.fetchval("SELECT url FROM webhook_endpoint")
    assert KeyWrap("kek-1", KEK).unwrap_text(sealed, url_owner(sealed_for)) == url
    assert "hooks/secret" not in audited
    assert "mattermost" in audited


async def test_an_endpoint_is_made_the_operators_by_the_operator_only(client, client_with) -> None:
    endpoint = (await client.post(PATH, json={"url": "https://si.example.fr/t"})).json()
    path = f"{PATH}/{endpoint['id']}/operator"

    async with client_with("read", "manage") as manager:
        refused = await manager.put(path, json={"for_operator": True})
    made = await client.put(path, json={"for_operator": True})
    given_back = await client.put(path, json={"for_operator": False})

    assert refused.status_code == 403
    assert (endpoint["for_operator"], made.json()["for_operator"]) == (False, True)
    assert given_back.json()["for_operator"] is False
    assert (await client.put(f"{PATH}/999999/operator", json={"for_operator": True})).status_code == 404
