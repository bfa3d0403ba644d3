"""The kinds of a bulk import and the columns of their files; model files and exports have the same. Pure."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from registry.asset_attributes import ATTRIBUTES, CABINET, CIRCUIT, LIGHT_POINT, Attribute


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `form` is what its cells hold, `parent` the kind of asset that it names."""

    name: str
    form: str
    french: str
    example: str
    is_required: bool = False
    least: float = 0
    most: float = 0
    parent: str = ""
    attribute: Attribute | None = None

    @property
    def is_secret(self) -> bool:
        """Whether it holds a key: in no export, in no refused line."""
        return self.form == "key"


@dataclass(frozen=True, slots=True)
class ImportKind:
    """What a file has: its lines are known by the column `key`, together with those of `within`.

    `asset_kind` is empty where it holds no assets, `EVERY_KIND` where each line says which. `quota`: how many more
    there may be. GeoJSON is read as points, or, with `has_outlines`, as outlines of communes.
    """

    name: str
    french: str
    key: str
    asset_kind: str
    columns: tuple[Column, ...]
    quota: str = "assets"
    within: tuple[str, ...] = ()
    has_outlines: bool = False

    def key_of(self, values: Mapping[str, Any]) -> str | None:
        """By which a line is known among those of its file; None: it lacks that."""
        found = [values.get(name) for name in (*self.within, self.key)]
        return None if None in found else "\0".join(map(str, found))

    @property
    def by_name(self) -> Mapping[str, Column]:
        """The columns by their names."""
        return {column.name: column for column in self.columns}


REFERENCE_MOST = 100
EVERY_KIND = "*"
TEXT_OF_OUTLINE_MOST = 1_000_000


def _reference(of: str, example: str) -> Column:
    text = f"référence {of} dans votre logiciel, unique ; elle retrouve la ligne à l'import suivant"
    return Column("external_reference", "reference", text, example, True, 1, REFERENCE_MOST)


def _name(most: str, example: str) -> Column:
    return Column("name", "text", f"nom ; absent à la création : {most}", example, False, 1, 200)


PLACE = (
    Column("insee", "insee", "code INSEE de la commune", "29103"),
    Column("commune", "text", "nom de la commune ; absent : celui du code INSEE", "Landerneau", False, 1, 200),
    Column("street", "text", "voie, ou lieu", "4 place du Marché", False, 1, 200),
    Column("quarter", "text", "quartier", "Centre", False, 1, 63),
    Column("latitude", "number", "latitude, degrés WGS 84", "48,4499", False, -90, 90),
    Column("longitude", "number", "longitude, degrés WGS 84", "-4,2516", False, -180, 180),
    Column("tags", "tags", "étiquettes, séparées par des espaces", "eclairage centre"),
)
# Instead of latitude and longitude; not in exports.
LAMBERT = (
    Column(
        "x", "number", "est, mètres Lambert-93, à la place de latitude et longitude", "164230,5", False, -1e8, 1e8
    ),
    Column("y", "number", "nord, mètres Lambert-93", "6837430,2", False, -1e8, 1e8),
)


def _attributes(kind: str, *required: str) -> tuple[Column, ...]:
    return tuple(
        Column(
            one.name,
            one.form,
            one.french,
            one.example.replace(".", ","),
            one.name in required,
            one.least,
            one.most,
            attribute=one,
        )
        for one in ATTRIBUTES[kind]
    )


