"""SQL of the history: its registry in bulk, its rollups by whole weeks, how far it has come, its removal."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from core.messages.measurements import SOUND, UNSOUND
from core.model.quantities import Kind
from core.runtime.postgres import Connection
from ingest import rollups
from lab.fleet.bulk import register_devices
from lab.history.plan import AssetPlan, SeriesPlan
from registry.audit import write_audit
from registry.keys import KeyWrap
from registry.profiles import Decoding, create_profile

ACTOR = "simulate --history"
STARTED, LOADED, REMOVED = "history.started", "history.loaded", "history.removed"
MICROSECOND = timedelta(microseconds=1)

READ_TIMEZONE = "SELECT timezone FROM deployment"
READ_STATE = """
SELECT action, details FROM audit
WHERE tenant_id = $1 AND action = ANY(ARRAY['history.started', 'history.loaded', 'history.removed'])
ORDER BY id DESC LIMIT 1
"""
ADD_DATASTREAMS = """
INSERT INTO datastream (tenant_id, asset_id, device_id, quantity, unit, created_at)
SELECT $1, w.asset, w.device, w.quantity, w.unit, $2
FROM unnest($3::int[], $4::int[], $5::text[], $6::text[]) WITH ORDINALITY
     AS w (asset, device, quantity, unit, place)
ORDER BY w.place
"""
LIST_DATASTREAMS = """
SELECT d.id, a.name, d.quantity FROM datastream d JOIN asset a ON a.id = d.asset_id WHERE d.tenant_id = $1
"""
# The same rows as ingest.rollups makes of marked hours, here of whole weeks. $4: a microsecond for indexes, whose
# instants are kept; they never fall.
ADD_HOURS = f"""
INSERT INTO observation.rollup_hour
       (datastream_id, bucket, n, suspects, sum, min, max, first, last, first_at, last_at)
SELECT datastream_id, time_bucket('1 hour', time - $4::interval) AS bucket,
       count(*) FILTER (WHERE {SOUND}), count(*) FILTER (WHERE {UNSOUND}),
       sum(value) FILTER (WHERE {SOUND}),
       min(value) FILTER (WHERE {SOUND}), max(value) FILTER (WHERE {SOUND}),
       first(value, time) FILTER (WHERE {SOUND}), last(value, time) FILTER (WHERE {SOUND}),
       CASE WHEN $4 > interval '0' THEN min(time) FILTER (WHERE {SOUND}) END,
       CASE WHEN $4 > interval '0' THEN max(time) FILTER (WHERE {SOUND}) END
FROM observation.measurement
WHERE datastream_id = ANY($1::int[]) AND time >= $2::timestamptz + $4 AND time < $3::timestamptz + $4
GROUP BY 1, 2 ORDER BY 1, 2
"""
ADD_DAYS = """
INSERT INTO observation.rollup_day
       (datastream_id, bucket, n, suspects, sum, min, max, first, last, first_at, last_at)
SELECT datastream_id, date_trunc('day', bucket, $4) AS day, sum(n), sum(suspects), sum(sum), min(min), max(max),
       first(first, bucket) FILTER (WHERE n > 0), last(last, bucket) FILTER (WHERE n > 0),
       min(first_at), max(last_at)
FROM observation.rollup_hour
WHERE datastream_id = ANY($1::int[]) AND bucket >= $2 AND bucket < $3
GROUP BY 1, 2 ORDER BY 1, 2
"""
# Of states how long they lasted counts: ingest's own statements make theirs, of these hours.
HOURS_OF_STATES = """
SELECT DISTINCT datastream_id, date_trunc('hour', time, 'UTC') AS hour FROM observation.measurement
WHERE datastream_id = ANY($1::int[]) AND time >= $2 AND time < $3
"""
SET_LATEST = """
INSERT INTO observation.latest (datastream_id, time, value, flags)
SELECT DISTINCT ON (datastream_id) datastream_id, time, value, flags
FROM observation.measurement
WHERE datastream_id = ANY($1::int[]) AND time >= $2 AND time <= $3
ORDER BY datastream_id, time DESC
ON CONFLICT (datastream_id) DO UPDATE SET time = excluded.time, value = excluded.value, flags = excluded.flags
WHERE latest.time < excluded.time
"""
# As re-decoding does; the first ones are known by a trigger.
RAISE_LAST_SEEN = "SELECT raise_last_seen($1::int[])"
# What is written here lies as maintenance packs it: it begins with the week after.
MARK_PACKED = """
INSERT INTO observation.packed (week)
SELECT date_trunc('week', now() - interval '2 days', 'UTC') - interval '7 days' ON CONFLICT DO NOTHING
"""
# A block and week are one transaction: what is there is whole.
LAST_DAY = "SELECT max(bucket) FROM observation.rollup_day WHERE datastream_id = ANY($1::int[])"
REMOVE_MEASUREMENTS = "DELETE FROM observation.measurement WHERE datastream_id = ANY($1::int[])"
REMOVE_HOURS = "DELETE FROM observation.rollup_hour WHERE datastream_id = ANY($1::int[])"
REMOVE_DAYS = "DELETE FROM observation.rollup_day WHERE datastream_id = ANY($1::int[])"
REMOVE_FILL_DAYS = "DELETE FROM observation.fill_day WHERE datastream_id = ANY($1::int[])"
REMOVE_LATEST = "DELETE FROM observation.latest WHERE datastream_id = ANY($1::int[])"
REMOVE_DATASTREAMS = "DELETE FROM datastream WHERE tenant_id = $1"
REMOVE_ASSIGNMENTS = "DELETE FROM assignment WHERE tenant_id = $1"
REMOVE_DEVICES = "DELETE FROM device WHERE tenant_id = $1"
REMOVE_PROFILES = "DELETE FROM device_profile WHERE tenant_id = $1"
REMOVE_ASSETS = "DELETE FROM asset WHERE tenant_id = $1"


@dataclass(frozen=True, slots=True)
class HistoryPlan:
    """What was asked for: with it an interrupted history goes on as it began."""

    seed: str
    measurements: int
    assets: int
    """At least so many."""
    years: int
    since: date
    until: date
    """The first local day that has no measurements any more."""

    def details(self) -> dict[str, Any]:
        """For the audit line that begins the history."""
        return {
            "seed": self.seed,
            "measurements": self.measurements,
            "assets": self.assets,
            "years": self.years,
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
        }

    @classmethod
    def from_details(cls, details: dict[str, Any]) -> "HistoryPlan":
        """The order of an audit line."""
        since, until = date.fromisoformat(details["since"]), date.fromisoformat(details["until"])
        return cls(details["seed"], details["measurements"], details["assets"], details["years"], since, until)


async def read_state(connection: Connection, tenant_id: int) -> tuple[str, dict[str, Any]] | None:
    """The last thing that happened to this tenant's history (STARTED, LOADED or REMOVED), with its details."""
    row = await connection.fetchrow(READ_STATE, tenant_id)
    return None if row is None else (row["action"], row["details"])


