"""Tickets of weighbridges, of a bulk import."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.model.region import region_of
from registry import weighings
from registry.bulk_imports.rows import DoneLine, Place, write_each
from registry.imports import Outcome

READ_CLOCKS = "SELECT t.department, d.timezone FROM tenant t CROSS JOIN deployment d WHERE t.id = $1"
OUTCOMES = {"created": Outcome.CREATED, "updated": Outcome.UPDATED, "unchanged": Outcome.UNCHANGED}


async def write_weighings(place: Place, lines: Sequence[Mapping[str, Any]]) -> list[DoneLine]:
    """Keep the tickets of these lines, whose instants are by the tenant's clocks where they say no other."""
    row = await place.connection.fetchrow(READ_CLOCKS, place.tenant_id)
    assert row is not None  # noqa: S101 - An import is of a tenant.
    zone = region_of(row["department"], row["timezone"]).zone

    async def write(place: Place, line: Mapping[str, Any]) -> Outcome:
        at = line["weighed_at"]
        done = await weighings.enter_weighing(
            place.connection,
            place.tenant_id,
            line["ticket"],
            line["stream"],
            at if at.tzinfo else at.replace(tzinfo=zone),
            float(line["net_kg"]),
            line.get("round"),
        )
        return OUTCOMES[done]

    return await write_each(place, lines, write)
