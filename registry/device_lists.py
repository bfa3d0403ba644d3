"""Devices in lists: when each was last heard, how its battery is, which gateway hears it best, what it serves."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core.model.unknown_time import UNKNOWN_AFTER_INTERVALS
from core.runtime.postgres import Connection
from registry.enrolment import COLUMNS, SERVED, EnrolledDevice
from registry.listing import Ask, Key, Listing, Part, planned_anew, reached, reached_or_placed, rows_in_order
from registry.places import ANYWHERE, Place, distance, in_commune, values_of, within

# A reading of so long ago says nothing of who hears a device now.
HEARD_WITHIN = timedelta(days=8)


def _last_signs(ids: str, signs: str) -> str:
    """Joins to `d`: the last sign of life and the battery of these devices, or (NULL) of all that are seen."""
    return f"""
LEFT JOIN device_heard({ids}, {signs}) h ON h.device_id = d.id
LEFT JOIN device_heard_in_part({ids}) m ON m.device_id = d.id
LEFT JOIN device_status st ON st.device_id = d.id
"""


LAST_SEEN = "greatest(h.last_seen_at, m.last_seen_at)"
# What the device measures of it, or else what it says to LoRaWAN's own question (DevStatusAns): 1 to 254; 0 is
# mains, 255 unknown.
BATTERY = """
coalesce(h.battery, m.battery,
         CASE WHEN st.battery BETWEEN 1 AND 254 THEN round((st.battery - 1) * 100 / 253.0, 1)::float8 END)
"""
STATE = f"""
CASE WHEN NOT d.enabled THEN 'disabled' WHEN {LAST_SEEN} IS NULL THEN 'unknown'
     WHEN {LAST_SEEN} < now() - {UNKNOWN_AFTER_INTERVALS} * p.expected_interval THEN 'silent' ELSE 'ok' END
"""
FROM = f"""
device d {SERVED} LEFT JOIN device_profile p ON p.id = d.device_profile_id LEFT JOIN asset a ON a.id = s.asset_id
"""
# Of all of them. It serves one asset; a group the planner leaves out where nothing asks for it.
FROM_ALL = f"""
device d LEFT JOIN (SELECT s.device_id, max(s.asset_id) AS asset_id FROM assignment s
                    WHERE upper_inf(s.during) AND {reached("s")} GROUP BY s.device_id) s ON s.device_id = d.id
LEFT JOIN device_profile p ON p.id = d.device_profile_id
LEFT JOIN asset a ON a.id = s.asset_id AND {reached("a")}
"""
WANTED = f"""
(:device_profile_id::int IS NULL OR d.device_profile_id = :device_profile_id)
  AND (:enabled::boolean IS NULL OR d.enabled = :enabled)
  AND (:search::text IS NULL OR strpos(folded(d.name), folded(:search)) > 0
       OR strpos(encode(d.dev_eui, 'hex'), lower(:search)) > 0)
  AND (d.archived_at IS NOT NULL) = :archived::boolean
  AND (:dev_addr::bytea IS NULL OR d.id IN (SELECT devices_with_dev_addr(:dev_addr)))
  AND (:model::text IS NULL OR :model IN (p.model, p.name))
  AND (:kind::text IS NULL OR a.kind = :kind) AND (:tag::text IS NULL OR :tag = ANY(a.tags))
  AND (:quarter::text IS NULL OR a.quarter = :quarter)
  AND {in_commune("a")} AND {within("a")}
"""
KEYS = {
    "name": Key("name COLLATE french", "text"),
    "dev_eui": Key("encode(dev_eui, 'hex')", "text"),
    "model": Key("model COLLATE french", "text"),
    "commune": Key("commune COLLATE french", "text"),
    "distance": Key("distance", "float8"),
}
_COLUMNS = f"""
d.id, d.name, d.dev_eui, p.model, a.commune,
CASE WHEN :near_radius::float8 IS NOT NULL THEN {distance("a")} END AS distance
"""
LIST = Listing(
    f"SELECT {_COLUMNS} FROM {FROM_ALL} WHERE {reached('d')} AND {WANTED}",
    KEYS,
    walked=f"SELECT {_COLUMNS} FROM {FROM} WHERE {reached_or_placed('d')} AND {WANTED}",
)
# What is asked of each of them before the first is shown.
SIGN_KEYS = {
    "last_seen_at": Key("last_seen_at", "timestamptz"),
    "battery_percent": Key("battery_percent", "float8"),
}
LIST_WITH_SIGNS = Listing(
    f"""
