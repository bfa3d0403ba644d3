"""What a field seems to mean, by its name, the unit that is stated and its values, and what is doubtful."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from core.model.quantities import QUANTITIES, Kind
from decoders.mapping.doubts import Doubt
from decoders.mapping.fields import Field, unit_of_name
from decoders.mapping.paths import Steps
from decoders.mapping.units import IDENTITY, conversion, is_known
from decoders.mapping.vocabulary import (
    BESIDE,
    BESIDE_COUNTS,
    BESIDE_STATES,
    CODED,
    EMPTY_WORDS,
    EXTREMES,
    MEANT,
    NEVER_MEASURED,
    OF_UNITS,
    OPPOSITES,
    TERMS,
    UNIT_WORDS,
    USUAL,
    Term,
)

BATTERY = frozenset({"battery"})
# What says how full something is, or what.
CONTAINERS = frozenset({"fill", "tank", "silo", "ullage", "cuve", "citerne", "reservoir"})
CUMULATED = frozenset({"total", "cumulative", "cumulated", "accumulated", "overall", "abs", "absolute"})
# A whole number up to this may be a code as well as a percentage: 3 of a battery is one of its four states.
LARGEST_CODE = 10
# Below these, a battery's number is volts, and no fraction of something; above, it is millivolts.
BATTERY_V, BATTERY_MV = (1.5, 13), 1000
CELL_V = 4.5  # Of a lithium cell, or of three alkaline ones, at most.
# Of the compass.
SECTORS = 16
# Whole volts that are no tenths or hundredths: of the mains.
MAINS_V = ((90, 260), (360, 440))
# How averages are named beside extremes: least, average, most.
_STATISTICS = [
    tuple(case(word) for word in (least, average, most))
    for case in (str.lower, str.capitalize, str.upper)
    for least, most in (("min", "max"), ("minimum", "maximum"))
    for average in ("avg", "average", "mean", "rms")
]
# Names that leave open which state 1 is: a contact may be closed when it is true.
_OPEN_SENSE = {"open": "open", "valve_open": "open"}


@dataclass(frozen=True, slots=True)
class Meaning:
    """A quantity, the vendor's unit ("": the quantity's own), what texts are worth, and a doubt if any."""

    quantity: str
    unit: str = ""
    values: Mapping[str, float] = field(default_factory=dict[str, float])
    doubt: Doubt | None = None


def extremes_of_a_period(fields: Sequence[Field]) -> set[Steps]:
    """Where least and most of a period are: an average between them is beside, which limits do not have."""
    values = {field.steps: field.numbers for field in fields}
    found: set[Steps] = set()
    for least, average, most in _STATISTICS:
        for steps, lows in values.items():
            middle, high = _renamed(steps, least, average), _renamed(steps, least, most)
            if middle is None or high is None:
                continue
            betweens, tops = values.get(middle, ()), values.get(high, ())
            ordered = all(low <= one <= top for low, one, top in zip(lows, betweens, tops, strict=False))
            if len(lows) == len(betweens) == len(tops) and ordered:
                found |= {steps, high}
    return found


def parts_of_an_index(fields: Sequence[Field]) -> set[Steps]:
    """Counts beside which a cumulated one is: what came since the last frame, which is no index."""
    words = {field.steps: frozenset(field.words) for field in fields}
    return {
        steps
        for steps, own in words.items()
        if any(other > own and other - own <= CUMULATED for other in words.values())
    }


def contents(fields: Sequence[Field]) -> bool:
    """Whether how full something is is beside: a volume is what is in it then, and no index."""
    return any(CONTAINERS & field.around for field in fields)


def _renamed(steps: Steps, word: str, other: str) -> Steps | None:
    """The path with one word of its last name instead of another; None where the word is not in it."""
    name = steps[-1]
    if not isinstance(name, str):
        return None
    changed, count = re.subn(rf"(?<![a-z]){word}(?![a-z])", other, name, count=1)
    return (*steps[:-1], changed) if count else None


def meaning_of(field: Field) -> Meaning | None:
    """The likeliest meaning; None: it measures nothing, or nobody knows what."""
    if field.around & NEVER_MEASURED:
        return None
    terms = _terms(field)
    if terms and terms[0].quantity is None:
        return None
    if field.texts or (field.leaf.values and all(isinstance(value, bool) for value in field.leaf.values)):
        return _state(field, terms)
    if not field.numbers or not all(math.isfinite(number) for number in field.numbers):
        return None
    return _measure(field, terms)


def _terms(field: Field) -> list[Term]:
    """What the words may mean, the likeliest first."""
    words = field.words
    if words and words[0] == "current" and set(words[1:]) & MEANT:
        words = words[1:]  # The present temperature, not a current.
    own, around = set(words), field.around
    found = [term for term in TERMS if term.words <= around | own and term.words & own]
    if words is not field.words:
        found = [term for term in found if "current" not in term.words or term.words <= own]
    last = {word: at for at, word in enumerate(words)}
    return sorted(
        found,
        key=lambda term: (
            -len(term.words),
            term.words <= EMPTY_WORDS,  # `co2_concentration` is of CO2.
            not (term.quantity and _understood(field, term)),
            -max(last.get(word, -1) for word in term.words),
        ),
    )


def _understood(field: Field, term: Term) -> bool:
    """Whether each word of the name is of the meaning, of a unit, or changes nothing."""
    known = term.words | BESIDE | EXTREMES | CODED
    quantity = QUANTITIES[term.quantity or ""]
    if quantity.kind is Kind.COUNTER or quantity.unit == "1":
        known |= BESIDE_COUNTS
    if _is_state(quantity.name):
        known |= BESIDE_STATES
    if field.words[:1] == ["current"] and len(field.words) > 1:
        known |= {"current"}
    return all(word in known or word in UNIT_WORDS or word.isdecimal() for word in field.words)


def _state(field: Field, terms: Sequence[Term]) -> Meaning | None:
    """Texts and truth values: a quantity that is 0 or 1."""
    term = next((one for one in terms if _is_state(one.quantity or "")), None)
    if term is None or term.quantity is None:
        return None
    quantity, texts = term.quantity, {text.casefold() for text in field.texts}
    doubt = None if _understood(field, term) else Doubt.NAME
    if not texts:
        said = _OPEN_SENSE.get(quantity)
        return Meaning(quantity, doubt=Doubt.SENSE if said and said not in field.around else doubt)
    if any(not isinstance(value, str) for value in field.leaf.values):
        return None
    pair = next(((one, zero, of) for one, zero, of in OPPOSITES if texts <= {*one, *zero}), None)
    if pair is None:
        return None
    ones, zeros, quantities = pair
    if quantities and quantity not in quantities:
        doubt = Doubt.SENSE
    if not quantities and _OPEN_SENSE.get(quantity, "") not in field.around | {""}:
        doubt = Doubt.SENSE
    return Meaning(quantity, values=dict.fromkeys(ones, 1.0) | dict.fromkeys(zeros, 0.0), doubt=doubt)


def _is_state(quantity: str) -> bool:
    return quantity == "motion" or (quantity in QUANTITIES and QUANTITIES[quantity].kind is Kind.BOOLEAN)


def _measure(field: Field, terms: Sequence[Term]) -> Meaning | None:
    measured = [term for term in terms if term.quantity is not None]
    units = {QUANTITIES[term.quantity or ""].unit for term in measured}
    in_name = "" if field.unit else unit_of_name(field, units)
    said = field.unit or in_name
    if not measured:
        return _by_unit(field)
    if not said:
        return _by_name(field, measured)
    # The unit that is stated decides: what cannot be stated in it is not meant.
    fitting = next((term for term in measured if is_known(said, QUANTITIES[term.quantity or ""].unit)), None)
    if fitting is None or fitting.quantity is None:
        return None
    quantity = QUANTITIES[fitting.quantity]
    unit = "" if conversion(said, quantity.unit) == IDENTITY and said == quantity.unit else said
    doubt: Doubt | None = None
    first = measured[0]
    is_second = len(fitting.words) < len(first.words) and not fitting.words >= BATTERY
    # A power in watt-hours may be an index, or what a period has consumed.
    is_second |= quantity.kind is Kind.COUNTER and QUANTITIES[first.quantity or ""].kind is Kind.GAUGE
    if is_second or _contradicted(field, said, quantity.unit):
        doubt = Doubt.OTHER_UNIT
    elif not _understood(field, fitting) and not field.unit:
        doubt = Doubt.NAME
    elif not _possible(field.numbers, fitting.quantity, said) or (
        in_name and not _is_ordinary(field, fitting.quantity, said)
    ):
        doubt = Doubt.VALUE
    elif in_name and CODED & set(field.words):
        doubt = Doubt.CODE
    return _checked(field, Meaning(fitting.quantity, unit, doubt=doubt))


def _contradicted(field: Field, said: str, unit: str) -> bool:
    """Whether the name ends with another multiple than the one that is stated beside it."""
    other = unit_of_name(field, (unit,))
    return bool(other) and conversion(other, unit) not in (None, conversion(said, unit))


def _by_unit(field: Field) -> Meaning | None:
    """The one quantity that has the unit that is stated, of a name that says nothing."""
    written = "".join(field.unit.split()).lower()
    for unit, name in OF_UNITS:
        fits = ("rh" in written or "hr" in written) if unit == "%RH" else bool(written)
        if fits and conversion(written, QUANTITIES[name].unit) == IDENTITY:
            doubt = None if _possible(field.numbers, name, field.unit) else Doubt.VALUE
            return _checked(
                field, Meaning(name, "" if field.unit == QUANTITIES[name].unit else field.unit, doubt=doubt)
            )
    return None


def _by_name(field: Field, terms: Sequence[Term]) -> Meaning | None:
    """No unit is stated: the one that the name implies, where its values are usual of one alone."""
    likeliest = [term for term in terms if len(term.words) == len(terms[0].words)]
    likeliest = [term for term in likeliest if term.words == terms[0].words]
    term = likeliest[0]
    quantity = QUANTITIES[term.quantity or ""]
    if quantity.kind is Kind.BOOLEAN:
        ones = all(number in (0, 1) for number in field.numbers)
        return Meaning(quantity.name, doubt=Doubt.CODE) if ones else None
    if term.words == BATTERY:
        return _battery(field, term)
    implied = [(one, unit) for one in likeliest for unit in one.units]
    # Nothing says the unit of a zero: the others do. Alone, it must be usual itself.
    numbers = [number for number in field.numbers if number] or field.numbers
    usual = [
        (one, unit)
        for one, unit in implied
        if all(_is_usual(number, one.quantity or "", unit) for number in numbers)
    ]
    if len({unit for _, unit in usual}) != 1:
        doubt = Doubt.VALUE if implied and not usual else Doubt.UNIT
        return _checked(field, Meaning(quantity.name, doubt=doubt))
    chosen, unit = usual[0]
    name = chosen.quantity or ""
    doubt = None if _understood(field, chosen) else Doubt.NAME
    if CODED & set(field.words) or _may_be_a_code(field, name):
        doubt = Doubt.CODE
    own = conversion(unit, QUANTITIES[name].unit) == IDENTITY
    return _checked(field, Meaning(name, "" if own else unit, doubt=doubt))


def _may_be_a_code(field: Field, quantity: str) -> bool:
    whole = all(number.is_integer() and 0 <= number <= LARGEST_CODE for number in field.numbers)
    if quantity == "pulse_count":
        if field.words == ["pulse", "value"]:
            return True  # What one pulse is worth, perhaps.
        return not ("pulse" in field.around or any(word.isdecimal() for word in field.words))
    if quantity == "active_power":
        return max(field.numbers) <= LARGEST_CODE  # Kilowatts, perhaps.
    if quantity == "wind_direction":
        return max(field.numbers) <= SECTORS and all(number.is_integer() for number in field.numbers)
    if quantity in ("relative_humidity", "soil_moisture"):
        return 0 < max(field.numbers) <= 1  # A fraction, perhaps.
    return "level" in field.words and whole and quantity != "battery_level"


def _battery(field: Field, term: Term) -> Meaning | None:
    """A level or a voltage, as its numbers are; a small whole number may be a code."""
    numbers = [number for number in field.numbers if number]
    if not numbers:
        return Meaning("battery_level", doubt=Doubt.CODE)
    whole = all(number.is_integer() for number in numbers)
    understood = _understood(field, term) and not CODED & set(field.words)
    doubt = None if understood else Doubt.CODE if CODED & set(field.words) else Doubt.NAME
    level = {"percent", "level", "remaining", "soc"} & field.around
    if all(number >= BATTERY_MV for number in numbers) and not level:
        fits = _possible(numbers, "battery_voltage", "mV")
        return Meaning("battery_voltage", "mV", doubt=doubt if fits else Doubt.VALUE)
    if not whole and all(BATTERY_V[0] < number <= BATTERY_V[1] for number in numbers) and not level:
        return Meaning("battery_voltage", doubt=doubt)
    if not _possible(numbers, "battery_level", "%"):
        return Meaning("battery_level", doubt=Doubt.VALUE)
    if max(numbers) <= LARGEST_CODE:
        doubt = doubt or Doubt.CODE
    return _checked(field, Meaning("battery_level", doubt=doubt))


def _checked(field: Field, meaning: Meaning) -> Meaning:
    """An extreme is to be confirmed, and a voltage that may be that of the sensor's own battery."""
    doubt = meaning.doubt
    if doubt is None and _counts_or_codes(field, meaning.quantity):
        doubt = Doubt.CODE
    if doubt is None and EXTREMES & (set(field.words) | field.around):
        doubt = Doubt.EXTREME
    elif doubt is None and meaning.quantity == "voltage":
        scale = (conversion(meaning.unit, "V") or IDENTITY).scale
        volts = [abs(number) * scale for number in field.numbers if number]
        if volts and max(volts) <= CELL_V:
            doubt = Doubt.CELL
    return replace(meaning, doubt=doubt)


