from datetime import UTC, datetime
from typing import Any

import msgspec

from alerting.queue import WebhookMessage, decode_message
from core.runtime.postgres import Pool
from tests.proved import prove_all

PATH = "/v1/webhook-endpoints"


async def make(client, pool: Pool) -> str:
    endpoint = (await client.post(PATH, json={"url": "https://si.example.fr/t"})).json()
    await prove_all(pool)
    return f"{PATH}/{endpoint['id']}"


async def bury(pool: Pool, path: str, message_id: str) -> int:
    """As the worker leaves a message whose every attempt failed."""
    endpoint_id = int(path.rsplit("/", 1)[1])
    message = WebhookMessage(message_id, endpoint_id, 7, b'{"type":"alert.opened"}')
    return await pool.fetchval(
        "INSERT INTO jobs.pgqueuer (priority, status, entrypoint, payload) "
        "VALUES (0, 'failed', $1, $2) RETURNING id",
        f"webhook/{endpoint_id}",
        msgspec.msgpack.encode(message),
    )


async def jobs(pool: Pool) -> list[tuple[int, str]]:
    rows = await pool.fetch("SELECT id, status::text FROM jobs.pgqueuer ORDER BY id")
    return [(row["id"], row["status"]) for row in rows]


async def test_dead_letters_come_in_pages_and_are_sent_again(client, pool: Pool) -> None:
    path = await make(client, pool)
    first, second, third = [await bury(pool, path, f"msg_{number}") for number in (1, 2, 3)]

    page = (await client.get(f"{path}/dead-letters", params={"limit": 2})).json()
    rest = (await client.get(f"{path}/dead-letters", params={"cursor": page["next"]})).json()
    one = await client.post(f"{path}/dead-letters/{first}/replay")
    some = await client.post(f"{path}/dead-letters/replay", json={"ids": [second]})
    none = await client.post(f"{path}/dead-letters/{first}/replay")
    after = await jobs(pool)
    everything = await client.post(f"{path}/dead-letters/replay", json={})

    assert [letter["message_id"] for letter in page["items"] + rest["items"]] == ["msg_3", "msg_2", "msg_1"]
    assert (page["items"][0]["event"], page["items"][0]["alert_id"]) == ("alert.opened", 7)
    assert (one.json(), some.json(), none.status_code) == ({"replayed": 1}, {"replayed": 1}, 404)
    assert after == [(first, "queued"), (second, "queued"), (third, "failed")]
    assert everything.json() == {"replayed": 1}


async def test_a_test_goes_the_way_of_the_alerts(client, pool: Pool) -> None:
    path = await make(client, pool)

    answer = await client.post(f"{path}/test")
    payload = await pool.fetchval("SELECT payload FROM jobs.pgqueuer")
    health = (await client.get(f"{path}/health")).json()

    message = decode_message(payload)
    content: dict[str, Any] = msgspec.json.decode(message.body)
    assert answer.status_code == 202
    assert message.message_id == answer.json()["message_id"]
    assert content["type"] == "webhook.test"
    assert (health["state"], health["waiting"], health["dead"]) == ("untried", 1, 0)


async def test_nothing_is_sent_to_an_endpoint_that_is_suspended(client, pool: Pool) -> None:
    path = await make(client, pool)
    letter = await bury(pool, path, "msg_1")
    await client.patch(path, json={"enabled": False})

    answers = [
        await client.post(f"{path}/test"),
        await client.post(f"{path}/dead-letters/replay", json={}),
        await client.post(f"{path}/dead-letters/{letter}/replay"),
    ]

    assert [answer.status_code for answer in answers] == [409, 409, 409]
    assert await jobs(pool) == [(letter, "failed")]


async def test_a_secret_is_changed_and_the_former_kept_for_a_while(client, pool: Pool) -> None:
    path = await make(client, pool)
    before = await pool.fetchval("SELECT secret_wrapped FROM webhook_endpoint")

    answer = await client.post(f"{path}/secret", json={"keep_former_hours": 48})
    endpoint = (await client.get(path)).json()
    row = await pool.fetchrow("SELECT previous_secret_wrapped, secret_wrapped FROM webhook_endpoint")

    assert answer.json()["secret"].startswith("whsec_")
    assert row["previous_secret_wrapped"] == before != row["secret_wrapped"]
    hours = (datetime.fromisoformat(endpoint["previous_until"]) - datetime.now(UTC)).total_seconds() / 3600
    assert 47.9 < hours <= 48