SELECT {_COLUMNS}, {LAST_SEEN} AS last_seen_at, {BATTERY} AS battery_percent
FROM {FROM_ALL} {_last_signs("NULL::int[]", ":signs::text")}
WHERE {reached("d")} AND {WANTED} AND (:states::text[] IS NULL OR {STATE} = ANY(:states))
""",
    KEYS | SIGN_KEYS,
)
READ_THESE = f"""
SELECT {COLUMNS}, p.vendor, p.model, p.expected_interval, {LAST_SEEN} AS last_seen_at, {STATE} AS state,
       {BATTERY} AS battery_percent, best.gateway_id AS best_gateway, best.rssi AS best_rssi, best.snr AS best_snr,
       a.name AS asset, a.kind, a.commune, a.insee, a.quarter, a.latitude, a.longitude
FROM device d {SERVED} AND s.device_id = ANY($1)  -- Or all that are in force are read for these few.
LEFT JOIN device_profile p ON p.id = d.device_profile_id LEFT JOIN asset a ON a.id = s.asset_id
{_last_signs("$1::int[]", "'both'")}
LEFT JOIN LATERAL (
    SELECT g.gateway_id, r.rssi, r.snr FROM (
        SELECT gateway_id, rssi, snr FROM reception
        WHERE device_id = d.id AND time > now() - $2::interval ORDER BY time DESC, rssi DESC LIMIT 1
    ) r LEFT JOIN gateway g ON g.id = r.gateway_id
) best ON true
WHERE d.id = ANY($1)
"""


@dataclass(frozen=True, slots=True)
class ListedDevice(EnrolledDevice):
    """A device of a list."""

    vendor: str | None
    model: str | None
    expected_interval: timedelta | None
    last_seen_at: datetime | None
    state: str
    battery_percent: float | None
    best_gateway: bytes | None  # None also when its owner does not show it.
    best_rssi: float | None
    best_snr: float | None
    asset: str | None  # Its name.
    kind: str | None
    commune: str | None
    insee: str | None
    quarter: str | None
    latitude: float | None
    longitude: float | None


@dataclass(frozen=True, slots=True)
class WantedDevices:
    """Which devices a list is asked for; None: whatever they are. `search` looks in names and DevEUIs."""

    device_profile_id: int | None = None
    enabled: bool | None = None
    search: str | None = None
    archived: bool = False
    dev_addr: bytes | None = None  # Of an open session.
    model: str | None = None  # Or the name of the profile.
    kind: str | None = None  # Of the asset that it serves, as the next two and the place.
    tag: str | None = None
    quarter: str | None = None
    states: Sequence[str] | None = None
    place: Place = ANYWHERE

    def values(self) -> dict[str, Any]:
        """By the names of the statement's parameters."""
        return values_of(self, "states")


async def list_devices(connection: Connection, ask: Ask, wanted: WantedDevices) -> Part:
    """The ids of a page of devices."""
    if wanted.states is None and ask.sort in LIST.statements:
        return await LIST.page(connection, ask, wanted.values())
    states = None if wanted.states is None else list(wanted.states)
    given = wanted.values() | {"states": states, "signs": _signs_for(ask.sort, states)}
    return await LIST_WITH_SIGNS.page(connection, ask, given)


def _signs_for(sort: str, states: Sequence[str] | None) -> str:
    """What the order and the filter ask of all devices: each of the two is half of a list's time."""
    if "battery_percent" not in sort:
        return "seen"
    return "battery" if states is None else "both"


async def read_in_order(connection: Connection, ids: Sequence[int]) -> list[ListedDevice]:
    """These devices, in this order."""
    async with planned_anew(connection):
        return await rows_in_order(connection, ListedDevice, READ_THESE, ids, HEARD_WITHIN)
