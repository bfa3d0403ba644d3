"""Maps the free-form answer of a vendor's codec to readings in canonical quantities and units.

A profile's mapping is a list of rules, as JSON:

    {"path": "history[*].temperature", "quantity": "temperature", "channel": "", "unit": "°C",
     "scale": 0.1, "offset": 0, "values": {"open": 1, "closed": 0}, "time": {"path": "timestamp"}}

`unit` is the vendor's; `scale` and `offset` come before it is converted. All but path and quantity
may be left out.
"""

import math
from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

from core.model.quantities import QUANTITIES, Kind, Quantity
from decoders.canonical import Decoded, Reading
from decoders.mapping.paths import Found, InvalidPath, Steps, find, parse_path, path_text, scalar_text
from decoders.mapping.times import InvalidTimeRule, TimeRule
from decoders.mapping.units import Conversion, conversion

MOST_RULES = 200
LONGEST_CHANNEL = 60
MOST_VALUES = 64
MOST_WARNINGS = 20
SHOWN = 60  # characters of a value in a warning.
_KEYS = frozenset({"path", "quantity", "channel", "unit", "scale", "offset", "values", "time"})


class InvalidMapping(ValueError):
    """A mapping that cannot be used; the message, in French, names the rule and what is wrong."""


@dataclass(frozen=True)
class Rule:
    """Where one quantity is in an answer, and how to read it."""

    steps: Steps
    quantity: str
    channel: str = ""
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0
    values: AnyMapping[str, float] = field(default_factory=dict[str, float])
    time: TimeRule = field(default_factory=TimeRule)

    @cached_property
    def conversion(self) -> Conversion:
        """From the vendor's number to the quantity's unit, scale and offset included."""
        known = conversion(self.unit, QUANTITIES[self.quantity].unit)
        if known is None:
            raise InvalidMapping(
                f"unité {self.unit!r} inconnue pour « {self.quantity} » ({QUANTITIES[self.quantity].unit})"
            )
        return Conversion(self.scale * known.scale, self.offset * known.scale + known.offset)

    @cached_property
    def words(self) -> dict[str, float]:
        """`values` by their text in lower case."""
        return {text.casefold(): value for text, value in self.values.items()}

    @classmethod
    def parse(cls, rule: Any) -> "Rule":
        """From the JSON of a mapping. Raises InvalidMapping, InvalidPath, InvalidTimeRule."""
        if not isinstance(rule, dict):
            raise InvalidMapping("une règle doit être un objet")
        said = cast("dict[str, Any]", rule)
        unknown = sorted(set(said) - _KEYS)
        if unknown:
            raise InvalidMapping(f"{', '.join(unknown)} inconnu (attendu : {', '.join(sorted(_KEYS))})")
        texts = {name: said.get(name, "") for name in ("path", "quantity", "channel", "unit")}
        if not all(isinstance(text, str) for text in texts.values()):
            raise InvalidMapping("« path », « quantity », « channel » et « unit » sont des textes")
        if texts["quantity"] not in QUANTITIES:
            raise InvalidMapping(f"grandeur {texts['quantity']!r} inconnue du catalogue")
        if len(texts["channel"]) > LONGEST_CHANNEL:
            raise InvalidMapping(f"« channel » : {LONGEST_CHANNEL} caractères au plus")
        parsed = cls(
            parse_path(texts["path"]),
            texts["quantity"],
            texts["channel"],
            texts["unit"],
            _number(said.get("scale", 1), "scale"),
            _number(said.get("offset", 0), "offset"),
            _values(said.get("values", {})),
            TimeRule.parse(said.get("time", {})),
        )
        if not parsed.conversion.scale:
            raise InvalidMapping("« scale » ne peut pas être 0")
        return parsed

    def as_json(self) -> dict[str, Any]:
        """What `parse` reads; what is usual is left out."""
        rule: dict[str, Any] = {"path": path_text(self.steps), "quantity": self.quantity, "channel": self.channel}
        usual = (("unit", ""), ("scale", 1.0), ("offset", 0.0))
        rule |= {name: getattr(self, name) for name, value in usual if getattr(self, name) != value}
        if self.values:
            rule["values"] = dict(self.values)
        time = self.time.as_json()
        return rule | ({"time": time} if time else {})


