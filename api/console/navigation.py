"""The pages in the menu, in the order in which a day needs them."""

from dataclasses import dataclass

from core.model.rights import Right


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the menu."""

    address: str
    name: str
    icon: str
    right: Right = "read"


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
            Entry("/pose", marked("Poser un capteur"), "qr-code-scan", "field"),
            Entry("/alertes", marked("Alertes"), "bell"),
        ),
    ),
    Group(
        marked("Réseau"),
        (
            Entry("/passerelles", marked("Passerelles"), "broadcast"),
            Entry("/trames", marked("Trames en direct"), "broadcast-pin"),
        ),
    ),
)
