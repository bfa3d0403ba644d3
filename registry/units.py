"""Checks that the catalogue's units are those with which datastreams were created."""

from dataclasses import dataclass

from core.model.quantities import QUANTITIES
from core.runtime.postgres import Connection
from registry.rows import entity

READ_UNITS = """
SELECT quantity, unit, count(*) AS datastreams, min(id) AS first_id FROM datastream
GROUP BY quantity, unit ORDER BY quantity, unit
"""


@dataclass(frozen=True, slots=True)
class StoredUnit:
    """So many datastreams of a quantity in a unit, and the first of them."""

    quantity: str
    unit: str
    datastreams: int
    first_id: int


class UnitMismatch(Exception):
    """Datastreams have another unit than the catalogue: new values would not mean what the old ones do."""

    def __init__(self, stored: list[StoredUnit]) -> None:
        super().__init__(
            "; ".join(f"{one.quantity} in {one.unit}, not {QUANTITIES[one.quantity].unit}" for one in stored)
        )
        self.french = "des flux n'ont pas l'unité du catalogue : " + " ; ".join(
            f"{one.quantity} en {one.unit} au lieu de {QUANTITIES[one.quantity].unit} "
            f"({one.datastreams} flux, dont le {one.first_id})"
            for one in stored
        )


async def require_units(connection: Connection) -> list[StoredUnit]:
    """The quantities that the catalogue no longer has: they stay readable as they are.

    Raises:
        UnitMismatch: a unit of the catalogue was changed under datastreams that exist.
    """
    stored = [entity(StoredUnit, row) for row in await connection.fetch(READ_UNITS)]
    wrong = [one for one in stored if one.quantity in QUANTITIES and QUANTITIES[one.quantity].unit != one.unit]
    if wrong:
        raise UnitMismatch(wrong)
    return [one for one in stored if one.quantity not in QUANTITIES]
