"""A POST under an Idempotency-Key acts once, for a day; an If-Match protects what was read."""

import asyncio
from typing import Any

import httpx
import pytest

from core.runtime.postgres import Pool
from tests.api.conftest import client_of, person_client

KEY = {"Idempotency-Key": "5f0c3c52-6e5b-4d0e-9f0c-1a2b3c4d5e6f"}
SOURCE = {"name": "Centrale"}


async def test_the_same_request_again_gets_the_same_answer_with_its_secret_and_acts_once(
    client, pool: Pool
) -> None:
    first = await client.post("/v1/event-sources", json=SOURCE, headers=KEY)
    again = await client.post("/v1/event-sources", json=SOURCE, headers=KEY)
    other = await client.post("/v1/event-sources", json={"name": "Autre"}, headers=KEY)
    elsewhere = await client.post("/v1/teams", json={"name": "Centrale"}, headers=KEY)
    kept = await pool.fetchrow("SELECT t::text AS whole, encode(answer_wrapped, 'escape') AS answer "
                               "FROM idempotency_key t")  # fmt: skip

    assert first.status_code == 201, first.text
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["content-type"] == first.headers["content-type"]
    assert first.json()["secret"] not in kept["whole"] + kept["answer"]
    assert (other.status_code, elsewhere.status_code) == (422, 422)
    assert other.headers["content-type"] == "application/problem+json"
    assert await pool.fetchval("SELECT count(*) FROM event_source") == 1
    assert await pool.fetchval("SELECT count(*) FROM team WHERE name = 'Centrale'") == 0


async def test_a_key_is_its_principals_own_and_lasts_a_day(client, app, pool: Pool, other_tenancy) -> None:
    first = await client.post("/v1/event-sources", json=SOURCE, headers=KEY)
    async with client_of(app, other_tenancy.key) as other:
        another = await other.post("/v1/event-sources", json=SOURCE, headers=KEY)
    await pool.execute("UPDATE idempotency_key SET started_at = now() - interval '25 hours'")
    tomorrow = await client.post("/v1/event-sources", json={"name": "Demain"}, headers=KEY)

    assert (first.status_code, another.status_code, tomorrow.status_code) == (201, 201, 201)
    assert another.json()["id"] != first.json()["id"]
    assert "idempotency-replayed" not in {*another.headers, *tomorrow.headers}


async def test_what_runs_is_409_and_what_died_before_its_commit_runs_again_and_after_it_never(
    client, pool: Pool
) -> None:
    await client.post("/v1/event-sources", json=SOURCE, headers=KEY)
    unanswered = "UPDATE idempotency_key SET status = NULL, answer_wrapped = NULL"

    await pool.execute(f"{unanswered}, started_at = now() - interval '2 minutes'")
    dead_after_commit = await client.post("/v1/event-sources", json=SOURCE, headers=KEY)
    await pool.execute(f"{unanswered}, is_committed = false, started_at = now()")
    running = await client.post("/v1/event-sources", json=SOURCE, headers=KEY)
    await pool.execute(f"{unanswered}, started_at = now() - interval '2 minutes'")
    await pool.execute("DELETE FROM event_source")  # As if it had died before.
    dead_before_commit = await client.post("/v1/event-sources", json=SOURCE, headers=KEY)

    assert (dead_after_commit.status_code, running.status_code) == (409, 409)
    assert "exécutée" in dead_after_commit.json()["detail"]
    assert "en cours" in running.json()["detail"]
    assert running.headers["retry-after"] == "1"
    assert dead_before_commit.status_code == 201, dead_before_commit.text
    assert await pool.fetchval("SELECT count(*) FROM event_source") == 1


@pytest.mark.parametrize("came", [b"", b'{"name": "Centrale"'])
async def test_a_request_whose_sender_has_gone_before_it_was_read_is_none_and_leaves_the_key_free(
    client, app, pool: Pool, came: bytes
) -> None:
    messages = iter([{"type": "http.request", "body": came, "more_body": True}, {"type": "http.disconnect"}])
    sent: list[Any] = []
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/v1/event-sources", "raw_path": b"/v1/event-sources", "query_string": b"", "root_path": "",
        "client": ("127.0.0.1", 1), "server": ("test", 80),
        "headers": [
            (b"host", b"test"), (b"content-type", b"application/json"), (b"idempotency-key", b"gone-1"),
            (b"authorization", client.headers["authorization"].encode()),
        ],
    }  # fmt: skip

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    again = await client.post("/v1/event-sources", json=SOURCE, headers={"Idempotency-Key": "gone-1"})

    assert sent == []
    assert again.status_code == 201, again.text


