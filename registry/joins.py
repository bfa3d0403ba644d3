"""Why joins are rejected, and how used DevNonces are flushed; the network server writes both."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core.runtime.postgres import Connection
from registry.rows import fetch_one

DIAGNOSE = "SELECT * FROM join_diagnosis($1)"
OWN_OTAA = """
SELECT id, dev_eui FROM device
WHERE tenant_id = $1 AND activation = 'OTAA'
  AND ($2::bytea[] IS NULL OR dev_eui = ANY($2)) AND ($3::int IS NULL OR device_profile_id = $3)
ORDER BY id
"""
FLUSH = "SELECT device_id, dev_nonces FROM flush_dev_nonces($1)"


@dataclass(frozen=True, slots=True)
class JoinDiagnosis:
    """The state of a device's joins. `reason` and what follows it: the rejections since the last accepted join."""

    mac_version: str
    dev_nonces: int  # How many the device has used.
    highest_dev_nonce: int | None
    joined_at: datetime | None  # When a join was last accepted.
    heard_at: datetime | None  # The last uplink under an open session.
    reason: str | None
    dev_nonce: int | None
    times: int | None
    refused_at: datetime | None


async def read_join_diagnosis(connection: Connection, device_id: int) -> JoinDiagnosis | None:
    """The state of a device's joins; None when it does not join, or is another tenant's."""
    return await fetch_one(connection, JoinDiagnosis, DIAGNOSE, device_id)


async def list_own_otaa(
    connection: Connection,
    tenant_id: int,
    *,
    dev_euis: Sequence[bytes] | None = None,
    device_profile_id: int | None = None,
) -> dict[int, bytes]:
    """The tenant's own devices that join, of these DevEUIs and of this profile: DevEUI by id."""
    rows = await connection.fetch(OWN_OTAA, tenant_id, dev_euis, device_profile_id)
    return {row["id"]: row["dev_eui"] for row in rows}


async def flush_dev_nonces(connection: Connection, device_ids: Sequence[int]) -> dict[int, int]:
    """Delete the used DevNonces of the tenant's own devices among these: how many, by device id.

    JoinNonces go on rising. A recorded join-request can be replayed afterwards: it opens a session that nobody
    has the keys of, and leaves the device's own one alone.
    """
    return {row["device_id"]: row["dev_nonces"] for row in await connection.fetch(FLUSH, device_ids)}
