"""The yearly statement against amounts that were computed by hand, from the conventions of French syndicats."""

from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indicators.cost.apportionment import largest_remainder, to_cent
from indicators.cost.checks import InvalidCost, check_item, check_periods
from indicators.cost.model import Contributor, Entry, Gap, Item, Period, Share, Statement
from indicators.cost.statement import make_statement

ALWAYS = (Period(date(2020, 1, 1), None, 10_000),)
A, B, C = (Contributor(n, name, ALWAYS) for n, name in enumerate("ABC", 1))
NEW_YEAR = date(2026, 1, 1)


def item(method: str, cents: int, *shares: tuple[str, int], **more: object) -> Item:
    parts = tuple(Share(basis, share) for basis, share in shares)  # type: ignore[arg-type]
    return Item(7, "poste", 2026, None, method, cents, parts, **more)  # type: ignore[arg-type]


def owed(made: Statement) -> dict[int, int]:
    assert made.unshareable == ()
    return dict(made.by_contributor())


def test_the_four_amounts_of_a_network_of_twenty_gateways() -> None:
    """7,500 EUR once and 500 EUR a year for each of 20 gateways, 280,000 EUR of 200, 5,000 EUR of upkeep."""
    entries = [Entry(1, "gateways", NEW_YEAR, 12), Entry(2, "gateways", NEW_YEAR, 8)]
    costs = [
        (item("rate", 750_000, ("gateways", 10_000), counted="added"), {1: 9_000_000, 2: 6_000_000}),
        (item("pro_rata", 28_000_000, ("gateways", 10_000), per=200), {1: 1_680_000, 2: 1_120_000}),
        (item("rate", 50_000, ("gateways", 10_000)), {1: 600_000, 2: 400_000}),
        (item("key", 500_000, ("gateways", 10_000)), {1: 300_000, 2: 200_000}),
    ]
    made = [make_statement(2026, [A, B], [one], entries) for one, _ in costs]

    assert [statement.total_cents for statement in made] == [15_000_000, 2_800_000, 1_000_000, 500_000]
    assert [owed(statement) for statement in made] == [expected for _, expected in costs]
    assert made[1].shared[0].left_cents == 25_200_000
    assert make_statement(2027, [A, B], [costs[0][0]], entries).total_cents == 0  # Nothing has come since.


def test_a_key_of_40_40_20_leaves_the_small_ones_at_their_flat_amount() -> None:
    """100,000 EUR; C pays 500. Of 99,500 A bears 0.4/3 + 0.4/4 + 0.2 x 2/3 = 11/30, B 19/30."""
    small = Contributor(3, "C", (Period(NEW_YEAR, None, 1_499),))
    large = Contributor(2, "B", (Period(NEW_YEAR, None, 20_000),))
    key = item(
        "key", 10_000_000, ("inhabitants", 4_000), ("assets", 4_000), ("gateways", 2_000), flat_below=1_500,
        flat_cents=50_000,
    )  # fmt: skip
    counts = {1: (10, 2), 2: (30, 1), 3: (99, 9)}
    entries = [Entry(id_, "assets", NEW_YEAR, assets) for id_, (assets, _) in counts.items()]
    entries += [Entry(id_, "gateways", NEW_YEAR, gateways) for id_, (_, gateways) in counts.items()]
    made = make_statement(2026, [small, large, A], [key], entries)

    assert owed(made) == {1: 3_648_333, 2: 6_301_667, 3: 50_000}
    line = made.shared[0].lines[0]
    assert [(term.quantity, term.total) for term in line.terms] == [(10_000, 30_000), (10, 40), (2, 3)]
    at_limit = Contributor(3, "C", (Period(NEW_YEAR, None, 1_500),))
    shared = make_statement(2026, [at_limit, large, A], [key], entries)
    assert owed(shared)[3] != 50_000


def test_who_comes_in_july_of_a_leap_year_pays_184_of_366_days() -> None:
    """50,000 cents x 184 / 366 = 25,136.6 cents; a fourth gateway from 1 October on for 92 days."""
    late = Contributor(1, "A", (Period(date(2028, 7, 1), None, 5_000),))
    rate = item("rate", 50_000, ("gateways", 10_000))
    entries = [Entry(1, "gateways", date(2027, 3, 1), 1)]

    assert owed(make_statement(2028, [late], [rate], entries)) == {1: 25_137}
    more = [*entries, Entry(1, "gateways", date(2028, 10, 1), 3)]
    assert owed(make_statement(2028, [late], [rate], more)) == {1: to_cent(Fraction(50_000 * (184 + 3 * 92), 366))}
    year_end = item("rate", 50_000, ("gateways", 10_000), counted="year_end")
    assert owed(make_statement(2028, [late], [year_end], more)) == {1: 200_000}


def test_a_correction_is_one_more_entry_and_use_is_summed_over_the_year() -> None:
    """3 EUR for 1,000 uplinks: 1,200,000 were counted, 200,000 of them wrongly."""
    rate = item("rate", 300, ("uplinks", 10_000), per=1_000)
    entries = [
        Entry(1, "uplinks", date(2026, 1, 31), 1_200_000),
        Entry(1, "uplinks", date(2026, 1, 31), -200_000),
        Entry(1, "uplinks", date(2025, 12, 31), 77),
    ]

    assert owed(make_statement(2026, [A], [rate], entries)) == {1: 300_000}


def test_a_subsidy_is_taken_off_before_the_rest_is_shared() -> None:
    """FEDER 70/30: of 100.01 EUR remain 30.003, thus 30.00 EUR."""
    key = item("key", 10_001, ("equal", 10_000), subsidy_percent=70)

    assert owed(make_statement(2026, [A, B, C], [key], [])) == {1: 1_000, 2: 1_000, 3: 1_000}


