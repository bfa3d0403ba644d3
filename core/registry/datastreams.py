"""Datastreams: found, or made at the first measurement of a quantity."""

from collections.abc import Sequence

from core.model.entities import Datastream
from core.registry.rows import entity
from core.runtime.postgres import Connection, Pool

COLUMNS = "id, tenant_id, asset_id, device_id, position, channel, quantity, unit"
READ_DATASTREAMS = f"SELECT {COLUMNS} FROM datastream WHERE $1::int[] IS NULL OR id = ANY($1)"
MAKE_FOR_ASSET = f"""
INSERT INTO datastream AS known (tenant_id, asset_id, device_id, position, channel, quantity, unit)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (asset_id, position, channel, quantity) WHERE asset_id IS NOT NULL
DO UPDATE SET device_id = excluded.device_id
RETURNING {COLUMNS}
"""
MAKE_FOR_DEVICE = f"""
INSERT INTO datastream AS known (tenant_id, asset_id, device_id, position, channel, quantity, unit)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (device_id, channel, quantity) WHERE asset_id IS NULL
DO UPDATE SET unit = known.unit
RETURNING {COLUMNS}
"""


async def read_datastreams(
    connection: Connection | Pool, ids: Sequence[int] | None = None
) -> dict[int, Datastream]:
    """Every datastream by id, or those with these ids."""
    rows = await connection.fetch(READ_DATASTREAMS, ids)
    return {row["id"]: entity(Datastream, row) for row in rows}


async def make_datastream(
    connection: Connection | Pool,
    *,
    tenant_id: int,
    asset_id: int | None,
    device_id: int,
    position: str,
    channel: str,
    quantity: str,
    unit: str,
) -> Datastream:
    """The datastream of this quantity, made if new; an asset's goes on with the device that serves it now."""
    statement = MAKE_FOR_DEVICE if asset_id is None else MAKE_FOR_ASSET
    row = await connection.fetchrow(statement, tenant_id, asset_id, device_id, position, channel, quantity, unit)
    assert row is not None  # noqa: S101 - Both statements return a row whether it was there or not.
    return entity(Datastream, row)
