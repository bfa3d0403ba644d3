"""An address receives once it is proved: by a signed challenge, the handshake of CloudEvents, or a code."""

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from standardwebhooks import Webhook

from core.runtime.health import serve_http
from core.runtime.postgres import Pool
from registry.keys import KeyWrap
from tests.alerting.sending import send, until, working
from tests.api.conftest import KEK

PATH = "/v1/webhook-endpoints"
KEYS = KeyWrap("kek-1", KEK)


@dataclass
class Software:
    """Takes everything; returns challenges, and lets us send, once it has been told to."""

    url: str = ""
    is_willing: bool = False
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    def answer(self, method: str, headers: dict[str, str], content: bytes) -> tuple[list[Any], bytes]:
        if method == "OPTIONS":
            allowed = headers["webhook-request-origin"] if self.is_willing else "another.example"
            return [(b"webhook-allowed-origin", allowed.encode())], b""
        body = json.loads(content)
        if body.get("type") != "webhook.challenge":
            return [], b""
        challenge = body["data"]["challenge"] if self.is_willing else "nothing"
        return [], json.dumps({"challenge": challenge}).encode()

    def of(self, path: str) -> list[str]:
        """What came there: methods and, of our own messages, types."""
        return [
            "OPTIONS" if method == "OPTIONS" else json.loads(content).get("type", "text")
            for method, where, _, content in self.requests
            if where == path
        ]


@asynccontextmanager
async def running() -> AsyncGenerator[Software]:
    software = Software()

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        content, more = b"", True
        while more:
            message = await receive()
            content, more = content + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        software.requests.append((scope["method"], scope["path"], headers, content))
        extra, body = software.answer(scope["method"], headers, content)
        await send({"type": "http.response.start", "status": 200, "headers": extra})
        await send({"type": "http.response.body", "body": body})

    async with serve_http(app, "127.0.0.1", 0, shutdown_timeout_s=1) as port:
        software.url = f"http://127.0.0.1:{port}"
        yield software


@pytest.fixture
async def software(pool: Pool, tenancy) -> AsyncGenerator[Software]:
    await pool.execute("UPDATE tenant SET webhook_allow_list = '{127.0.0.1/32}' WHERE id = $1", tenancy.id)
    async with running() as opened:
        yield opened


async def test_software_receives_after_a_signed_challenge_or_cloudevents_handshake_and_nothing_before(
    client, pool: Pool, database_url: str, software: Software
) -> None:
    made = {
        form: (await client.post(PATH, json={"url": f"{software.url}/{form}", "form": form})).json()
        for form in ("standard", "cloudevents")
    }
    ids = [one["id"] for one in made.values()]

    async def shown(key: str) -> list[Any]:
        return [(await client.get(f"{PATH}/{one}")).json()[key] for one in ids]

    async def asked() -> bool:
        return all(len(software.of(f"/{form}")) >= 1 for form in made)

    async def enabled() -> bool:
        return await shown("state") == ["enabled", "enabled"]

    before, tested = await shown("to_do"), await client.post(f"{PATH}/{ids[0]}/test")
    async with working(pool, database_url, [0.2] * 200, keys=KEYS):
        await send(pool, *ids)
        await until(asked)
        unwilling = await shown("state")
        software.is_willing = True
        await until(enabled)
        dead = [(await client.get(f"{PATH}/{one}/health")).json()["dead"] for one in ids]
        await send(pool, *ids, body=b'{"type":"alert.raised","timestamp":"2026-11-27T00:00:00Z","data":{}}')
        await until(lambda: _came(software, "alert.raised", "fr.territoire.alert.raised"))

    assert "défi" in before[0]
    assert (tested.status_code, "pas prouvée" in tested.json()["detail"]) == (409, True)
    assert unwilling == ["unproved", "unproved"]
    assert dead == [1, 1]  # Kept, to be sent again by who wants it.
    assert set(software.of("/standard")) == {"webhook.challenge", "alert.raised"}
    assert set(software.of("/cloudevents")) == {"OPTIONS", "fr.territoire.alert.raised"}
    _, _, headers, content = software.requests[[path for _, path, _, _ in software.requests].index("/standard")]
    Webhook(made["standard"]["secret"]).verify(content, headers)
    assert [headers["webhook-request-origin"] for _, path, headers, _ in software.requests if path != "/standard"]


