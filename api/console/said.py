"""What the API says of an error, in the visitor's language: its sentences are French, and a catalogue has them."""

import io
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from babel.messages.pofile import read_po

from api.console.language import ERRORS, FRENCH

# Where a sentence has a name, a number or a list of the moment.
VARIABLE = re.compile(r"\{(\w+)\}")
# An object's number or name in an address, which has no spaces.
KEY = "key"
# Of several errors in one text; a French semicolon has a space before it.
BETWEEN = re.compile(r"(?<! ); ")


@dataclass(frozen=True, slots=True)
class Sentences:
    """What there is in one language: whole sentences, and those with variable parts, the most precise first."""

    whole: dict[str, str]
    patterns: tuple[tuple[re.Pattern[str], str], ...]


@cache
def _sentences(code: str) -> Sentences:
    catalogue = files("api.console").joinpath("locales", code, ERRORS)
    messages = read_po(io.BytesIO(catalogue.read_bytes()), locale=code)
    every = {str(one.id): str(one.string) for one in messages if one.id}
    with_variables = sorted(filter(VARIABLE.search, every), key=lambda french: -len(VARIABLE.sub("", french)))
    return Sentences(every, tuple((_pattern_of(french), every[french]) for french in with_variables))


def _pattern_of(french: str) -> re.Pattern[str]:
    written, seen = "", set[str]()
    for place, part in enumerate(VARIABLE.split(french)):
        if place % 2 == 0:
            written += re.escape(part)
        else:
            anything = r"\S+" if part == KEY else ".+"
            written += f"(?P={part})" if part in seen else f"(?P<{part}>{anything})"
            seen.add(part)
    return re.compile(written, re.DOTALL)


def said(code: str, french: str) -> str:
    """The sentence in this language; in French as long as nobody has translated it."""
    if code == FRENCH or not french:
        return french
    return "; ".join(_whole(code, part) or part for part in BETWEEN.split(french))


def _whole(code: str, french: str) -> str | None:
    sentences = _sentences(code)
    if french in sentences.whole:
        return sentences.whole[french]
    for pattern, translation in sentences.patterns:
        match = pattern.fullmatch(french)
        if match is not None:
            return translation.format_map({name: said(code, part) for name, part in match.groupdict().items()})
    return None
