"""Forms that authorities ask for, as dated files of columns: which figure fills which. All are to be verified.

Ours are beside this module, and an operator's own of the same names take their place. A file says when it was
written and from what; nothing says that what is made with it conforms.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, cast

FormName = Literal["operat", "schools"]
TO_VERIFY = "à vérifier"
FIGURES: Mapping[FormName, frozenset[str]] = {
    "operat": frozenset(
        {
            "asset_id", "building", "commune", "year", "surface_m2", "occupants", "electricity_kwh", "gas_m3",
            "heat_kwh", "water_m3", "degree_days", "degree_days_method", "station",
        }
    ),
    "schools": frozenset(
        {
            "asset_id", "building", "commune", "year", "room_id", "room", "calendar", "hours", "known_hours",
            "co2_mean", "co2_highest", "percent_above_800", "percent_above_1500", "icone", "hours_below_400",
            "rooms", "rooms_to_measure", "rooms_measured", "is_enough",
        }
    ),
}  # fmt: skip
TEXTS = ("title", "status", "source")


class InvalidForm(ValueError):
    """A file that is no form; the message, in French, names the file and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class FormColumn:
    """A column as the form names it, the figure that fills it, and what somebody has to know of it."""

    name: str
    figure: str
    note: str


@dataclass(frozen=True, slots=True)
class Form:
    """A form as somebody wrote it down on a day, from a source."""

    title: str
    status: str
    as_of: date
    source: str
    columns: tuple[FormColumn, ...]


Forms = Mapping[FormName, Form]


def parse_form(name: FormName, text: str) -> Form:
    """The form of a file; raises InvalidForm."""
    try:
        read = tomllib.loads(text)
    except tomllib.TOMLDecodeError as malformed:
        raise InvalidForm(f"{name}.toml : ce n'est pas du TOML ({malformed})") from None
    if strange := read.keys() - {*TEXTS, "as_of", "columns"}:
        raise InvalidForm(f"{name}.toml : clé inconnue « {min(strange)} »")
    for key in TEXTS:
        if not isinstance(read.get(key), str) or not read[key].strip():
            raise InvalidForm(f"{name}.toml : « {key} » est un texte, et il y en a un")
    if type(read.get("as_of")) is not date:
        raise InvalidForm(f"{name}.toml : « as_of » est un jour, 2026-11-28 par exemple")
    return Form(read["title"], read["status"], read["as_of"], read["source"], _columns(name, read.get("columns")))


def _columns(name: FormName, given: Any) -> tuple[FormColumn, ...]:
    listed: list[Any] = cast(list[Any], given) if isinstance(given, list) else []
    if not listed:
        raise InvalidForm(f"{name}.toml : il faut au moins une colonne ([[columns]])")
    columns = [_column(name, number, one) for number, one in enumerate(listed, 1)]
    seen = set[str]()
    for one in columns:
        if one.name in seen:
            raise InvalidForm(f"{name}.toml : la colonne « {one.name} » y est deux fois")
        seen.add(one.name)
    return tuple(columns)


def _column(name: FormName, number: int, given: Any) -> FormColumn:
    where = f"{name}.toml, colonne {number}"
    if not isinstance(given, dict):
        raise InvalidForm(f"{where} : « name » et « figure » attendus")
    texts: dict[str, Any] = {"note": "", **given}
    if strange := texts.keys() - {"name", "figure", "note"}:
        raise InvalidForm(f"{where} : clé inconnue « {min(strange)} »")
    if not all(isinstance(one, str) for one in texts.values()) or not texts.get("name") or not texts.get("figure"):
        raise InvalidForm(f"{where} : « name » et « figure » attendus")
    if texts["figure"] not in FIGURES[name]:
        known = ", ".join(sorted(FIGURES[name]))
        raise InvalidForm(f"{where} : chiffre inconnu « {texts['figure']} » ; connus : {known}")
    return FormColumn(texts["name"], texts["figure"], texts["note"])


def read_forms(folder: Path | None = None) -> Forms:
    """Every form; one of the folder in place of ours. Raises InvalidForm.

    A folder without any of them is a mistake: nothing would take the place of anything.
    """
    own: dict[FormName, str] = {name: _own_text(name) for name in FIGURES}
    if folder is not None:
        found: dict[FormName, str] = {}
        for name in FIGURES:
            try:
                found[name] = (folder / f"{name}.toml").read_text("utf-8")
            except FileNotFoundError:
                continue
            except (OSError, UnicodeDecodeError) as unreadable:
                raise InvalidForm(f"{name}.toml : illisible ({unreadable})") from None
        if not found:
            raise InvalidForm(f"aucun formulaire dans {folder} : {named_files(list(FIGURES))} attendu")
        own |= found
    return {name: parse_form(name, text) for name, text in own.items()}


def named_files(names: Sequence[str]) -> str:
    """As people read them: « operat.toml ou schools.toml »."""
    return " ou ".join(f"{name}.toml" for name in names)


def _own_text(name: FormName) -> str:
    return files("indicators.buildings").joinpath("forms", f"{name}.toml").read_text("utf-8")
