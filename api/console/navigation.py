"""The pages in the menu, in the order in which a day needs them."""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from api.trade_store import LIGHTING, METERS, ROOMS, WASTE
from core.model.rights import Right


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the menu; of a trade only where there are assets whose kinds match its pattern."""

    address: str
    name: str
    icon: str
    right: Right = "read"
    kinds: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Lines of the menu that belong together; one of which a visitor may open none is not shown."""

    name: str
    entries: tuple[Entry, ...]


def marked(french: str) -> str:
    """A text that a template translates later; found by the extraction of texts."""
    return french


GROUPS = (
    Group(
        marked("Territoire"),
        (
            Entry("/supervision", marked("Supervision"), "speedometer2"),
            Entry("/carte", marked("Carte"), "geo-alt"),
            Entry("/equipements", marked("Équipements"), "cpu"),
            Entry("/alertes", marked("Alertes"), "bell"),
            Entry("/dechets", marked("Déchets"), "trash3", kinds=WASTE.kinds),
            Entry("/salles", marked("Salles"), "wind", kinds=ROOMS.kinds),
            Entry("/compteurs", marked("Compteurs"), "speedometer", kinds=METERS.kinds),
            Entry("/eclairage", marked("Éclairage"), "lightbulb", kinds=LIGHTING.kinds),
        ),
    ),
    Group(
        marked("Réseau"),
        (
            Entry("/passerelles", marked("Passerelles"), "broadcast"),
            Entry("/trames", marked("Trames en direct"), "broadcast-pin"),
            Entry("/atelier", marked("Atelier décodeurs"), "braces"),
        ),
    ),
)


def groups_for(kinds: Collection[str]) -> tuple[Group, ...]:
    """The menu of a tenant that sees assets of these kinds."""

    def is_shown(entry: Entry) -> bool:
        return any(re.search(entry.kinds, kind) for kind in kinds) if entry.kinds else True

    return tuple(replace(group, entries=tuple(filter(is_shown, group.entries))) for group in GROUPS)
