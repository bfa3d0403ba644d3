"""Examines the database once: `status` shows what there is, `doctor` says what is wrong and what to do."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from alerting.alert_rows import count_open
from core.runtime.postgres import DATABASE_AWAY, Connection, PostgresError, connect, database_reason
from ingest.cold.store import ColdState, read_state
from registry.gateway_tokens import SHOWN_GATEWAYS, Unproved, read_unproved
from registry.granting import Right, missing_rights
from registry.mqtt_accounts import count_waiting_accounts
from registry.rights import LOGINS, OWNER
from registry.rows import entity, fetch_one
from registry.schema import SchemaMismatch, require_schema
from registry.sealed_columns import Sealed, read_sealed
from registry.timescale import (
    LOAD,
    NOT_LOADED,
    TimescaleProblem,
    compressed_under_apache,
    problem_of,
    read_extension,
)
from registry.units import UnitMismatch, require_units

WITHIN_S = 4.0
EXAMINER = "territoire-doctor"
LATE = (
    "la connexion se fait, mais rien n'est lu en {within_s:.0f} s (une table verrouillée, une machine surchargée)"
)
SILENT_AFTER = timedelta(minutes=10)
QUARANTINED_IN = timedelta(days=1)
ACCOUNT_LATE_AFTER = timedelta(minutes=1)

# Two of one name are told apart by their slug.
SHOWN_TENANTS = """
SELECT id, slug,
       name || CASE WHEN count(*) OVER (PARTITION BY name) > 1 THEN ' (' || slug || ')' ELSE '' END AS shown
