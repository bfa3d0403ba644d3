"""Legal hours of lamps, by the categories a to g of the arrêté of 27 December 2018 (JORFTEXT000037864346). Pure.

A report for people: it blocks nothing, and the text prevails. Public road lighting, which is of category a, has no
hour at which it must go out: a night cut is the municipality's decision.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, cast

from core.model.hours import MINUTES, MalformedHours, Span, minute_of
from core.model.lighting import LampPlace, Program
from lighting.programs import NOON, nights

Verdict = Literal["no_hour", "held", "not_held", "unknown"]
# Clocks and the sun's tables differ by so much.
TOLERANCE = timedelta(minutes=5)
ONE_O_CLOCK = 60
SEVEN_O_CLOCK = 7 * 60
HOUR = 60


@dataclass(frozen=True, slots=True)
class Category:
    """One of the seven of article 1, and what article 2 says of its hours, in French."""

    name: str
    hours: str


CATEGORIES: dict[str, Category] = {
    "a": Category(
        "déplacements, personnes et biens (voirie)",
        "Éclairage public de la voirie : aucune heure légale d'extinction, la commune décide de la coupure. "
        "Lié à une activité économique dans un espace clos : éteint une heure après la fin de l'activité, rallumé "
        "à 7 h au plus tôt ou une heure avant son début.",
    ),
    "b": Category(
        "patrimoine, cadre bâti, parcs et jardins",
        "Allumé au coucher du soleil au plus tôt, éteint à 1 h au plus tard ; parcs et jardins : une heure après "
        "leur fermeture au plus tard (fin des heures d'activité).",
    ),
    "c": Category("équipements sportifs de plein air", "L'arrêté ne fixe pas d'heure pour cette catégorie."),
    "d": Category(
        "bâtiments non résidentiels",
        "Façades : du coucher du soleil à 1 h au plus tard. Intérieurs : éteints une heure après la fin de "
        "l'occupation, rallumés à 7 h au plus tôt ou une heure avant le début de l'activité.",
    ),
    "e": Category(
        "parcs de stationnement d'une zone d'activité",
        "Allumé au coucher du soleil au plus tôt, éteint deux heures après la fin de l'activité, rallumé à 7 h au "
        "plus tôt ou une heure avant son début.",
    ),
    "f": Category("éclairage événementiel", "L'arrêté ne fixe pas d'heure pour cette catégorie."),
    "g": Category("chantiers en extérieur", "Éteint une heure après la fin de l'activité."),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What the report says of one asset; `nights` of a year overstep its hours."""

    category: str
    verdict: Verdict
    reason: str
    nights: int = 0


def category_of(attributes: dict[str, object]) -> str:
    """An asset's category: its attribute `legal_category`, else that of roads."""
    said = attributes.get("legal_category")
    return said if isinstance(said, str) and said in CATEGORIES else "a"


def judge(attributes: dict[str, object], program: Program, place: LampPlace, first: date) -> Finding:
    """A year of nights from `first` on against the hours of the asset's category.

    `activity`, the attribute, is from when until when people work there: `["08:00", "19:00"]`.
    """
    category = category_of(attributes)
    if category in ("c", "f"):
        return Finding(category, "no_hour", CATEGORIES[category].hours)
    if category == "a" and "activity" not in attributes:
        return Finding(category, "no_hour", "éclairage public de la voirie : aucune heure légale d'extinction")
    span = _activity(attributes.get("activity"))
    if span is None and category not in ("b", "d"):
        return Finding(category, "unknown", "heures d'activité inconnues (attribut activity)")
    return _judge(category, _off_span(category, span), program, place, first)


def _activity(said: object) -> Span | None:
    if not isinstance(said, list):
        return None
    try:
        begin, end = (minute_of(str(one)) for one in cast(list[object], said))
    except (MalformedHours, ValueError):
        return None
    return begin, end


def _off_span(category: str, activity: Span | None) -> Span:
    """From when until when lamps must be off, in minutes since noon."""
    if activity is None:
        return _since_noon(ONE_O_CLOCK), MINUTES
    begin, end = activity
    if category == "b":
        # A park that closes has its own hour, earlier than one o'clock or later; no light before the next sunset.
        return _since_noon(end + HOUR), MINUTES
    if category == "d":
        # Of shop windows, what ends later than one o'clock may go on for an hour.
        since = max(_since_noon(ONE_O_CLOCK), _since_noon(end + HOUR))
    else:
        since = _since_noon(end + (2 * HOUR if category == "e" else HOUR))
    return since, _since_noon(min(SEVEN_O_CLOCK, begin - HOUR))


def _judge(category: str, off: Span, program: Program, place: LampPlace, first: date) -> Finding:
    known = over = 0
    example = ""
    for found in nights(program, place, first):
        known += 1
        noon = place.region.local(found.dusk).replace(hour=12, minute=0, second=0, microsecond=0)
        since, until = (noon + timedelta(minutes=minute) for minute in off)
        for stretch in found.stretches:
            if stretch.level <= 0:
                continue
            is_early = category != "g" and stretch.since < found.dusk - TOLERANCE
            if is_early or max(stretch.since, since + TOLERANCE) < min(stretch.until, until):
                over += 1
                at = stretch.since if is_early else max(stretch.since, since)
                example = example or f"{place.region.local(at):le %d/%m/%Y à %H:%M}"
                break
    if not known:
        return Finding(category, "unknown", "position inconnue : le coucher du soleil ne se calcule pas")
    if not over:
        return Finding(category, "held", CATEGORIES[category].hours)
    return Finding(category, "not_held", f"allumé hors des heures légales, par exemple {example}", over)


def _since_noon(minute: int) -> int:
    return (minute - NOON) % MINUTES
