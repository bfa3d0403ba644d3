"""Builds the elements of frames from the entries of a declaration."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from core.model.quantities import QUANTITIES, Kind, Quantity
from decoders.declarative.elements import BitField, Bits, Number, Skip, Text, Warned
from decoders.declarative.meaning import Meaning, Running
from decoders.declarative.nodes import Entry
from decoders.declarative.numbers import NAMES, NumberType, Order, Scaling, number_type
from decoders.declarative.places import (
    UNITS_US,
    channel_of,
    clock_of,
    duration_us,
    ranges_of,
    word_of,
)
from decoders.declarative.records import Group, Repeat, Steps, Tagged, TaggedRecord
from decoders.declarative.stream import Element
from decoders.mapping.units import CONVERSIONS, conversion

FINEST = 1_000_000  # A conversion is a decimal number or a fraction such as 5/9.
LARGEST = 512  # Octets of one part of a frame: no LoRaWAN payload has more than 242.
WIDEST = 256  # Numbers that one word of `values` stands for.
_MEANING = ("name", "title", "scale", "offset", "unit", "values", "equals", "invert", "adds_to", "subtracts_from")
_IN_FRAMES = ("quantity", "channel", "absent", "time")
_IN_COMMANDS = ("minimum", "maximum", "default")
_TEXTS = {"ascii": True, "hex": False}


@dataclass(slots=True)
class Scope:
    """Where an element stands: octet order, whether it is of a command, what may be placed absolutely.

    `known` are the numbers that came before, by name; True for a plain integer, which can be a count.
    """

    byte_order: Order
    in_command: bool
    placed: bool = True
    known: dict[str, bool] = field(default_factory=dict[str, bool])

    def inside(self) -> "Scope":
        """For records, whose place is not known in advance."""
        return replace(self, placed=False)

    def number(self, entry: Entry) -> str:
        """The name of a plain integer that came before."""
        name = entry.text()
        if name not in self.known:
            raise entry.error(f"« {name} » n'est pas un nombre nommé plus haut")
        if not self.known[name]:
            raise entry.error(f"« {name} » doit être un entier sans « scale » ni « values »")
        return name


def elements_of(entry: Entry, scope: Scope) -> tuple[Element, ...]:
    """The parts of a frame or of a record, in order."""
    entries = entry.items()
    if not entries:
        raise entry.error("la liste est vide")
    elements: list[Element] = []
    taken: set[str] = set()
    for part in entries:
        if elements and isinstance(elements[-1], Tagged):
            raise part.error("« tlv » va jusqu'au bout de la trame : rien ne peut le suivre")
        element = _element(part, scope)
        twice = sorted(taken & element.keys) if not isinstance(element, Group) else []
        if twice:
            raise part.error(f"le nom « {twice[0]} » est déjà pris plus haut")
        taken |= element.keys
        elements.append(element)
    return tuple(elements)


def _element(entry: Entry, scope: Scope) -> Element:
    keys = {key.text() for key, _ in entry.pairs()}
    for kind, build in _BUILDERS.items():
        if kind in keys:
            return build(entry, scope)
    raise entry.error(f"un élément commence par un de ces mots : {', '.join(_BUILDERS)}")


def _place(keys: Mapping[str, Entry], scope: Scope) -> int | None:
    if "at" not in keys:
        return None
    if not scope.placed:
        raise keys["at"].error("« at » compte depuis le début de la trame : pas dans « repeat » ni « tlv »")
    return keys["at"].integer(0 if scope.in_command else -LARGEST, LARGEST)


def _typed(entry: Entry, scope: Scope) -> Element:
    """A number, a bit field or a text: whatever has a type."""
    keys = entry.mapping("type", "size", "order", "at", "bits", *_meaning_keys(scope))
    if keys["type"].text() in _TEXTS:
        return _text(entry, scope)
    at, kind = _place(keys, scope), _number_type(keys, scope)
    if "bits" not in keys:
        meaning = _meaning(entry, keys, scope, kind.is_integer)
        return Number(kind, meaning, meaning.saying(), at)
    if extra := sorted(keys.keys() & set(_meaning_keys(scope))):
        raise keys[extra[0]].error(f"« {extra[0]} » se dit de chaque groupe de bits, pas de l'ensemble")
    if not kind.is_integer:
        raise keys["bits"].error("« bits » demande un type entier")
    fields = tuple(_bit_field(item, scope, 8 * kind.size) for item in keys["bits"].items())
    return Bits(kind, fields, f"les bits de l'octet {keys['at'].shown()}" if "at" in keys else "les bits", at)


def _meaning_keys(scope: Scope) -> tuple[str, ...]:
    return (*_MEANING, *(_IN_COMMANDS if scope.in_command else _IN_FRAMES))


def _number_type(keys: Mapping[str, Entry], scope: Scope) -> NumberType:
    order: Order = scope.byte_order
    if "order" in keys:
        order = "little" if keys["order"].one_of(("big", "little")) == "little" else "big"
    name = keys["type"].text()
    size = keys["size"].integer(1, 18) if "size" in keys else None
    if size is not None and name != "digits":
        raise keys["size"].error(f"« size » est pour ascii, hex et digits ; {name} dit déjà sa taille")
    kind = number_type(name, order, size)
    if kind is None:
        wanted = (
            "« digits » demande « size »" if name == "digits" else f"le type {keys['type'].shown()} n'existe pas"
        )
        raise keys["type"].error(f"{wanted} (types : {NAMES}, ascii, hex)")
    return kind


def _text(entry: Entry, scope: Scope) -> Text:
    keys = entry.mapping("type", "size", "at", "name", "title")
    if "name" not in keys or "size" not in keys:
        raise entry.error("un texte a « name » et « size » (un nombre d'octets, ou « rest » pour tout le reste)")
    whole = keys["size"].text() == "rest"
    size = None if whole else keys["size"].integer(1, LARGEST)
    title = keys["title"].text() if "title" in keys else ""
    is_ascii = _TEXTS[keys["type"].text()]
    return Text(_name(keys["name"]), size, is_ascii, title, _place(keys, scope))


def _skip(entry: Entry, scope: Scope) -> Skip:
    keys = entry.mapping("skip", "at")
    return Skip(keys["skip"].integer(1, LARGEST), _place(keys, scope))


def _warned(entry: Entry, scope: Scope) -> Warned:
    if scope.in_command:
        raise entry.error("une commande n'a pas d'avertissement")
    return Warned(entry.mapping("warning")["warning"].text())


def _bit_field(entry: Entry, scope: Scope, width: int) -> BitField:
    keys = entry.mapping("bits", "signed", *_meaning_keys(scope))
    if "bits" not in keys:
        raise entry.error("« bits » dit lesquels : 0 pour le plus faible, ou 4-7")
    ranges = ranges_of(keys["bits"])
    low, high = ranges[0]
    if len(ranges) != 1 or not 0 <= low <= high < width:
        raise keys["bits"].error(f"un bit ou un intervalle de bits est attendu, de 0 à {width - 1}")
    signed = "signed" in keys and keys["signed"].flag()
    meaning = _meaning(entry, keys, scope, is_integer=True)
    return BitField(low, high - low + 1, signed, meaning, meaning.saying())


def _meaning(entry: Entry, keys: Mapping[str, Entry], scope: Scope, is_integer: bool) -> Meaning:
    name = _name(keys["name"]) if "name" in keys else None
    quantity = _quantity(keys["quantity"]) if "quantity" in keys else None
    if scope.in_command and name is None and "equals" not in keys:
        raise entry.error("un champ de commande a « name » (un paramètre) ou « equals » (une valeur fixe)")
    for key in ("values", "absent", "equals", "time", "adds_to", "subtracts_from"):
        if key in keys and not is_integer:
            raise keys[key].error(f"« {key} » demande un type entier")
    if "channel" in keys and quantity is None:
        raise keys["channel"].error("« channel » demande « quantity »")
    stated, canonical = _scalings(keys, quantity)
    meaning = Meaning(
        label=name or (quantity.name if quantity else "un champ"),
        name=name,
        title=keys["title"].text() if "title" in keys else "",
        quantity=quantity,
        channel=channel_of(keys["channel"], scope.known) if "channel" in keys else "",
        unit=keys["unit"].text() if "unit" in keys else None,
        scaling=stated,
        canonical=canonical,
        words=_words(keys["values"], quantity) if "values" in keys else None,
        absent=_integers(keys["absent"]) if "absent" in keys else frozenset(),
        equals=keys["equals"].integer(-(1 << 63), (1 << 64) - 1) if "equals" in keys else None,
        inverted="invert" in keys and keys["invert"].flag(),
        clock=clock_of(keys["time"]) if "time" in keys else None,
        running=_running(keys, scope),
        minimum=keys["minimum"].fraction() if "minimum" in keys else None,
        maximum=keys["maximum"].fraction() if "maximum" in keys else None,
    )
    if name is not None:
        scope.known[name] = is_integer and stated is None and meaning.words is None and not meaning.inverted
    return replace(meaning, default=_default(keys["default"], meaning)) if "default" in keys else meaning


def _name(entry: Entry) -> str:
    name = entry.text()
    if not (name.isascii() and name.isidentifier() and len(name) <= 64) or name == "n":  # noqa: PLR2004
        raise entry.error("un nom a des lettres sans accent, des chiffres et « _ » ; « n » est réservé")
    return name


def _quantity(entry: Entry) -> Quantity:
    return QUANTITIES[entry.one_of(QUANTITIES)]


def _scalings(keys: Mapping[str, Entry], quantity: Quantity | None) -> tuple[Scaling | None, Scaling | None]:
    """From the number to the declared value, and to the value in the quantity's unit."""
    scale = keys["scale"].fraction() if "scale" in keys else Fraction(1)
    offset = keys["offset"].fraction() if "offset" in keys else Fraction(0)
    if scale == 0:
        raise keys["scale"].error("« scale » n'est pas zéro")
    factor, shift = Fraction(1), Fraction(0)
    if "unit" in keys and quantity is not None:
        found = conversion(keys["unit"].text(), quantity.unit)
        if found is None:
            units = ", ".join((quantity.unit, *CONVERSIONS.get(quantity.unit, {})))
            raise keys["unit"].error(f"{quantity.name} est en {quantity.unit} ; unités possibles : {units}")
        factor, shift = (Fraction(number).limit_denominator(FINEST) for number in found)
    stated = Scaling.of(scale, offset)
    canonical = Scaling.of(scale * factor, offset * factor + shift)
    same = Scaling(1, 0, 1)
    return (None if stated == same else stated), (None if canonical == same else canonical)


