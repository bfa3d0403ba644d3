"""What vendors call what they measure: names of fields, split into words, and the quantities that they mean.

The words themselves are in vocabulary.toml.
"""

import re
from typing import NamedTuple

from decoders.tables import read_table


class Term(NamedTuple):
    """Words that, together in a field's name, mean a quantity; None: something that is not in the catalogue.

    `units` are the vendor's units worth trying, the likeliest first; "" is the catalogue's own.
    """

    words: frozenset[str]
    quantity: str | None
    units: tuple[str, ...] = ("",)


_WORDS = read_table("mapping/vocabulary.toml")
# The one with the most words wins, then the first.
TERMS = tuple(
    Term(frozenset(words.split()), quantity or None, tuple(units) or ("",))
    for words, quantity, *units in _WORDS["terms"]
)
# One word for each thing.
SYNONYMS: dict[str, str] = _WORDS["synonyms"]
# A field with one of these words is about the device or its settings, not about what it measures.
ABOUT_THE_DEVICE = frozenset[str](_WORDS["about_the_device"].split())
# Words that say in which unit, where they are not the whole name.
UNIT_WORDS: dict[str, str] = _WORDS["unit_words"]
# Words that distinguish nothing.
EMPTY_WORDS = frozenset[str](_WORDS["empty_words"].split())
# Texts of a boolean, in pairs of sides that belong together: (what they say for 1, what they say for 0).
OPPOSITES: list[tuple[list[str], list[str]]] = _WORDS["opposites"]

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-zµ]+|[A-Z]+|\d+")
# Chemical and metrological names that the splitting takes apart.
_CUT = (("co2", 2), ("o3", 1), ("m3", 1), ("hpa", 1), ("kpa", 1))
_SMALL_AND_LARGE = [(prefix, unit) for prefix in ("m", "k", "d") for unit in ("v", "a", "w", "wh", "va", "b")]
_JOINED: dict[tuple[str, ...], str] = {
    ("pm", "2", "5"): "pm25",
    ("pm", "1", "0"): "pm1",
    ("pm", "4", "0"): "pm4",
    ("k", "v", "a"): "kva",
    **{("pm", size): f"pm{size}" for size in ("1", "25", "4", "10")},
    **{(name[:cut], name[cut:]): name for name, cut in _CUT},
    **{both: "".join(both) for both in _SMALL_AND_LARGE},
}


def words_of(name: str) -> list[str]:
    """The words of a field's name, in lower case, one word for each thing: `TempC_SHT` -> temperature, c, sht."""
    if name.lower() in SYNONYMS:
        return SYNONYMS[name.lower()].split()
    parts: list[str] = [part.lower() for part in _WORD.findall(name)]
    words: list[str] = []
    at = 0
    while at < len(parts):
        joined = next((one for one in _JOINED if tuple(parts[at : at + len(one)]) == one), None)
        words += SYNONYMS.get(parts[at], parts[at]).split() if joined is None else [_JOINED[joined]]
        at += 1 if joined is None else len(joined)
    return words