def test_what_cannot_be_shared_says_why_and_what_is_unknown_is_named() -> None:
    key = item("key", 100, ("gateways", 10_000))
    flats = item("key", 100, ("equal", 10_000), flat_below=20_000, flat_cents=51)
    everybody_flat = item("key", 10_000, ("equal", 10_000), flat_below=20_000, flat_cents=50)
    pro_rata = item("pro_rata", 100, ("gateways", 10_000), per=2)
    negative, three = [Entry(1, "gateways", NEW_YEAR, -1)], [Entry(2, "gateways", NEW_YEAR, 3)]

    def reasons(one: Item, entries: list[Entry], *who: Contributor) -> list[tuple[str, str | None, int | None]]:
        made = make_statement(2026, who, [one], entries)
        return [(wrong.reason, wrong.basis, wrong.contributor_id) for wrong in made.unshareable]

    assert reasons(key, []) == [("nobody", None, None)]
    assert reasons(key, [], A) == [("nothing_counted", "gateways", None)]
    assert reasons(key, negative, A) == [("negative", "gateways", 1)]
    assert reasons(flats, [], A, B) == [("flats_above", None, None)]
    assert reasons(everybody_flat, [], A, B) == [("nobody", None, None)]
    assert reasons(pro_rata, three, A, B) == [("above_whole", "gateways", None)]
    assert make_statement(2026, [A, B], [key], three).gaps == (Gap(1, "gateways"),)
    none = [*three, Entry(1, "gateways", NEW_YEAR, 0)]  # It was said that there is none.
    assert make_statement(2026, [A, B], [key], none).gaps == ()
    assert make_statement(2025, [A], [key], []).shared == ()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (item("key", 1, ("equal", 4_000), ("assets", 4_000), ("gateways", 1_950)), "99,5 % au lieu de 100 %"),
        (item("key", 1, ("equal", 5_000), ("equal", 5_000)), "deux fois"),
        (item("rate", 1, ("equal", 5_000), ("assets", 5_000)), "une assiette, pas 2"),
        (item("key", 1, ("equal", 10_000), flat_below=10), "un forfait a un montant"),
        (item("pro_rata", 1, ("uplinks", 10_000)), "pas sur un usage"),
        (item("key", 1, ("assets", 10_000), counted="added"), "en moyenne ou au 31 décembre"),
        (item("rate", 1, ("equal", 10_000), counted="added"), "ni des membres ni des habitants"),
        (Item(1, "a", 2026, 2025, "rate", 1, (Share("assets", 10_000),)), "finit en 2025, avant 2026"),
    ],
)  # fmt: skip
def test_an_item_that_could_never_be_shared_is_refused_with_the_reason(wrong: Item, said: str) -> None:
    with pytest.raises(InvalidCost, match=said):
        check_item(wrong)


def test_periods_that_overlap_are_empty_or_have_negative_inhabitants_are_refused() -> None:
    first, second = Period(NEW_YEAR, date(2026, 7, 1), 10), Period(date(2026, 7, 1), None, 12)

    check_periods([second, first])
    for wrong, said in (
        ([Period(NEW_YEAR, None, 10), second], "du 2026-01-01 et du 2026-07-01 se chevauchent"),
        ([Period(NEW_YEAR, NEW_YEAR, 1)], "avant d'avoir commencé"),
        ([Period(NEW_YEAR, None, -1)], "-1 habitants"),
    ):
        with pytest.raises(InvalidCost, match=said):
            check_periods(wrong)


@given(st.dictionaries(st.integers(1, 400), st.fractions(0, 10**9, max_denominator=366_000), min_size=1))
def test_parts_add_up_to_the_cent_each_within_a_cent_whatever_their_order(exact: dict[int, Fraction]) -> None:
    cents = largest_remainder(exact)

    assert sum(cents.values()) == to_cent(sum(exact.values(), Fraction(0)))
    assert all(abs(cents[id_] - part) < 1 for id_, part in exact.items())
    assert cents == largest_remainder(dict(reversed(exact.items())))


@given(
    amount=st.integers(0, 10**10),
    weights=st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(0, 500), st.integers(0, 365)), min_size=1, max_size=40
    ),
    first=st.integers(0, 10_000),
    subsidy=st.integers(0, 100),
    seed=st.randoms(use_true_random=False),
)  # fmt: skip
def test_a_statement_adds_up_for_any_shares_and_any_sequence(
    amount: int, weights: list[tuple[int, int, int]], first: int, subsidy: int, seed: object
) -> None:
    who = [
        Contributor(n, str(n), (Period(NEW_YEAR, None, inhabitants + 1),))
        for n, (inhabitants, _, _) in enumerate(weights)
    ]
    entries = [
        Entry(n, "assets", date.fromordinal(NEW_YEAR.toordinal() + day % 365), assets + 1)
        for n, (_, assets, day) in enumerate(weights)
    ]
    key = item("key", amount, ("inhabitants", first), ("assets", 10_000 - first), subsidy_percent=subsidy)
    made = make_statement(2026, who, [key], entries)
    shuffled = [*who], [*entries]
    for one in shuffled:
        seed.shuffle(one)  # type: ignore[attr-defined]

    assert made.total_cents == to_cent(Fraction(amount * (100 - subsidy), 100))
    assert sum(made.by_contributor().values()) == made.total_cents
    assert make_statement(2026, shuffled[0], [key], shuffled[1]) == made


def test_a_negative_part_is_no_part() -> None:
    with pytest.raises(ValueError, match="negative"):
        largest_remainder({1: Fraction(-1, 3)})
