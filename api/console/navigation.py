"""The pages in the menu, in the order in which a day needs them."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from api.trade_store import LIGHTING, METERS, ROOMS, WASTE
from core.model.rights import Right


def is_below(path: str, address: str) -> bool:
    """Whether a path is this address, or one under it."""
    return path == address or path.startswith(f"{address}/")


def nearest(path: str, addresses: Iterable[str]) -> str:
    """The longest of these addresses that a path is, or is under; empty: of none."""
    return max((address for address in addresses if is_below(path, address)), key=len, default="")


@dataclass(frozen=True, slots=True)
class SubEntry:
    """One page of a section that has several; the templates' `subnav` draws them."""

    address: str
    name: str
    right: Right = "read"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the menu.

    `section` has the pages of its sub-navigation, which every one of them shows. One of a trade is shown only
    where there are assets whose kinds match its pattern, `kinds`.
    """

    address: str
    name: str
    icon: str
    right: Right = "read"
    section: tuple[SubEntry, ...] = ()
    kinds: str = ""

    def holds(self, path: str) -> bool:
        """Whether a path is of this entry's page, or of one in its section."""
        return any(is_below(path, address) for address in (self.address, *(one.address for one in self.section)))


@dataclass(frozen=True, slots=True)
class Group:
    """Lines of the menu that belong together; one of which a visitor may open none is not shown."""

    name: str
    entries: tuple[Entry, ...]


def marked(french: str) -> str:
    """A text that a template translates later; found by the extraction of texts."""
    return french


ALERTS = (
    SubEntry("/alertes", marked("Alertes")),
    SubEntry("/regles", marked("Règles")),
    SubEntry("/silences", marked("Silences et travaux")),
    SubEntry("/equipes", marked("Équipes")),
    SubEntry("/destinataires", marked("Destinataires")),
    SubEntry("/partenaires", marked("Systèmes partenaires")),
    SubEntry("/calendriers", marked("Calendriers")),
)
LIGHTS = (
    SubEntry("/eclairage", marked("Armoires")),
    SubEntry("/programmes", marked("Programmes")),
    SubEntry("/campagnes", marked("Campagnes")),
    SubEntry("/tout-allumer", marked("Tout allumer"), "lighting"),
)
BINS = (
    SubEntry("/dechets", marked("Conteneurs")),
    SubEntry("/dechets/jours", marked("Jours pleins")),
    SubEntry("/dechets/vidages", marked("Vidages")),
    SubEntry("/dechets/previsions", marked("Prévisions")),
    SubEntry("/dechets/tonnages", marked("Tonnages")),
    SubEntry("/dechets/zones-blanches", marked("Sans réseau")),
    SubEntry("/dechets/tournees", marked("Tournées")),
)
GROUPS = (
    Group(
        marked("Territoire"),
        (
            Entry("/supervision", marked("Supervision"), "speedometer2"),
            Entry("/carte", marked("Carte"), "geo-alt"),
            Entry("/equipements", marked("Équipements"), "cpu"),
            Entry("/pose", marked("Poser un capteur"), "qr-code-scan", "field"),
            Entry("/alertes", marked("Alertes"), "bell", section=ALERTS),
            Entry("/interventions", marked("Interventions"), "tools"),
            Entry("/dechets", marked("Déchets"), "trash", section=BINS, kinds=WASTE.kinds),
            Entry("/salles", marked("Salles"), "wind", kinds=ROOMS.kinds),
            Entry("/compteurs", marked("Compteurs"), "speedometer", kinds=METERS.kinds),
            Entry("/batiments", marked("Bâtiments"), "activity", kinds="^building$"),
            Entry("/eclairage", marked("Éclairage"), "lightbulb", section=LIGHTS, kinds=LIGHTING.kinds),
        ),
    ),
    Group(
        marked("Réseau"),
        (
            Entry("/passerelles", marked("Passerelles"), "broadcast"),
            Entry("/couverture", marked("Couverture"), "geo-alt"),
            Entry("/sante", marked("Santé des capteurs"), "activity"),
            Entry("/trames", marked("Trames en direct"), "broadcast-pin"),
            Entry("/atelier", marked("Atelier décodeurs"), "braces"),
        ),
    ),
    Group(
        marked("Collectivité"),
        (
            Entry("/imports", marked("Imports"), "arrow-down-circle", "manage"),
            Entry("/exports", marked("Exports"), "arrow-down-circle"),
            Entry("/webhooks", marked("Webhooks de mesures"), "send"),
            Entry("/acces-mqtt", marked("Accès MQTT"), "broadcast"),
            Entry("/kits", marked("Kits"), "list"),
            Entry("/couts", marked("Coûts"), "journal-text"),
            Entry("/rapports", marked("Rapports"), "journal-text"),
            Entry("/personnes", marked("Personnes"), "people", "people"),
            Entry("/partage", marked("Partage"), "share"),
            Entry("/publications", marked("Publications"), "globe2", "open_data"),
            Entry("/journal", marked("Journal"), "journal-text", "audit"),
        ),
    ),
)


def groups_for(kinds: Collection[str]) -> tuple[Group, ...]:
    """The menu of a tenant that sees assets of these kinds."""

    def is_shown(entry: Entry) -> bool:
        return any(re.search(entry.kinds, kind) for kind in kinds) if entry.kinds else True

    return tuple(replace(group, entries=tuple(filter(is_shown, group.entries))) for group in GROUPS)
