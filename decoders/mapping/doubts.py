"""Why a rule that was proposed is to be confirmed by a person before it measures anything."""

from enum import StrEnum


class Doubt(StrEnum):
    """What is not known of a field; a mapping stores the code."""

    UNIT = "unit_not_stated"
    OTHER_UNIT = "unit_of_another_quantity"
    NAME = "name_not_understood"
    CODE = "may_be_a_code"
    VALUE = "value_implausible"
    EXTREME = "extreme_of_a_period"
    PART = "part_of_an_index"
    CONTENT = "content_of_a_container"
    CELL = "may_be_the_battery"
    SENSE = "sense_not_stated"
    ORDER = "instants_not_stated"
    PLACES = "places_not_named"


FRENCH = {
    Doubt.UNIT: "l'unité n'est pas dite",
    Doubt.OTHER_UNIT: "l'unité n'est pas celle que le nom annonce",
    Doubt.NAME: "le nom n'est pas compris en entier",
    Doubt.CODE: "peut être un code, pas une mesure",
    Doubt.VALUE: "une valeur d'exemple est invraisemblable",
    Doubt.EXTREME: "un extrême de la période, ou une limite",
    Doubt.PART: "un index cumulé est à côté : c'est ce qui s'y est ajouté",
    Doubt.CONTENT: "ce qu'un contenant contient, peut-être, pas un index",
    Doubt.CELL: "c'est la tension d'une pile : celle du capteur, peut-être",
    Doubt.SENSE: "ce que valent 0 et 1 n'est pas dit",
    Doubt.ORDER: "les instants de la série ne sont pas dits",
    Doubt.PLACES: "les éléments de la liste ne disent pas ce qu'ils sont",
}
