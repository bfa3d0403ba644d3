"""What a grant opens and what a transfer does, in people's words."""

from typing import Protocol

from api.console.language import Language
from api.console.navigation import marked
from api.console.wording import kind_name

STATES = {
    "offered": marked("attend une réponse"),
    "accepted": marked("acceptée"),
    "rejected": marked("refusée"),
    "withdrawn": marked("offre retirée"),
    "expired": marked("offre expirée"),
    "revoked": marked("révoquée"),
}
CLAIM_STATES = {
    "open": marked("l’exploitant va décider"),
    "kept": marked("reste où il est enregistré"),
    "moved": marked("attribué à qui l’a contesté"),
    "withdrawn": marked("demande retirée"),
}
EVERYTHING = marked("tous les équipements, sauf les données personnelles")
OF_KIND = marked("tous les équipements de type %(what)s, sauf les données personnelles")
OF_TAG = marked("tous les équipements étiquetés « %(what)s », sauf les données personnelles")
ONE = marked("l’équipement n° %(what)s")
BECOMES_OF_HISTORY = {
    "goes_along": marked("Tout l’historique part avec l’équipement : l’ancien propriétaire ne le voit plus."),
    "stays": marked(
        "L’historique reste à l’ancien propriétaire ; chez le nouveau, les mesures recommencent à zéro."
    ),
}
FOR_RECEIVER = marked(
    "L’équipement et ses capteurs deviennent les vôtres : à vous de les suivre et de les dépanner."
)
FOR_GIVER = marked(
    "L’équipement et ses capteurs quittent votre collectivité, avec les partages que vous en aviez faits."
)


class Covering(Protocol):
    """What a grant is about: exactly one of these."""

    asset_id: int | None
    tag: str | None
    asset_kind: str | None
    everything: bool


def covers(grant: Covering, language: Language) -> str:
    """The assets that a grant is about."""
    if grant.everything:
        return language.gettext(EVERYTHING)
    if grant.asset_kind is not None:
        kind = language.gettext(kind_name(grant.asset_kind))
        return language.gettext(OF_KIND) % {"what": f"« {kind} »"}
    if grant.tag is not None:
        return language.gettext(OF_TAG) % {"what": grant.tag}
    return language.gettext(ONE) % {"what": grant.asset_id}


def what_transfer_does(history: str, language: Language, *, is_giver: bool) -> list[str]:
    """What accepting a transfer does, one sentence after the other."""
    return [
        language.gettext(FOR_GIVER if is_giver else FOR_RECEIVER),
        language.gettext(BECOMES_OF_HISTORY[history]),
        language.gettext(
            marked("Ses alertes ouvertes sont terminées. Cela ne se défait que par un autre transfert.")
        ),
    ]