async def register(
    connection: Connection,
    tenant_id: int,
    history_plan: HistoryPlan,
    since: datetime,
    assets: Sequence[AssetPlan],
    series: Sequence[SeriesPlan],
    keys: KeyWrap,
) -> None:
    """Enter the whole fleet and the audit line that says so, in the caller's transaction.

    Raises:
        UniqueViolationError: a DevEUI of this seed is registered by another tenant.
    """
    profiles = await add_profiles(connection, tenant_id, assets)
    asset_ids, device_ids = await register_devices(connection, tenant_id, assets, profiles, since, keys)
    of_series = [assets[one.asset_number].asset_name for one in series]
    await connection.execute(
        ADD_DATASTREAMS,
        tenant_id,
        since,
        [asset_ids[name] for name in of_series],
        [device_ids[name] for name in of_series],
        [one.channel.quantity for one in series],
        [one.channel.unit for one in series],
    )
    await write_audit(connection, tenant_id, ACTOR, STARTED, "tenant", tenant_id, history_plan.details())


async def add_profiles(
    connection: Connection, tenant_id: int, assets: Sequence[AssetPlan], expected: timedelta | None = None
) -> dict[str, int]:
    """Those that these assets have, by name; devices are expected as often as they are read, or this often."""
    ids: dict[str, int] = {}
    for group in dict.fromkeys(plan.group for plan in assets):
        profile = group.profile
        if profile.name in ids:
            continue
        described = {
            "name": profile.name,
            "vendor": profile.vendor,
            "model": profile.model,
            "codec_options": dict(profile.codec_options),
            "device_class": profile.device_class,
            "mac_version": "1.0.3",
            "expected_interval": expected or timedelta(seconds=min(one.step_s for one in group.channels)),
            "capabilities": list(profile.capabilities),
            "commands": [],
            "regional_revision": "",
            "supports_join": True,
            "max_eirp": None,
            "firmware_from": "",
            "firmware_until": "",
            "moduli": {},
            "sensor_ranges": [],
        }
        made = await create_profile(connection, tenant_id, Decoding(profile.codec), described)
        ids[profile.name] = made.id
    return ids


async def read_ids(connection: Connection, tenant_id: int) -> dict[tuple[str, str], int]:
    """Every datastream of the tenant, by its asset's name and its quantity."""
    rows = await connection.fetch(LIST_DATASTREAMS, tenant_id)
    return {(row["name"], row["quantity"]): row["id"] for row in rows}


async def roll_up_week(
    connection: Connection, ids: Sequence[int], since: datetime, until: datetime, timezone: str, kind: Kind
) -> tuple[int, int]:
    """Hours and days of these datastreams between two local midnights, none of them there yet; their counts."""
    if kind is Kind.BOOLEAN:
        pairs = await connection.fetch(HOURS_OF_STATES, ids, since, until)
        columns = [row["datastream_id"] for row in pairs], [row["hour"] for row in pairs]
        await connection.execute(rollups.REPLACE_HOURS, *columns, rollups.COUNTERS, since, until, rollups.STATES)
        if not pairs:
            return 0, 0
        bounds = rollups.bounds_of_days(columns[1])
        days = await connection.fetchval(
            rollups.REPLACE_DAYS, *columns, timezone, rollups.COUNTERS, rollups.STATES, *bounds
        )
        return len(pairs), days
    shift = MICROSECOND if kind is Kind.COUNTER else timedelta(0)
    hours = await connection.execute(ADD_HOURS, ids, since, until, shift)
    days = await connection.execute(ADD_DAYS, ids, since, until, timezone)
    return _count(hours), _count(days)


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])


async def remove(connection: Connection, tenant_id: int, ids: Sequence[int]) -> None:
    """Everything but the tenant itself, in the caller's transaction: the audit keeps its name."""
    for statement in (REMOVE_MEASUREMENTS, REMOVE_HOURS, REMOVE_DAYS, REMOVE_FILL_DAYS, REMOVE_LATEST):
        await connection.execute(statement, ids)
    for statement in (REMOVE_DATASTREAMS, REMOVE_ASSIGNMENTS, REMOVE_DEVICES, REMOVE_PROFILES, REMOVE_ASSETS):
        await connection.execute(statement, tenant_id)
    await write_audit(connection, tenant_id, ACTOR, REMOVED, "tenant", tenant_id)
