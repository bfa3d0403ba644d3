"""Battery and margin that devices last reported (DevStatusAns); network writes them."""

from dataclasses import dataclass
from datetime import datetime

from core.runtime.postgres import Connection
from registry.rows import fetch_one

READ = """
SELECT s.battery, s.margin, s.reported_at
FROM device d LEFT JOIN device_status s ON s.device_id = d.id
WHERE d.dev_eui = $1
"""


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """The last DevStatusAns (`lorawan.commands.dev_status`); None everywhere: the device has never answered."""

    battery: int | None
    margin: int | None
    reported_at: datetime | None


async def read_status(connection: Connection, dev_eui: bytes) -> DeviceStatus | None:
    """The status of a device; None when there is no such device."""
    return await fetch_one(connection, DeviceStatus, READ, dev_eui)
