"""Paths into what a vendor's codec answers: `humidity`, `history[*].temperature`, `[variable=index].value`.

`a.b` goes into an object, `[*]` into every element of an array, `[2]` into one, `[key=text]` into those whose
`key` is that text, or a number or boolean that is written so (`[measurementId=4102]`), and `["a.b"]` names a key
that holds a dot or a bracket.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

LONGEST = 200
DEEPEST = 12


class InvalidPath(ValueError):
    """Text that is no path; the message, in French, says why."""


@dataclass(frozen=True, slots=True)
class Each:
    """Every element of an array."""


@dataclass(frozen=True, slots=True)
class Where:
    """The elements of an array whose `key`, a text, a number or a boolean, is written `text`."""

    key: str
    text: str


Step = str | int | Each | Where
Steps = tuple[Step, ...]
EACH = Each()


class Found(NamedTuple):
    """A value, and the innermost element of an array that holds it: which, and of how many.

    `element` is the whole answer, `place` 0 and `places` 0 where no array was gone through.
    """

    value: Any
    element: Any
    place: int
    places: int


def parse_path(text: str) -> Steps:
    """The steps of a path. Raises InvalidPath."""
    if not text or len(text) > LONGEST:
        raise InvalidPath(f"un chemin a de 1 à {LONGEST} caractères : {text[:60]!r}")
    steps: list[Step] = []
    at = 0
    while at < len(text):
        if text[at] == "[":
            step, at = _bracket(text, at)
        else:
            start = at + 1 if text[at] == "." and steps else at
            at = start
            while at < len(text) and text[at] not in ".[]":
                at += 1
            step = text[start:at]
            if not step or (at < len(text) and text[at] == "]"):
                raise InvalidPath(
                    f"chemin {text!r} : un nom manque, ou un crochet est de trop, au caractère {at + 1}"
                )
        steps.append(step)
    if len(steps) > DEEPEST:
        raise InvalidPath(f"chemin {text!r} : plus de {DEEPEST} étapes")
    return tuple(steps)


def _bracket(text: str, at: int) -> tuple[Step, int]:
    """The step that opens at `at`, and where it ends."""
    if text.startswith('["', at):
        try:
            name, end = json.JSONDecoder().raw_decode(text, at + 1)
        except ValueError:
            raise InvalidPath(f"chemin {text!r} : guillemet non fermé") from None
        if not isinstance(name, str) or text[end : end + 1] != "]":
            raise InvalidPath(f'chemin {text!r} : attendu ["nom"]')
        return name, end + 1
    end = text.find("]", at)
    if end < 0:
        raise InvalidPath(f"chemin {text!r} : crochet non fermé")
    inside = text[at + 1 : end]
    key, equals, value = inside.partition("=")
    if inside == "*":
        return EACH, end + 1
    if equals and key and value:
        return Where(key, value), end + 1
    if inside.isascii() and inside.isdecimal() and len(inside) < len(str(10**6)):
        return int(inside), end + 1
    raise InvalidPath(f'chemin {text!r} : [{inside}] n\'est ni [*], ni [2], ni [nom=texte], ni ["nom"]')


def path_text(steps: Steps) -> str:
    """The path as `parse_path` reads it."""
    text = ""
    for step in steps:
        match step:
            case Each():
                text += "[*]"
            case Where(key, value):
                text += f"[{key}={value}]"
            case int():
                text += f"[{step}]"
            case _ if any(mark in step for mark in '.[]"') or not step:
                text += f"[{json.dumps(step, ensure_ascii=False)}]"
            case _:
                text += f".{step}" if text else step
    return text


def find(steps: Steps, data: Any) -> Iterator[Found]:
    """Everything that the path names in `data`, in its order; nothing where there is nothing."""
    return _find(steps, 0, data, Found(data, data, 0, 0))


def _find(steps: Steps, at: int, data: Any, around: Found) -> Iterator[Found]:
    if at == len(steps):
        yield around._replace(value=data)
        return
    step = steps[at]
    if isinstance(step, str):
        if isinstance(data, dict) and step in data:
            yield from _find(steps, at + 1, data[step], around)
        return
    if not isinstance(data, list):
        return
    elements = cast("list[Any]", data)
    if isinstance(step, int):
        if step < len(elements):
            yield from _find(steps, at + 1, elements[step], around)
        return
    chosen = elements if isinstance(step, Each) else [element for element in elements if _is(element, step)]
    for place, element in enumerate(chosen):
        yield from _find(steps, at + 1, element, Found(element, element, place, len(chosen)))


def _is(element: Any, step: Where) -> bool:
    return isinstance(element, dict) and scalar_text(cast("dict[str, Any]", element).get(step.key)) == step.text


def scalar_text(value: Any) -> str | None:
    """A text, a number or a boolean as JavaScript writes it (4102.0 is `4102`); None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    return str(value) if isinstance(value, int) else None