CABINETS = ImportKind(
    "cabinets",
    "armoires d'éclairage",
    "external_reference",
    CABINET,
    (
        _reference("de l'armoire", "ARM-0012"),
        _name("la référence", "Armoire Marché"),
        *PLACE,
        *_attributes(CABINET),
    ),
)
CIRCUITS = ImportKind(
    "circuits",
    "circuits d'armoire",
    "external_reference",
    CIRCUIT,
    (
        _reference("du circuit", "ARM-0012-1"),
        Column("cabinet", "reference", "référence de son armoire", "ARM-0012", True, 1, REFERENCE_MOST, CABINET),
        _name("la référence", "Départ 1"),
        *_attributes(CIRCUIT, "output"),
        *PLACE,
    ),
)
LIGHT_POINTS = ImportKind(
    "light-points",
    "points lumineux",
    "external_reference",
    LIGHT_POINT,
    (
        _reference("du point lumineux", "PL-30412"),
        Column(
            "circuit", "reference", "référence de son circuit", "ARM-0012-1", False, 1, REFERENCE_MOST, CIRCUIT
        ),
        Column(
            "cabinet", "reference", "référence de son armoire, sans circuit", "", False, 1, REFERENCE_MOST, CABINET
        ),
        _name("la référence", "Candélabre 3"),
        *_attributes(LIGHT_POINT),
        *PLACE,
    ),
)
DEVICES = ImportKind(
    "devices",
    "capteurs",
    "dev_eui",
    "",
    (
        Column("dev_eui", "eui", "DevEUI, 16 chiffres hexadécimaux", "70b3d57ed0001234", True),
        Column("join_eui", "eui", "JoinEUI ; il va avec app_key", "70b3d57ed0001000"),
        Column("name", "text", "nom ; absent à la création : le DevEUI", "Horloge ARM-0012", False, 1, 200),
        Column("device_profile_id", "whole", "numéro du profil de ce modèle", "42", False, 1, 2**31 - 1),
        Column("device_profile", "text", "ou son nom", "", False, 1, 200),
        Column("app_key", "key", "AppKey (OTAA), 32 chiffres hexadécimaux", "000102030405060708090a0b0c0d0e0f"),
        Column("join_nonce", "whole", "dernier JoinNonce donné par l'autre LNS", "", False, 0, 2**24 - 1),
        Column("lns_source_id", "whole", "source dont le LNS lui parle encore", "", False, 1, 2**31 - 1),
        Column("dev_addr", "dev_addr", "session qui continue : DevAddr", ""),
        Column("nwk_s_key", "key", "session : NwkSKey", ""),
        Column("app_s_key", "key", "session : AppSKey", ""),
        Column("f_cnt_up", "whole", "session : prochain FCntUp attendu", "", False, 0, 2**32 - 1),
        Column("f_cnt_down", "whole", "session : prochain FCntDown à utiliser", "", False, 0, 2**32 - 1),
        Column("rx1_delay", "whole", "session : délai de RX1, secondes", "", False, 1, 15),
        Column("rx1_dr_offset", "whole", "session : décalage de débit de RX1", "", False, 0, 5),
        Column("rx2_data_rate", "whole", "session : débit de RX2", "", False, 0, 5),
        Column("rx2_frequency", "whole", "session : fréquence de RX2, Hz", "", False, 863_000_000, 870_000_000),
        Column("asset_kind", "text", "type de l'équipement qu'il sert", "lighting_cabinet", False, 1, 63),
        Column("asset", "reference", "référence de l'équipement qu'il sert", "ARM-0012", False, 1, REFERENCE_MOST),
        Column("position", "text", "sa place, quand plusieurs le servent", "", False, 1, 63),
    ),
    "devices",
)
ASSETS = ImportKind(
    "assets",
    "actifs de tout type",
    "external_reference",
    EVERY_KIND,
    (
        Column("kind", "word", "type de l'actif", "glass_container", True, 1, 63),
        _reference("de l'actif", "BV-0012"),
        _name("la référence", "Borne à verre 12"),
        *PLACE,
        Column("parent_kind", "word", "type de ce dont il dépend ; il va avec parent", "", False, 1, 63),
        Column("parent", "reference", "référence de ce dont il dépend", "", False, 1, REFERENCE_MOST),
        Column("attributes", "json", "ses attributs, en JSON", '{"container": {"empty_distance_mm": 1700}}'),
    ),
    within=("kind",),
)
GATEWAYS = ImportKind(
    "gateways",
    "passerelles",
    "gateway_id",
    "",
    (
        Column("gateway_id", "eui", "EUI de la passerelle, 16 chiffres hexadécimaux", "0080e115000a9b72", True),
        Column("name", "text", "nom ; absent à la création : son EUI", "Passerelle Mairie", False, 1, 200),
        Column("site", "text", "où elle est posée", "Clocher de Landerneau", False, 0, 200),
        Column("latitude", "number", "latitude, degrés WGS 84", "48,4499", False, -90, 90),
        Column("longitude", "number", "longitude, degrés WGS 84", "-4,2516", False, -180, 180),
        Column("antenna_gain", "number", "gain de l'antenne, pertes du câble déduites, dBi", "3", False, -10, 20),
        Column(
            "backhaul", "choice", "comment elle nous joint : ethernet, fibre, dsl, 4g, 5g, wifi, satellite, other",
            "4g",
        ),
        Column("sim", "text", "carte SIM : ICCID, ou numéro de ligne", "8933150319000000000", False, 0, 40),
        Column("purchase_cost_eur", "number", "coût d'achat et de pose, €", "7500", False, 0, 1e6),
        Column("yearly_cost_eur", "number", "coût par an, €", "500", False, 0, 1e6),
    ),
    "gateways",
)  # fmt: skip
CONTACTS = ImportKind(
    "contacts",
    "contacts des équipes",
    "email",
    "",
    (
        Column("team", "text", "équipe, par son nom : elle existe déjà", "Voirie", True, 1, 200),
        Column("email", "text", "adresse de courrier", "astreinte@ville.fr", True, 3, 254),
        Column("name", "text", "nom ; absent à la création : l'adresse", "Astreinte", False, 1, 200),
        Column("rung", "whole", "échelon : 0 est prévenu d'abord", "0", False, 0, 9),
        Column("after_minutes", "whole", "attente avant cet échelon, minutes", "30", False, 1, 10_080),
    ),
    "contacts",
    ("team",),
)
RULES = ImportKind(
    "rules",
    "règles d'alerte",
    "name",
    "",
    (
        Column("name", "text", "nom de la règle", "co2_ecoles", True, 1, 63),
        Column("kind", "text", "threshold, range, boolean, silence, loss, flat…", "threshold", True, 1, 63),
        Column("quantity", "text", "grandeur", "co2", False, 1, 63),
        Column("severity", "text", "info, warning, major ou critical", "warning", True, 1, 20),
        Column("message", "text", "ce qui est envoyé", "{asset} ({place}) : CO2 à {value}.", True, 1, 1000),
        Column("enabled", "boolean", "active ou non ; absent à la création : oui", "oui"),
        Column("asset_kinds", "tags", "types d'actifs, séparés par des espaces ; absent : tous", "room"),
        Column("tags", "tags", "étiquettes, séparées par des espaces", ""),
        Column("fire_op", "text", "s'ouvre si la valeur est >, >=, <, <=", ">", False, 1, 2),
        Column("fire_value", "number", "que ce seuil", "1500", False, -1e12, 1e12),
        Column("clear_op", "text", "se ferme si elle est", "<", False, 1, 2),
        Column("clear_value", "number", "que ce seuil", "1200", False, -1e12, 1e12),
        Column("for_seconds", "whole", "après tant de secondes", "600", False, 0, 31_536_000),
        Column("for_readings", "whole", "ou tant de mesures", "", False, 1, 100),
        Column("team", "text", "équipe à prévenir, par son nom", "", False, 1, 200),
        Column("calendar", "text", "calendrier, par son nom", "", False, 1, 200),
        Column("more", "json", "le reste de la règle, en JSON, comme POST /v1/alert-rules", ""),
    ),
    "alert_rules",
)  # fmt: skip
OUTLINES = ImportKind(
    "commune-outlines",
    "contours des communes",
    "insee",
    "",
    (
        Column("insee", "insee", "code INSEE", "29103", True),
        Column("name", "text", "nom de la commune", "Landerneau", True, 1, 200),
        Column(
            "geometry", "json", "géométrie de GeoJSON, Polygon ou MultiPolygon, WGS 84",
            '{"type":"Polygon","coordinates":[[[-4.3,48.42],[-4.2,48.42],[-4.2,48.48],[-4.3,48.42]]]}',
            True, 0, TEXT_OF_OUTLINE_MOST,
        ),
    ),
    "",
    has_outlines=True,
)  # fmt: skip
WEATHER_DAYS = ImportKind(
    "weather-days",
    "températures journalières",
    "day",
    "",
    (
        Column("station", "text", "station, par son numéro ou son nom", "29075001", True, 1, 100),
        Column("day", "day", "jour : 2026-01-31, 31/01/2026 ou 20260131", "2026-01-31", True),
        Column("tn", "number", "température la plus basse du jour, °C", "-2,4", True, -90, 60),
        Column("tx", "number", "température la plus haute du jour, °C", "6,1", True, -90, 60),
        Column("source", "text", "d'où elles viennent", "Météo-France, données ouvertes", False, 0, 200),
    ),
    "",
    ("station",),
)
WEIGHINGS = ImportKind(
    "weighings",
    "pesées au pont-bascule",
    "ticket",
    "",
    (
        Column("ticket", "text", "numéro du bon de pesée, unique", "B-2026-0412", True, 1, 100),
        Column(
            "stream", "word", "flux : glass verre, paper papier, packaging emballages, textile, waste ordures",
            "glass", True, 1, 63,
        ),
        Column("weighed_at", "moment", "quand : 2026-01-31 14:05, à l'heure locale", "2026-01-31 14:05", True),
        Column("net_kg", "number", "poids net, kg", "8460", True, 1, 60_000),
        Column(
            "round", "whole", "numéro de la tournée ; absent : tout ce qui a été vidé ce jour-là", "", False, 1,
            2**31 - 1,
        ),
    ),
    "",
)  # fmt: skip
KINDS: Mapping[str, ImportKind] = {
    kind.name: kind
    for kind in (
        CABINETS,
        CIRCUITS,
        LIGHT_POINTS,
        DEVICES,
        ASSETS,
        GATEWAYS,
        CONTACTS,
        RULES,
        OUTLINES,
        WEATHER_DAYS,
        WEIGHINGS,
    )
}


