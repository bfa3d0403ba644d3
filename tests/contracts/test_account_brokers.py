"""What a broker does with accounts, of mosquitto itself and of EMQX's API as a double answers it."""

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from urllib.parse import unquote

import httpx
import msgspec
import pytest

from core.runtime.mqtt import Broker, MqttSession, MqttSettings
from integrations.mqtt_accounts.broker import Account, AccountBroker, BrokerAway, BrokerRejected
from integrations.mqtt_accounts.dynamic_security import ANSWERS, DynamicSecurity
from integrations.mqtt_accounts.emqx import Emqx, open_client
from integrations.mqtt_accounts.wanted import Permissions
from services.supervisor.mosquitto import ACCOUNTS, PrivateMosquitto

NAMES = [f"tgw_{number:016x}" for number in range(60)]  # More than one command, or page, has room for.
GATEWAY = Permissions(frozenset({"+/gateway/a/event/+"}), frozenset({"+/gateway/a/command/+"}))
READER = Permissions(frozenset(), frozenset({"territoire/partner/sdef/#"}))


USERS = "/api/v5/authentication/password_based:built_in_database/users"
RULES = "/api/v5/authorization/sources/built_in_database/rules/clients"
CONNECTIONS = "/api/v5/clients"


class EmqxApi:
    """The part of EMQX 5's HTTP API that accounts need, with its statuses and its form."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {USERS: {}, RULES: {}, CONNECTIONS: {}}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        expected = base64.b64encode(b"key:secret").decode()
        if request.headers.get("authorization") != f"Basic {expected}":
            return httpx.Response(401, json={"code": "BAD_API_KEY_OR_SECRET"})
        path = unquote(request.url.path)
        body = msgspec.json.decode(request.content) if request.content else {}
        if path in self.held:
            return self._post(path, body) if request.method == "POST" else self._page(path, request.url.params)
        kind, _, name = path.rpartition("/")
        return self._put(kind, name, body) if request.method == "PUT" else self._delete(kind, name)

    def _page(self, kind: str, query: httpx.QueryParams) -> httpx.Response:
        page, limit = int(query["page"]), int(query["limit"])
        entries = list(self.held[kind].values())[(page - 1) * limit : page * limit]
        return httpx.Response(200, json={"data": entries, "meta": {"page": page, "limit": limit}})

    def _post(self, kind: str, body: Any) -> httpx.Response:
        assert kind == USERS
        assert body.pop("password")
        if body["user_id"] in self.held[kind]:
            return httpx.Response(409, json={"code": "ALREADY_EXISTS"})
        self.held[kind][body["user_id"]] = body
        return httpx.Response(201, json=body)

    def _put(self, kind: str, name: str, body: Any) -> httpx.Response:
        assert (kind, name) == (RULES, body["clientid"])
        for rule in body["rules"]:  # It fills in by itself what is not said.
            rule |= {"qos": [0, 1, 2], "retain": "all"}
        self.held[kind][name] = body
        return httpx.Response(204)

    def _delete(self, kind: str, name: str) -> httpx.Response:
        if self.held[kind].pop(name, None) is None:
            return httpx.Response(404, json={"code": "NOT_FOUND"})
        return httpx.Response(204)


def client_of(api: EmqxApi, secret: str = "secret") -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url="https://emqx", auth=("key", secret), transport=httpx.MockTransport(api))


@pytest.fixture(params=["mosquitto", "emqx"])
async def broker(
    request: pytest.FixtureRequest, mosquitto_server: PrivateMosquitto, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[AccountBroker]:
    monkeypatch.setattr("integrations.mqtt_accounts.emqx.PAGE", 50)
    if request.param == "emqx":
        transport = httpx.MockTransport(EmqxApi())
        async with httpx.AsyncClient(
            base_url="https://emqx", auth=("key", "secret"), transport=transport
        ) as client:
            yield Emqx(client)
        return
    settings = MqttSettings(mqtt_client_id="contract", mqtt_session_expiry=0)
    address = Broker.from_url(mosquitto_server.url(ACCOUNTS))
    session = MqttSession(settings, [ANSWERS], broker=address)
    task = asyncio.create_task(session.run())
    async with asyncio.timeout(30):
        await session.connected()
    accounts = DynamicSecurity(session)
    yield accounts
    await accounts.remove(list(await accounts.read()))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_accounts_are_there_as_they_were_made_until_they_are_removed(broker: AccountBroker) -> None:
    accounts = [Account(name, "x", GATEWAY) for name in NAMES]
    others = [Account("made-by-hand", "x", READER), Account(f"tpa_{0:016x}", "x", READER)]

    await broker.create(accounts + others)
    await broker.create(accounts)  # Done already.
    made = await broker.read()
    await broker.remove([*NAMES[1:], "tgw_of-nobody"])
    left = await broker.read()
    await broker.remove(["made-by-hand"])

    assert made == {**dict.fromkeys(NAMES, GATEWAY), f"tpa_{0:016x}": READER}
    assert left == {NAMES[0]: GATEWAY, f"tpa_{0:016x}": READER}


async def test_who_is_inside_by_a_removed_account_is_put_out_of_emqx() -> None:
    api = EmqxApi()
    async with client_of(api) as client:
        await Emqx(client).create([Account(NAMES[0], "x", GATEWAY)])
        api.held[CONNECTIONS] = {NAMES[0]: {}, NAMES[1]: {}}
        api.held[RULES][NAMES[2]] = {"clientid": NAMES[2], "rules": []}  # Of one whose password is gone.

        assert await Emqx(client).read() == {NAMES[0]: GATEWAY, NAMES[2]: None}
        await Emqx(client).remove([NAMES[0]])

    assert api.held[CONNECTIONS] == {NAMES[1]: {}}
    assert not api.held[USERS]


async def test_a_wrong_key_of_emqx_and_one_that_is_away_are_said_in_french(free_port: int) -> None:
    async with client_of(EmqxApi(), "faux") as client:
        with pytest.raises(BrokerRejected, match="la clé d'API ou son secret est refusé"):
            await Emqx(client).read()
    async with open_client(f"http://key:secret@127.0.0.1:{free_port}") as client:
        with pytest.raises(BrokerAway, match="ne répond pas"):
            await Emqx(client).read()


async def test_an_authority_of_emqx_that_was_replaced_counts_at_the_next_attempt(free_port: int) -> None:
    """Its file is away at first: then the client of before goes on."""
    api, files = EmqxApi(), iter([FileNotFoundError("ca.pem"), None])

    def open_another() -> httpx.AsyncClient:
        if (away := next(files)) is not None:
            raise away
        return client_of(api)

    async with aclosing(Emqx(open_client(f"http://key:secret@127.0.0.1:{free_port}"), open_another)) as emqx:
        for _ in range(2):
            with pytest.raises(BrokerAway):
                await emqx.read()

        assert await emqx.read() == {}
