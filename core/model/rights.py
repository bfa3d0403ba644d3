"""Rights, and the roles of people, which are sets of rights: one list for people and for applications' keys."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Right = Literal[
    "read",
    "field",
    "manage",
    "lighting",
    "lighting_approve",
    "operate",
    "people",
    "audit",
    "open_data",
    "export_keys",
]

# What each opens, in French, for people who give it.
RIGHTS: dict[str, str] = {
    "read": "lire",
    "field": "intervenir sur le terrain : poser et remplacer un capteur, relever un compteur, traiter une alerte",
    "manage": "gérer les actifs, les capteurs, les règles, les partages et les clés",
    "lighting": "commander l'éclairage",
    "lighting_approve": "approuver les campagnes d'éclairage qu'une autre personne a préparées",
    "operate": "exploiter le réseau, pour toutes les collectivités",
    "people": "inviter des personnes et leur donner des rôles",
    "audit": "lire le journal d'audit",
    "open_data": "publier des données ouvertes",
    "export_keys": "sortir les clés des capteurs",
}
# Who has the first has the others: a key made before they existed opens what it did.
IMPLIED: dict[str, frozenset[str]] = {
    "manage": frozenset({"field", "open_data"}),
    "operate": frozenset({"people", "audit"}),
}
# In no role: somebody else gives them to a person, one by one.
EXTRA_RIGHTS = frozenset({"export_keys"})
# An application has no password to be asked for again, and no name: these are for people.
OF_PEOPLE_ONLY = frozenset({"people", "export_keys"})
OF_KEYS = frozenset(RIGHTS) - OF_PEOPLE_ONLY
# Of a key that is limited to kinds of assets: the others are about a tenant as a whole.
OF_LIMITED_KEYS = frozenset({"read", "field", "lighting"})

RoleName = Literal[
    "operator",
    "service_manager",
    "field_agent",
    "reader",
    "open_data_officer",
    "energy_adviser",
    "auditor",
]


@dataclass(frozen=True, slots=True)
class Role:
    """What a person does for a tenant."""

    label: str
    rights: frozenset[str]


def effective_rights(given: Iterable[str]) -> frozenset[str]:
    """These rights and those that they imply."""
    rights = frozenset(given)
    return rights.union(*(IMPLIED.get(right, frozenset()) for right in rights))


def _role(label: str, *given: str) -> Role:
    return Role(label, effective_rights(given))


ROLES: dict[str, Role] = {
    "operator": _role("exploitant du réseau", "read", "manage", "lighting", "lighting_approve", "operate"),
    "service_manager": _role(
        "responsable de service", "read", "manage", "lighting", "lighting_approve", "people", "audit"
    ),
    "field_agent": _role("agent de terrain", "read", "field"),
    "reader": _role("lecteur", "read"),
    "open_data_officer": _role("responsable des données ouvertes", "read", "open_data"),
    # Across tenants by the grants that its own tenant received.
    "energy_adviser": _role("conseiller en énergie", "read"),
    "auditor": _role("auditeur", "read", "audit"),
}


def rights_of(role: str, extra: Iterable[str] = ()) -> frozenset[str]:
    """The rights of a person with this role and these extra rights; of a role that is no more, none."""
    known = ROLES.get(role)
    return frozenset() if known is None else known.rights | (EXTRA_RIGHTS & frozenset(extra))


def may_give(own: frozenset[str], role: str) -> bool:
    """Whether somebody with the rights `own` may give this role: nobody gives what they have not."""
    return ROLES[role].rights <= own
