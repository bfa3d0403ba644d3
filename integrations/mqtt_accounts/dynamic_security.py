"""Accounts at mosquitto, by its dynamic-security plugin, which takes commands as JSON at a topic."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import chain, count
from typing import Any, cast

import msgspec

from core.runtime.mqtt import MqttAway, MqttRejected, MqttSession
from integrations.mqtt_accounts.broker import Account, BrokerAway, BrokerRejected
from integrations.mqtt_accounts.wanted import Permissions
from registry.mqtt_accounts import OURS

CONTROL = "$CONTROL/dynamic-security/v1"
ANSWERS = f"{CONTROL}/response"
ANSWERS_WITHIN_S = 5.0
# Far below the largest packet, and an instant of the broker's single thread.
AT_ONCE = 50
# Whoever repeats a command meets these.
DONE_ALREADY = frozenset({"Client already exists", "Client not found", "Role already exists", "Role not found"})
# Of a role, the allowed topics go before: everything else is denied here, and never asked of a static access list.
DENIED = ("publishClientSend", "publishClientReceive", "subscribePattern")
NO_PLUGIN = (
    f"le courtier ne répond pas sur {CONTROL} : son module dynamic-security est-il chargé (`plugin` dans "
    "mosquitto.conf) ?"
)

Command = dict[str, Any]


def access_list(permissions: Permissions) -> list[Command]:
    """What a role with these permissions has in its list."""
    allowed = [("publishClientSend", topic) for topic in permissions.publishes]
    allowed += [
        (kind, topic) for kind in ("publishClientReceive", "subscribePattern") for topic in permissions.reads
    ]
    entries: list[Command] = [
        {"acltype": kind, "topic": topic, "priority": 1, "allow": True} for kind, topic in sorted(allowed)
    ]
    entries += [{"acltype": kind, "topic": "#", "priority": 0, "allow": False} for kind in DENIED]
    return [*entries, {"acltype": "unsubscribePattern", "topic": "#", "priority": 0, "allow": True}]


def _permissions_of(client: Mapping[str, Any], roles: Mapping[str, Any]) -> Permissions | None:
    """What a client may do; None when it is not as we make them."""
    name = client["username"]
    role = roles.get(name)
    is_ours = (
        client.get("clientid") == name
        and not client.get("disabled")
        and not client.get("groups")
        and [held["rolename"] for held in client.get("roles", ())] == [name]
    )
    if role is None or not is_ours:
        return None
    entries: list[dict[str, Any]] = role["acls"]
    allowed = {
        kind: frozenset(entry["topic"] for entry in entries if entry["acltype"] == kind and entry["priority"] == 1)
        for kind in ("publishClientSend", "subscribePattern")
    }
    permissions = Permissions(allowed["publishClientSend"], allowed["subscribePattern"])
    return permissions if _by_content(entries) == _by_content(access_list(permissions)) else None


def _by_content(entries: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted((entry["acltype"], entry["topic"], entry["priority"], entry["allow"]) for entry in entries)


class DynamicSecurity:
    """Over a session of ours with the broker that subscribes to ANSWERS; one command at a time."""

    def __init__(self, mqtt_session: MqttSession) -> None:
        self._session = mqtt_session
        self._tags = count(1)

    async def read(self) -> dict[str, Permissions | None]:
        """As `AccountBroker.read`; a role that no client has is an account that is not as we make them."""
        roles = {role["rolename"]: role for role in await self._list("listRoles", "roles")}
        clients = {client["username"]: client for client in await self._list("listClients", "clients")}
        found: dict[str, Permissions | None] = dict.fromkeys(filter(OURS.fullmatch, roles))
        return found | {
            name: _permissions_of(client, roles) for name, client in clients.items() if OURS.fullmatch(name)
        }

    async def remove(self, usernames: Sequence[str]) -> None:
        """As `AccountBroker.remove`: deleting a client ends its connection."""
        pairs = [
            ({"command": "deleteClient", "username": name}, {"command": "deleteRole", "rolename": name})
            for name in usernames
        ]
        await self._ask_in_parts(list(chain.from_iterable(pairs)))

    async def create(self, accounts: Sequence[Account]) -> None:
        """As `AccountBroker.create`: each client has a role of its own name, made before it."""
        await self._ask_in_parts(list(chain.from_iterable(map(_creation, accounts))))

    async def _ask_in_parts(self, commands: Sequence[Command]) -> None:
        for first in range(0, len(commands), AT_ONCE):
            await self._ask(commands[first : first + AT_ONCE])

    async def _list(self, command: str, what: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            page = {"command": command, "verbose": True, "count": AT_ONCE, "offset": len(found)}
            [answer] = await self._ask([page])
            entries = answer["data"][what]
            found += entries
            if len(entries) < AT_ONCE:
                return found

    async def _ask(self, commands: Sequence[Command]) -> list[dict[str, Any]]:
        tag = str(next(self._tags))
        tagged = [{**command, "correlationData": tag} for command in commands]
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                await self._session.publish(CONTROL, msgspec.json.encode({"commands": tagged}))
                answers = await self._answers(tag, len(commands))
        except TimeoutError:
            raise BrokerAway(NO_PLUGIN) from None
        except MqttAway as away:
            raise BrokerAway(self._session.problem or str(away)) from away
        except MqttRejected as rejected:
            raise BrokerRejected(f"ce compte n'a pas le droit d'en faire d'autres : {rejected}") from rejected
        for command, answer in zip(commands, answers, strict=False):
            error = answer.get("error")
            if error is not None and error not in DONE_ALREADY:
                raise BrokerRejected(f"{command['command']} : {error}")
        return answers

    async def _answers(self, tag: str, expected: int) -> list[dict[str, Any]]:
        """The answers to the commands of this tag; those to others, which were given up, are left aside."""
        answers: list[dict[str, Any]] = []
        while len(answers) < expected:
            messages = await self._session.batch()
            self._session.ack(messages)
            for message in messages:
                answers += [one for one in _read_answers(message.payload) if one.get("correlationData") == tag]
        return answers


def _creation(account: Account) -> tuple[Command, Command]:
    name = account.username
    role = {"command": "createRole", "rolename": name, "acls": access_list(account.permissions)}
    client = {"command": "createClient", "username": name, "clientid": name, "password": account.password}
    return role, client | {"roles": [{"rolename": name}]}


def _read_answers(payload: bytes) -> list[dict[str, Any]]:
    try:
        return cast(list[dict[str, Any]], msgspec.json.decode(payload)["responses"])
    except (msgspec.MsgspecError, KeyError, TypeError) as malformed:
        raise BrokerRejected(f"réponse illisible : {malformed}") from malformed
