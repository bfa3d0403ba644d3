"""YAML 1.2 as the catalogues' own tools read it: `on`, `yes`, dates and keys are text."""

import math
import re
from typing import Any, cast

import yaml

DEEPEST = 60
_INT = re.compile(r"[-+]?(0b[01]+|0o[0-7]+|0x[0-9a-fA-F]+|[0-9]+)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False}
_NO_NUMBERS = (".inf", "+.inf", "-.inf", ".nan")  # As JSON writes them: null.


def read(text: str) -> Any:
    """The value of a document. Raises yaml.YAMLError."""
    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    node = cast("yaml.Node | None", yaml.compose(text, loader))  # pyright: ignore[reportUnknownMemberType]
    return None if node is None else _value(node, 0, {})


def _value(node: yaml.Node, depth: int, known: dict[int, Any]) -> Any:
    """A node's value; one that an alias repeats is made once."""
    if depth > DEEPEST:
        raise yaml.YAMLError(f"plus de {DEEPEST} niveaux")
    if id(node) in known:
        return known[id(node)]
    if isinstance(node, yaml.MappingNode):
        members: dict[str, Any] = {}
        known[id(node)] = members
        merged: dict[str, Any] = {}
        for key, value in node.value:
            inside = _value(value, depth + 1, known)
            if key.value == "<<":
                merged |= _merged(inside)
            elif isinstance(key, yaml.ScalarNode):
                members[key.value] = inside
        members |= {name: inside for name, inside in merged.items() if name not in members}
        return members
    if isinstance(node, yaml.SequenceNode):
        elements: list[Any] = []
        known[id(node)] = elements
        elements += [_value(value, depth + 1, known) for value in node.value]
        return elements
    return node.value if getattr(node, "style", None) else _plain(node.value)


def _merged(given: Any) -> dict[str, Any]:
    """What `<<` brings: an object, or several, of which the first has the last word."""
    members: dict[str, Any] = {}
    for one in reversed(cast("list[Any]", given) if isinstance(given, list) else [given]):
        members |= cast("dict[str, Any]", one) if isinstance(one, dict) else {}
    return members


def _plain(text: str) -> Any:
    """What a text without quotes is."""
    lower = text.lower()
    if lower in _WORDS and text in (lower, text.upper(), text.capitalize()):
        return _WORDS[lower]
    if _INT.fullmatch(text):
        digits = text.lstrip("+-")
        number = int(digits, 0) if digits[:2] in ("0b", "0o", "0x") else int(digits)
        return -number if text.startswith("-") else number
    if _FLOAT.fullmatch(text):
        return float(text) if math.isfinite(float(text)) else None
    return None if lower in _NO_NUMBERS else text
