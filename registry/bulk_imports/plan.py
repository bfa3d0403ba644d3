"""What a batch of lines changes: compared with what is there, nothing is written that is there already. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry.asset_attributes import InvalidAttributes, checked_attributes, kept
from registry.bulk_imports.cells import Values, read_values
from registry.bulk_imports.files import Line
from registry.bulk_imports.kinds import Column, ImportKind, without_keys
from registry.bulk_imports.lambert93 import to_degrees

NAMES_TOGETHER = frozenset({"lighting_circuit", "light_point"})
"""Kinds of which several may have one name: their reference tells them apart."""
# Of a line that is refused: each reason is kept with all of its cells, which may be all wrong and endless.
REASONS_MOST = 5
CELL_MOST = 300


@dataclass(frozen=True, slots=True)
class Rejection:
    """A line that does not go in: its column and why, in French. `cells` have no key in them."""

    line: int
    column: str
    reason: str
    cells: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReadLine:
    """A line whose cells are values."""

    line: Line
    key: str
    values: Mapping[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """What a new one is called."""
        return self.values.get("name") or self.key


@dataclass(frozen=True, slots=True)
class KnownAsset:
    """An asset as it is, by its reference."""

    id: int
    external_reference: str | None
    name: str
    commune: str
    insee: str | None
    street: str
    quarter: str
    latitude: float | None
    longitude: float | None
    attributes: Mapping[str, Any]
    tags: Sequence[str]
    parent_id: int | None
    archived: bool = False


@dataclass(frozen=True, slots=True)
class Parent:
    """What an asset hangs on, and where that is: what hangs on it is there too, unless it says otherwise."""

    id: int
    commune: str
    insee: str | None


@dataclass(frozen=True, slots=True)
class Communes:
    """The outlines that a tenant has: names by code. Without any, every commune is believed."""

    names: Mapping[str, str] = field(default_factory=dict[str, str])
    codes: Mapping[str, str] = field(default_factory=dict[str, str])
    """By name in small letters, of names that one commune alone has."""

    @classmethod
    def of(cls, names: Mapping[str, str]) -> "Communes":
        """From names by code."""
        codes = dict[str, str]()
        several = set[str]()
        for code, name in names.items():
            if codes.setdefault(name.casefold(), code) != code:
                several.add(name.casefold())
        return cls(names, {name: code for name, code in codes.items() if name not in several})


@dataclass(frozen=True, slots=True)
class PlannedAsset:
    """An asset as it will be; `id` None: a new one."""

    read: ReadLine
    id: int | None
    name: str
    commune: str
    insee: str | None
    street: str
    quarter: str
    latitude: float | None
    longitude: float | None
    attributes: Mapping[str, Any]
    tags: Sequence[str]
    parent_id: int | None

    @property
    def reference(self) -> str:
        """By which it is found again."""
        return self.read.key


@dataclass(slots=True)
class Plan:
    """What is new, what is another than it was, how many are as they were, and what does not go in."""

    created: list[PlannedAsset] = field(default_factory=list[PlannedAsset])
    updated: list[PlannedAsset] = field(default_factory=list[PlannedAsset])
    unchanged: int = 0
    rejections: list[Rejection] = field(default_factory=list[Rejection])


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the lines of a file of one kind. `seen` has the keys of the lines before, and theirs."""

    kind: ImportKind
    header: tuple[str, ...]
    columns: Mapping[str, Column]
    seen: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def has_keys(self) -> bool:
        """Whether files of this kind hold keys."""
        return any(column.is_secret for column in self.columns.values())

    def remember(self, lines: Iterable[Line]) -> None:
        """Lines that a run before has done: their keys do not come twice either."""
        for line in lines:  # One by one: all of a file's lines do not fit into memory.
            self.read([line])

    def read(self, lines: Iterable[Line]) -> tuple[list[ReadLine], list[Rejection]]:
        """The lines whose cells are values, and what is wrong with the others."""
        read, rejections = list[ReadLine](), list[Rejection]()
        for line in lines:
            values = read_values(self.header, line.cells, self.columns)
            key = self.kind.key_of(values.given)
            if key is None and not values.wrong:
                missing = next(name for name in (*self.kind.within, self.kind.key) if name not in values.given)
                values.wrong.append((missing, "manque"))
            if key is not None and (first := self.seen.setdefault(key, line.number)) != line.number:
                values.wrong.append((self.kind.key, f"déjà à la ligne {first}"))
            if not values.wrong and self.kind.asset_kind:
                _place(values)
            if values.wrong:
                wrong = values.wrong[:REASONS_MOST]
                rejections += [self.rejection(line, column, reason) for column, reason in wrong]
            else:
                read.append(ReadLine(line, str(values.given[self.kind.key]), values.given))
        return read, rejections

    def rejection(self, line: Line, column: str, reason: str) -> Rejection:
        """Why this line does not go in, with its cells but for keys, and for what no database stores."""
        cells = tuple(
            "" if name in self.columns and self.columns[name].is_secret else cell[:CELL_MOST].replace("\0", "")
            for name, cell in zip(self.header, line.cells, strict=False)
        )
        if self.has_keys:  # A cell too many, and they stand under another title.
            reason, cells = without_keys(reason), tuple(map(without_keys, cells))
        return Rejection(line.number, column, reason, cells)


