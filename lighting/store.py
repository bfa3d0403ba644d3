"""SQL of lighting commands."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.runtime.postgres import Connection, Pool, Record
from lighting.commands import OpenCommand, ReadBack, State
from registry.downlinks import cancel_superseded
from registry.rows import entity, fetch_all, fetch_one

COLUMNS = """id, tenant_id, asset_id, device_id, action, off_until, requested_by, reason, state::text AS state,
failure, attempts, downlink_id, read_back_downlink_id, not_after, created_at, updated_at, sent_at, confirmed_at"""

IS_COMMANDED = """
SELECT EXISTS (SELECT FROM lighting_command WHERE downlink_id = $1 OR read_back_downlink_id = $1)
"""
FIND_CABINET = """
SELECT a.device_id, p.codec, p.capabilities, d.enabled
FROM asset s
JOIN assignment a ON a.asset_id = s.id AND a.during @> now()
JOIN device d ON d.id = a.device_id
JOIN device_profile p ON p.id = d.device_profile_id
WHERE s.id = $1 AND ('switch' = ANY(p.capabilities) OR NOT EXISTS (
    SELECT FROM assignment o JOIN device od ON od.id = o.device_id
    JOIN device_profile op ON op.id = od.device_profile_id
    WHERE o.asset_id = s.id AND o.during @> now() AND 'switch' = ANY(op.capabilities)))
ORDER BY a.id LIMIT 1
"""
# Every command of a cabinet waits for this lock: of two at once, the later one supersedes the earlier.
LOCK_ASSET = "SELECT id FROM asset WHERE id = $1 FOR NO KEY UPDATE"
# An "off" is lit again at its end. An "on" takes over what an older command still had to light again, and owes it
# until the cabinet says that it is lit.
INSERT = f"""
INSERT INTO lighting_command
    (tenant_id, asset_id, device_id, action, off_until, requested_by, reason, downlink_id, not_after, relight_at)
SELECT tenant_id, id, $2, $3, $4, $5, $6, $7, $8,
       CASE WHEN $3 = 'off' THEN $4
            WHEN EXISTS (SELECT FROM lighting_command o WHERE o.asset_id = $1 AND o.relight_at IS NOT NULL)
            THEN $8::timestamptz + $9::interval END
FROM asset WHERE id = $1
RETURNING {COLUMNS}
"""
SUPERSEDE = """
UPDATE lighting_command SET state = 'superseded', updated_at = now()
WHERE asset_id = $1 AND state IN ('queued', 'sent')
RETURNING downlink_id, read_back_downlink_id
"""
# A newer command has taken over what an older one still had to light again.
SETTLE_OLDER = """
UPDATE lighting_command SET relight_at = NULL WHERE asset_id = $1 AND id < $2 AND relight_at IS NOT NULL
"""
LOCK_OPEN = """
SELECT c.id, c.tenant_id, c.asset_id, c.device_id, c.state::text AS state, c.action, c.attempts, c.not_after,
       d.state::text AS downlink_state, d.reason AS downlink_reason, d.sent_at,
       r.state::text AS read_back_state,
       p.codec
FROM lighting_command c
JOIN downlink d ON d.id = c.downlink_id
LEFT JOIN downlink r ON r.id = c.read_back_downlink_id
JOIN device v ON v.id = c.device_id
JOIN device_profile p ON p.id = v.device_profile_id
WHERE c.state IN ('queued', 'sent') AND c.id > $1
ORDER BY c.id LIMIT $2
FOR UPDATE OF c SKIP LOCKED
"""
# The instant that counts is our own clock's at arrival: a gateway's clock may be off by seconds.
READ_BACKS = """
SELECT m.value, u.received_at
FROM datastream s
JOIN observation.uplink u ON u.device_id = s.device_id AND u.time > $2::timestamptz - interval '1 minute'
                         AND u.received_at > $2