def _words(entry: Entry, quantity: Quantity | None) -> dict[int, Any]:
    words: dict[int, Any] = {}
    for key, value in entry.pairs():
        word = word_of(value)
        if (
            quantity is not None
            and quantity.kind is Kind.ENUMERATION
            and isinstance(word, str)
            and word not in quantity.labels
        ):
            raise value.error(f"« {word} » n'est pas un code de {quantity.name} : {', '.join(quantity.labels)}")
        for least, most in ranges_of(key):
            if most - least >= WIDEST:
                raise key.error(f"un intervalle a {WIDEST} valeurs au plus")
            for raw in range(least, most + 1):
                if raw in words:
                    raise key.error(f"{raw} est écrit deux fois")
                words[raw] = word
    if not words:
        raise entry.error("la table est vide")
    return words


def _integers(entry: Entry) -> frozenset[int]:
    entries = entry.items() if entry.is_list else [entry]
    return frozenset(item.integer(-(1 << 63), (1 << 64) - 1) for item in entries)


def _running(keys: Mapping[str, Entry], scope: Scope) -> Running | None:
    for key, sign in (("adds_to", 1), ("subtracts_from", -1)):
        if key in keys:
            name = keys[key].text()
            if name not in scope.known:
                raise keys[key].error(f"« {name} » n'est pas un nombre nommé plus haut")
            return Running(name, sign)
    return None


