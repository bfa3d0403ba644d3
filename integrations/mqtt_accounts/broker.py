"""What a broker has to be able to do, so that accounts can be made and withdrawn while it runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from integrations.mqtt_accounts.wanted import Permissions


class BrokerAway(Exception):
    """The broker, or the part of it that keeps accounts, does not answer; the message says why, in French."""


class BrokerRejected(Exception):
    """The broker rejects what we ask; the message says why, in French."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account to be made."""

    username: str
    password: str = field(repr=False)
    permissions: Permissions


class AccountBroker(Protocol):
    """A broker's accounts. Each method raises BrokerAway or BrokerRejected."""

    async def read(self) -> Mapping[str, Permissions | None]:
        """Accounts of ours by their names; None for one that is not as `create` makes it."""
        ...

    async def remove(self, usernames: Sequence[str]) -> None:
        """Withdraw accounts, whether they are there or not: nobody enters by them, and their connections end."""
        ...

    async def create(self, accounts: Sequence[Account]) -> None:
        """Make accounts, each for the client id of its own name; one that is there already stays as it is."""
        ...
