"""Assets in lists: how each is, when its device was last heard, how that one's battery is, who hears it best."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from api import asset_state_store
from api.asset_state_store import BY_STATE, OF_STATES
from core.runtime.postgres import Connection
from registry import assets, device_lists
from registry.assets import WantedAssets
from registry.listing import (
    TENANTS,
    Ask,
    Key,
    Listing,
    Part,
    numbered,
    planned_anew,
    planned_for_tenants,
    rows_in_order,
)

KEYS = assets.KEYS | {
    "last_seen_at": Key("last_seen_at", "timestamptz"),
    "state": BY_STATE,
}
LIST_WITH_STATES = Listing(
    f"""
SELECT l.*, s.state, s.last_seen_at FROM ({assets.LIST.select}) l
JOIN ({asset_state_store.STATES}) s ON s.id = l.id
WHERE :states::text[] IS NULL OR s.state = ANY(:states)
""",
    KEYS,
    OF_STATES,
)
# One text for all of them, made where they are: a hundred thousand rows take longer to bring over than to write.
# Six digits are eleven centimetres.
MAP = numbered(
    f"""
SELECT '{{"type":"FeatureCollection","features":[' || coalesce(string_agg(
    '{{"type":"Feature","id":' || s.id || ',"geometry":{{"type":"Point","coordinates":['
    || round(s.longitude::numeric, 6) || ',' || round(s.latitude::numeric, 6) || ']}},"properties":{{"kind":'
    || to_json(s.kind) || ',"state":"' || s.state || '"}}}}', ','), '') || ']}}'
FROM ({assets.LIST.select}) l JOIN ({asset_state_store.STATES}) s ON s.id = l.id
WHERE s.longitude IS NOT NULL AND s.latitude IS NOT NULL AND (:states::text[] IS NULL OR s.state = ANY(:states))
""",
    OF_STATES,
)
ARCHIVED_IDS = "SELECT id FROM asset WHERE archived_at IS NOT NULL"
# The device that serves an asset; of several the one in the first position by name.
SERVING = """
SELECT DISTINCT ON (s.asset_id) s.asset_id AS id, s.device_id
FROM assignment s WHERE s.asset_id = ANY($1) AND upper_inf(s.during) ORDER BY s.asset_id, s.position, s.id
"""
INTERVALS = """
SELECT a.id, coalesce(p.expected_interval, a.expected_interval) AS expected_interval
FROM asset_life a LEFT JOIN asset_life_in_part($1) p ON p.asset_id = a.id WHERE a.id = ANY($1)
"""


@dataclass(frozen=True, slots=True)
class AssetCondition:
    """How an asset of a list is, and the device that serves it."""

    state: str
    alerts: int
    last_seen_at: datetime | None
    expected_interval: timedelta | None
    dev_eui: bytes | None
    model: str | None
    battery_percent: float | None
    best_gateway: bytes | None
    best_rssi: float | None
    best_snr: float | None


@dataclass(frozen=True, slots=True)
class _Serving:
    id: int
    device_id: int


@dataclass(frozen=True, slots=True)
class _Interval:
    id: int
    expected_interval: timedelta | None


async def list_assets(
    connection: Connection, ask: Ask, wanted: WantedAssets, states: Sequence[str] | None = None
) -> Part:
    """The ids of a page of assets; how all of them are is asked only when that decides which, or in what order."""
    if states is None and ask.sort in assets.LIST.statements:
        return await assets.list_assets(connection, ask, wanted)
    given: dict[str, Any] = wanted.values() | {"states": None if states is None else list(states)}
    given["states_kind"] = wanted.kind
    if wanted.archived:  # Only their ids find them.
        given["states_ids"] = [row["id"] for row in await connection.fetch(ARCHIVED_IDS)]
    return await LIST_WITH_STATES.page(connection, ask, given)


async def read_map(connection: Connection, wanted: WantedAssets, states: Sequence[str] | None = None) -> str:
    """A GeoJSON FeatureCollection of all that are wanted and have a place: id, kind and state of each."""
    given = wanted.values() | {"states": None if states is None else list(states), "states_kind": wanted.kind}
    async with planned_for_tenants(connection) as tenants:
        return await connection.fetchval(MAP.sql, *MAP.values(given | {TENANTS: tenants}))


async def read_conditions(connection: Connection, ids: Sequence[int]) -> dict[int, AssetCondition]:
    """How each of these assets is."""
    found = await asset_state_store.list_states(connection, asset_state_store.Wanted(ids=list(ids)), most=len(ids))
    async with planned_anew(connection):
        serving = {one.id: one.device_id for one in await rows_in_order(connection, _Serving, SERVING, ids)}
        rows = await rows_in_order(connection, _Interval, INTERVALS, ids)
    intervals = {one.id: one.expected_interval for one in rows}
    devices = {one.id: one for one in await device_lists.read_in_order(connection, list(serving.values()))}
    conditions: dict[int, AssetCondition] = {}
    for state in found:
        device = devices.get(serving.get(state.id, 0))
        conditions[state.id] = AssetCondition(
            state.state,
            state.alerts,
            state.last_seen_at,
            intervals.get(state.id),
            None if device is None else device.dev_eui,
            None if device is None else device.model,
            None if device is None else device.battery_percent,
            None if device is None else device.best_gateway,
            None if device is None else device.best_rssi,
            None if device is None else device.best_snr,
        )
    return conditions
