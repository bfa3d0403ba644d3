"""A year of a program at a place: hours lit, energy, money and carbon dioxide, month by month. Pure."""

from dataclasses import dataclass
from datetime import date

from core.model.lighting import DAY, Burnt, LampPlace, Program, burnt

MONTHS = range(1, 13)


@dataclass(frozen=True, slots=True)
class Prices:
    """What a kilowatt-hour costs, in euros, and what it emits, in grams."""

    eur_per_kwh: float
    co2_g_per_kwh: float


@dataclass(frozen=True, slots=True)
class Span:
    """What lamps do in a month, or in a year (month 0)."""

    month: int
    hours: float
    kwh: float
    eur: float
    co2_kg: float
    unknown_nights: int


def simulate(program: Program, place: LampPlace, year: int, rated_power_w: float, prices: Prices) -> list[Span]:
    """The twelve months of a year, each with the nights that begin in it, and then their sum."""
    found = [burnt(program, place, date(year, month, 1), _nights(year, month)) for month in MONTHS]
    whole = Burnt(
        sum(one.hours for one in found),
        sum(one.full_hours for one in found),
        sum(one.unknown_nights for one in found),
    )
    return [_span(number, one, rated_power_w, prices) for number, one in enumerate((*found, whole), 1)]


def _nights(year: int, month: int) -> int:
    following = date(year + month // 12, month % 12 + 1, 1)
    return (following - date(year, month, 1)) // DAY


def _span(number: int, one: Burnt, rated_power_w: float, prices: Prices) -> Span:
    kwh = one.energy_kwh(rated_power_w)
    return Span(
        number % (len(MONTHS) + 1),
        one.hours,
        kwh,
        kwh * prices.eur_per_kwh,
        kwh * prices.co2_g_per_kwh / 1000,
        one.unknown_nights,
    )