async def test_of_many_at_once_one_acts(client, pool: Pool) -> None:
    answers = await asyncio.gather(*(client.post("/v1/event-sources", json=SOURCE, headers=KEY) for _ in range(8)))

    assert {answer.status_code for answer in answers} <= {201, 409}
    assert (
        sum(answer.status_code == 201 and "idempotency-replayed" not in answer.headers for answer in answers) == 1
    )
    assert await pool.fetchval("SELECT count(*) FROM event_source") == 1


async def test_an_error_of_the_request_is_kept_and_a_missing_right_is_not(client, client_with, pool: Pool) -> None:
    wrong = [await client.post("/v1/event-sources", json={"name": ""}, headers=KEY) for _ in range(2)]
    async with client_with("read") as reader:
        refused = await reader.post("/v1/event-sources", json=SOURCE, headers=KEY)
    nonsense = await client.post("/v1/event-sources", json=SOURCE, headers={"Idempotency-Key": "a b"})

    assert [answer.status_code for answer in wrong] == [422, 422]
    assert wrong[1].json() == wrong[0].json()
    assert "idempotency-replayed" in wrong[1].headers
    assert (refused.status_code, nonsense.status_code) == (403, 422)
    assert await pool.fetchval("SELECT count(*) FROM idempotency_key") == 1


async def changed(client: httpx.AsyncClient, path: str, body: dict[str, Any], tag: str) -> httpx.Response:
    return await client.request("PATCH", path, json=body, headers={"If-Match": tag})


@pytest.mark.parametrize("kind", ["devices", "assets"])
async def test_a_change_of_what_was_changed_since_is_412_and_changes_nothing(client, registry, kind: str) -> None:
    made = await (registry.device() if kind == "devices" else registry.asset())
    path = f"/v1/{kind}/{made['dev_eui' if kind == 'devices' else 'id']}"
    tag = (await client.get(path)).headers["etag"]

    first = await changed(client, path, {"name": "Une"}, tag)
    stale = await changed(client, path, {"name": "Deux"}, tag)
    now = await client.get(path)
    weak = await changed(client, path, {"name": "Trois"}, f"W/{now.headers['etag']}")
    either = await changed(client, path, {"name": "Quatre"}, f'"x", {now.headers["etag"]}')
    anything = await changed(client, path, {"name": "Cinq"}, "*")
    kept = await client.request("DELETE", path, headers={"If-Match": tag})

    assert (first.status_code, stale.status_code) == (200, 412)
    assert stale.json()["title"]
    assert now.json()["name"] == "Une"
    assert now.headers["cache-control"] == "no-store"
    assert (weak.status_code, either.status_code, anything.status_code, kept.status_code) == (412, 200, 200, 412)
    assert (await changed(client, f"{path}00", {"name": "x"}, "*")).status_code in {404, 422}


async def test_a_tag_of_a_live_source_holds_while_it_counts(client, pool: Pool) -> None:
    made = await client.post("/v1/lns-sources", json={"kind": "generic", "name": "Télérelève"})
    path = f"/v1/lns-sources/{made.json()['id']}"
    tag = (await client.get(path)).headers["etag"]
    await pool.execute("INSERT INTO lns_source_state (source_id, tenant_id, last_seen_at, accepted) "
                       "SELECT id, tenant_id, now(), 5 FROM lns_source")  # fmt: skip

    assert (await changed(client, path, {"enabled": False}, tag)).status_code == 200
    assert (await changed(client, path, {"enabled": True}, tag)).status_code == 412


async def test_a_person_names_requests_and_protects_changes_as_a_key_does(app, pool: Pool, tenancy) -> None:
    async with await person_client(app, pool, tenancy.id, "service_manager") as person:
        first = await person.post("/v1/teams", json={"name": "Voirie"}, headers=KEY)
        again = await person.post("/v1/teams", json={"name": "Voirie"}, headers=KEY)
        asset = await person.post("/v1/assets", json={"kind": "bin", "name": "Bac 1"})
        path = f"/v1/assets/{asset.json()['id']}"
        tag = (await person.get(path)).headers["etag"]
        kept = await changed(person, path, {"name": "Bac 2"}, tag)
        stale = await changed(person, path, {"name": "Bac 3"}, tag)

    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert (kept.status_code, stale.status_code) == (200, 412)


async def test_an_answer_is_given_again_only_where_the_key_may_be_used(client, app) -> None:
    made = await client.post(
        "/v1/api-keys", json={"name": "SI", "roles": ["read", "manage"], "addresses": ["192.0.2.0/24"]}
    )
    headers = {"Authorization": f"Bearer {made.json()['key']}"}
    answers: list[httpx.Response] = []
    for address in ("192.0.2.7", "198.51.100.1"):
        transport = httpx.ASGITransport(app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as partner:
            answers.append(await partner.post("/v1/event-sources", json=SOURCE, headers=KEY))

    assert [answer.status_code for answer in answers] == [201, 403]
    assert answers[0].json()["secret"] not in answers[1].text