def _default(entry: Entry, meaning: Meaning) -> Any:
    if meaning.words is None:
        return entry.fraction()
    word = word_of(entry)
    if word not in meaning.words.values():
        raise entry.error(f"{entry.shown()} n'est pas dans « values »")
    return word


def _group(entry: Entry, scope: Scope) -> Group:
    keys = entry.mapping("when", "optional", "fields")
    if "fields" not in keys:
        raise entry.error("« when » et « optional » demandent « fields »")
    conditions: list[tuple[str, Any]] = []
    if "when" in keys:
        for key, value in keys["when"].pairs():
            if key.text() not in scope.known:
                raise key.error(f"« {key.text()} » n'est pas un nombre nommé plus haut")
            conditions.append((key.text(), ranges_of(value)))
    optional = "optional" in keys and keys["optional"].flag()
    return Group(elements_of(keys["fields"], scope), tuple(conditions), optional)


def _tagged(entry: Entry, scope: Scope) -> Tagged:
    keys = entry.mapping("tlv")["tlv"].mapping("tag", "length", "records", "unknown")
    if "tag" not in keys or "records" not in keys:
        raise entry.error("« tlv » a « tag » (le type de l'étiquette) et « records »")
    tag = _plain_type(keys["tag"], scope)
    length = _plain_type(keys["length"], scope) if "length" in keys else None
    passing = "unknown" in keys and keys["unknown"].one_of(("refuse", "skip")) == "skip"
    if passing and length is None:
        raise keys["unknown"].error("sans « length », une étiquette inconnue ne peut pas être passée")
    records: dict[int, TaggedRecord] = {}
    for key, value in keys["records"].pairs():
        number = key.integer(0, (1 << 8 * tag.size) - 1)
        if number in records:
            raise key.error(f"l'étiquette {number:#x} est écrite deux fois")
        records[number] = TaggedRecord(number, elements_of(value, scope.inside()))
    return Tagged(tag, length, records, passing)