JOIN observation.measurement m ON m.datastream_id = s.id AND m.time = u.time
WHERE s.device_id = $1 AND s.quantity = 'switch_state'
ORDER BY u.received_at
"""
SET_SENT = """
UPDATE lighting_command SET state = 'sent', sent_at = $2, read_back_downlink_id = $3, updated_at = now()
WHERE id = $1
"""
SET_CONFIRMED = """
UPDATE lighting_command SET state = 'confirmed', confirmed_at = $2, failure = NULL, updated_at = now(),
       relight_at = CASE WHEN action = 'on' THEN NULL ELSE relight_at END
WHERE id = $1 RETURNING extract(epoch FROM $2 - created_at)::float8
"""
SET_SENT_AGAIN = """
UPDATE lighting_command SET state = 'queued', attempts = attempts + 1, downlink_id = $2,
       read_back_downlink_id = NULL, updated_at = now()
WHERE id = $1
"""
SET_ENDED = """
UPDATE lighting_command SET state = $2::lighting_command_state, failure = $3, updated_at = now(),
       relight_at = CASE WHEN action = 'on' AND relight_at IS NOT NULL THEN $4 ELSE relight_at END
WHERE id = $1
"""
TO_RELIGHT = "SELECT id, asset_id FROM lighting_command WHERE relight_at <= $1 ORDER BY relight_at, id LIMIT 100"
# Asked once its asset is locked: a newer command may have settled it.
IS_TO_RELIGHT = "SELECT EXISTS (SELECT FROM lighting_command WHERE id = $1 AND relight_at <= $2)"
SET_RELIGHT_AT = "UPDATE lighting_command SET relight_at = $2 WHERE id = $1"
READ = f"SELECT {COLUMNS} FROM lighting_command WHERE id = $1"
LIST = f"""
SELECT {COLUMNS} FROM lighting_command
WHERE ($1::int IS NULL OR asset_id = $1) AND ($2::bigint IS NULL OR id < $2)
ORDER BY id DESC LIMIT $3
"""

LAST_OF_EACH = f"""
SELECT DISTINCT ON (asset_id) {COLUMNS} FROM lighting_command WHERE asset_id = ANY($1::int[])
ORDER BY asset_id, id DESC
"""


@dataclass(frozen=True, slots=True)
class Command:
    """A lighting command as the API shows it."""

    id: int
    tenant_id: int
    asset_id: int
    device_id: int
    action: str
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
    confirmed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Cabinet:
    """What switches an asset: its device, and how to speak to it."""

    device_id: int
    codec: str
    capabilities: tuple[str, ...]
    enabled: bool


@dataclass(frozen=True, slots=True)
class LockedCommand:
    """An open command, locked in this transaction, with what is needed to take its next step."""

    command: OpenCommand
    tenant_id: int
    asset_id: int
    device_id: int
    codec: str


@dataclass(frozen=True, slots=True)
class DueRelight:
    """A cabinet that must be lit again, and the command that left it to be."""

    id: int
    asset_id: int


async def lock_asset(connection: Connection, asset_id: int) -> bool:
    """No other command for this asset until the transaction ends; False when no such asset is visible."""
    return await connection.fetchval(LOCK_ASSET, asset_id) is not None


async def find_cabinet(connection: Connection, asset_id: int) -> Cabinet | None:
    """The device that switches this asset now; None when no device serves it."""
    return await fetch_one(connection, Cabinet, FIND_CABINET, asset_id)


async def insert_command(
    connection: Connection,
    asset_id: int,
    *,
    device_id: int,
    action: str,
    off_until: datetime | None,
    requested_by: str,
    reason: str,
    downlink_id: int,
    not_after: datetime,
    relight_again_after: timedelta,
) -> Command:
    """A new command, which takes over what older ones had to light again; the caller has locked the asset.

    An "on" that does so and is not confirmed is given again `relight_again_after` its last useful instant.
    """
    row = await connection.fetchrow(
        INSERT,
        asset_id,
        device_id,
        action,
        off_until,
        requested_by,
        reason,
        downlink_id,
        not_after,
        relight_again_after,
    )
    if row is None:
        raise LookupError(f"asset {asset_id}")
    await connection.execute(SETTLE_OLDER, asset_id, row["id"])
    return entity(Command, row)


async def supersede_open(connection: Connection, asset_id: int) -> None:
    """End the open commands of an asset, because a newer one comes; the caller has locked the asset."""
    superseded = await connection.fetch(SUPERSEDE, asset_id)
    ids = [id_ for row in superseded for id_ in row.values() if id_ is not None]
    if ids:
        await cancel_superseded(connection, ids)


def _locked(row: Record) -> LockedCommand:
    command = OpenCommand(
        id=row["id"],
        state=State(row["state"]),
        on=row["action"] == "on",
        attempts=row["attempts"],
        not_after=row["not_after"],
        downlink_state=row["downlink_state"],
        downlink_reason=row["downlink_reason"],
        sent_at=row["sent_at"],
        read_back_state=row["read_back_state"],
    )
    return LockedCommand(command, row["tenant_id"], row["asset_id"], row["device_id"], row["codec"])


async def lock_open(connection: Connection, after: int, most: int) -> list[LockedCommand]:
    """Open commands beyond id `after`, those that another replica holds left out."""
    return [_locked(row) for row in await connection.fetch(LOCK_OPEN, after, most)]


async def read_backs(connection: Connection, device_id: int, since: datetime) -> list[ReadBack]:
    """What the device said of its relay in uplinks that arrived after `since`, oldest first."""
    rows = await connection.fetch(READ_BACKS, device_id, since)
    return [ReadBack(row["value"] != 0, row["received_at"]) for row in rows]


async def set_sent(connection: Connection, command_id: int, sent_at: datetime, read_back_id: int) -> None:
    """The gateway transmitted it; the cabinet is asked for its state by downlink `read_back_id`."""
    await connection.execute(SET_SENT, command_id, sent_at, read_back_id)


async def set_confirmed(connection: Connection, command_id: int, at: datetime) -> float:
    """The cabinet said so; returns the seconds since the request."""
    return await connection.fetchval(SET_CONFIRMED, command_id, at)


async def set_sent_again(connection: Connection, command_id: int, downlink_id: int) -> None:
    """A new downlink carries the same command."""
    await connection.execute(SET_SENT_AGAIN, command_id, downlink_id)


async def set_ended(
    connection: Connection, command_id: int, state: State, failure: str | None, relight_at: datetime
) -> None:
    """The command has ended without success; what an "on" still had to light is tried again at `relight_at`."""
    await connection.execute(SET_ENDED, command_id, state, failure, relight_at)


async def due_relights(connection: Connection | Pool, now: datetime) -> list[DueRelight]:
    """Cabinets that must be lit again, the longest due first."""
    return await fetch_all(connection, DueRelight, TO_RELIGHT, now)


async def is_to_relight(connection: Connection, command_id: int, now: datetime) -> bool:
    """Whether nobody has settled it meanwhile."""
    return await connection.fetchval(IS_TO_RELIGHT, command_id, now)


async def set_relight_at(connection: Connection, command_id: int, at: datetime) -> None:
    """The cabinet must be lit again at `at`."""
    await connection.execute(SET_RELIGHT_AT, command_id, at)


async def read_command(connection: Connection | Pool, command_id: int) -> Command | None:
    """One command as it stands."""
    return await fetch_one(connection, Command, READ, command_id)


async def is_commanded(connection: Connection, downlink_id: int) -> bool:
    """Whether a command sent this downlink."""
    return await connection.fetchval(IS_COMMANDED, downlink_id) is True


async def list_commands(
    connection: Connection | Pool, *, asset_id: int | None = None, before: int | None = None, most: int = 100
) -> list[Command]:
    """Commands, newest first, of one asset or of all visible; `before` is the last id of the former page."""
    return await fetch_all(connection, Command, LIST, asset_id, before, most)


async def last_commands(connection: Connection, asset_ids: Sequence[int]) -> dict[int, Command]:
    """The last command of each of these assets that ever had one."""
    return {one.asset_id: one for one in await fetch_all(connection, Command, LAST_OF_EACH, asset_ids)}
