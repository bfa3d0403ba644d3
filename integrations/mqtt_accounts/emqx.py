"""Accounts at EMQX 5, in clusters, by its HTTP API: its built-in database of passwords, and that of rules.

The database of passwords has `user_id_type: clientid`: an account is bound to the client id of its own name, as at
mosquitto. What no rule allows is rejected (`authorization.no_match = deny`).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import httpx
import msgspec

from core.runtime.tls import client_tls
from core.runtime.waiting import network_reason
from integrations.mqtt_accounts.broker import Account, BrokerAway, BrokerRejected
from integrations.mqtt_accounts.wanted import Permissions
from registry.mqtt_accounts import OURS

PASSWORDS = f"/api/v5/authentication/{quote('password_based:built_in_database', safe='')}/users"
RULES = "/api/v5/authorization/sources/built_in_database/rules/clients"
CONNECTIONS = "/api/v5/clients"
PAGE = 1000
ANSWERS_WITHIN_S = 5.0
DEFAULT_PORTS = {"http": 18083, "https": 18084}

Json = dict[str, Any]


def rules_of(permissions: Permissions) -> list[Json]:
    """What the database of rules has for an account."""
    topics = [("publish", topic) for topic in permissions.publishes]
    topics += [("subscribe", topic) for topic in permissions.reads]
    return [{"topic": topic, "permission": "allow", "action": action} for action, topic in sorted(topics)]


def _permissions_of(rules: Sequence[Mapping[str, Any]]) -> Permissions | None:
    """What these rules allow; None when they are not as we make them."""
    topics = {
        action: frozenset(rule["topic"] for rule in rules if rule["action"] == action)
        for action in ("publish", "subscribe")
    }
    permissions = Permissions(topics["publish"], topics["subscribe"])
    found = sorted((rule["action"], rule["topic"], rule["permission"]) for rule in rules)
    made = sorted((rule["action"], rule["topic"], rule["permission"]) for rule in rules_of(permissions))
    return permissions if found == made else None


def open_client(url: str) -> httpx.AsyncClient:
    """A client for http[s]://key:secret@host:port, with ?ca= for an authority that is none of the system's."""
    parts = urlsplit(url)
    return httpx.AsyncClient(
        base_url=f"{parts.scheme}://{parts.hostname}:{parts.port or DEFAULT_PORTS[parts.scheme]}",
        auth=(unquote(parts.username or ""), unquote(parts.password or "")),
        verify=client_tls(dict(parse_qsl(parts.query)).get("ca")),
        timeout=ANSWERS_WITHIN_S,
        trust_env=False,
    )


class Emqx:
    """Over a client of its API, whose user and password are an API key and its secret."""

    def __init__(
        self, client: httpx.AsyncClient, open_another: Callable[[], httpx.AsyncClient] | None = None
    ) -> None:
        """`open_another` opens what takes the client's place once nobody answers: it reads its authority anew."""
        self._client = client
        self._open_another = open_another

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()

    async def read(self) -> dict[str, Permissions | None]:
        """As `AccountBroker.read`; rules without a password, or the other way round, are not as we make them."""
        names = {entry["user_id"] for entry in await self._list(PASSWORDS)}
        rules = {entry["clientid"]: entry["rules"] for entry in await self._list(RULES)}
        return {
            name: _permissions_of(rules[name]) if name in names and name in rules else None
            for name in filter(OURS.fullmatch, names | rules.keys())
        }

    async def remove(self, usernames: Sequence[str]) -> None:
        """As `AccountBroker.remove`: first nobody enters any more, then who is inside is put out."""
        for name in usernames:
            for kind in (PASSWORDS, RULES, CONNECTIONS):
                await self._ask("DELETE", f"{kind}/{name}", passed_over=HTTPStatus.NOT_FOUND)

    async def create(self, accounts: Sequence[Account]) -> None:
        """As `AccountBroker.create`: rules first, so that who enters has them."""
        for account in accounts:
            name = account.username
            rules = {"clientid": name, "rules": rules_of(account.permissions)}
            await self._ask("PUT", f"{RULES}/{name}", rules)
            password = {"user_id": name, "password": account.password, "is_superuser": False}
            await self._ask("POST", PASSWORDS, password, passed_over=HTTPStatus.CONFLICT)

    async def _take_another(self) -> None:
        if self._open_another is not None:
            with suppress(OSError):  # The authority's file is away for a moment, while it is replaced.
                former, self._client = self._client, self._open_another()
                await former.aclose()

    async def _list(self, kind: str) -> list[Json]:
        found: list[Json] = []
        for page in range(1, 1_000):
            answer = await self._ask("GET", f"{kind}?page={page}&limit={PAGE}")
            try:
                entries: list[Json] = msgspec.json.decode(answer.content)["data"]
            except (msgspec.MsgspecError, KeyError, TypeError) as malformed:
                raise BrokerRejected(f"réponse illisible : {malformed}") from malformed
            found += entries
            if len(entries) < PAGE:
                break
        return found

    async def _ask(
        self, method: str, path: str, body: Json | None = None, *, passed_over: HTTPStatus | None = None
    ) -> httpx.Response:
        try:
            answer = await self._client.request(method, path, json=body)
        except httpx.TransportError as away:
            await self._take_another()
            raise BrokerAway(f"l'API d'EMQX ne répond pas : {network_reason(away.__cause__ or away)}") from away
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            raise BrokerRejected("la clé d'API ou son secret est refusé (TERRITOIRE_MQTT_ACCOUNTS_URL)")
        if not answer.is_success and answer.status_code != passed_over:
            raise BrokerRejected(f"{method} {path} : {answer.status_code} {answer.text[:200]}")
        return answer
