"""Files of lines as people have them: CSV of a spreadsheet, GeoJSON of a geographic information system. Pure.

UTF-8 or CP1252, comma or semicolon, decimal comma or point are found out, never asked for.
"""

import csv
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from core.model.outlines import CODES, NAMES
from registry.asset_attributes import nearest
from registry.bulk_imports.kinds import Column, ImportKind, read_columns, without_keys

OCTETS_MOST = 64 << 20
# A line with every column at its longest has a few thousand characters.
LINE_MOST, OUTLINE_MOST = 64_000, 1_100_000
LINES_MOST = 500_000
# Of GeoJSON. Read into memory, octets of a hostile file take thirty times their room.
OBJECT_OCTETS_MOST, CRS_OCTETS_MOST = 1 << 20, 10_000
BRACES_AN_OBJECT = 4  # Its own, its properties', its geometry's, and one to spare.
# What a refused line has before its cells, so that a corrected file goes in as it is.
REPORTED = ("line", "column", "reason")
LAMBERT_93 = re.compile(r"(EPSG[:/]{1,2}(\d|\.)*[:/]?2154|LAMB(ERT)?-?_?93)$", re.IGNORECASE)
WGS_84 = re.compile(r"(CRS84|EPSG[:/]{1,2}(\d|\.)*[:/]?(4326|4979|4171))$", re.IGNORECASE)
LONG_WORD = 60


class UnreadableFile(ValueError):
    """The file cannot be read as a whole; the message says why, in French."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file, or one object: its number, from 1, and its cells, in the order of the header."""

    number: int
    cells: list[str]


@dataclass(frozen=True, slots=True)
class Table:
    """A file that was read: the columns that it has, how many lines, and the lines, to be had once."""

    header: tuple[str, ...]
    count: int
    lines: Iterator[Line]


def read_table(octets: bytes, kind: ImportKind, form: str, coordinates: str) -> Table:
    """The lines of a file; `form` is csv or geojson, `coordinates` those of GeoJSON that names none.

    Raises:
        UnreadableFile: it cannot be read, or its columns are not those of this kind. While `lines` are iterated,
            too.
    """
    if not octets.strip():
        raise UnreadableFile("le fichier est vide")
    if form == "geojson":
        return _read_geojson(octets, kind, coordinates)
    return _read_csv(_text_of(octets), kind)


def _text_of(octets: bytes) -> str:
    if octets.startswith(b"PK\x03\x04"):
        raise UnreadableFile("c'est un classeur de tableur : enregistrez-le en CSV (UTF-8)")
    if b"\0" in octets:
        raise UnreadableFile("ce n'est pas un fichier de texte")
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return octets.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise UnreadableFile("les caractères ne sont ni en UTF-8, ni en CP1252 (Windows)")


def _split(text: str, most: int = LINE_MOST) -> Iterator[str]:
    """Its lines, each with its end; a file of one endless line is none."""
    start, number = 0, 0
    while start < len(text):
        number += 1
        end = text.find("\n", start, start + most)
        if end < 0:
            if len(text) - start >= most:
                raise UnreadableFile(f"la ligne {number} dépasse {most} caractères")
            end = len(text) - 1
        # A Mac's file of before has no line feed.
        yield text[start : end + 1]
        start = end + 1


def _read_csv(text: str, kind: ImportKind) -> Table:
    if "\n" not in text:
        text = text.replace("\r", "\n")
    first = next(_split(text), "")
    delimiter = max(";,\t", key=first.count)
    try:
        header = tuple(
            name.strip().lower() for name in next(csv.reader([first], delimiter=delimiter), list[str]())
        )
    except csv.Error as wrong:
        raise UnreadableFile(f"ligne 1 : ce n'est pas du CSV ({wrong})") from None
    _check_header(header, kind)
    most = OUTLINE_MOST if kind.has_outlines else LINE_MOST
    count = sum(1 for _ in _rows(text, delimiter, most))
    if count > LINES_MOST:
        raise UnreadableFile(f"{count} lignes : {LINES_MOST} au plus, partagez le fichier")
    if not count:
        raise UnreadableFile("le fichier n'a pas de ligne après ses titres")
    return Table(header, count, _rows(text, delimiter, most))


