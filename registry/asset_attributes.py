"""What the attributes of each kind of asset may be; those of a kind that a tenant has invented are free. Pure.

A cabinet has its contract, a circuit its output, a light point its lamp, a container its geometry. What a row had
before there were rules it keeps: only what is new in it is checked, and `issues_of` says what is wrong with it.
"""

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Of every kind: read by alerting, by the decoders and by the report on legal hours (`activity`: from when until
# when people are there), and kept of an asset that was transferred.
COMMON = frozenset({"activity", "calendar", "container", "transferred"})
# What the program writes itself.
INTERNAL = frozenset({"transferred", "lighting_unread"})
PDL = re.compile(r"\d{14}")
MASKED_PDL = re.compile(r"\*{10}\d{4}")
PDL_MASK = "*" * 10
PDL_SHOWN = 4
TEXT_MOST = 100


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute: `form` is text, number, whole, boolean or pdl; bounds of numbers are inclusive.

    Of those that every kind may have also object and times, which others check (`decoders.containers`). The unit
    is a code of UCUM, as of quantities. One that is `required` has to be given when the asset is made.
    """

    name: str
    form: str
    french: str
    example: str
    least: float = 0
    most: float = math.inf
    pattern: str = ""
    unit: str = ""
    required: bool = False


PROTECTED = Attribute("protected", "boolean", "protégé : aucun ordre ne l'éteint", "non")
RATED_POWER = Attribute(
    "rated_power_w", "number", "puissance nominale de ses lampes, en W", "2400", 0, 1_000_000, unit="W"
)
LEGAL_CATEGORY = Attribute(
    "legal_category", "text", "catégorie de l'arrêté du 27 décembre 2018, de a à g", "a", pattern="[a-g]"
)
SURFACE = Attribute("surface_m2", "number", "surface, en m²", "54", 0, 1_000_000, unit="m2")
FLOOR = Attribute("floor", "text", "étage", "1")
YEAR = Attribute("year", "whole", "année de construction ou de pose", "1987", 1000, 2200)
MODEL, SERIAL = (
    Attribute("model", "text", "modèle", "B4"),
    Attribute("serial_number", "text", "numéro de série", "A12"),
)
VOLUME = Attribute("volume_l", "number", "volume utile, en litres", "4000", 1, 100_000, unit="L")
DIAMETER = Attribute("diameter_mm", "number", "diamètre nominal, en mm", "15", 1, 5_000, unit="mm")
DENSITY = Attribute(
    "density_kg_m3", "number", "masse volumique de ce qu'il contient, en kg/m³", "330", 1, 5_000, unit="kg/m3"
)
# What every kind may have.
OF_EVERY_KIND = (
    Attribute(
        "container", "object", "géométrie d'un conteneur : empty_distance_mm et full_distance_mm, ou table de "
        "couples [distance, pourcentage] ; dead_zone_mm",
        '{"empty_distance_mm": 1700, "full_distance_mm": 300}', unit="mm"
    ),
    Attribute("calendar", "text", "nom d'un calendrier d'alertes : quand on y est", "ecoles"),
    Attribute("activity", "times", "de quelle heure à quelle heure on y travaille", '["08:00", "19:00"]'),
)  # fmt: skip
CABINET, CIRCUIT, LIGHT_POINT = "lighting_cabinet", "lighting_circuit", "light_point"
ATTRIBUTES: Mapping[str, tuple[Attribute, ...]] = {
    CABINET: (
        Attribute("contract_power_kva", "number", "puissance souscrite, en kVA", "18", 0.1, 1000, unit="kV.A"),
        Attribute("phases", "whole", "nombre de phases, 1 ou 3", "3", 1, 3),
        Attribute("pdl", "pdl", "point de livraison, 14 chiffres : 4 sont gardés", "**********1234"),
        # Of one that is its own and only circuit.
        PROTECTED,
        RATED_POWER,
        LEGAL_CATEGORY,
    ),
    CIRCUIT: (
        Attribute(
            "output", "text", "sortie de l'armoire qui l'alimente, telle que son capteur la nomme", "1",
            pattern=r"[A-Za-z0-9_.-]{1,20}",
        ),
        PROTECTED,
        RATED_POWER,
        LEGAL_CATEGORY,
    ),
    LIGHT_POINT: (
        Attribute("lamp", "text", "lampe ou luminaire", "LED 4000 lm"),
        Attribute("power_w", "number", "puissance, en W", "36", 0, 5_000, unit="W"),
        Attribute("driver", "text", "alimentation ou ballast", "Dali"),
        Attribute("pole", "text", "mât, console ou façade", "mât 6 m"),
    ),
    **dict.fromkeys(
        ("waste_container", "glass_container", "paper_container", "packaging_container", "textile_container"),
        (VOLUME, DENSITY, MODEL, SERIAL, YEAR),
    ),
    "room": (
        SURFACE, FLOOR, Attribute("capacity", "whole", "combien de personnes elle accueille", "28", 0, 100_000),
        Attribute("use", "text", "à quoi elle sert", "classe"),
    ),
    "building": (
        SURFACE, YEAR, Attribute("use", "text", "à quoi il sert", "école"),
        Attribute("heating", "text", "énergie du chauffage", "gaz"),
        Attribute("occupants", "whole", "combien de personnes y sont", "140", 0, 100_000),
    ),
    "dwelling": (
        SURFACE, FLOOR, Attribute("door", "text", "porte", "gauche"),
        Attribute("occupant", "text", "qui y habite : donnée personnelle, effacée avec ses mesures", "M. X"),
        Attribute("occupants", "whole", "combien de personnes y habitent", "3", 0, 1_000),
    ),
    **dict.fromkeys(("water_meter", "sub_meter", "gas_meter"), (DIAMETER, MODEL, SERIAL, YEAR)),
    "heat_meter": (DIAMETER, MODEL, SERIAL, YEAR),
    "electricity_meter": (
        Attribute("contract_power_kva", "number", "puissance souscrite, en kVA", "36", 0.1, 100_000, unit="kV.A"),
        Attribute("pdl", "pdl", "point de livraison, 14 chiffres : 4 sont gardés", "**********1234"),
        MODEL, SERIAL, YEAR,
    ),
    "parking_space": (Attribute("use", "text", "à qui elle est réservée", "personnes à mobilité réduite"),),
    "weather_station": (
        MODEL, SERIAL, YEAR,
        Attribute("height_m", "number", "hauteur au-dessus du sol, en m", "2", 0, 500, unit="m"),
    ),
}  # fmt: skip


LABELS_FR: Mapping[str, str] = {
    CABINET: "Armoire d'éclairage",
    CIRCUIT: "Circuit d'éclairage",
    LIGHT_POINT: "Point lumineux",
    "waste_container": "Conteneur à déchets",
    "glass_container": "Borne à verre",
    "paper_container": "Borne à papier",
    "packaging_container": "Borne à emballages",
    "textile_container": "Borne à textile",
    "room": "Salle",
    "building": "Bâtiment",
    "dwelling": "Logement",
    "water_meter": "Compteur d'eau",
    "sub_meter": "Sous-compteur",
    "gas_meter": "Compteur de gaz",
    "heat_meter": "Compteur de chaleur",
    "electricity_meter": "Compteur électrique",
    "parking_space": "Place de stationnement",
    "weather_station": "Station météo",
}


class InvalidAttributes(ValueError):
    """What is wrong, in French, by attribute."""

    def __init__(self, wrong: Mapping[str, str]) -> None:
        super().__init__(" ; ".join(f"{name} : {why}" for name, why in wrong.items()))
        self.wrong = dict(wrong)


@dataclass(slots=True)
class _Checked:
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    wrong: dict[str, str] = field(default_factory=dict[str, str])


def checked_attributes(
    kind: str, given: Mapping[str, Any], former: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The attributes as they are kept; of another kind those that were given.

    What was in `former`, with the same value, is not asked about.

    Raises:
        InvalidAttributes: one has no such name in this kind, or no such value.
    """
    known = {attribute.name: attribute for attribute in ATTRIBUTES.get(kind, ())}
    if not known:
        return dict(given)
    checked = _Checked()
    for name, value in given.items():
        if name in COMMON or (former is not None and name in former and former[name] == value):
            checked.attributes[name] = value
        elif name not in known:
            checked.wrong[name] = f"pas d'attribut de ce nom{nearest(name, [*known, *(COMMON - INTERNAL)])}"
        elif (why := wrong_value(known[name], value)) is not None:
            checked.wrong[name] = why
        else:
            checked.attributes[name] = kept(known[name], value)
    for name in (one.name for one in known.values() if one.required and former is None):
        if name not in given:
            checked.wrong[name] = "attribut obligatoire"
    if checked.wrong:
        raise InvalidAttributes(checked.wrong)
    return checked.attributes


def issues_of(kind: str, attributes: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the attributes of a row, in French, by attribute."""
    try:
        checked_attributes(kind, {name: value for name, value in attributes.items() if name not in INTERNAL})
    except InvalidAttributes as invalid:
        return invalid.wrong
    return {}


def nearest(name: str, known: Mapping[str, Any] | list[str]) -> str:
    """The name that was probably meant, in French; empty when there is none."""
    found = difflib.get_close_matches(name.lower(), list(known), 1, 0.6)
    return f" ; vouliez-vous dire « {found[0]} » ?" if found else ""


def wrong_value(attribute: Attribute, value: Any) -> str | None:
    """Why an attribute may not have this value, in French; None: it may."""
    match attribute.form:
        case "number" | "whole":
            return _wrong_number(attribute, value)
        case "boolean":
            return None if isinstance(value, bool) else "true ou false attendu"
        case "pdl":
            is_one = isinstance(value, str) and (PDL.fullmatch(value) or MASKED_PDL.fullmatch(value))
            return None if is_one else "14 chiffres attendus"
        case _:
            return _wrong_text(attribute, value)


def _wrong_number(attribute: Attribute, value: Any) -> str | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or (attribute.form == "whole" and value != int(value)):
        return "nombre entier attendu" if attribute.form == "whole" else "nombre attendu"
    if attribute.name == "phases" and value not in (1, 3):
        return "1 ou 3 attendu"
    if not attribute.least <= value <= attribute.most:
        return f"entre {attribute.least:g} et {attribute.most:.0f} attendu"
    return None


def _wrong_text(attribute: Attribute, value: Any) -> str | None:
    if not isinstance(value, str) or not 1 <= len(value) <= TEXT_MOST or not value.isprintable():
        return f"texte de 1 à {TEXT_MOST} caractères attendu"
    if attribute.pattern and not re.fullmatch(attribute.pattern, value):
        return "lettres, chiffres, tirets et points attendus, 20 au plus"
    return None


def kept(attribute: Attribute, value: Any) -> Any:
    """A value as it is stored: of a delivery point the last digits alone."""
    if attribute.form == "pdl":
        return PDL_MASK + value[-PDL_SHOWN:]
    return int(value) if attribute.form == "whole" else value
