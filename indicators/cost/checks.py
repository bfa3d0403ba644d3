"""What is wrong with a cost item, a period or an entry, in French for who wrote it. Pure."""

from collections.abc import Sequence
from itertools import pairwise

from indicators.cost.model import STOCKS, WHOLE, Item, Period


class InvalidCost(Exception):
    """It cannot be; says in French which rule was broken by which value, and of which field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def check_periods(periods: Sequence[Period]) -> None:
    """Raises InvalidCost for an empty period, for two that overlap and for negative inhabitants."""
    for period in periods:
        if period.inhabitants < 0:
            raise InvalidCost("periods", f"{period.inhabitants} habitants : il en faut au moins 0")
        if period.until is not None and period.until <= period.since:
            raise InvalidCost("periods", f"la période finit le {period.until}, avant d'avoir commencé")
    for earlier, later in pairwise(sorted(periods, key=lambda period: period.since)):
        if earlier.until is None or later.since < earlier.until:
            raise InvalidCost("periods", f"les périodes du {earlier.since} et du {later.since} se chevauchent")


def check_item(item: Item) -> None:
    """Raises InvalidCost for what could never be shared."""
    if item.last_year is not None and item.last_year < item.first_year:
        raise InvalidCost("last_year", f"le poste finit en {item.last_year}, avant {item.first_year}")
    if item.method == "key":
        _check_key(item)
        return
    if len(item.shares) != 1:
        raise InvalidCost("shares", f"un tarif ou un prorata a une assiette, pas {len(item.shares)}")
    if item.flat_below or item.flat_cents:
        raise InvalidCost("flat_below", "seule une clé de répartition a un forfait")
    if item.method == "pro_rata" and item.shares[0].basis not in STOCKS:
        raise InvalidCost("shares", "un prorata se fait sur ce qui est en service, pas sur un usage")
    if item.counted == "added" and item.shares[0].basis in {"equal", "inhabitants"}:
        raise InvalidCost(
            "counted", "« ce qui est venu dans l'année » ne se compte ni des membres ni des habitants"
        )


def _check_key(item: Item) -> None:
    total = sum(part.share for part in item.shares)
    if total != WHOLE:
        raise InvalidCost("shares", f"les parts font {total / 100:g} % au lieu de 100 %".replace(".", ","))
    bases = [part.basis for part in item.shares]
    if len(set(bases)) != len(bases):
        raise InvalidCost("shares", "une assiette est deux fois dans la clé")
    if item.counted == "added":
        raise InvalidCost("counted", "une clé se compte en moyenne ou au 31 décembre")
    if item.per != 1:
        raise InvalidCost("per", "seul un tarif ou un prorata se compte par unités")
    if bool(item.flat_below) != bool(item.flat_cents):
        raise InvalidCost("flat_below", "un forfait a un montant et un nombre d'habitants")
