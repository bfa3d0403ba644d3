"""A YAML document whose values know their line and place, for helpful errors."""

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from difflib import get_close_matches
from fractions import Fraction
from typing import cast

import yaml

LONGEST = 64 * 1024  # Characters of a declaration.
DEEPEST = 24
MOST_TOKENS = 8_000
# Of libyaml where it is built in, as in all wheels: ten times as fast, and brackets without end cost little.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Short ones: 1e999999999 would be a bomb.
_NUMBER = re.compile(r"[+-]?\d{1,20}(\.\d{0,20}([eE][+-]?\d{1,2})?|[eE][+-]?\d{1,2}|/\d{1,20})?")
_INTEGER = re.compile(r"-?(0x[0-9a-fA-F]{1,16}|0b[01]{1,64}|\d{1,20})")


def integer_of(text: str) -> int | None:
    """An integer as `12`, `0x0C` or `0b1100`; None when it is something else."""
    if not _INTEGER.fullmatch(text):
        return None
    return int(text, 0) if "x" in text or "b" in text else int(text)


class InvalidDeclaration(ValueError):
    """A declaration cannot be used; the message, in French, names the line, the place and the reason."""

    def __init__(self, line: int, place: str, reason: str) -> None:
        self.line, self.place, self.reason = line, place, reason
        super().__init__(f"ligne {line}, {place} : {reason}" if place else f"ligne {line} : {reason}")


class Entry:
    """One value of the document: a mapping, a list or a scalar, with its line and its place.

    Scalars are read as what is asked for, never as YAML 1.1 would guess: `on` and `no` stay words, `0x0A` and
    `0b1` are integers, `0.1` and `1/3` exact fractions.
    """

    __slots__ = ("_node", "line", "place")

    def __init__(self, node: yaml.Node, place: str) -> None:
        self._node, self.place = node, place
        self.line: int = node.start_mark.line + 1

    def error(self, reason: str) -> InvalidDeclaration:
        """What to raise about this value."""
        return InvalidDeclaration(self.line, self.place, reason)

    @property
    def is_mapping(self) -> bool:
        """Whether it is names with values."""
        return isinstance(self._node, yaml.MappingNode)

    @property
    def is_quoted(self) -> bool:
        """Whether it is between quotation marks: then it is a text, whatever it looks like."""
        return isinstance(self._node, yaml.ScalarNode) and self._node.style in ("'", '"')

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return isinstance(self._node, yaml.SequenceNode)

    def pairs(self) -> Iterator[tuple["Entry", "Entry"]]:
        """Keys and values of a mapping, in the author's order; no key is there twice."""
        if not isinstance(self._node, yaml.MappingNode):
            raise self.error(f"une suite « nom: valeur » est attendue, pas {self.shown()}")
        seen: set[str] = set()
        for key, value in self._node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            place = f"{self.place}.{name}" if self.place else str(name)
            entry = Entry(key, place)
            if not isinstance(key, yaml.ScalarNode):
                raise entry.error("un nom est attendu avant les deux-points")
            if name in seen:
                raise entry.error(f"« {name} » est écrit deux fois")
            seen.add(name)
            yield entry, Entry(value, place)

    def mapping(self, *allowed: str) -> dict[str, "Entry"]:
        """The values by key, of which each is one of `allowed`."""
        found: dict[str, Entry] = {}
        for key, value in self.pairs():
            name = key.text()
            if name not in allowed:
                near = get_close_matches(name, allowed, 1)
                hint = f" ; vouliez-vous dire « {near[0]} » ?" if near else f" (attendu : {', '.join(allowed)})"
                raise key.error(f"« {name} » est inconnu{hint}")
            found[name] = value
        return found

    def items(self) -> list["Entry"]:
        """The values of a list."""
        if not isinstance(self._node, yaml.SequenceNode):
            raise self.error(f"une liste est attendue (des lignes qui commencent par « - »), pas {self.shown()}")
        return [Entry(node, f"{self.place}[{index}]") for index, node in enumerate(self._node.value)]

    def text(self) -> str:
        """A scalar as it is written."""
        if not isinstance(self._node, yaml.ScalarNode) or not self._node.value:
            raise self.error(f"un mot est attendu, pas {self.shown()}")
        return str(self._node.value)

    def one_of(self, choices: Collection[str]) -> str:
        """One of these words."""
        word = self.text()
        if word not in choices:
            near = get_close_matches(word, choices, 1)
            hint = f" ; vouliez-vous dire « {near[0]} » ?" if near else f" (attendu : {', '.join(choices)})"
            raise self.error(f"« {word} » est inconnu{hint}")
        return word

    def flag(self) -> bool:
        """`true` or `false`."""
        return self.one_of(("true", "false")) == "true"

    def integer(self, least: int, most: int) -> int:
        """An integer within these bounds."""
        number = self.integer_or_none()
        if number is None or not least <= number <= most:
            raise self.error(f"un entier de {least} à {most} est attendu, pas {self.shown()}")
        return number

    def integer_or_none(self) -> int | None:
        """An integer as `12`, `0x0C` or `0b1100`; None when it is something else."""
        return integer_of(self._node.value) if isinstance(self._node, yaml.ScalarNode) else None

    def fraction(self) -> Fraction:
        """An exact number: `0.1`, `1/3`, `1e-3`, `0x0A`."""
        integer = self.integer_or_none()
        if integer is not None:
            return Fraction(integer)
        text = self._node.value if isinstance(self._node, yaml.ScalarNode) else ""
        if _NUMBER.fullmatch(text):
            with suppress(ZeroDivisionError):
                return Fraction(text)
        raise self.error(f"un nombre est attendu (0.1, 1/3, 0x0A), pas {self.shown()}")

    def shown(self) -> str:
        """The value as a message quotes it."""
        if isinstance(self._node, yaml.ScalarNode):
            return f"« {self._node.value[:40]} »" if self._node.value else "rien"
        return "une liste" if isinstance(self._node, yaml.SequenceNode) else "une suite « nom: valeur »"


