"""What vendors call what they measure: names of fields, split into words, and the quantities that they mean.

The words themselves are in vocabulary.toml.
"""

import re
from functools import cache
from typing import NamedTuple

from core.model.accents import without_accents
from decoders.tables import read_table


class Term(NamedTuple):
    """Words that, together in a field's name, mean a quantity; None: something that is not in the catalogue.

    `units` are those that the name alone implies; with none, a number is worth nothing until a unit is stated.
    """

    words: frozenset[str]
    quantity: str | None
    units: tuple[str, ...] = ()


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORDS = read_table("mapping/vocabulary.toml")
# The one with the most words wins, then the one whose word is last in the name, then the first.
TERMS = tuple(Term(_set(words), quantity or None, tuple(units)) for words, quantity, *units in _WORDS["terms"])
MEANT = frozenset(word for term in TERMS for word in term.words)
# With these around it `current` is one; elsewhere it is what something is at present.
ELECTRIC = _set(_WORDS["words"]["electric"])
# One word for each thing.
SYNONYMS: dict[str, str] = _WORDS["synonyms"]
# A name as a whole: its words.
WHOLE_NAMES: dict[str, str] = _WORDS["whole_names"]
# Words that say in which unit, where they are not the whole name.
UNIT_WORDS: dict[str, str] = _WORDS["unit_words"]
# Words with which a field is no measurement at all, those that make a number a code, those of a period's extremes.
NEVER_MEASURED = _set(_WORDS["vetoes"]["always"])
CODED = _set(_WORDS["vetoes"]["of_numbers"])
EXTREMES = _set(_WORDS["vetoes"]["extremes"])
# Words that distinguish nothing; those that may stand beside a meaning; those that may beside a count.
EMPTY_WORDS = _set(_WORDS["words"]["empty"])
BESIDE = _set(_WORDS["words"]["beside"]) | EMPTY_WORDS
BESIDE_COUNTS = _set(_WORDS["words"]["of_counters"])
BESIDE_STATES = _set(_WORDS["words"]["of_states"])
# Quantity -> least and most that are usual of it.
USUAL: dict[str, tuple[float, float]] = {name: (low, high) for name, (low, high) in _WORDS["usual"].items()}
# Texts of a boolean, in pairs of sides that belong together: what they say for 1, what for 0, of which quantities.
OPPOSITES: list[tuple[list[str], list[str], frozenset[str]]] = [
    (ones, zeros, _set(quantities)) for ones, zeros, quantities in _WORDS["opposites"]
]
# (unit, the one quantity that has it).
OF_UNITS: list[tuple[str, str]] = [(unit, quantity) for unit, quantity in _WORDS["of_units"]]

SHORTEST_PART = 3  # Letters of a word that others are put together with.
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-zµ]+|[A-Z]+|\d+")
# Chemical and metrological names that the splitting takes apart.
_CUT = (
    *(("co2", 2), ("o3", 1), ("nh3", 2), ("no2", 2), ("so2", 2), ("ch4", 2)),
    *(("m3", 1), ("hpa", 1), ("kpa", 1)),
)
_SMALL_AND_LARGE = [(prefix, unit) for prefix in ("m", "k", "d") for unit in ("v", "a", "w", "wh", "va", "b")]
_JOINED: dict[tuple[str, ...], str] = {
    ("m", "3", "h"): "m3h",
    ("ug", "m", "3"): "ugm3",
    ("ugm", "3"): "ugm3",
    ("w", "m", "2"): "wm2",
    ("us", "cm"): "uscm",
    ("ms", "cm"): "mscm",
    **{("l", phase): f"l{phase}" for phase in ("1", "2", "3")},
    ("pm", "2", "5"): "pm25",
    ("pm", "1", "0"): "pm1",
    ("pm", "4", "0"): "pm4",
    ("k", "v", "a"): "kva",
    ("h", "2", "s"): "h2s",
    ("d", "bspl"): "dbspl",
    **{("pm", size): f"pm{size}" for size in ("1", "25", "4", "10")},
    **{(name[:cut], name[cut:]): name for name, cut in _CUT},
    **{both: "".join(both) for both in _SMALL_AND_LARGE},
}


# What a word that is not known may be put together of: `batteryvoltage`, `Batteriespannung`.
_PARTS = frozenset(
    word
    for word in {
        *MEANT,
        *SYNONYMS,
        *UNIT_WORDS,
        *NEVER_MEASURED,
        *CODED,
        *EXTREMES,
        *_set(_WORDS["words"]["in_compounds"]),
    }
    if len(word) >= SHORTEST_PART
)


def words_of(name: str) -> list[str]:
    """The words of a field's name, in lower case, one word for each thing: `TempC_SHT` -> temperature, c, sht."""
    name = without_accents(name)
    whole = WHOLE_NAMES.get(name.lower()) or SYNONYMS.get(name.lower())
    if whole is not None:
        return whole.split()
    parts: list[str] = [part.lower() for part in _WORD.findall(name)]
    words: list[str] = []
    at = 0
    while at < len(parts):
        joined = next((one for one in _JOINED if tuple(parts[at : at + len(one)]) == one), None)
        words += _meant(parts[at]) if joined is None else [_JOINED[joined]]
        at += 1 if joined is None else len(joined)
    return words


def _meant(part: str) -> list[str]:
    return [word for one in _taken_apart(part) for word in SYNONYMS.get(one, one).split()]


@cache
def _taken_apart(part: str) -> tuple[str, ...]:
    """The words that a part of a name is put together of, the longest first; itself where some are not known."""
    if part in _PARTS:
        return (part,)
    for cut in range(len(part) - SHORTEST_PART, SHORTEST_PART - 1, -1):
        if part[:cut] in _PARTS and all(one in _PARTS for one in _taken_apart(part[cut:])):
            return (part[:cut], *_taken_apart(part[cut:]))
    return (part,)
