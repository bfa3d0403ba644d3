"""Datastreams: looked up, or created at the first measurement of a quantity."""

from collections.abc import Sequence
from typing import NamedTuple

from core.model.entities import Datastream
from core.runtime.postgres import Connection, Pool
from registry.rows import entity

COLUMNS = "id, tenant_id, asset_id, device_id, position, channel, quantity, unit"
_INTO = "INTO datastream AS known (tenant_id, asset_id, device_id, position, channel, quantity, unit)"
_ONE = f"INSERT {_INTO} VALUES ($1, $2, $3, $4, $5, $6, $7)"
# In the order given: every writer locks in the same one.
_ALL = f"""INSERT {_INTO}
SELECT * FROM unnest($1::int[], $2::int[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[])
"""
_OF_ASSET = """
ON CONFLICT (asset_id, position, channel, quantity) WHERE asset_id IS NOT NULL
DO UPDATE SET device_id = excluded.device_id
"""
_OF_DEVICE = """
ON CONFLICT (device_id, channel, quantity) WHERE asset_id IS NULL
DO UPDATE SET unit = known.unit
"""
MAKE_FOR_ASSET = f"{_ONE} {_OF_ASSET} RETURNING {COLUMNS}"
MAKE_FOR_DEVICE = f"{_ONE} {_OF_DEVICE} RETURNING {COLUMNS}"
MAKE_ALL_FOR_ASSETS = f"{_ALL} {_OF_ASSET}"
MAKE_ALL_FOR_DEVICES = f"{_ALL} {_OF_DEVICE}"
FIND_FOR_ASSETS = """
SELECT w.place, d.id, d.device_id
FROM unnest($1::int[], $2::text[], $3::text[], $4::text[])
     WITH ORDINALITY AS w (asset_id, position, channel, quantity, place)
JOIN datastream d ON d.asset_id = w.asset_id AND d.position = w.position AND d.channel = w.channel
     AND d.quantity = w.quantity
"""
FIND_FOR_DEVICES = """
SELECT w.place, d.id, d.device_id
FROM unnest($1::int[], $2::text[], $3::text[])
     WITH ORDINALITY AS w (device_id, channel, quantity, place)
JOIN datastream d ON d.device_id = w.device_id AND d.channel = w.channel AND d.quantity = w.quantity
     AND d.asset_id IS NULL
"""


class WantedDatastream(NamedTuple):
    """The key of a datastream, and the columns that it gets when it is new.

    `is_current`: its device serves it now, and so goes on with an asset's that another device began.
    """

    tenant_id: int
    asset_id: int | None
    device_id: int
    position: str
    channel: str
    quantity: str
    unit: str
    is_current: bool = True

    @property
    def key(self) -> tuple[int | str, ...]:
        """What there is one of: of an asset its position, channel and quantity, else of a device."""
        where = (self.device_id,) if self.asset_id is None else (self.asset_id, self.position)
        return (*where, self.channel, self.quantity)


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


async def make_datastreams(
    connection: Connection | Pool, wanted: Sequence[WantedDatastream]
) -> dict[WantedDatastream, int]:
    """As `make_datastream` for many: their ids. Nothing is written for those that are as wanted.

    Raises:
        ForeignKeyViolationError: a device or an asset among them is gone.
    """
    ids: dict[WantedDatastream, int] = {}
    of_assets = sorted({want for want in wanted if want.asset_id is not None})
    of_devices = sorted({want for want in wanted if want.asset_id is None}, key=lambda want: want[2:])
    for group, statement in ((of_assets, MAKE_ALL_FOR_ASSETS), (of_devices, MAKE_ALL_FOR_DEVICES)):
        found = await _find(connection, group)
        missing = [
            want for want in group if want not in found or (want.is_current and found[want][1] != want.device_id)
        ]
        if missing:
            # Of two devices that serve an asset's datastream the last in the order goes on with it.
            last = {want.key: want[:7] for want in missing}
            rows = [last[key] for key in sorted(last)]
            await connection.execute(statement, *map(list, zip(*rows, strict=True)))
            found |= await _find(connection, missing)
        ids |= {want: id_ for want, (id_, _) in found.items()}
    return ids


async def _find(
    connection: Connection | Pool, wanted: Sequence[WantedDatastream]
) -> dict[WantedDatastream, tuple[int, int]]:
    """The datastreams that exist, with the device that serves each; all for assets, or all for devices."""
    if not wanted:
        return {}
    channels, quantities = [want.channel for want in wanted], [want.quantity for want in wanted]
    if wanted[0].asset_id is None:
        device_ids = [want.device_id for want in wanted]
        rows = await connection.fetch(FIND_FOR_DEVICES, device_ids, channels, quantities)
    else:
        asset_ids, positions = [want.asset_id for want in wanted], [want.position for want in wanted]
        rows = await connection.fetch(FIND_FOR_ASSETS, asset_ids, positions, channels, quantities)
    return {wanted[row["place"] - 1]: (row["id"], row["device_id"]) for row in rows}
