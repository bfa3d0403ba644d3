"""What rounds say to people, in French: one wording for files, the sheet on paper and the console."""

from collections.abc import Mapping

from indicators.waste.rounds.model import ChosenBy, DistanceSource, LeftReason, Outcome, SkipReason
from indicators.waste.rounds.store import WasteRound

CHOSEN_BY: Mapping[ChosenBy, str] = {
    "threshold": "pleine maintenant",
    "forecast": "pleine avant la tournée suivante",
    "forced": "ajoutée à la main",
    "unknown": "niveau inconnu",
}
LEFT_REASONS: Mapping[LeftReason, str] = {
    "unknown_level": "niveau inconnu : capteur muet depuis trop longtemps",
    "never_measured": "niveau inconnu : jamais mesuré",
    "no_position": "sans position",
    "no_volume": "sans volume",
    "too_large": "plus que ce qu'un camion vide peut prendre",
    "no_room": "pas le temps pendant les horaires",
}
OUTCOMES: Mapping[Outcome, str] = {"emptied": "vidée", "skipped": "non vidée"}
SKIP_REASONS: Mapping[SkipReason, str] = {
    "inaccessible": "inaccessible",
    "not_full": "pas assez pleine",
    "damaged": "borne abîmée",
    "wrong_content": "contenu non conforme",
    "truck_full": "camion plein",
    "out_of_time": "pas le temps",
    "other": "autre motif",
}
SOURCES: Mapping[DistanceSource, str] = {
    "matrix": "distances de la table fournie",
    "osrm": "distances par la route (OSRM)",
    "great_circle": "distances à vol d'oiseau multipliées par 1,3",
}


def amount(value: float) -> str:
    """A whole number as people read it."""
    return f"{value:.0f}"


def kilometres(metres: float) -> str:
    """Metres as kilometres, with a decimal comma."""
    return f"{metres / 1000:.1f} km".replace(".", ",")


def title_of(one: WasteRound) -> str:
    """What a round is called."""
    return one.name or f"Tournée {one.id} du {one.planned_for:%d/%m/%Y}"


def method_of(one: WasteRound) -> str:
    """How its kilometres were counted, and what they are compared with."""
    return (
        f"{SOURCES[one.distance_source]} ; « avant » : les {one.bins_before} bornes du même choix, pleines ou "
        "non, avec les mêmes camions, sans horaires, dans l'ordre le plus court que trouve le même calcul"
    )
