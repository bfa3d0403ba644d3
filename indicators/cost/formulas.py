"""Why somebody pays what they pay, as a formula that a person computes again by hand, in French. Pure."""

from collections.abc import Mapping
from fractions import Fraction
from math import floor

from indicators.cost.model import Basis, Item, Line, Statement, Term
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
    return f"{'-' if cents < 0 else ''}{f'{whole:,}'.replace(',', THIN)},{rest:02d}{THIN}€"


def number(value: Fraction) -> str:
    """With thousands apart and at most two decimals, after a comma."""
    hundredths = floor(value * 100 + Fraction(1, 2))
    whole, rest = divmod(hundredths, 100)
    text = f"{whole:,}".replace(",", THIN)
    return text if not rest else f"{text},{rest:02d}".rstrip("0")


def formulas_of(made: Statement) -> dict[tuple[int, int], str]:
    """By item and contributor."""
    return {
        (shared.item.id, line.contributor_id): formula_of(shared.item, line, flats_of(shared))
        for shared in made.shared
        for line in shared.lines
    }


def formula_of(item: Item, line: Line, flats: Fraction) -> str:
    """The formula of a line; `flats`: cents that others pay as flat amounts, before the rest is shared."""
    amount = euros(item.amount_cents)
    subsidy = f" × {100 - item.subsidy_percent} %" if item.subsidy_percent else ""
    if item.method != "key":
        [term] = line.terms
        per = "" if item.per == 1 else f" ÷ {number(term.total)}"
        return f"{amount}{subsidy} × {number(term.quantity)} {_name(term)}{per} = {euros(line.cents)}"
    if line.terms and line.terms[0].basis == "flat":
        days = "" if line.terms[0].quantity == 1 else f" × {number(line.terms[0].quantity * 100)} % de l’année"
        return f"forfait : {euros(item.flat_cents)}{days} = {euros(line.cents)}"
    parts = " + ".join(
        f"{number(Fraction(term.share, 100))} % × {number(term.quantity)} ÷ {number(term.total)} {_name(term)}"
        for term in line.terms
    )
    before = f"{amount}{subsidy}"
    if flats:
        before = f"({before} − {euros(floor(flats + Fraction(1, 2)))} de forfaits)"
    return f"{before} × ({parts}) = {euros(line.cents)}"


def _name(term: Term) -> str:
    return "" if term.basis == "flat" else BASES[term.basis]
