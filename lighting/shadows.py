"""What cabinets' clocks should hold beside what they report: kept up to date once a minute, for lists and alerts.

Reports are read from the uplinks that ingest has stored, so that none is missed while this service is away. What
should be held follows from the program in force, the place and the device's codec.
"""

import asyncio
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from core.runtime.bus import Bus
from core.runtime.postgres import Connection, Pool
from decoders.territoire import clock
from lighting.compilers import CannotCompile, Compiled, compile_program
from lighting.dusk import Named, name_unlit
from lighting.expected import LampRow, read_lamps
from lighting.following import Following, follow_programs, read_following
from lighting.group_keys import give_group_keys
from lighting.sweep import report
from lighting.swept import put_off
from registry.alert_requests import ProgramAlertRequest, request_program_alerts
from registry.rows import entity, fetch_all

SWEEP_EVERY_S = 60.0
PAGE = 500
# A clock that has reported nothing for so long has no last report.
REPORTS_SINCE = timedelta(days=7)
# As long as a program takes to be sent to a cabinet that answers: before, a difference is no news.
DRIFT_ALERTED_AFTER = timedelta(hours=1)
UNCOMPARED = "ce que l'horloge tient n'est pas relu : aucune comparaison n'est possible"

# One device of each place that lighting switches, its clock if it has one.
READ_SERVED = """
SELECT DISTINCT ON (s.id) s.id AS asset_id, g.device_id, p.codec,
       p.codec = $3 OR 'program' = ANY(p.capabilities) AS holds_program
FROM asset s
JOIN assignment g ON g.asset_id = s.id AND g.during @> now()
JOIN device v ON v.id = g.device_id AND v.enabled
JOIN device_profile p ON p.id = v.device_profile_id
WHERE s.id > $1 AND s.kind IN ('lighting_cabinet', 'lighting_circuit') AND s.archived_at IS NULL
  AND (p.codec = $3 OR p.capabilities && '{switch,program}')
ORDER BY s.id, holds_program DESC, g.id LIMIT $2
"""
# What another device has reported says nothing of this one.
WRITE_DESIRED = """
INSERT INTO lighting_shadow AS s (asset_id, tenant_id, device_id, holds_program, desired_version_id, desired_hash,
                                  desired_since, losses, exact_until)
SELECT v.asset_id, a.tenant_id, v.device_id, v.holds_program, v.version_id, decode(v.hash, 'hex'), $2,
       ARRAY(SELECT jsonb_array_elements_text(v.losses)), v.exact_until
FROM jsonb_to_recordset($1) AS v (asset_id int, device_id int, holds_program boolean, version_id int, hash text,
                                  losses jsonb, exact_until date)
JOIN asset a ON a.id = v.asset_id
ORDER BY v.asset_id FOR KEY SHARE OF a
ON CONFLICT (asset_id) DO UPDATE SET
    device_id = excluded.device_id, holds_program = excluded.holds_program,
    desired_version_id = excluded.desired_version_id, desired_hash = excluded.desired_hash,
    losses = excluded.losses, exact_until = excluded.exact_until,
    desired_since = CASE WHEN s.desired_hash IS DISTINCT FROM excluded.desired_hash
                         THEN excluded.desired_since ELSE s.desired_since END,
    reported_version_id = CASE WHEN s.device_id = excluded.device_id THEN s.reported_version_id END,
    reported_hash = CASE WHEN s.device_id = excluded.device_id THEN s.reported_hash END,
    reported_at = CASE WHEN s.device_id = excluded.device_id THEN s.reported_at END,
    clock_valid = CASE WHEN s.device_id = excluded.device_id THEN s.clock_valid END,
    clock_offset_s = CASE WHEN s.device_id = excluded.device_id THEN s.clock_offset_s END
WHERE (s.device_id, s.holds_program, s.desired_version_id, s.desired_hash, s.losses, s.exact_until)
      IS DISTINCT FROM (excluded.device_id, excluded.holds_program, excluded.desired_version_id,
                        excluded.desired_hash, excluded.losses, excluded.exact_until)
"""
DELETE_UNSERVED = (
    "DELETE FROM lighting_shadow WHERE asset_id > $1 AND asset_id <= $2 AND asset_id <> ALL($3::int[])"
)
READ_REPORTS = """
UPDATE lighting_shadow s SET
    reported_hash = r.hash, reported_at = r.time, clock_valid = r.clock_valid,
    clock_offset_s = extract(epoch FROM r.clock - r.time),
    reported_version_id = CASE WHEN r.hash = s.desired_hash THEN s.desired_version_id
                               WHEN r.hash = s.reported_hash THEN s.reported_version_id END
FROM (
    SELECT w.asset_id, u.time, decode(u.decoded ->> 'program_hash', 'hex') AS hash,
           (u.decoded -> 'clock_valid')::boolean AS clock_valid,
           (u.decoded ->> 'clock')::timestamptz AS clock
    FROM lighting_shadow w
    CROSS JOIN LATERAL (
        SELECT u.time, u.decoded FROM observation.uplink u
        WHERE u.device_id = w.device_id AND u.time > coalesce(w.reported_at, $1) AND u.codec = $2 AND u.f_port = $3
          AND u.status = 'decoded'
        ORDER BY u.time DESC LIMIT 1) AS u
    WHERE w.holds_program
) AS r
WHERE s.asset_id = r.asset_id
"""
MARK_DRIFTS = """
UPDATE lighting_shadow SET drifts_since = CASE WHEN drifts THEN $1::timestamptz END
WHERE drifts <> (drifts_since IS NOT NULL)
"""
_ABOUT = """RETURNING tenant_id, asset_id, device_id, encode(desired_hash, 'hex') AS desired,
          encode(reported_hash, 'hex') AS reported, alerted_at IS NOT NULL AS drifts"""