def _place(values: Values) -> None:
    """Where it is, in degrees."""
    given = values.given
    x, y = given.pop("x", None), given.pop("y", None)
    if x is not None and y is not None:
        place = to_degrees(x, y)
        if place is None:
            values.wrong.append(("x", "hors de la France métropolitaine, en Lambert-93"))
        else:
            given["latitude"], given["longitude"] = place
    elif x is not None or y is not None:
        values.wrong.append(("y" if y is None else "x", "manque : il va avec l'autre"))
    if ("latitude" in given) != ("longitude" in given):
        values.wrong.append(("longitude" if "latitude" in given else "latitude", "manque : elle va avec l'autre"))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is there of what a batch names: assets by reference, parents by kind and reference, names by owner."""

    known: Mapping[str, KnownAsset]
    parents: Mapping[tuple[str, str], Parent]
    communes: Communes
    holders: Mapping[str, int]
    """By name the asset of this kind that has it, where a name is of one only."""
    room: int
    """How many more assets the tenant may have."""
    room_text: str = ""


def plan_assets(
    reader: Reader, lines: Sequence[ReadLine], there: Surroundings, kind: ImportKind | None = None
) -> Plan:
    """What these lines change of assets; `kind`: that of all of them, where a file has several."""
    kind = kind or reader.kind
    plan, holders = Plan(), dict(there.holders)
    for read in lines:
        known = there.known.get(read.key)
        try:
            planned = _planned(kind, read, known, there)
            if kind.asset_kind not in NAMES_TOGETHER:
                _check_name(planned, holders)
            if known is None:
                _check_room(there, len(plan.created))
        except RejectedLine as refused:
            plan.rejections.append(reader.rejection(read.line, refused.column, refused.french))
            continue
        if known is None:
            plan.created.append(planned)
        elif known.external_reference is not None and _is_as(known, planned):
            plan.unchanged += 1
        else:
            plan.updated.append(planned)
    return plan


class RejectedLine(Exception):
    """The line does not go in; its column and the reason, in French."""

    def __init__(self, column: str, french: str) -> None:
        super().__init__(french)
        self.column = column
        self.french = french


def _check_room(there: Surroundings, taken: int) -> None:
    if taken >= there.room:
        raise RejectedLine("", there.room_text)


def _check_name(planned: PlannedAsset, holders: dict[str, int]) -> None:
    """A name is of one asset of this kind; `holders` learns it. What is new has no number yet."""
    own = planned.id or -planned.read.line.number
    if holders.setdefault(planned.name, own) != own:
        raise RejectedLine("name", f"« {planned.name} » est déjà le nom d'une autre")


def _planned(kind: ImportKind, read: ReadLine, known: KnownAsset | None, there: Surroundings) -> PlannedAsset:
    given = read.values
    if known is None:
        _check_complete(kind, given)
    elif known.archived:
        raise RejectedLine(kind.key, "cet équipement est archivé : sortez-le d'abord des archives")
    parent = _parent(kind, read, known, there)
    commune, insee = _commune(given, known, parent, there.communes)
    attributes = _attributes(kind, given, known)
    for column in kind.columns:
        if column.attribute is not None and column.name in given:
            attributes[column.name] = kept(column.attribute, given[column.name])
    return PlannedAsset(
        read,
        known.id if known else None,
        given.get("name") or (known.name if known else read.name),
        commune,
        insee,
        given.get("street", known.street if known else ""),
        given.get("quarter", known.quarter if known else ""),
        given.get("latitude", known.latitude if known else None),
        given.get("longitude", known.longitude if known else None),
        attributes,
        given.get("tags", list(known.tags) if known else []),
        parent.id if parent else (known.parent_id if known else None),
    )


def _attributes(kind: ImportKind, given: Mapping[str, Any], known: KnownAsset | None) -> dict[str, Any]:
    """Those that it has, with those that the line gives as JSON."""
    former = dict(known.attributes) if known else {}
    if "attributes" not in given:
        return former
    try:
        return checked_attributes(kind.asset_kind, former | given["attributes"], former)
    except InvalidAttributes as wrong:
        raise RejectedLine("attributes", str(wrong)) from None


def _check_complete(kind: ImportKind, given: Mapping[str, Any]) -> None:
    for column in kind.columns:
        if column.is_required and column.name not in given:
            raise RejectedLine(column.name, "manque : il le faut pour créer")


def _parent(kind: ImportKind, read: ReadLine, known: KnownAsset | None, there: Surroundings) -> Parent | None:
    """What the line hangs on; None: it says nothing of it."""
    columns = [column for column in kind.columns if column.parent]
    if "parent" in read.values and not columns:
        raise RejectedLine("parent_kind", "manque : il va avec parent")
    named = [column for column in columns if column.name in read.values]
    if not named:
        if columns and known is None and kind.name != "assets":
            raise RejectedLine(columns[0].name, f"manque : {' ou '.join(column.name for column in columns)}")
        return None
    column = named[0]  # The nearest: a lamp's circuit says which cabinet.
    reference = read.values[column.name]
    found = there.parents.get((column.parent, reference))
    if found is None:
        raise RejectedLine(column.name, f"« {reference} » n'est pas dans l'inventaire")
    return found


def _commune(
    given: Mapping[str, Any], known: KnownAsset | None, parent: Parent | None, communes: Communes
) -> tuple[str, str | None]:
    """Name and code of where it is: as the line says, as it was, or where it hangs."""
    code, name = given.get("insee"), given.get("commune")
    if code is None and name is None:
        # What is new and has a position is where its outline says.
        place = known or (None if communes.names and "latitude" in given else parent)
        return (place.commune, place.insee) if place else ("", None)
    if communes.names:
        return _checked_commune(code, name, communes)
    if name is not None:
        return name, code or (known.insee if known and known.commune == name else None)
    if known is not None and known.insee == code and known.commune:
        return known.commune, code
    raise RejectedLine("insee", "commune sans contour ici : ajoutez une colonne commune, ou les contours")


def _checked_commune(code: str | None, name: str | None, communes: Communes) -> tuple[str, str]:
    if code is None:
        code = communes.codes.get((name or "").casefold())
        if code is None:
            raise RejectedLine("commune", f"commune « {name} » inconnue{_nearest_commune(name or '', communes)}")
    official = communes.names.get(code)
    if official is None:
        raise RejectedLine("insee", f"commune {code} inconnue")
    if name is not None and name.casefold() != official.casefold():
        raise RejectedLine("insee", f"{code} est {official}, et non {name}")
    return official, code


def _nearest_commune(name: str, communes: Communes) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - Of a misspelt name alone.

    found = get_close_matches(name, list(communes.names.values()), 1, 0.7)
    return f" ; vouliez-vous dire {found[0]} ?" if found else ""


def _is_as(known: KnownAsset, planned: PlannedAsset) -> bool:
    return (
        known.name == planned.name
        and known.commune == planned.commune
        and known.insee == planned.insee
        and known.street == planned.street
        and known.quarter == planned.quarter
        and known.latitude == planned.latitude
        and known.longitude == planned.longitude
        and dict(known.attributes) == dict(planned.attributes)
        and list(known.tags) == list(planned.tags)
        and known.parent_id == planned.parent_id
    )