def _plain_type(entry: Entry, scope: Scope) -> NumberType:
    kind = number_type(entry.one_of(("u8", "u16", "u24", "u32")), scope.byte_order, None)
    assert kind is not None  # noqa: S101 - It is one of these.
    return kind


def _repeat(entry: Entry, scope: Scope) -> Repeat:
    keys = entry.mapping("repeat")["repeat"].mapping("name", "title", "count", "fields", "time")
    if "fields" not in keys or "count" not in keys or "name" not in keys:
        raise entry.error("« repeat » a « name », « count » (un nombre, un nom, ou « rest ») et « fields »")
    count: int | str | None
    if keys["count"].integer_or_none() is not None:
        count = keys["count"].integer(1, LARGEST)
    else:
        count = None if keys["count"].text() == "rest" else scope.number(keys["count"])
    elements = elements_of(keys["fields"], scope.inside())
    if sum(element.least for element in elements) < 1:
        raise keys["fields"].error("un élément répété a au moins un octet sans condition")
    steps = _steps(keys["time"], scope) if "time" in keys else None
    title = keys["title"].text() if "title" in keys else ""
    return Repeat(_name(keys["name"]), count, elements, steps, title)


def _steps(entry: Entry, scope: Scope) -> Steps:
    if scope.in_command:
        raise entry.error("une commande n'a pas d'instants")
    keys = entry.mapping("step", "unit", "first", "last")
    if "step" not in keys or {"first", "last"} <= keys.keys():
        raise entry.error("« time » a « step » (15 min, ou le nom d'un nombre), et « first » ou « last »")
    step: int | tuple[str, int]
    if "unit" in keys:
        step = (scope.number(keys["step"]), UNITS_US[keys["unit"].one_of(UNITS_US)])
    else:
        step = duration_us(keys["step"])
    edge = next((keys[key] for key in ("first", "last") if key in keys), None)
    return Steps(step, duration_us(edge) if edge is not None else 0, "last" in keys)


_BUILDERS: dict[str, Callable[[Entry, Scope], Element]] = {
    "type": _typed,
    "skip": _skip,
    "warning": _warned,
    "when": _group,
    "optional": _group,
    "tlv": _tagged,
    "repeat": _repeat,
}
