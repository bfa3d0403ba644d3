"""Multicast groups of class C devices, their members and messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.runtime.postgres import Connection
from registry.downlinks import cancel_group_keys
from registry.rows import Written, fetch_all, fetch_one, insert

GROUP_COLUMNS = """g.id, g.tenant_id, g.name, g.slot, g.dev_addr, g.data_rate, g.frequency, g.repeats, g.f_cnt,
g.created_at, ARRAY(SELECT d.dev_eui FROM multicast_member m JOIN device d ON d.id = m.device_id
                    WHERE m.group_id = g.id ORDER BY d.dev_eui) AS dev_euis,
ARRAY(SELECT d.dev_eui FROM multicast_member m JOIN device d ON d.id = m.device_id
      WHERE m.group_id = g.id AND m.keys_given_at IS NOT NULL AND m.keys_acknowledged_at IS NULL
      ORDER BY d.dev_eui) AS keys_given_to,
ARRAY(SELECT d.dev_eui FROM multicast_member m JOIN device d ON d.id = m.device_id
      WHERE m.group_id = g.id AND m.keys_acknowledged_at IS NOT NULL
      ORDER BY d.dev_eui) AS keys_acknowledged_by"""
WRITTEN = Written(
    "name, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id, sealed_for, data_rate, frequency, "
    "repeats, f_cnt"
)
CREATE = f"""
INSERT INTO multicast_group AS g (tenant_id, {WRITTEN.columns}) VALUES ($1, {WRITTEN.parameters(2)})
RETURNING {GROUP_COLUMNS}
"""
READ = f"SELECT {GROUP_COLUMNS} FROM multicast_group g WHERE g.id = $1"
LIST = f"SELECT {GROUP_COLUMNS} FROM multicast_group g WHERE g.id > $1 ORDER BY g.id LIMIT $2"
DELETE = "DELETE FROM multicast_group WHERE id = $1"
CLEAR_OTHERS = """
DELETE FROM multicast_member m USING device d
WHERE m.group_id = $1 AND d.id = m.device_id AND NOT d.dev_eui = ANY($2::bytea[])
"""
ADD_MEMBERS = """
INSERT INTO multicast_member (group_id, device_id, tenant_id)
SELECT g.id, d.id, g.tenant_id FROM multicast_group g JOIN device d ON d.tenant_id = g.tenant_id
WHERE g.id = $1 AND d.dev_eui = ANY($2::bytea[])
ON CONFLICT DO NOTHING
"""
READ_CANDIDATES = """
SELECT d.id, d.dev_eui, p.codec, p.capabilities, p.device_class
FROM device d JOIN device_profile p ON p.id = d.device_profile_id
WHERE d.tenant_id = $1 AND d.dev_eui = ANY($2::bytea[])
"""
MESSAGE_COLUMNS = """id, group_id, f_port, payload, priority, not_after, state::text AS state, reason, f_cnt,
emissions, created_at, updated_at"""
ENQUEUE = f"""
INSERT INTO multicast_message (tenant_id, group_id, slot, f_port, payload, priority, not_after, by_lighting)
SELECT g.tenant_id, g.id, g.slot, $2, $3, $4, $5, $6 FROM multicast_group g WHERE g.id = $1
RETURNING {MESSAGE_COLUMNS}
"""
# What a newer command of one member would be undone by, and no gateway has been asked for yet.
CANCEL_BEHIND = """
UPDATE multicast_message m SET state = 'cancelled', updated_at = now()
FROM downlink d WHERE d.id = ANY($1::bigint[]) AND m.id = d.multicast_message_id AND m.state = 'queued'
"""
LIST_MESSAGES = f"""
SELECT {MESSAGE_COLUMNS} FROM multicast_message
WHERE group_id = $1 AND ($2::bigint IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
"""
READ_MESSAGE = f"SELECT {MESSAGE_COLUMNS} FROM multicast_message WHERE id = $1"


@dataclass(frozen=True, slots=True)
class MulticastGroup:
    """A group as its manager sees it: never its keys. `f_cnt` is the next one."""

    id: int
    tenant_id: int
    name: str
    slot: int
    dev_addr: bytes
    data_rate: int
    frequency: int
    repeats: int
    f_cnt: int
    created_at: datetime
    dev_euis: tuple[bytes, ...]
    keys_given_to: tuple[bytes, ...]  # Clocks of the open profile that have not acknowledged them yet.
    keys_acknowledged_by: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A device that may become a member, and what it may do."""

    id: int
    dev_eui: bytes
    codec: str
    capabilities: tuple[str, ...]
    device_class: str


@dataclass(frozen=True, slots=True)
class MulticastMessage:
    """A message and where it stands; `emissions` say what each gateway did at each repetition."""

    id: int
    group_id: int
    f_port: int
    payload: bytes
    priority: int
    not_after: datetime
    state: str
    reason: str | None
    f_cnt: int | None
    emissions: tuple[dict[str, Any], ...]
    created_at: datetime
    updated_at: datetime


async def create_group(connection: Connection, tenant_id: int, given: Mapping[str, Any]) -> MulticastGroup:
    """A new group of these columns; its keys are the session that every member was given, sealed for `sealed_for`.

    Raises:
        UniqueViolationError: the tenant has a group of this name.
    """
    return await insert(connection, MulticastGroup, CREATE, tenant_id, *WRITTEN.values(given))


async def read_group(connection: Connection, group_id: int) -> MulticastGroup | None:
    """One group with its members."""
    return await fetch_one(connection, MulticastGroup, READ, group_id)


async def list_groups(connection: Connection, *, after: int = 0, most: int = 100) -> list[MulticastGroup]:
    """Groups by id, beyond `after`."""
    return await fetch_all(connection, MulticastGroup, LIST, after, most)


async def delete_group(connection: Connection, group_id: int) -> None:
    """Remove a group, its members and its messages."""
    await connection.execute(DELETE, group_id)
    await cancel_group_keys(connection, group_id)


async def read_candidates(connection: Connection, tenant_id: int, dev_euis: Sequence[bytes]) -> list[Candidate]:
    """Those of these devices that are the tenant's own."""
    return await fetch_all(connection, Candidate, READ_CANDIDATES, tenant_id, dev_euis)


async def set_members(connection: Connection, group_id: int, dev_euis: Sequence[bytes]) -> None:
    """Make these devices of the group's tenant its members, and no others."""
    await connection.execute(CLEAR_OTHERS, group_id, dev_euis)
    await connection.execute(ADD_MEMBERS, group_id, dev_euis)
    await cancel_group_keys(connection, group_id)


async def enqueue_multicast(
    connection: Connection,
    group_id: int,
    *,
    f_port: int,
    payload: bytes,
    priority: int,
    not_after: datetime,
    by_lighting: bool = False,
) -> MulticastMessage | None:
    """A new message; None when there is no such group.

    Unless it is `by_lighting`, it is an unknown act at every lighting circuit that a member serves.
    """
    return await fetch_one(
        connection, MulticastMessage, ENQUEUE, group_id, f_port, payload, priority, not_after, by_lighting
    )


async def cancel_behind(connection: Connection, downlink_ids: Sequence[int]) -> None:
    """Cancel the messages that stand behind these downlinks, where they still wait."""
    await connection.execute(CANCEL_BEHIND, list(downlink_ids))


async def read_message(connection: Connection, message_id: int) -> MulticastMessage | None:
    """One message."""
    return await fetch_one(connection, MulticastMessage, READ_MESSAGE, message_id)


async def list_messages(
    connection: Connection, group_id: int, *, before: int | None, most: int
) -> list[MulticastMessage]:
    """The messages of a group, the last first."""
    return await fetch_all(connection, MulticastMessage, LIST_MESSAGES, group_id, before, most)
