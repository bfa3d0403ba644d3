"""Meters that were changed, by hand or because another device serves: their last index, and the next one's first.

The table is beside the measurements; the API's role reads it through its view, and writes by functions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.runtime.postgres import Connection, Pool
from registry.rows import Written, columns_of, fetch_all

CREATE = "SELECT enter_meter_change($1, $2, $3, $4, $5)"
WRITTEN = Written("final_index, initial_index, note")
COMPLETE = "SELECT complete_meter_change($1, $2, $3, $4, $5)"
DELETE = "SELECT remove_meter_change($1)"
IS_CHANGE_AT = "SELECT true FROM meter_change WHERE datastream_id = $1 AND at = $2"
RECORD_REPLACEMENT = "SELECT record_replacement($1, $2, $3, $4)"


@dataclass(frozen=True, slots=True)
class MeterChangeRow:
    """From `at` on another meter counts; `cause` is replacement or manual."""

    id: int
    datastream_id: int
    at: datetime
    final_index: float | None
    initial_index: float | None
    cause: str
    note: str
    created_at: datetime


LIST = f"SELECT {columns_of(MeterChangeRow)} FROM meter_change WHERE datastream_id = $1 ORDER BY at"


async def list_meter_changes(connection: Connection | Pool, datastream_id: int) -> list[MeterChangeRow]:
    """Those of a datastream, the first one first."""
    return await fetch_all(connection, MeterChangeRow, LIST, datastream_id)


async def create_meter_change(
    connection: Connection, datastream_id: int, at: datetime, final: float | None, initial: float | None, note: str
) -> int | None:
    """The id of a new one; None when there is one of this instant, or the datastream is another tenant's."""
    return await connection.fetchval(CREATE, datastream_id, at, final, initial, note)


async def is_change_at(connection: Connection, datastream_id: int, at: datetime) -> bool:
    """Whether there is one of this very instant."""
    return await connection.fetchval(IS_CHANGE_AT, datastream_id, at) is True


async def complete_meter_change(connection: Connection, change_id: int, change: Mapping[str, Any]) -> bool:
    """Change columns in `WRITTEN`; False for another tenant's."""
    return await connection.fetchval(COMPLETE, change_id, *WRITTEN.changes(change)) is True


async def delete_meter_change(connection: Connection, change_id: int) -> bool:
    """Remove one; False for another tenant's."""
    return await connection.fetchval(DELETE, change_id) is True


async def record_replacement(
    connection: Connection, asset_id: int, position: str, device_id: int, at: datetime
) -> None:
    """Another device than before serves this position: each of its counters is another one from now on."""
    await connection.fetchval(RECORD_REPLACEMENT, asset_id, position, device_id, at)