def read_document(text: str) -> Entry:
    """The document; raises InvalidDeclaration for what is no YAML, too large, or uses anchors."""
    if len(text) > LONGEST:
        raise InvalidDeclaration(1, "", f"une déclaration a {LONGEST} caractères au plus, {len(text)} reçus")
    try:
        # types-PyYAML leaves these two half untyped.
        tokens = cast("Iterator[yaml.Token]", yaml.scan(text, Loader=_Loader))  # pyright: ignore[reportUnknownMemberType]
        _reject_bombs(tokens)
        root = cast("yaml.Node | None", yaml.compose(text, Loader=_Loader))  # pyright: ignore[reportUnknownMemberType]
    except yaml.MarkedYAMLError as broken:
        mark = broken.problem_mark or broken.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        reason = f"ce n'est pas du YAML, à la colonne {column} (indentation, deux-points, guillemets ?)"
        raise InvalidDeclaration(line, "", reason) from None
    except (yaml.YAMLError, UnicodeEncodeError):
        raise InvalidDeclaration(1, "", "un caractère de ce texte n'est pas permis en YAML") from None
    if root is None:
        raise InvalidDeclaration(1, "", "la déclaration est vide")
    return Entry(root, "")


_OPENING = (
    *(yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken),
    *(yaml.BlockSequenceStartToken, yaml.BlockMappingStartToken),
)
_CLOSING = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)
_REFERENCES = (yaml.AnchorToken, yaml.AliasToken, yaml.TagToken, yaml.DirectiveToken)


def _reject_bombs(tokens: Iterator[yaml.Token]) -> None:
    """Anchors make a small text large, and brackets within brackets a slow one: they are not read any further."""
    depth = 0
    for count, token in enumerate(tokens):
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        line = token.start_mark.line + 1
        if isinstance(token, _REFERENCES):
            raise InvalidDeclaration(
                line, "", "les ancres, renvois et étiquettes YAML (&, *, !, %) ne sont pas permis ici"
            )
        if depth > DEEPEST:
            raise InvalidDeclaration(line, "", f"plus de {DEEPEST} niveaux imbriqués")
        if count > MOST_TOKENS:
            raise InvalidDeclaration(line, "", "la déclaration est trop grande")