def _rows(text: str, delimiter: str, most: int) -> Iterator[Line]:
    reader = csv.reader(_split(text, most), delimiter=delimiter)
    number = 0
    try:
        next(reader)
        while True:
            number = reader.line_num + 1
            with _allowing(most):
                cells = next(reader, None)
            if cells is None:
                return
            if any(cell.strip() for cell in cells):
                yield Line(number, [plain(cell) for cell in cells])
    except csv.Error as wrong:
        raise UnreadableFile(f"ligne {number} : ce n'est pas du CSV ({wrong})") from None


@contextmanager
def _allowing(most: int) -> Generator[None]:
    """Read longer cells than usual meanwhile: the limit is one for all readers of the process."""
    usual = csv.field_size_limit()
    csv.field_size_limit(max(most, usual))
    try:
        yield
    finally:
        csv.field_size_limit(usual)


def plain(cell: str) -> str:
    """The cell without what `kinds.harmless` put before it, and without blanks around."""
    stripped = cell.strip()
    return stripped[1:] if stripped[:1] == "'" and stripped[1:2] in ("=", "+", "-", "@") else stripped


def _check_header(header: Sequence[str], kind: ImportKind) -> None:
    known = read_columns(kind)
    wrong = [
        f"« {without_keys(name)[:LONG_WORD]} »{nearest(name, known)}"
        for name in header
        if name and name not in known and name not in REPORTED
    ]
    if wrong:
        raise UnreadableFile(f"colonnes inconnues : {', '.join(wrong)} (celles de ce type : {', '.join(known)})")
    _check_required(header, kind)
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise UnreadableFile(f"colonnes en double : {', '.join(twice)}")


def _check_required(header: Sequence[str], kind: ImportKind) -> None:
    """The key is always there; what only a new one needs is asked for line by line."""
    if kind.key not in header:
        near = nearest(kind.key, list(header))
        raise UnreadableFile(f"la colonne {kind.key} manque{near.replace('vouliez-vous dire', 'serait-ce')}")


class _Geometry(msgspec.Struct):
    type: str = ""
    coordinates: Any = None


class _Feature(msgspec.Struct):
    type: str = ""
    properties: dict[str, Any] | None = None
    geometry: _Geometry | None = None


class _Anything(msgspec.Struct, gc=False):
    """An object, whatever is in it."""


class _Outline(msgspec.Struct):
    """What every GeoJSON is; read first, since what has no objects but a million numbers is kept nowhere."""

    features: list[_Anything] = []


class _Collection(msgspec.Struct):
    """Objects are read one by one: as a whole they do not fit into memory."""

    type: str = ""
    features: list[msgspec.Raw] = []
    crs: msgspec.Raw = msgspec.Raw(b"null")


def _read_geojson(octets: bytes, kind: ImportKind, coordinates: str) -> Table:
    octets = octets.removeprefix(b"\xef\xbb\xbf")
    if octets.count(b"{") > BRACES_AN_OBJECT * LINES_MOST:
        raise UnreadableFile(f"plus de {LINES_MOST} objets, ou trop de niveaux : partagez le fichier")
    try:
        msgspec.json.decode(octets, type=_Outline)
        found = msgspec.json.decode(octets, type=_Collection)
        crs = _crs_of(found.crs)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise UnreadableFile(f"ce n'est pas du GeoJSON ({wrong})") from None
    if found.type != "FeatureCollection" or not found.features:
        raise UnreadableFile("une « FeatureCollection » avec au moins un objet est attendue")
    if len(found.features) > LINES_MOST:
        raise UnreadableFile(f"{len(found.features)} objets : {LINES_MOST} au plus, partagez le fichier")
    known = read_columns(kind)
    header = tuple(known)
    is_lambert = _is_lambert(crs, coordinates)
    if kind.has_outlines:
        lines = (Line(number, _outline_of(_feature(number, raw))) for number, raw in enumerate(found.features, 1))
        return Table(header, len(found.features), lines)
    _check_properties(_feature(1, found.features[0]).properties or {}, kind, known)
    return Table(
        header,
        len(found.features),
        (
            Line(number, _cells_of(_feature(number, raw), known, is_lambert=is_lambert))
            for number, raw in enumerate(found.features, 1)
        ),
    )


