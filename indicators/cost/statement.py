"""The yearly statement: what each contributor pays of each item, to the cent. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from indicators.cost.apportionment import largest_remainder, to_cent
from indicators.cost.model import (
    WHOLE,
    Basis,
    Contributor,
    Entry,
    Gap,
    Item,
    Line,
    OfLedger,
    SharedItem,
    Statement,
    Term,
    UnshareableItem,
)
from indicators.cost.quantities import first_inhabitants, is_known, presence, quantity

Ledger = Mapping[tuple[int, Basis], Sequence[Entry]]
PERCENT = 100


def make_statement(
    year: int, contributors: Iterable[Contributor], items: Iterable[Item], entries: Iterable[Entry]
) -> Statement:
    """Share every item of the year among those who belong to the group in it, in whatever sequence they come."""
    present = [one for one in contributors if first_inhabitants(one, year) is not None]
    present.sort(key=lambda one: one.id)
    ledger = _by_contributor(entries)
    due = sorted((item for item in items if item.is_of(year)), key=lambda item: item.id)
    outcomes = [_share(item, year, present, ledger) for item in due]
    bases: set[OfLedger] = {
        part.basis for item in due for part in item.shares if part.basis not in ("equal", "inhabitants")
    }
    gaps = tuple(
        Gap(one.id, basis)
        for one in present
        for basis in sorted(bases)
        if not is_known(one, basis, year, ledger.get((one.id, basis), ()))
    )
    return Statement(
        year,
        tuple(one for one in outcomes if isinstance(one, SharedItem)),
        tuple(one for one in outcomes if isinstance(one, UnshareableItem)),
        gaps,
    )


def flats_of(shared: SharedItem) -> Fraction:
    """What those who pay a flat amount pay of an item together, in cents."""
    flat = (term.quantity for line in shared.lines for term in line.terms if term.basis == "flat")
    return shared.item.flat_cents * sum(flat, Fraction(0))


def _by_contributor(entries: Iterable[Entry]) -> Ledger:
    ledger: dict[tuple[int, Basis], list[Entry]] = {}
    for entry in entries:
        ledger.setdefault((entry.contributor_id, entry.basis), []).append(entry)
    return ledger


def _share(item: Item, year: int, present: Sequence[Contributor], ledger: Ledger) -> SharedItem | UnshareableItem:
    if not present:
        return UnshareableItem(item, "nobody")
    counts: dict[Basis, dict[int, Fraction]] = {}
    for part in item.shares:
        counts[part.basis] = {
            one.id: quantity(one, part.basis, item.counted, year, ledger.get((one.id, part.basis), ()))
            for one in present
        }
        for contributor_id, count in counts[part.basis].items():
            if count < 0:
                return UnshareableItem(item, "negative", part.basis, contributor_id)
    match item.method:
        case "key":
            return _by_key(item, year, present, counts)
        case "rate":
            return _by_rate(item, counts[item.shares[0].basis])
        case "pro_rata":
            return _pro_rata(item, counts[item.shares[0].basis])


def _net(item: Item, exact: Fraction) -> Fraction:
    """What is left to share when the subsidy is taken off."""
    return exact * (PERCENT - item.subsidy_percent) / PERCENT


def _by_key(
    item: Item, year: int, present: Sequence[Contributor], counts: Mapping[Basis, Mapping[int, Fraction]]
) -> SharedItem | UnshareableItem:
    total = Fraction(to_cent(_net(item, Fraction(item.amount_cents))))
    flat = {
        one.id: presence(one, year) for one in present if (first_inhabitants(one, year) or 0) < item.flat_below
    }
    exact = {id_: item.flat_cents * days for id_, days in flat.items()}
    terms: dict[int, tuple[Term, ...]] = {
        id_: (Term("flat", WHOLE, days, Fraction(1)),) for id_, days in flat.items()
    }
    rest = total - sum(exact.values(), Fraction(0))
    if rest < 0:
        return UnshareableItem(item, "flats_above")
    others = [one.id for one in present if one.id not in flat]
    if not others and rest > 0:
        return UnshareableItem(item, "nobody")
    for id_ in others:
        exact[id_], terms[id_] = Fraction(0), ()
    for part in item.shares:
        whole = sum((counts[part.basis][id_] for id_ in others), Fraction(0))
        if not whole and rest > 0:
            return UnshareableItem(item, "nothing_counted", part.basis)
        for id_ in others:
            count = counts[part.basis][id_]
            if whole:
                exact[id_] += rest * part.share / WHOLE * count / whole
            terms[id_] += (Term(part.basis, part.share, count, whole),)
    return _shared(item, exact, terms)


def _by_rate(item: Item, counts: Mapping[int, Fraction]) -> SharedItem:
    exact = {id_: _net(item, item.amount_cents * count / item.per) for id_, count in counts.items()}
    return _shared(item, exact, _terms_of_one(item, counts))


def _pro_rata(item: Item, counts: Mapping[int, Fraction]) -> SharedItem | UnshareableItem:
    if sum(counts.values(), Fraction(0)) > item.per:
        return UnshareableItem(item, "above_whole", item.shares[0].basis)
    exact = {id_: _net(item, item.amount_cents * count / item.per) for id_, count in counts.items()}
    whole = to_cent(_net(item, Fraction(item.amount_cents)))
    return _shared(item, exact, _terms_of_one(item, counts), whole)


def _terms_of_one(item: Item, counts: Mapping[int, Fraction]) -> dict[int, tuple[Term, ...]]:
    [part] = item.shares
    return {id_: (Term(part.basis, part.share, count, Fraction(item.per)),) for id_, count in counts.items()}


def _shared(
    item: Item, exact: Mapping[int, Fraction], terms: Mapping[int, tuple[Term, ...]], whole: int | None = None
) -> SharedItem:
    cents = largest_remainder(exact)
    total = sum(cents.values())
    lines = tuple(Line(id_, cents[id_], terms[id_]) for id_ in sorted(cents))
    return SharedItem(item, total, 0 if whole is None else whole - total, lines)
