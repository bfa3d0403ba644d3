"""Assets as the services read them."""

from collections.abc import Sequence

from core.model.entities import Asset
from core.registry.rows import entity
from core.runtime.postgres import Connection, Pool

READ_ASSETS = """
SELECT id, tenant_id, kind, name, commune, street, latitude, longitude, attributes, privacy_class
FROM asset WHERE $1::int[] IS NULL OR id = ANY($1)
"""


async def read_assets(connection: Connection | Pool, ids: Sequence[int] | None = None) -> dict[int, Asset]:
    """Every asset by id, or those with these ids."""
    return {row["id"]: entity(Asset, row) for row in await connection.fetch(READ_ASSETS, ids)}