def of_one_kind(kind: ImportKind, asset_kind: str, parent_kind: str) -> ImportKind:
    """Lines of every kind of asset that are of this one, and hang on that one (empty: on nothing)."""
    columns = [replace(one, parent=parent_kind) if one.name == "parent" else one for one in kind.columns]
    return replace(kind, asset_kind=asset_kind, columns=tuple(columns))


# As people write them, whole or cut: longer than any EUI.
KEY = re.compile(r"[0-9a-f](?:[\s,:-]*[0-9a-f]){19,}", re.IGNORECASE)

# A spreadsheet takes what begins so for a formula; numbers with a sign are none.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def read_columns(kind: ImportKind) -> Mapping[str, Column]:
    """What a file of this kind may have, by name."""
    extra = LAMBERT if kind.asset_kind else ()
    return {column.name: column for column in (*kind.columns, *extra)}


def csv_lines(rows: Iterable[Iterable[str]]) -> str:
    """Rows as CSV that French spreadsheets open: semicolons; the reader takes commas as well."""
    output = io.StringIO()
    csv.writer(output, delimiter=";", lineterminator="\r\n").writerows(rows)
    return output.getvalue()


def harmless(cell: str) -> str:
    """The cell as no spreadsheet takes it for a formula; `files.plain` takes the apostrophe away again."""
    is_number = cell[:1] in ("-", "+") and cell[1:].replace(",", "", 1).replace(".", "", 1).isdecimal()
    return f"'{cell}" if cell.startswith(FORMULA) and not is_number else cell


def without_keys(text: str) -> str:
    """The text, which may be stored and shown, without what may be a key that stands in the wrong place."""
    return KEY.sub("…", text)


def model_file(kind: ImportKind) -> str:
    """A header with one line that shows what goes where."""
    return csv_lines([[one.name for one in kind.columns], [harmless(one.example) for one in kind.columns]])
