"""A formula holds what it takes to compute an amount again, as French people write it."""

from datetime import date
from fractions import Fraction

from indicators.cost.formulas import euros, formulas_of, number
from indicators.cost.model import Contributor, Entry, Item, Period, Share
from indicators.cost.statement import make_statement

SPACE = "\N{NARROW NO-BREAK SPACE}"


def plain(text: str) -> str:
    return text.replace(SPACE, " ")


def test_days_are_shown_as_they_were_counted_so_that_the_cent_can_be_found_again() -> None:
    """From 1 July on: 184 of 365 days. 280,000 x 920/365 / 200 = 3,528.767 EUR."""
    late = Contributor(1, "A", (Period(date(2026, 7, 1), None, 900),))
    whole = Contributor(2, "B", (Period(date(2026, 1, 1), None, 9_000),))
    gateways = (Share("gateways", 10_000),)
    items = [
        Item(1, "p", 2026, None, "pro_rata", 28_000_000, gateways, per=200),
        Item(
            2, "k", 2026, None, "key", 4_300_000, (Share("inhabitants", 2_550), Share("gateways", 7_450)),
            flat_below=1_500, flat_cents=50_000, subsidy_percent=70,
        ),
        Item(3, "t", 2026, None, "rate", 300, (Share("uplinks", 10_000),), per=1_000),
    ]  # fmt: skip
    entries = [Entry(id_, "gateways", date(2026, 1, 1), 5) for id_ in (1, 2)]
    entries += [Entry(id_, "uplinks", date(2026, 8, 1), 1_234_567) for id_ in (1, 2)]
    found = {
        key: plain(text) for key, text in formulas_of(make_statement(2026, [late, whole], items, entries)).items()
    }

    assert found[1, 1] == "280 000,00 € × 920/365 passerelles ÷ 200 = 3 528,77 €"
    assert found[1, 2] == "280 000,00 € × 5 passerelles ÷ 200 = 7 000,00 €"
    assert found[2, 1] == "forfait : 500,00 € × 184/365 de l’année = 252,05 €"
    assert found[2, 2] == (
        "(43 000,00 € × 30 % − 252,05 € de forfaits) × "
        "(25,5 % × 9 000 ÷ 9 000 habitants + 74,5 % × 5 ÷ 5 passerelles) = 12 647,95 €"
    )
    assert found[3, 1] == "3,00 € × 1 234 567 messages reçus ÷ 1 000 = 3 703,70 €"


def test_amounts_and_numbers_have_thousands_apart_and_a_comma() -> None:
    assert [plain(euros(cents)) for cents in (0, 5, -123_456_789)] == ["0,00 €", "0,05 €", "-1 234 567,89 €"]
    assert [plain(number(Fraction(text))) for text in ("0", "1.5", "1234.567")] == ["0", "1,5", "1 234,57"]
