"""Why somebody pays what they pay, as a formula that a person computes again by hand, in French. Pure."""

from collections.abc import Mapping
from fractions import Fraction
from math import floor

from indicators.cost.model import Basis, Item, Line, Statement, Term
from indicators.cost.quantities import days_of
from indicators.cost.statement import flats_of

BASES: Mapping[Basis, str] = {
    "equal": "membres",
    "inhabitants": "habitants",
    "parts": "parts",
    "assets": "équipements",
    "gateways": "passerelles",
    "uplinks": "messages reçus",
    "air_time_ms": "ms d’antenne",
    "exports": "exports",
}
THIN = "\N{NARROW NO-BREAK SPACE}"


def euros(cents: int) -> str:
    """`-1 234,50 €`."""
    whole, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{_whole(whole)},{rest:02d}{THIN}€"


def number(value: Fraction, days: int = 1) -> str:
    """With thousands apart; what is no whole number as it was counted, so many of the year's days: `920/365`.

    What is of no days has at most two decimals, after a comma.
    """
    if value.denominator != 1 and days % value.denominator == 0:
        return f"{_whole(int(value * days))}/{days}"
    hundredths = floor(value * 100 + Fraction(1, 2))
    whole, rest = divmod(hundredths, 100)
    return _whole(whole) if not rest else f"{_whole(whole)},{rest:02d}".rstrip("0")


def _whole(value: int) -> str:
    return f"{value:,}".replace(",", THIN)


def formulas_of(made: Statement) -> dict[tuple[int, int], str]:
    """By item and contributor."""
    days = days_of(made.year)
    return {
        (shared.item.id, line.contributor_id): formula_of(shared.item, line, flats_of(shared), days)
        for shared in made.shared
        for line in shared.lines
    }


def formula_of(item: Item, line: Line, flats: Fraction, days: int) -> str:
    """The formula of a line; `flats`: cents that others pay as flat amounts, of a year of so many days."""
    amount = euros(item.amount_cents)
    subsidy = f" × {100 - item.subsidy_percent} %" if item.subsidy_percent else ""
    if item.method != "key":
        [term] = line.terms
        per = "" if item.per == 1 else f" ÷ {number(term.total)}"
        return f"{amount}{subsidy} × {number(term.quantity, days)} {_name(term)}{per} = {euros(line.cents)}"
    if line.terms and line.terms[0].basis == "flat":
        part = "" if line.terms[0].quantity == 1 else f" × {number(line.terms[0].quantity, days)} de l’année"
        return f"forfait : {euros(item.flat_cents)}{part} = {euros(line.cents)}"
    parts = " + ".join(_part(term, days) for term in line.terms)
    before = f"{amount}{subsidy}"
    if flats:
        before = f"({before} − {euros(floor(flats + Fraction(1, 2)))} de forfaits)"
    return f"{before} × ({parts}) = {euros(line.cents)}"


def _part(term: Term, days: int) -> str:
    share = number(Fraction(term.share, 100))
    return f"{share} % × {number(term.quantity, days)} ÷ {number(term.total, days)} {_name(term)}"


def _name(term: Term) -> str:
    return "" if term.basis == "flat" else BASES[term.basis]
