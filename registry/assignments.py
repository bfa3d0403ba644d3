"""Which device serves which asset, written: a device is replaced, the asset's history goes on."""

from dataclasses import dataclass
from datetime import datetime

from core.runtime.postgres import Connection
from registry.meter_changes import record_replacement
from registry.rows import fetch_all

# Every change of what an asset is served by waits for this lock, so that instants follow each other.
LOCK_ASSET = "SELECT clock_timestamp() FROM asset WHERE id = $1 FOR NO KEY UPDATE"
LOCK_DEVICE = "SELECT id FROM device WHERE dev_eui = $1 FOR NO KEY UPDATE"
NOW = "SELECT clock_timestamp()"
CLOSE = """
UPDATE assignment SET during = tstzrange(lower(during), $4)
WHERE upper_inf(during) AND ((asset_id = $1 AND position = $2) OR device_id = $3)
"""
OPEN = """
INSERT INTO assignment (tenant_id, asset_id, device_id, position, during)
SELECT d.tenant_id, a.id, d.id, $3, tstzrange($4, NULL)
FROM device d JOIN asset a ON a.id = $2 WHERE d.id = $1
RETURNING id
"""
END = """
UPDATE assignment SET during = tstzrange(lower(during), $3)
WHERE asset_id = $1 AND upper_inf(during) AND ($2::text IS NULL OR position = $2)
RETURNING device_id
"""
SERVING = """
SELECT s.device_id, d.dev_eui, s.position, lower(s.during) AS since
FROM assignment s JOIN device d ON d.id = s.device_id
WHERE s.asset_id = $1 AND upper_inf(s.during) ORDER BY s.position
"""

SERVED = """
SELECT s.device_id, d.dev_eui, d.name, s.position, lower(s.during) AS since, upper(s.during) AS until
FROM assignment s JOIN device d ON d.id = s.device_id
WHERE s.asset_id = $1 ORDER BY lower(s.during) DESC, s.id DESC LIMIT $2
"""


@dataclass(frozen=True, slots=True)
class Serving:
    """A device that serves an asset now."""

    device_id: int
    dev_eui: bytes
    position: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Served:
    """A device that serves an asset, or did until then."""

    device_id: int
    dev_eui: bytes
    name: str
    position: str
    since: datetime
    until: datetime | None


class UnknownAsset(LookupError):
    """There is no such asset in this tenant."""


class UnknownDevEui(LookupError):
    """There is no such device in this tenant."""


async def open_assignment(
    connection: Connection, asset_id: int, device_id: int, position: str, since: datetime | None = None
) -> None:
    """The device serves the asset from `since` (now) on; counters of another one before are changed meters.

    Raises:
        UnknownAsset: no such asset is visible.
        ExclusionViolationError: that position is served already, or the device serves elsewhere.
    """
    if since is None:
        since = await connection.fetchval(LOCK_ASSET, asset_id)
    if since is None or await connection.fetchval(OPEN, device_id, asset_id, position, since) is None:
        raise UnknownAsset(f"asset {asset_id}")
    await record_replacement(connection, asset_id, position, device_id, since)


async def list_served(connection: Connection, asset_id: int, most: int) -> list[Served]:
    """The devices that serve an asset and those that did, the last first."""
    return await fetch_all(connection, Served, SERVED, asset_id, most)


async def assign(connection: Connection, asset_id: int, dev_eui: bytes, position: str) -> bool:
    """From now on the device serves the asset in this position, instead of whatever did and wherever it was.

    Returns False when it did so already; nothing is written then.

    Raises:
        UnknownAsset, UnknownDevEui: not visible.
    """
    now = await connection.fetchval(LOCK_ASSET, asset_id)
    if now is None:
        raise UnknownAsset(f"asset {asset_id}")
    device_id = await connection.fetchval(LOCK_DEVICE, dev_eui)
    if device_id is None:
        raise UnknownDevEui(dev_eui.hex())
    serving = await read_serving(connection, asset_id)
    if any((served.device_id, served.position) == (device_id, position) for served in serving):
        return False
    now = await connection.fetchval(NOW)
    await connection.execute(CLOSE, asset_id, position, device_id, now)
    await open_assignment(connection, asset_id, device_id, position, now)
    return True


async def end_assignment(connection: Connection, asset_id: int, position: str | None = None) -> int:
    """No device serves the asset (in this position) from now on; returns how many did.

    Raises:
        UnknownAsset: not visible.
    """
    if await connection.fetchval(LOCK_ASSET, asset_id) is None:
        raise UnknownAsset(f"asset {asset_id}")
    now = await connection.fetchval(NOW)
    return len(await connection.fetch(END, asset_id, position, now))


async def read_serving(connection: Connection, asset_id: int) -> list[Serving]:
    """The devices that serve an asset now, by position."""
    return await fetch_all(connection, Serving, SERVING, asset_id)
