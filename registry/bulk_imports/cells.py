"""From cells as people type them to values: a decimal comma, « oui », a code whose first zero is lost. Pure."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any, cast

from registry.asset_attributes import wrong_value
from registry.bulk_imports.kinds import Column

NUMBER = re.compile(r"[+-]?\d{1,15}([.,]\d{0,15})?([eE][+-]?\d{1,2})?|[+-]?[.,]\d{1,15}")
BLANKS = re.compile(r"[\s\u00a0\u202f]")
INSEE = re.compile(r"\d[\dAB]\d{3}")
TAG = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
TAGS_MOST = 20
YES = frozenset({"oui", "o", "vrai", "true", "1", "x", "yes"})
NO = frozenset({"non", "n", "faux", "false", "0", "no"})
DAY = re.compile(r"([12]\d{3})(-?)(\d{2})\2(\d{2})|(\d{1,2})/(\d{1,2})/([12]\d{3})", re.ASCII)
MOMENT = re.compile(r"(\S{8,10})[T ]+(\d{2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:\d{2})?)", re.ASCII)
WORD = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
JSON_MOST = 32_000
CHOICES = {"backhaul": ("ethernet", "fibre", "dsl", "4g", "5g", "wifi", "satellite", "other")}
HEXADECIMAL = {"eui": 16, "key": 32, "dev_addr": 8}


class WrongCell(ValueError):
    """What is wrong with it, in French, without what it holds: it may be a key."""


@dataclass(slots=True)
class Values:
    """The values of one line by column, those that are filled in; what is wrong by column, in French."""

    given: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)
    wrong: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


def read_values(header: tuple[str, ...], cells: list[str], columns: Mapping[str, Column]) -> Values:
    """The cells of one line as values; an empty one says nothing."""
    values = Values()
    if len(cells) > len(header) and any(cells[len(header) :]):
        values.wrong.append(("", f"{len(cells)} cellules pour {len(header)} colonnes"))
        return values
    for name, cell in zip(header, cells, strict=False):
        column = columns.get(name)
        if column is None or not cell:
            continue
        try:
            values.given[name] = _value(column, cell)
        except WrongCell as wrong:
            values.wrong.append((name, str(wrong)))
    return values


def _value(column: Column, cell: str) -> Any:
    value = _READ.get(column.form, _text)(column, cell)
    if column.attribute is not None and (why := wrong_value(column.attribute, value)) is not None:
        raise WrongCell(why)
    return value


def _number(column: Column, cell: str) -> float | int:
    text = BLANKS.sub("", cell)
    if not NUMBER.fullmatch(text):
        raise WrongCell("nombre attendu")
    value = float(text.replace(",", "."))
    if not math.isfinite(value) or (column.attribute is None and not column.least <= value <= column.most):
        raise WrongCell(f"entre {column.least:g} et {column.most:g} attendu")
    return int(value) if value.is_integer() and column.attribute is not None else value


def _whole(column: Column, cell: str) -> int:
    try:
        value = _number(column, cell)
    except WrongCell as wrong:
        raise WrongCell(str(wrong).replace("nombre attendu", "nombre entier attendu")) from None
    if value != int(value):
        raise WrongCell("nombre entier attendu")
    return int(value)


def _boolean(_column: Column, cell: str) -> bool:
    if (word := cell.lower()) in YES:
        return True
    if word in NO:
        return False
    raise WrongCell("oui ou non attendu")


def _insee(_column: Column, cell: str) -> str:
    code = cell.upper()
    # A spreadsheet takes 01004 for a number.
    code = f"0{code}" if len(code) == 4 and code.isdecimal() else code  # noqa: PLR2004 - One digit is lost.
    if not INSEE.fullmatch(code):
        raise WrongCell("code INSEE attendu, 5 caractères")
    return code


def _tags(_column: Column, cell: str) -> list[str]:
    tags = list(dict.fromkeys(cell.lower().replace(",", " ").split()))
    if len(tags) > TAGS_MOST or not all(map(TAG.fullmatch, tags)):
        raise WrongCell(f"mots sans accent ni majuscule, séparés par des espaces, {TAGS_MOST} au plus")
    return tags


def _hexadecimal(column: Column, cell: str) -> str:
    digits = HEXADECIMAL[column.form]
    text = re.sub(r"[\s:-]", "", cell).lower()
    if not re.fullmatch(rf"[0-9a-f]{{{digits}}}", text):
        raise WrongCell(f"{digits} chiffres hexadécimaux attendus")
    return text


def _text(column: Column, cell: str) -> str:
    if column.attribute is None and not len(cell) <= column.most:
        raise WrongCell(f"{column.most:.0f} caractères au plus")
    if not cell.isprintable():
        raise WrongCell("caractères de contrôle interdits")
    return cell


def _pdl(_column: Column, cell: str) -> str:
    return BLANKS.sub("", cell)


def _word(_column: Column, cell: str) -> str:
    if not WORD.fullmatch(cell):
        raise WrongCell("mot sans accent ni majuscule attendu")
    return cell


def _day(_column: Column, cell: str) -> date:
    parts = DAY.fullmatch(cell)
    year, month, day = (0, 0, 0) if parts is None else (int(one) for one in parts.groups() if one and one != "-")
    if parts is not None and "/" in cell:
        year, day = day, year
    try:
        return date(year, month, day)
    except ValueError:
        raise WrongCell("jour attendu : 2026-01-31, 31/01/2026 ou 20260131") from None


def _moment(column: Column, cell: str) -> datetime:
    """A day with its time; without an offset by local clocks, which the writer of the line knows."""
    parts = MOMENT.fullmatch(cell)
    if parts is None:
        raise WrongCell("jour et heure attendus : 2026-01-31 14:05 ou 31/01/2026 14:05")
    try:
        at = time.fromisoformat(parts[2])
    except ValueError:
        raise WrongCell("heure attendue de 00:00 à 23:59") from None
    return datetime.combine(_day(column, parts[1]), at)


def _choice(column: Column, cell: str) -> str:
    if (word := cell.lower()) not in CHOICES[column.name]:
        raise WrongCell(f"l'un de {', '.join(CHOICES[column.name])} attendu")
    return word


def _json(column: Column, cell: str) -> dict[str, Any]:
    if len(cell) > (column.most or JSON_MOST):
        raise WrongCell(f"{column.most or JSON_MOST:.0f} caractères au plus")
    try:
        value = json.loads(cell, parse_constant=_reject_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise WrongCell("objet JSON attendu")
    return cast(dict[str, Any], value)


def _reject_constant(name: str) -> None:
    raise ValueError(name)  # NaN, which no database stores.


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(text)  # 1e999 is a number in JSON, and none here.
    return value


_READ: Mapping[str, Callable[[Column, str], Any]] = {
    "number": _number,
    "whole": _whole,
    "boolean": _boolean,
    "insee": _insee,
    "tags": _tags,
    "pdl": _pdl,
    "word": _word,
    "day": _day,
    "moment": _moment,
    "choice": _choice,
    "json": _json,
    **dict.fromkeys(HEXADECIMAL, _hexadecimal),
}


def shown(value: Any) -> str:  # noqa: PLR0911 - One for each type.
    """A value as a cell of an export, which `read_values` reads as the same."""
    match value:
        case None:
            return ""
        case bool():
            return "oui" if value else "non"
        case float():
            return (f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else repr(value)).replace(".", ",")  # noqa: PLR2004 - All its digits.
        case list() | tuple():
            return " ".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType]
        case bytes():
            return value.hex()
        case dict():
            return json.dumps(value, ensure_ascii=False, sort_keys=True) if value else ""
        case _:
            return str(value)