FROM tenant
"""

READ_CONTENT = """
SELECT clock_timestamp() AS now, current_setting('server_version') AS postgresql,
       pg_database_size(current_database()) AS octets,
       (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS timescaledb,
       (SELECT max(number) FROM schema_migration) AS schema,
       (SELECT timezone FROM deployment) AS timezone, (SELECT shards FROM deployment) AS shards,
       (SELECT count(*) FROM device) AS devices,
       greatest((SELECT max(last_uplink_at) FROM session), (SELECT max(time) FROM observation.latest
                                                            WHERE time <= now())) AS last_uplink_at
"""
READ_GATEWAYS = f"""
SELECT g.eui, g.shown, s.last_seen_at IS NULL AS never, s.last_seen_at > now() - $1::interval AS online
FROM ({SHOWN_GATEWAYS}) AS g LEFT JOIN gateway_state s ON s.gateway_id = g.id ORDER BY g.shown
"""
READ_UNOWNED = """
SELECT service, array_agg(shard ORDER BY shard) AS shards
FROM (SELECT service, shard, max(expires_at) AS until FROM shard_lease GROUP BY service, shard) AS lease
WHERE until < now() - interval '30 seconds' GROUP BY service ORDER BY service
"""
COUNT_UNKNOWN_GATEWAYS = "SELECT count(*) FROM unknown_gateway WHERE last_seen_at > now() - interval '1 hour'"
COUNT_QUARANTINED = """
SELECT reason, count(*) AS items FROM observation.quarantine WHERE at > now() - $1::interval
GROUP BY reason ORDER BY items DESC, reason
"""
# An hour can be rolled up once it is over and marked.
READ_ROLLUPS_WAIT_SINCE = """
SELECT min(greatest(marked_at, hour + interval '1 hour')) FROM observation.dirty
WHERE hour < date_trunc('hour', now(), 'UTC')
"""
# What would be of class 2 if it were new, by tenant; as class_proposals() has it for one.
COUNT_UNCONFIRMED = f"""
WITH RECURSIVE within (id) AS (
    SELECT id FROM asset WHERE is_dwelling(kind)
    UNION SELECT a.id FROM asset a JOIN within ON a.parent_id = within.id
), unconfirmed AS (
    SELECT a.tenant_id FROM asset a LEFT JOIN asset p ON p.id = a.parent_id
    WHERE a.privacy_class < 2 AND a.class_confirmed_at IS NULL
      AND (a.id IN (SELECT id FROM within) OR p.privacy_class = 2
           OR (is_meter(a.kind) AND coalesce(p.privacy_class, 2) = 2))
    UNION ALL
    SELECT d.tenant_id FROM datastream d JOIN device v ON v.id = d.device_id
    JOIN device_profile f ON f.id = v.device_profile_id
    WHERE d.asset_id IS NULL AND d.privacy_class < 2 AND d.class_confirmed_at IS NULL
      AND (is_household_quantity(d.quantity) OR is_household_codec(f.codec))
)
SELECT t.slug, t.shown AS name, count(*)::int AS items
FROM unconfirmed u JOIN ({SHOWN_TENANTS}) AS t ON t.id = u.tenant_id GROUP BY t.slug, t.shown ORDER BY t.shown
"""
READ_FEED_HELD = (
    "SELECT now() - held_since AS held, holder FROM observation.feed_state WHERE held_since IS NOT NULL"
)
READ_UNREACHED = f"""
SELECT t.slug, t.shown AS name, count(DISTINCT n.alert_id) AS alerts, max(n.severity) = 'critical' AS is_critical
FROM alert_notice n JOIN ({SHOWN_TENANTS}) AS t ON t.id = n.tenant_id
WHERE n.nobody_since IS NOT NULL GROUP BY t.slug, t.shown ORDER BY t.shown
"""
# Our pools name themselves by their service; the roles of services by theirs.
READ_SHARED_LOGINS = """
SELECT account, array_agg(DISTINCT service ORDER BY service) AS services
FROM (SELECT usename::text AS account, split_part(application_name, '/', 1) AS service
      FROM pg_stat_activity WHERE datname = current_database()) AS connected
WHERE service = ANY($1::text[]) AND account <> 'territoire_' || service
GROUP BY account ORDER BY account
"""
READ_OWNER_LOGIN = "SELECT coalesce(bool_or(rolcanlogin), false) FROM pg_roles WHERE rolname = $1"
MAY_READ_SEAL = "SELECT has_table_privilege('seal_secret', 'SELECT')"
READ_SEAL = "SELECT is_enforced, api_sha256 IS NOT NULL AS is_vouched FROM seal_secret"


@dataclass(frozen=True, slots=True)
class Logins:
    """By which accounts services come that are not theirs, and what is demanded of the API; None: unknown."""

    shared: list[tuple[str, Sequence[str]]]
    is_owner_open: bool
    is_sealed: bool | None
    is_vouched: bool | None


@dataclass(frozen=True, slots=True)
class Gateways:
    """What registered gateways are called, by their EUI: seen in the last ten minutes, before, never."""

    online: dict[str, str]
    silent: dict[str, str]
    never: dict[str, str]


@dataclass(frozen=True, slots=True)
class Content:
    """What is in the database. `skew`: by how much its clock differs from this machine's, at least."""

    skew: timedelta
    postgresql: str
    octets: int
    timescaledb: str | None
    schema: int
    timezone: str
    shards: int
    devices: int
    last_uplink_at: datetime | None
    gateways: Gateways
    alerts_open: dict[str, int]


@dataclass(frozen=True, slots=True)
class Unreached:
    """A tenant with alerts that have notified nobody."""

    slug: str
    name: str
    alerts: int
    is_critical: bool


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """A tenant with dwellings and meters of before that would be of class 2 if they were new."""

    slug: str
    name: str
    items: int


@dataclass(frozen=True, slots=True)
class HeldFeed:
    """How long one transaction has kept readers of the feed waiting, and whose it is; empty: unknown."""

    held: timedelta
    holder: str


@dataclass(frozen=True, slots=True)
class Activity:
    """What waits: shards, gateways, quarantine, alerts, rollups, MQTT accounts; sealed values; classes."""

    unowned: list[tuple[str, Sequence[int]]]
    unknown_gateways: int
    quarantined: list[tuple[str, int]]
    unreached: list[Unreached]
    rollups_wait_since: datetime | None
    sealed: list[Sealed]
    unproved: list[Unproved]
    logins: Logins
    accounts_waiting: int
    unconfirmed: list[Unconfirmed]
    feed_held: HeldFeed | None
    rights_missing: list[Right]
    cold: ColdState


@dataclass(frozen=True, slots=True)
class DatabaseReport:
    """`away`: why it was not reached; `rejection`: what it has refused; `unreadable`: what is wrong with its
    TimescaleDB. None of the rest was read then.

    Of a database that is not this program's (`mismatch`) nothing more than its content is read.
    """

    away: str | None = None
    rejection: str | None = None
    unreadable: TimescaleProblem | None = None
    mismatch: SchemaMismatch | UnitMismatch | None = None
    content: Content | None = None
    activity: Activity | None = None

    @property
    def problem(self) -> str | None:
        """In one line."""
        if self.unreadable is not None:
            return self.unreadable.french
        return f"refuse : {self.rejection}" if self.rejection is not None else self.away


@asynccontextmanager
async def examining(url: str) -> AsyncGenerator[Connection]:
    """A connection for one examination of doctor's; raises TimeoutError after four seconds in all."""
    async with asyncio.timeout(WITHIN_S):
        connection = await connect(url, EXAMINER)
        try:
            yield connection
        finally:
            await connection.close()


async def read_database(url: str, name: str, within_s: float = WITHIN_S) -> DatabaseReport:
    """Connect, within four seconds at most, and read; after `within_s` in all at most."""
    deadline = asyncio.get_running_loop().time() + within_s
    try:
        async with asyncio.timeout(WITHIN_S):
            connection = await connect(url, name, NOT_LOADED)
    except (PostgresError, *DATABASE_AWAY) as away:
        return DatabaseReport(away=database_reason(away))
    mismatch = None
    try:
        async with asyncio.timeout_at(deadline):
            unreadable = problem_of(await read_extension(connection))
            if unreadable is not None:
                return DatabaseReport(unreadable=unreadable)
            await connection.execute(LOAD)
            mismatch = await _mismatch(connection)
            unreadable = await compressed_under_apache(connection)
            if unreadable is not None:
                return DatabaseReport(unreadable=unreadable, mismatch=mismatch)
            content = await _read_content(connection)
            activity = None if mismatch is not None else await _read_activity(connection)
    except DATABASE_AWAY as away:
        is_late = isinstance(away, TimeoutError)
        reason = LATE.format(within_s=within_s) if is_late else database_reason(away)
        return DatabaseReport(away=reason, mismatch=mismatch)
    except PostgresError as rejected:
        return DatabaseReport(rejection=database_reason(rejected), mismatch=mismatch)
    finally:
        connection.terminate()
    return DatabaseReport(mismatch=mismatch, content=content, activity=activity)


async def _mismatch(connection: Connection) -> SchemaMismatch | UnitMismatch | None:
    try:
        await require_schema(connection)
        await require_units(connection)
    except (SchemaMismatch, UnitMismatch) as mismatch:
        return mismatch
    return None


async def _read_content(connection: Connection) -> Content:
    before = datetime.now(UTC)
    row = await connection.fetchrow(READ_CONTENT)
    assert row is not None  # noqa: S101 - A SELECT without FROM is one row.
    return Content(
        max(row["now"] - datetime.now(UTC), before - row["now"], timedelta()),
        row["postgresql"],
        row["octets"],
        row["timescaledb"],
        row["schema"],
        row["timezone"],
        row["shards"],
        row["devices"],
        row["last_uplink_at"],
        await _read_gateways(connection),
        await count_open(connection),
    )


async def _read_gateways(connection: Connection) -> Gateways:
    """Online are those that were seen in the last ten minutes."""
    gateways = Gateways({}, {}, {})
    for row in await connection.fetch(READ_GATEWAYS, SILENT_AFTER):
        these = gateways.never if row["never"] else gateways.online if row["online"] else gateways.silent
        these[row["eui"]] = row["shown"]
    return gateways


async def _read_activity(connection: Connection) -> Activity:
    unowned = await connection.fetch(READ_UNOWNED)
    quarantined = await connection.fetch(COUNT_QUARANTINED, QUARANTINED_IN)
    return Activity(
        [(row["service"], row["shards"]) for row in unowned],
        await connection.fetchval(COUNT_UNKNOWN_GATEWAYS),
        [(row["reason"], row["items"]) for row in quarantined],
        [entity(Unreached, row) for row in await connection.fetch(READ_UNREACHED)],
        await connection.fetchval(READ_ROLLUPS_WAIT_SINCE),
        await read_sealed(connection),
        await read_unproved(connection),
        await _read_logins(connection),
        await count_waiting_accounts(connection, ACCOUNT_LATE_AFTER),
        [entity(Unconfirmed, row) for row in await connection.fetch(COUNT_UNCONFIRMED)],
        await fetch_one(connection, HeldFeed, READ_FEED_HELD),
        await missing_rights(connection),
        await read_state(connection),
    )


async def _read_logins(connection: Connection) -> Logins:
    shared = await connection.fetch(READ_SHARED_LOGINS, list(LOGINS))
    is_owner_open = await connection.fetchval(READ_OWNER_LOGIN, OWNER)
    seal = await connection.fetchrow(READ_SEAL) if await connection.fetchval(MAY_READ_SEAL) else None
    return Logins(
        [(row["account"], row["services"]) for row in shared],
        is_owner_open,
        None if seal is None else seal["is_enforced"],
        None if seal is None else seal["is_vouched"],
    )
