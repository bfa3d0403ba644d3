"""The kinds of a bulk import and the columns of their files; model files and exports have the same. Pure."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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
    """What a file has: its lines are known by the column `key`. `asset_kind` is empty for devices."""

    name: str
    french: str
    key: str
    asset_kind: str
    columns: tuple[Column, ...]

    @property
    def by_name(self) -> Mapping[str, Column]:
        """The columns by their names."""
        return {column.name: column for column in self.columns}


REFERENCE_MOST = 100


def _reference(of: str, example: str) -> Column:
    text = f"référence {of} dans votre logiciel, unique ; elle retrouve la ligne à l'import suivant"
    return Column("external_reference", "reference", text, example, True, 1, REFERENCE_MOST)


def _name(most: str, example: str) -> Column:
    return Column("name", "text", f"nom ; absent à la création : {most}", example, False, 1, 200)


PLACE = (
    Column("insee", "insee", "code INSEE de la commune", "29103"),
    Column("commune", "text", "nom de la commune ; absent : celui du code INSEE", "Landerneau", False, 1, 200),
    Column("street", "text", "voie, ou lieu", "4 place du Marché", False, 1, 200),
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
)
KINDS: Mapping[str, ImportKind] = {kind.name: kind for kind in (CABINETS, CIRCUITS, LIGHT_POINTS, DEVICES)}

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