async def _came(software: Software, *types: str) -> bool:
    return set(types) <= {*software.of("/standard"), *software.of("/cloudevents")}


async def test_a_chat_receives_after_the_code_that_a_person_read_there_and_anew_when_its_address_changes(
    client, pool: Pool, database_url: str, software: Software
) -> None:
    made = (await client.post(PATH, json={"url": f"{software.url}/salon", "form": "chat"})).json()
    path = f"{PATH}/{made['id']}"

    async def codes() -> list[str]:
        texts = [json.loads(content)["text"] for *_, content in software.requests]
        return [one[1].replace(" ", "") for text in texts if (one := re.search(r": (\d{4} \d{4})\.", text))]

    async def arrived() -> bool:
        return len(await codes()) == 2

    async with working(pool, database_url, keys=KEYS):
        await until(codes)
        [code] = await codes()
        too_soon = await client.post(f"{path}/challenge")
        wrong = [await client.post(f"{path}/proof", json={"code": f"{n:08}"}) for n in range(5)]
        over = await client.post(f"{path}/proof", json={"code": code})
        await pool.execute("DELETE FROM webhook_probe")  # Ten seconds later.
        again = await client.post(f"{path}/challenge")
        await until(arrived)
        former = await client.post(f"{path}/proof", json={"code": code})
        proved = await client.post(f"{path}/proof", json={"code": f" {(await codes())[1]} "})
    await pool.execute("DELETE FROM webhook_probe")
    moved = await client.patch(path, json={"url": f"{software.url}/autre-salon"})
    suspended = await client.patch(path, json={"enabled": False})
    resumed = await client.patch(path, json={"enabled": True})

    assert (too_soon.status_code, again.status_code) == (429, 202)
    assert 1 <= int(too_soon.headers["retry-after"]) <= 10
    assert [one.json()["detail"] for one in wrong] == ["ce n'est pas le code qui a été envoyé"] * 5
    assert "ne vaut plus" in over.json()["detail"]
    assert former.status_code == 409
    assert (proved.json()["state"], proved.json()["to_do"]) == ("enabled", None)
    assert [one.json()["state"] for one in (moved, suspended, resumed)] == ["unproved", "disabled", "unproved"]
    assert moved.json()["proved_at"] is None
    actions = await pool.fetch("SELECT action FROM audit WHERE entity = 'webhook_endpoint' ORDER BY id")
    assert {row["action"] for row in actions} >= {"create", "prove", "challenge", "update"}


async def test_a_tenant_cannot_aim_tests_at_an_address(client, pool: Pool, tenancy, software: Software) -> None:
    made = [(await client.post(PATH, json={"url": f"{software.url}/{n}"})).json()["id"] for n in range(2)]
    await pool.execute("UPDATE webhook_endpoint SET state = 'enabled', proved_at = now()")
    await pool.execute("DELETE FROM webhook_probe")

    first = await client.post(f"{PATH}/{made[0]}/test")
    at_once = await client.post(f"{PATH}/{made[0]}/test")
    other = await client.post(f"{PATH}/{made[1]}/test")
    await pool.execute(
        "INSERT INTO webhook_probe SELECT $1, 0, now() - interval '2 s' FROM generate_series(1, 18)", tenancy.id
    )
    made_more = await client.post(PATH, json={"url": f"{software.url}/3"})

    assert [one.status_code for one in (first, at_once, other, made_more)] == [202, 429, 202, 429]
    assert "d'essais" in at_once.json()["detail"]
    assert 50 <= int(made_more.headers["retry-after"]) <= 60
    assert len((await client.get(PATH)).json()["items"]) == 2
