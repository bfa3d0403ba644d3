"""SQL of lighting commands."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core.runtime.postgres import Connection, Pool
from lighting.octets import Octets
from registry.downlinks import cancel_superseded
from registry.multicast import cancel_behind
from registry.rows import entity, fetch_all, fetch_one

COLUMNS = """id, tenant_id, asset_id, device_id, action, level, off_until, requested_by, reason,
state::text AS state, failure, attempts, downlink_id, read_back_downlink_id, not_after, created_at, updated_at,
sent_at, applied_at, confirmed_at, unconfirmed, reconciled_at, work_order_at, is_automatic"""
IS_COMMANDED = """
SELECT EXISTS (SELECT FROM lighting_command WHERE downlink_id = $1 OR read_back_downlink_id = $1)
"""
# What has an end, an "off" or a dimming, is brought back to its program then. What has none takes over what an
# older command still had to light again, and owes it until the cabinet says that it is lit; a dimming with an end
# does not put that off before it is applied.
INSERT = f"""
INSERT INTO lighting_command
    (tenant_id, asset_id, device_id, action, level, off_until, requested_by, reason, downlink_id, not_after,
     octets, expected_power_w, power_margin_w, is_automatic, relight_at)
SELECT tenant_id, id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $14,
       CASE WHEN $3 = 'off' THEN $5
            WHEN $5::timestamptz IS NOT NULL THEN least($5, (
                SELECT greatest(min(o.relight_at), $9) FROM lighting_command o
                WHERE o.asset_id = $1 AND o.relight_at IS NOT NULL))
            WHEN $13 OR EXISTS (
                SELECT FROM lighting_command o WHERE o.asset_id = $1 AND o.relight_at IS NOT NULL)
            THEN $9::timestamptz END
FROM asset WHERE id = $1
RETURNING {COLUMNS}
"""
SUPERSEDE = """
UPDATE lighting_command SET state = 'superseded', updated_at = now()
WHERE asset_id = $1 AND state IN ('queued', 'sent', 'acknowledged')
RETURNING downlink_id, read_back_downlink_id
"""
# What is applied is changed before the meter could say anything.
STOP_COMPARING = """
UPDATE lighting_command SET unconfirmed = 'not_compared'
WHERE asset_id = $1 AND state = 'applied' AND unconfirmed IS NULL
"""
# A newer command has taken over what an older one still had to light again.
SETTLE_OLDER = """
UPDATE lighting_command SET relight_at = NULL WHERE asset_id = $1 AND id < $2 AND relight_at IS NOT NULL
"""
READ = f"SELECT {COLUMNS} FROM lighting_command WHERE id = $1"
# Those of a cabinet are those of its circuits, too.
LIST = f"""
SELECT {COLUMNS} FROM lighting_command
WHERE ($1::int IS NULL OR asset_id = $1 OR asset_id IN (
           SELECT id FROM asset WHERE parent_id = $1 AND kind = 'lighting_circuit'))
  AND ($2::bigint IS NULL OR id < $2)
ORDER BY id DESC LIMIT $3
"""
LAST_OF_EACH = f"""
SELECT DISTINCT ON (p.place) p.place, c.*
FROM (SELECT {COLUMNS} FROM lighting_command) c JOIN (
    SELECT id AS circuit, id AS place FROM unnest($1::int[]) AS id
    UNION ALL SELECT id, parent_id FROM asset WHERE parent_id = ANY($1::int[]) AND kind = 'lighting_circuit'
) p ON p.circuit = c.asset_id
ORDER BY p.place, c.id DESC
"""


@dataclass(frozen=True, slots=True)
class Command:
    """A lighting command as the API shows it."""

    id: int
    tenant_id: int
    asset_id: int
    device_id: int
    action: str
    level: int | None
    off_until: datetime | None
    requested_by: str
    reason: str
    state: str
    failure: str | None
    attempts: int
    downlink_id: int
    read_back_downlink_id: int | None
    not_after: datetime
    created_at: datetime
    updated_at: datetime
    sent_at: datetime | None
    applied_at: datetime | None
    confirmed_at: datetime | None
    unconfirmed: str | None
    reconciled_at: datetime | None
    work_order_at: datetime | None
    is_automatic: bool  # Nobody asked for it: its program did, or what had to be brought back.


@dataclass(frozen=True, slots=True)
class NewCommand:
    """What a new row has beyond what the database knows of its asset."""

    asset_id: int
    device_id: int
    action: str
    level: int | None
    off_until: datetime | None
    requested_by: str
    reason: str
    downlink_id: int
    not_after: datetime
    octets: Octets
    expected_power: tuple[float, float] | None
    owes_light: bool
    is_automatic: bool


async def insert_command(connection: Connection, new: NewCommand) -> Command:
    """A new command, which takes over what older ones had to light again; the caller has locked the asset."""
    expected_w, margin_w = new.expected_power or (None, None)
    row = await connection.fetchrow(
        INSERT,
        *(new.asset_id, new.device_id, new.action, new.level, new.off_until, new.requested_by, new.reason),
        *(
            new.downlink_id,
            new.not_after,
            new.octets.as_json(),
            expected_w,
            margin_w,
            new.owes_light,
            new.is_automatic,
        ),
    )
    if row is None:
        raise LookupError(f"asset {new.asset_id}")
    await connection.execute(SETTLE_OLDER, new.asset_id, row["id"])
    return entity(Command, row)


async def supersede_open(connection: Connection, asset_id: int) -> None:
    """End the open commands of an asset, because a newer one comes; the caller has locked the asset."""
    await connection.execute(STOP_COMPARING, asset_id)
    superseded = await connection.fetch(SUPERSEDE, asset_id)
    ids = [id_ for row in superseded for id_ in row.values() if id_ is not None]
    if ids:
        await cancel_superseded(connection, ids)
        await cancel_behind(connection, ids)


async def read_command(connection: Connection | Pool, command_id: int) -> Command | None:
    """One command as it stands."""
    return await fetch_one(connection, Command, READ, command_id)


async def is_commanded(connection: Connection, downlink_id: int) -> bool:
    """Whether a command sent this downlink."""
    return await connection.fetchval(IS_COMMANDED, downlink_id) is True


async def list_commands(
    connection: Connection | Pool, *, asset_id: int | None = None, before: int | None = None, most: int = 100
) -> list[Command]:
    """Commands, newest first, of one asset and its circuits or of all visible; `before`: last id of a page."""
    return await fetch_all(connection, Command, LIST, asset_id, before, most)


async def last_commands(connection: Connection, asset_ids: Sequence[int]) -> dict[int, Command]:
    """The last command of each of these assets, or of its circuits, if there ever was one."""
    rows = await connection.fetch(LAST_OF_EACH, asset_ids)
    return {row["place"]: entity(Command, row) for row in rows}
