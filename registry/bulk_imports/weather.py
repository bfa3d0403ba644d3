"""Daily temperatures of weather stations, of a bulk import."""

from collections.abc import Mapping, Sequence
from typing import Any

from registry import weather_days
from registry.bulk_imports.plan import RejectedLine
from registry.bulk_imports.rows import DoneLine, Place, write_each
from registry.imports import Outcome

OUTCOMES = {"created": Outcome.CREATED, "updated": Outcome.UPDATED, "unchanged": Outcome.UNCHANGED}


async def write_weather_days(place: Place, lines: Sequence[Mapping[str, Any]]) -> list[DoneLine]:
    """Keep the days of these lines."""
    return await write_each(place, lines, _day)


async def _day(place: Place, line: Mapping[str, Any]) -> Outcome:
    for name in ("tn", "tx"):
        if name not in line:
            raise RejectedLine(name, "manque : un jour sans les deux températures est un jour inconnu")
    tn, tx = float(line["tn"]), float(line["tx"])
    if tn > tx:
        raise RejectedLine("tn", f"{tn:g} est au-dessus de tx, {tx:g}")
    done = await weather_days.enter_day(
        place.connection, place.tenant_id, line["station"], line["day"], tn, tx, line.get("source", "")
    )
    return OUTCOMES[done]
