"""What a gateway hears: how much by day, and which devices how well."""

from dataclasses import dataclass
from datetime import date, datetime

from core.runtime.postgres import Connection
from registry.rows import fetch_all

# By device: receptions are found by their device and instant. What each serves is asked of those that are shown.
LIST_RECEIVED = """
SELECT h.id, h.dev_eui, h.name,
       (SELECT s.asset_id FROM assignment s WHERE s.device_id = h.id AND upper_inf(s.during)) AS asset_id,
       h.receptions, h.rssi, h.snr, h.last_at
FROM (
    SELECT d.id, d.dev_eui, d.name, r.receptions, r.rssi, r.snr, r.last_at
    FROM device d
    CROSS JOIN LATERAL (
        SELECT count(*)::int AS receptions, max(r.rssi) AS rssi, max(r.snr) AS snr, max(r.time) AS last_at
        FROM reception r WHERE r.device_id = d.id AND r.time > $2 AND r.gateway_id = $1
    ) r
    WHERE r.receptions > 0 ORDER BY r.rssi, d.id LIMIT $3
) h
ORDER BY h.rssi, h.id
"""
LIST_DAYS = """
SELECT (h.hour AT TIME ZONE $3)::date AS day, sum(h.uplinks)::bigint AS uplinks,
       sum(h.crc_errors)::bigint AS crc_errors
FROM gateway_hour h WHERE h.gateway_id = $1 AND h.hour > $2 GROUP BY 1 ORDER BY 1 DESC
"""


@dataclass(frozen=True, slots=True)
class ReceivedDevice:
    """A device that the gateway received; RSSI and SNR are the best ones."""

    id: int
    dev_eui: bytes
    name: str
    asset_id: int | None
    receptions: int
    rssi: float
    snr: float
    last_at: datetime


@dataclass(frozen=True, slots=True)
class DayOfGateway:
    """What it received on a day: frames, and what had a wrong CRC."""

    day: date
    uplinks: int
    crc_errors: int


async def list_received(
    connection: Connection, gateway_id: int, since: datetime, most: int
) -> list[ReceivedDevice]:
    """Visible devices that it received since then, the weakest first."""
    return await fetch_all(connection, ReceivedDevice, LIST_RECEIVED, gateway_id, since, most)


async def list_days(connection: Connection, gateway_id: int, since: datetime, timezone: str) -> list[DayOfGateway]:
    """The days of this time zone on which it received something, the last first."""
    return await fetch_all(connection, DayOfGateway, LIST_DAYS, gateway_id, since, timezone)
