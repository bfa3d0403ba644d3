"""Which products of several catalogues are the same, by vendor and model, however each is written. Pure."""

import re
import unicodedata

# Of a company's name, what one catalogue writes and another does not.
_NOISE = frozenset(
    {"ag", "bv", "co", "company", "corp", "corporation", "gmbh", "group", "inc", "international", "iot", "limited",
     "llc", "ltd", "oy", "sa", "sarl", "sas", "spa", "srl", "technologies", "technology"}
)  # fmt: skip


def model_key(vendor: str, model: str) -> str:
    """A model's name without its vendor's before it, spaces, marks and case; "" where nothing is left."""
    key, brand = _squeezed(model), _squeezed(vendor)
    return key.removeprefix(brand) or key


def telling_part(vendor: str, model: str) -> str:
    """The longest run of letters and digits of a model that is not its vendor's name: for a search."""
    runs = re.findall(r"[a-z0-9]+", model.lower())
    brand = _ascii_words(vendor)
    return max((run for run in runs if run not in brand), key=len, default="")


def is_same_product(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether two names of (vendor, model) are of one product."""
    key = model_key(*one)
    return bool(key) and key == model_key(*other) and is_same_vendor(one[0], other[0])


def is_same_vendor(one: str, other: str) -> bool:
    """Whether one name is the other, but for its legal form or for words before or behind it."""
    here, there = _words(one), _words(other)
    return bool(here and there) and (here <= there or there <= here)


def _squeezed(text: str) -> str:
    return "".join(_ascii_words(text))


def _words(text: str) -> frozenset[str]:
    words = frozenset(_ascii_words(text))
    return words - _NOISE or words


def _ascii_words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.findall(r"[a-z0-9]+", folded)
