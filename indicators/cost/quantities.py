"""How much of a basis a contributor has in a year. Pure."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from fractions import Fraction

from indicators.cost.model import STOCKS, Basis, Contributor, Counted, Entry

DAY = timedelta(days=1)


def days_of(year: int) -> int:
    """365, or 366 in a leap year."""
    return (date(year + 1, 1, 1) - date(year, 1, 1)).days


def quantity(
    contributor: Contributor, basis: Basis, counted: Counted, year: int, entries: Iterable[Entry]
) -> Fraction:
    """Units of a basis in a year, on the days on which the contributor belongs to the group.

    `entries`: the contributor's, of this basis.
    """
    spans = _spans(contributor, year)
    if basis not in STOCKS:
        return Fraction(sum(e.quantity for e in entries if _is_within(e.day, spans)))
    if counted == "added":
        return Fraction(sum(e.quantity for e in entries if _is_within(e.day, spans)))
    if counted == "year_end":
        last = date(year, 12, 31)
        return Fraction(_at(last, basis, spans, entries) if _is_within(last, spans) else 0)
    total = sum(_sum_of_days(span, basis, entries) for span in spans)
    return Fraction(total, days_of(year))


def presence(contributor: Contributor, year: int) -> Fraction:
    """The share of the year's days on which it belongs to the group."""
    return quantity(contributor, "equal", "average", year, ())


def first_inhabitants(contributor: Contributor, year: int) -> int | None:
    """Of its first period in the year; None: it does not belong to the group in this year."""
    spans = _spans(contributor, year)
    return spans[0][2] if spans else None


def is_known(contributor: Contributor, basis: Basis, year: int, entries: Sequence[Entry]) -> bool:
    """Whether the ledger says anything: of a stock until the year's end, of what happens during the year."""
    if basis in {"equal", "inhabitants"}:
        return True
    if basis in STOCKS:
        return any(e.day.year <= year for e in entries)
    return any(_is_within(e.day, _spans(contributor, year)) for e in entries)


Span = tuple[date, date, int]
"""The days of a period that lie in the year, the second not any more, and its inhabitants."""


def _spans(contributor: Contributor, year: int) -> list[Span]:
    first, end = date(year, 1, 1), date(year + 1, 1, 1)
    clipped = (
        (max(p.since, first), end if p.until is None else min(p.until, end), p.inhabitants)
        for p in sorted(contributor.periods, key=lambda p: p.since)
    )
    return [span for span in clipped if span[0] < span[1]]


def _is_within(day: date, spans: Iterable[Span]) -> bool:
    return any(since <= day < until for since, until, _ in spans)


def _at(day: date, basis: Basis, spans: Iterable[Span], entries: Iterable[Entry]) -> int:
    """A stock on one day, which lies in a span."""
    if basis == "equal":
        return 1
    if basis == "inhabitants":
        return next(inhabitants for since, until, inhabitants in spans if since <= day < until)
    return sum(e.quantity for e in entries if e.day <= day)


def _sum_of_days(span: Span, basis: Basis, entries: Iterable[Entry]) -> int:
    """The sum over a span's days of what is there on each."""
    since, until, _ = span
    if basis in {"equal", "inhabitants"}:
        return _at(since, basis, [span], ()) * (until - since).days
    return sum(e.quantity * (until - max(e.day, since)).days for e in entries if e.day < until)
