"""Files of a catalogue, given by the caller, and the formats that they are written in."""

import json
import re
import tomllib
from collections.abc import Sequence
from typing import Any, Protocol, cast

import yaml

from decoders.catalogues import yaml_values
from decoders.catalogues.literals import Element, Evaluate, elements_of, value_of

# Half a character, escaped: alone it is no text that can be written anywhere.
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


class Unreadable(ValueError):
    """A file that is not what its name says; the message, in French, names it."""


class Missing(Unreadable):
    """A file that a catalogue names and does not have."""


class Files(Protocol):
    """The files of a catalogue by their path in it, with "/" between folders."""

    def paths(self) -> Sequence[str]:
        """Every path, sorted."""
        ...

    def octets(self, path: str) -> bytes:
        """The content of a file. Raises Unreadable."""
        ...


class Catalogue:
    """Files, what is in which folder, and what they say; each is read when it is asked for.

    Readers record which fields that their layout requires an entry has: a field that most entries lack is one
    whose name we have wrong, or that the catalogue has renamed.
    """

    def __init__(self, files: Files, evaluate: Evaluate) -> None:
        self._files = files
        self._evaluate = evaluate
        self.paths = tuple(files.paths())
        self._known = frozenset(self.paths)
        self._folders: dict[str, list[str]] = {}
        for path in self.paths:
            self._folders.setdefault(folder_of(path), []).append(path)
        self._required: dict[str, dict[str, bool]] = {}

    def __contains__(self, path: str) -> bool:
        return path in self._known

    def inside(self, folder: str) -> Sequence[str]:
        """Paths of the files of a folder, not of those below it."""
        return self._folders.get(folder, ())

    def below(self, folder: str) -> list[str]:
        """Paths of the files of a folder and of those below it."""
        return [path for path in self.paths if is_within(path, folder)]

    def record_required(self, path: str, field: str, *, there: bool) -> None:
        """Whether the entry that a file describes has a field that its layout requires of every such entry."""
        self._required.setdefault(field, {})[path] = there

    def lacking(self) -> list[str]:
        """Required fields that more than half of the entries read so far lack, in French, with an example."""
        found: list[str] = []
        for field, entries in self._required.items():
            without = [path for path, there in entries.items() if not there]
            if len(without) * 2 > len(entries):
                found.append(f"{field} manque à {len(without)} sur {len(entries)} ({without[0]})")
        return found

    def text(self, path: str) -> str:
        """A text file, without its byte order mark; Latin-1 where it is not UTF-8. Raises Unreadable."""
        if path not in self._known:
            raise Missing(f"fichier absent : {path}")
        octets = self._files.octets(path)
        try:
            return octets.decode("utf-8-sig")
        except UnicodeDecodeError:
            return octets.decode("latin-1")

    def yaml(self, path: str) -> dict[str, Any]:
        """An object written in YAML. Raises Unreadable."""
        text = self.text(path)
        try:
            value = yaml_values.read(text)
        except (yaml.YAMLError, ValueError, RecursionError) as wrong:
            raise Unreadable(f"{path} n'est pas du YAML lisible : {' '.join(str(wrong).split())[:200]}") from None
        return _object(value, path)

    def toml(self, path: str) -> dict[str, Any]:
        """An object written in TOML. Raises Unreadable."""
        try:
            return tomllib.loads(self.text(path))
        except (tomllib.TOMLDecodeError, RecursionError) as wrong:
            raise Unreadable(f"{path} n'est pas du TOML lisible : {wrong}") from None

    def json(self, path: str) -> Any:
        """Anything written in JSON, or as a JavaScript literal. Raises Unreadable."""
        text = self.text(path)
        try:
            return self.literal(text)
        except Unreadable as wrong:
            raise Unreadable(f"{path} : {wrong}") from None

    def literal(self, text: str) -> Any:
        """The value of a text in JSON, or of a JavaScript literal. Raises Unreadable."""
        try:
            value = json.loads(text, parse_constant=_no_number)
            return _whole(value) if _HALF.search(text) else value
        except (ValueError, RecursionError):
            pass
        value, wrong = value_of(text, self._evaluate)
        if wrong:
            raise Unreadable(wrong)
        return value

    def elements(self, text: str) -> list[Element]:
        """The elements of a list, of which one that cannot be read costs no other. Raises Unreadable."""
        try:
            value = self.literal(text)
        except Unreadable:
            found = elements_of(text, self._evaluate)
            if not found:
                raise
            return found
        if not isinstance(value, list):
            raise Unreadable("ligne 1 : une liste est attendue")
        return [Element(element) for element in cast("list[Any]", value)]


def _whole(value: Any) -> Any:
    """The value, where half a character becomes one that can be written."""
    text = json.dumps(value, ensure_ascii=False)
    return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def _no_number(_name: str) -> None:
    """NaN and the infinities, which JSON.stringify writes as null."""


def _object(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(f"{path} ne décrit pas un objet")
    return cast("dict[str, Any]", value)


def folder_of(path: str) -> str:
    """The folder that holds a file or a folder; "" is the top."""
    return path.rpartition("/")[0]


def name_of(path: str) -> str:
    """The last part of a path."""
    return path.rpartition("/")[2]


def is_within(path: str, folder: str) -> bool:
    """Whether a path is the folder itself, or below it; everything is within ""."""
    return not folder or path == folder or path.startswith(f"{folder}/")


def joined(folder: str, *names: str) -> str:
    """A path below a folder, "." and ".." resolved; one that leaves the catalogue stays at its top."""
    parts = folder.split("/") if folder else []
    for part in (part for name in names for part in name.split("/")):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