@dataclass(frozen=True, slots=True)
class Mapping:
    """How to read everything that a codec answers."""

    rules: tuple[Rule, ...] = ()

    @classmethod
    def parse(cls, rules: Any) -> "Mapping":
        """From a profile's jsonb. Raises InvalidMapping."""
        if not isinstance(rules, Sequence) or isinstance(rules, str):
            raise InvalidMapping("une correspondance est une liste de règles")
        if len(cast("Sequence[Any]", rules)) > MOST_RULES:
            raise InvalidMapping(f"plus de {MOST_RULES} règles")
        parsed: list[Rule] = []
        for number, rule in enumerate(cast("Sequence[Any]", rules), 1):
            try:
                parsed.append(Rule.parse(rule))
            except (InvalidMapping, InvalidPath, InvalidTimeRule) as wrong:
                raise InvalidMapping(f"règle {number} : {wrong}") from None
        return cls(tuple(parsed))

    def as_json(self) -> list[dict[str, Any]]:
        """What `parse` reads."""
        return [rule.as_json() for rule in self.rules]


def apply(mapping: Mapping, data: Any, time_us: int) -> Decoded:
    """What an answer says, read by a mapping; `time_us` is the uplink's, microseconds since 1970.

    `data` is the object or the array of a codec's answer. What is no number, not finite or undated becomes a
    warning; null is nothing measured. A quantity of a channel has one value at one instant: the first that a rule
    finds, so that history that a frame repeats is there once. Rules that find nothing, or null, are in
    `unmatched`.
    """
    decoded = Decoded(data=cast("dict[str, Any]", data) if isinstance(data, dict) else {"data": data})
    known: dict[tuple[int, str, str], float] = {}
    for rule in mapping.rules:
        matched = False
        for found in find(rule.steps, data):
            if found.value is None:
                continue
            matched = True
            value = _read(rule, found)
            instant = None if value is None else rule.time.instant(found, data, time_us)
            if value is None or instant is None:
                what = "n'est pas une valeur" if value is None else "n'a pas de date lisible"
                decoded.warnings.append(f"« {path_text(rule.steps)} » : {_shown(found.value)} {what}")
                continue
            key = (instant, rule.channel, rule.quantity)
            if key not in known:
                known[key] = value
                decoded.readings.append(Reading(instant, rule.channel, rule.quantity, value))
            elif not math.isclose(known[key], value, rel_tol=1e-9):
                decoded.warnings.append(
                    f"« {path_text(rule.steps)} » : {value:g} au même instant que {known[key]:g}, qui est gardé"
                )
        if not matched:
            decoded.unmatched.append(path_text(rule.steps))
    decoded.unmatched = list(dict.fromkeys(decoded.unmatched))
    decoded.warnings = list(dict.fromkeys(decoded.warnings))
    more = len(decoded.warnings) - MOST_WARNINGS
    if more > 0:
        decoded.warnings[MOST_WARNINGS:] = [f"et {more} autres avertissements"]
    return decoded


def _read(rule: Rule, found: Found) -> float | None:
    """The value in the quantity's unit; None for what is no value of it."""
    raw = found.value
    quantity = QUANTITIES[rule.quantity]
    number: float | None = None
    if isinstance(raw, str):
        text = raw.strip()
        if text.casefold() in rule.words:
            number = rule.words[text.casefold()]
            return number if _possible(number, quantity) else None
        number = _text_number(text, rule.unit or quantity.unit)
    elif isinstance(raw, bool):
        return rule.words.get(str(raw).lower(), float(raw))
    elif isinstance(raw, int | float):
        text = scalar_text(raw)
        if text in rule.words:
            return rule.words[text]
        number = _finite(raw)
    if number is None:
        return None
    value = number * rule.conversion.scale + rule.conversion.offset
    return value if _possible(value, quantity) else None


def _possible(value: float, quantity: Quantity) -> bool:
    """Whether a quantity of this kind can have the value at all; plausible is another question."""
    if not math.isfinite(value):
        return False
    if quantity.kind is Kind.BOOLEAN:
        return value in (0.0, 1.0)
    return quantity.kind is not Kind.ENUMERATION or value.is_integer()


def _finite(number: float) -> float | None:
    try:
        as_float = float(number)
    except OverflowError:
        return None
    return as_float if math.isfinite(as_float) else None


def _text_number(text: str, unit: str) -> float | None:
    """`21.5`, and `21.5 °C` where the unit is °C."""
    if text.endswith(unit) and not unit.isdecimal():  # "1" is no unit that anybody writes.
        text = text[: -len(unit)]
    try:
        return _finite(float(text))
    except ValueError:
        return None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or _finite(value) is None:
        raise InvalidMapping(f"« {name} » doit être un nombre, pas {_shown(value)}")
    return float(value)


def _values(values: Any) -> dict[str, float]:
    if not isinstance(values, dict) or len(cast("dict[str, Any]", values)) > MOST_VALUES:
        raise InvalidMapping(f"« values » doit être un objet de {MOST_VALUES} textes au plus")
    return {text: _number(value, f"values.{text}") for text, value in cast("dict[str, Any]", values).items()}
