"""SQL of what entries of the feed are about besides measurements: alerts and commands that the caller may see."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from core.runtime.postgres import Connection

ALERTS = """
SELECT id, asset_id, datastream_id, severity::text, workflow::text, condition::text, message, value, opened_at,
       acknowledged_by, resolved_at
FROM alert WHERE id = ANY($1::bigint[])
"""
COMMANDS = """
SELECT id, asset_id, action, state::text, failure, requested_by, created_at
FROM lighting_command WHERE id = ANY($1::bigint[])
"""


class AlertNow(msgspec.Struct, frozen=True):
    """An alert, as it is when it is read."""

    id: int
    asset_id: int | None
    datastream_id: int | None
    severity: str
    workflow: str
    condition: str
    message: str
    value: float | None
    opened_at: datetime
    acknowledged_by: str | None
    resolved_at: datetime | None


class CommandNow(msgspec.Struct, frozen=True):
    """A command of lighting, as it is when it is read."""

    id: int
    asset_id: int
    action: str
    state: str
    failure: str | None
    requested_by: str
    created_at: datetime


async def read_alerts(connection: Connection, ids: Sequence[int]) -> dict[int, AlertNow]:
    """Those of these that the caller may see, by id."""
    return {row["id"]: AlertNow(*row) for row in await connection.fetch(ALERTS, ids)} if ids else {}


async def read_commands(connection: Connection, ids: Sequence[int]) -> dict[int, CommandNow]:
    """Those of these that the caller may see, by id."""
    return {row["id"]: CommandNow(*row) for row in await connection.fetch(COMMANDS, ids)} if ids else {}
