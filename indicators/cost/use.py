"""What a ledger has still to be told of what was counted. Pure."""

from collections.abc import Collection, Mapping

from indicators.cost.model import OfLedger


def differences(
    counted: Mapping[OfLedger, int], recorded: Mapping[str, int | None], by_hand: Collection[OfLedger]
) -> list[tuple[OfLedger, int]]:
    """By basis, what was counted less what was recorded; None was recorded: all of it, were it none.

    What somebody keeps by hand is theirs.
    """
    found: list[tuple[OfLedger, int]] = []
    for basis, quantity in counted.items():
        before = recorded.get(basis)
        if basis not in by_hand and quantity != before:
            found.append((basis, quantity - (before or 0)))
    return found