BEGIN_ALERTS = f"""
UPDATE lighting_shadow SET alerted_at = $1 WHERE drifts AND alerted_at IS NULL AND drifts_since <= $2 {_ABOUT}
"""
END_ALERTS = f"UPDATE lighting_shadow SET alerted_at = NULL WHERE NOT drifts AND alerted_at IS NOT NULL {_ABOUT}"


@dataclass(frozen=True, slots=True)
class Served:
    """A cabinet or a circuit, and the device that switches it."""

    asset_id: int
    device_id: int
    codec: str
    holds_program: bool


@dataclass(frozen=True, slots=True)
class Desired:
    """What a device should hold, as its shadow's row; `hash` is None where nothing can be compared."""

    asset_id: int
    device_id: int
    holds_program: bool
    version_id: int | None
    hash: str | None
    losses: tuple[str, ...]
    exact_until: str | None


def desired_of(served: Served, lamps: LampRow, now: datetime) -> Desired:
    """What this device should hold by the program that its lamps follow; pure."""
    today = lamps.place.region.local(now).date()
    try:
        compiled = compile_program(served.codec, lamps.lamps.program, lamps.place, today)
    except CannotCompile as unfit:
        compiled = Compiled(losses_fr=(str(unfit),))
    losses = compiled.losses_fr
    if served.holds_program and compiled.holds_nothing and served.codec != clock.CODEC.name:
        losses = (UNCOMPARED,)  # A vendor's: its own codec writes the program and reads no hash.
    return Desired(
        served.asset_id,
        served.device_id,
        served.holds_program,
        lamps.version_id,
        None if compiled.program_hash is None else compiled.program_hash.hex(),
        losses,
        None if compiled.exact_until is None else compiled.exact_until.isoformat(),
    )


async def write_desired(pool: Pool, now: datetime) -> None:
    """Bring all rows to what the programs in force say; those of what no device switches any more go."""
    after, is_last = 0, False
    while not is_last:
        async with pool.acquire() as connection, connection.transaction():
            page = await fetch_all(connection, Served, READ_SERVED, after, PAGE, clock.CODEC.name)
            is_last = len(page) < PAGE
            lamps = await read_lamps(connection, [served.asset_id for served in page])
            rows: list[dict[str, Any]] = [
                asdict(desired_of(served, lamps[served.asset_id], now))
                for served in page
                if served.asset_id in lamps
            ]
            await connection.execute(WRITE_DESIRED, rows, now)
            until = (1 << 31) - 1 if is_last else page[-1].asset_id
            await connection.execute(DELETE_UNSERVED, after, until, [served.asset_id for served in page])
            after = until


async def read_reports(connection: Connection | Pool, now: datetime) -> None:
    """Take what clocks have reported since their last report."""
    await connection.execute(READ_REPORTS, now - REPORTS_SINCE, clock.CODEC.name, clock.STATE_PORT)


async def alert_drifts(pool: Pool, now: datetime) -> int:
    """Ask for an alert of each clock that has drifted for long, and for its end; how many of both."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(MARK_DRIFTS, now)
        rows = await connection.fetch(BEGIN_ALERTS, now, now - DRIFT_ALERTED_AFTER)
        rows += await connection.fetch(END_ALERTS)
        requests = [entity(ProgramAlertRequest, dict(row) | {"at": now}) for row in rows]
        await request_program_alerts(connection, requests)
    return len(requests)


async def keep_shadows(pool: Pool, bus: Bus, shards: int, stopping: asyncio.Event) -> None:
    """Sweep once a minute, until stopped; relays, which hold no program, are switched by theirs, or named."""
    named = Named()
    while not stopping.is_set():
        now = datetime.now(UTC)
        with put_off("desired"):
            await write_desired(pool, now)
        following: dict[int, Following] = {}
        with put_off("program"):
            following = await read_following(pool, now)
            await report(bus, shards, await follow_programs(pool, following, now))
        with put_off("group_keys"):
            await report(bus, shards, await give_group_keys(pool, now))
        with put_off("dusk"):
            await name_unlit(pool, following, now, named)
        with put_off("reports"):
            await read_reports(pool, now)
            await alert_drifts(pool, now)
        try:
            async with asyncio.timeout(SWEEP_EVERY_S):
                await stopping.wait()
        except TimeoutError:
            continue
