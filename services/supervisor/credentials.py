"""Every credential of one home, and new values for those that its next start gives to the servers."""

import secrets
from collections.abc import Collection, Mapping
from datetime import datetime
from types import MappingProxyType

import msgspec

from core.messages.permissions import USERS
from registry.rights import LOGINS
from services.supervisor.mosquitto import ACCOUNTS, BRIDGE


def _named(server: str, accounts: Collection[str]) -> Mapping[str, str]:
    return MappingProxyType({account: f"{server}-{account.replace('_', '-')}" for account in accounts})


# As people name them, on one server and with Compose alike.
OF_DATABASE, OF_BUS, OF_BROKER = (
    _named("database", LOGINS),
    _named("bus", USERS),
    _named("mqtt", (BRIDGE, ACCOUNTS)),
)
DATABASE_OWNER, BUS_OWNER, KEK = "database-owner", "bus-owner", "kek"
RENEWABLE = (
    *(DATABASE_OWNER, *OF_DATABASE.values()),
    *(BUS_OWNER, *OF_BUS.values()),
    *OF_BROKER.values(),
)
"""What gets another value while nobody else need know: the next start gives it to both sides."""


class Secrets(msgspec.Struct, frozen=True, omit_defaults=True):
    """Every credential of one home, made once and kept: the key-encryption key opens the devices' keys."""

    postgres: str
    nats: str
    mqtt: dict[str, str]
    kek: str
    operator_key: str
    """The first API key, of the operator's own tenant."""
    kek_id: str = "kek-1"
    former_keks: dict[str, str] = {}
    """Key-encryption keys that open what is not rotated yet, by their ids."""
    operator_password: str = ""
    """Of the first person there; a home of an older version has none yet."""
    database: dict[str, str] = {}
    """The password of each service's role; a home of before they had one is given those that it lacks."""
    bus: dict[str, str] = {}
    """The password of each service's login to the bus; `nats` is that of the login that may everything."""
    service: str = ""
    api: str = ""
    """Those of before, when services shared one: kept where they are, for the program of then."""
    since: dict[str, datetime] = {}
    """When each of RENEWABLE, and the key that seals, was made; of a value of before that was noted, nothing."""

    @property
    def former_keks_text(self) -> str:
        """The former keys as TERRITOIRE_KEK_FORMER has them."""
        return ",".join(f"{kek_id}={kek}" for kek_id, kek in self.former_keks.items())

    @property
    def kek_ids(self) -> tuple[str, ...]:
        """The ids of every key that is kept."""
        return (self.kek_id, *self.former_keks)

    def with_new_kek(self, now: datetime) -> "Secrets":
        """With a new key that seals; the former ones open."""
        numbers = [
            int(known.removeprefix("kek-")) for known in self.kek_ids if known.removeprefix("kek-").isdecimal()
        ]
        return msgspec.structs.replace(
            self,
            kek=secrets.token_hex(32),
            kek_id=f"kek-{max(numbers, default=0) + 1}",
            former_keks={**self.former_keks, self.kek_id: self.kek},
            since=self.since | _at(now, (KEK,)),
        )

    def without_former_kek(self, kek_id: str) -> "Secrets":
        """Without this key, which nothing asks for any more."""
        others = {known: kek for known, kek in self.former_keks.items() if known != kek_id}
        return msgspec.structs.replace(self, former_keks=others)

    @classmethod
    def fresh(cls, now: datetime) -> "Secrets":
        """New random values."""
        return cls(
            postgres=_password(),
            nats=_password(),
            mqtt={},
            kek=secrets.token_hex(32),
            operator_key=f"terr_{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}",
            operator_password=_first_password(),
            since=_at(now, (DATABASE_OWNER, BUS_OWNER, KEK)),
        ).completed(now)

    def completed(self, now: datetime) -> "Secrets":
        """With a password for each service, account of ours at the broker, and first person, that has none."""
        missing = [
            name
            for kept, names in ((self.database, OF_DATABASE), (self.bus, OF_BUS), (self.mqtt, OF_BROKER))
            for account, name in names.items()
            if account not in kept
        ]
        password = self.operator_password or _first_password()
        return msgspec.structs.replace(self.renewed(missing, now), operator_password=password)

    def renewed(self, names: Collection[str], now: datetime) -> "Secrets":
        """With another value for each of these names of RENEWABLE."""
        return msgspec.structs.replace(
            self,
            postgres=_password() if DATABASE_OWNER in names else self.postgres,
            nats=_password() if BUS_OWNER in names else self.nats,
            database=self.database | _passwords(OF_DATABASE, names),
            bus=self.bus | _passwords(OF_BUS, names),
            mqtt=self.mqtt | _passwords(OF_BROKER, names),
            since=self.since | _at(now, names),
        )


def _passwords(known: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    return {account: _password() for account, name in known.items() if name in names}


def _at(now: datetime, names: Collection[str]) -> dict[str, datetime]:
    return dict.fromkeys(names, now)


def _password() -> str:
    return secrets.token_hex(24)


def _first_password() -> str:
    return secrets.token_urlsafe(15)
