"""The filters and the texts that several lists share."""

from datetime import timedelta
from typing import Annotated

from fastapi import Query
from pydantic import BeforeValidator

from api.fields import PRINTABLE


def _seconds(interval: timedelta | None) -> float | None:
    return None if interval is None else interval.total_seconds()


ExpectedInterval = Annotated[float | None, BeforeValidator(_seconds)]
SORT_TEXT = (
    "Selon quoi la liste est triée ; précédé de `-` : à l'envers. Ce dont la colonne ne dit rien vient à la fin ; "
    "à égalité, dans l'ordre des `id`. `distance` : de `near`"
)
BATTERY_TEXT = (
    "Charge de la pile, de 0 à 100 : ce qu'il en mesure, sinon ce qu'il répond à DevStatusReq ; null : inconnue"
)
BEST_TEXT = (
    "EUI de la passerelle qui a reçu le plus fort sa dernière trame, de moins de huit jours ; null : aucune, ou "
    "elle est à une autre collectivité"
)
Tag = Annotated[str | None, Query(max_length=63, pattern=PRINTABLE, description="Étiquette de l'actif")]
Quarter = Annotated[str | None, Query(max_length=63, pattern=PRINTABLE, description="Quartier de l'actif")]
Model = Annotated[
    str | None,
    Query(
        max_length=200,
        pattern=PRINTABLE,
        description="Modèle de capteur, ou nom de son profil",
        examples=["EM400-UDL"],
    ),
]
