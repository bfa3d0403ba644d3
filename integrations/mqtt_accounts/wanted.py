"""What the broker has to have, what it has, and the difference."""

from collections.abc import Mapping
from dataclasses import dataclass

from registry.mqtt_accounts import EVENT_TOPICS, OURS, PARTNER_TOPICS, ValidAccount

# With the prefix of a region, one level long, and without.
REGIONS = ("+/", "")


@dataclass(frozen=True, slots=True)
class Permissions:
    """The topic filters that an account may publish to, and those that it may read; nothing else."""

    publishes: frozenset[str]
    reads: frozenset[str]


@dataclass(frozen=True, slots=True)
class Changes:
    """What brings the broker to what it has to have; removed first, by name. One that differs is made anew."""

    remove: tuple[str, ...]
    create: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.remove or self.create)


def permissions_of(account: ValidAccount) -> Permissions:
    """A gateway's own topics of ChirpStack's contract; of others their filters below a prefix of the tenant's."""
    if account.gateway_id is None:
        below = f"{EVENT_TOPICS if account.is_of_access else PARTNER_TOPICS}/{account.slug}"
        return Permissions(
            frozenset(f"{below}/{topic}" for topic in account.publishes),
            frozenset(f"{below}/{topic}" for topic in account.reads),
        )
    of_gateway = [f"{region}gateway/{account.gateway_id.hex()}" for region in REGIONS]
    return Permissions(
        frozenset(f"{of}/{kind}/+" for of in of_gateway for kind in ("event", "state")),
        frozenset(f"{of}/command/+" for of in of_gateway),
    )


def changes(wanted: Mapping[str, Permissions], found: Mapping[str, Permissions | None]) -> Changes:
    """The difference, by username. Of `found`, None is an account that is not as we make them."""
    remove = [
        name
        for name, held in found.items()
        if OURS.fullmatch(name) and (name not in wanted or wanted[name] != held)
    ]
    create = [name for name, permissions in wanted.items() if found.get(name) != permissions]
    return Changes(tuple(sorted(remove)), tuple(sorted(create)))