def _counts_or_codes(field: Field, quantity: str) -> bool:
    """Whether the object around says codes or counts of what its fields are named by: `status.temperature` 1."""
    if not all(number.is_integer() for number in field.numbers) or QUANTITIES[quantity].unit == "1":
        return False
    is_small = max(field.numbers) <= LARGEST_CODE
    around = field.around - set(field.words)
    return bool(CODED & around and is_small) or ("counter" in around and QUANTITIES[quantity].kind is Kind.GAUGE)


def _is_usual(number: float, quantity: str, unit: str) -> bool:
    known = conversion(unit, QUANTITIES[quantity].unit)
    if known is None:
        return False
    low, high = USUAL.get(quantity, (QUANTITIES[quantity].minimum, QUANTITIES[quantity].maximum))
    value = number * known.scale + known.offset
    if quantity == "voltage" and value.is_integer():
        return any(least <= value <= most for least, most in MAINS_V)
    if quantity == "distance" and unit == "m" and number.is_integer():
        return False  # A whole number of metres is more likely one of millimetres.
    if quantity == "active_power" and not value.is_integer():
        return False  # Kilowatts have decimals; watts are counted whole.
    return (low is None or low <= value) and (high is None or value <= high)


def _is_ordinary(field: Field, quantity: str, unit: str) -> bool:
    """Whether a battery has the voltage that its name says the unit of: `bat_v` 36 is tenths of a volt."""
    if quantity != "battery_voltage":
        return True
    return all(_is_usual(number, quantity, unit) for number in field.numbers if number)


def _possible(numbers: Sequence[float], quantity: str, unit: str) -> bool:
    known, entry = conversion(unit, QUANTITIES[quantity].unit), QUANTITIES[quantity]
    if known is None:
        return False
    values = [number * known.scale + known.offset for number in numbers]
    low = -math.inf if entry.minimum is None else entry.minimum
    high = math.inf if entry.maximum is None else entry.maximum
    return all(low <= value <= high for value in values)