def _crs_of(raw: msgspec.Raw) -> dict[str, Any] | None:
    if len(raw) > CRS_OCTETS_MOST:
        raise UnreadableFile("le système de coordonnées (crs) est trop long")
    return msgspec.json.decode(raw, type=dict[str, Any] | None)


def _is_lambert(crs: Mapping[str, Any] | None, stated: str) -> bool:
    properties: Any = (crs or {}).get("properties")
    name = str(cast("dict[str, Any]", properties).get("name", "")) if isinstance(properties, dict) else ""
    if not name:
        return stated == "lambert93"
    if LAMBERT_93.search(name):
        return True
    if WGS_84.search(name):
        return False
    raise UnreadableFile(f"coordonnées en « {name[:LONG_WORD]} » : WGS 84 ou Lambert-93 attendu")


def _check_properties(first: Mapping[str, Any], kind: ImportKind, known: Mapping[str, Column]) -> None:
    """What a system adds of its own is left out; what is nearly the name of a column was meant to be it."""
    names = [name.strip().lower() for name in first]
    wrong = [
        f"« {without_keys(name)[:LONG_WORD]} »{meant}"
        for name in names
        if name not in known
        and (meant := nearest(name, [one for one in known if one not in names and len(one) > 1]))
    ]
    if kind.key not in names:
        raise UnreadableFile(f"la propriété {kind.key} manque" + (f" : {', '.join(wrong)}" if wrong else ""))
    if wrong:
        raise UnreadableFile(f"propriétés inconnues : {', '.join(wrong)}")


def _feature(number: int, raw: msgspec.Raw) -> _Feature:
    if len(raw) > OBJECT_OCTETS_MOST:
        raise UnreadableFile(f"l'objet {number} dépasse {OBJECT_OCTETS_MOST >> 20} Mo")
    try:
        return msgspec.json.decode(raw, type=_Feature)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise UnreadableFile(f"objet {number} : ce n'est pas du GeoJSON ({wrong})") from None


def _cells_of(feature: _Feature, known: Mapping[str, Column], *, is_lambert: bool) -> list[str]:
    given = {name.strip().lower(): value for name, value in (feature.properties or {}).items()}
    cells = {name: _text(given.get(name)) for name in known}
    place = _point_of(feature.geometry)
    if place is not None:
        names = ("x", "y") if is_lambert else ("longitude", "latitude")
        cells |= dict(zip(names, map(repr, place), strict=True))
    return [cells[name] for name in known]


def _outline_of(feature: _Feature) -> list[str]:
    """Code, name and geometry of a commune, whatever its file calls them."""
    given = {name.strip().lower(): _text(value) for name, value in (feature.properties or {}).items()}
    code, name = (next((given[one] for one in names if given.get(one)), "") for names in (CODES, NAMES))
    geometry = feature.geometry or _Geometry()
    shape = {"type": geometry.type, "coordinates": geometry.coordinates}
    return [code, " ".join(name.split()), msgspec.json.encode(shape).decode()]


def _point_of(geometry: _Geometry | None) -> tuple[float, float] | None:
    """Where an object is: its point, the first of several."""
    found: Any = geometry.coordinates if geometry else None
    if geometry is not None and geometry.type == "MultiPoint" and isinstance(found, list) and found:
        found = cast("list[Any]", found)[0]
    elif geometry is None or geometry.type != "Point":
        return None
    pair: list[Any] = cast("list[Any]", found)[:2] if isinstance(found, list) else []
    is_place = len(pair) == 2 and all(type(one) in (int, float) for one in pair)  # noqa: PLR2004 - A pair.
    return (float(pair[0]), float(pair[1])) if is_place else None


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "oui" if value else "non"
        case str():
            return value.strip()
        case float() if value.is_integer():
            return str(int(value))
        case int() | float():
            return repr(value)
        case _:
            return msgspec.json.encode(value).decode()[:LINE_MOST]
