"""Gateways and outlines of communes of a bulk import."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.model.outlines import InvalidOutline, read_outline
from registry import outlines
from registry.bulk_imports.plan import RejectedLine
from registry.bulk_imports.rows import DoneLine, Place, changed, write_each
from registry.imports import Outcome

COLUMNS = (
    "name", "site", "latitude", "longitude", "antenna_gain", "backhaul", "sim", "purchase_cost_eur",
    "yearly_cost_eur",
)  # fmt: skip
GATEWAY = f"SELECT tenant_id, {', '.join(COLUMNS)} FROM gateway WHERE gateway_id = $1 FOR UPDATE"
CREATE_GATEWAY = f"""
INSERT INTO gateway (tenant_id, gateway_id, {", ".join(COLUMNS)})
VALUES ($1, $2, $3, coalesce($4, ''), $5, $6, coalesce($7, 0), $8, coalesce($9, ''), $10, $11)
"""
UPDATE_GATEWAY = f"""
UPDATE gateway SET {", ".join(f"{name} = coalesce(${n}, {name})" for n, name in enumerate(COLUMNS, 2))}
WHERE gateway_id = $1
"""
OUTCOMES = {"created": Outcome.CREATED, "updated": Outcome.UPDATED, "unchanged": Outcome.UNCHANGED}


async def write_gateways(place: Place, lines: Sequence[Mapping[str, Any]]) -> list[DoneLine]:
    """Register the gateways of these lines, or change what they say."""
    return await write_each(place, lines, _gateway)


async def _gateway(place: Place, line: Mapping[str, Any]) -> Outcome:
    gateway_id = bytes.fromhex(line["gateway_id"])
    given = {name: line[name] for name in COLUMNS if name in line}
    if ("latitude" in given) != ("longitude" in given):
        missing = "longitude" if "latitude" in given else "latitude"
        raise RejectedLine(missing, "manque : elle va avec l'autre")
    known = await place.connection.fetchrow(GATEWAY, gateway_id)
    if known is None:
        values = {"name": line["gateway_id"]} | given
        await place.connection.execute(CREATE_GATEWAY, place.tenant_id, gateway_id, *map(values.get, COLUMNS))
        return Outcome.CREATED
    if known["tenant_id"] != place.tenant_id:
        raise RejectedLine("gateway_id", "cette passerelle est déjà enregistrée, chez une autre collectivité")
    change = changed(dict(known), given)
    if not change:
        return Outcome.UNCHANGED
    await place.connection.execute(UPDATE_GATEWAY, gateway_id, *map(change.get, COLUMNS))
    return Outcome.UPDATED


async def write_outlines(place: Place, lines: Sequence[Mapping[str, Any]]) -> list[DoneLine]:
    """Take in the outlines of these lines."""
    return await write_each(place, lines, _outline)


async def _outline(place: Place, line: Mapping[str, Any]) -> Outcome:
    for name in ("name", "geometry"):
        if name not in line:
            raise RejectedLine(name, "manque")
    properties = {"insee": line["insee"], "nom": line["name"]}
    try:
        outline = read_outline({"type": "Feature", "properties": properties, "geometry": line["geometry"]})
    except InvalidOutline as wrong:
        raise RejectedLine("geometry", str(wrong)) from None
    return OUTCOMES[await outlines.take_in(place.connection, place.tenant_id, outline)]
