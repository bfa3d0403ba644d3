"""SQL of the circuits of lighting campaigns: which wait, what was sent to each, and what it took of the air."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.runtime.postgres import Connection, Pool
from lighting.campaign_store import GOING_ON, Campaign
from lorawan.instants import to_us
from registry.rows import fetch_all

ADD_TARGETS = """
INSERT INTO lighting_campaign_target (campaign_id, tenant_id, asset_id, gateway, airtime_us, octets, is_canary)
SELECT $1, $2, * FROM unnest($3::int[], $4::text[], $5::int[], $6::jsonb[], $7::boolean[])
"""
TARGETS = """
SELECT t.asset_id, a.name, t.gateway, t.airtime_us, t.is_canary, t.rejected, t.released_at, t.command_id,
       coalesce(c.state::text, t.state) AS state, coalesce(c.failure, t.failure) AS failure,
       encode(t.program_hash, 'hex') AS program_hash, coalesce(c.attempts, t.attempts) AS attempts,
       coalesce(t.octets -> 'names' = '[]', false) AS is_unprovable
FROM lighting_campaign_target t
JOIN asset a ON a.id = t.asset_id
LEFT JOIN lighting_command c ON c.id = t.command_id
WHERE t.campaign_id = $1 AND t.asset_id > $2 ORDER BY t.asset_id LIMIT $3
"""
# Where a circuit is not known to stand, its cabinet does. What comes again goes before what was never sent, but in
# an emergency: then most of it burns already, and was not heard.
WAITING = """
SELECT o.asset_id, o.gateway, o.airtime_us, w.gateway_us, o.octets, o.attempts, o.command_id,
       coalesce(s.latitude, b.latitude) AS latitude,
       coalesce(s.longitude, b.longitude) AS longitude, t.department, (SELECT timezone FROM deployment) AS timezone
FROM (
    SELECT asset_id, sum(airtime_us) OVER (PARTITION BY gateway) AS gateway_us, row_number() OVER (
               PARTITION BY gateway ORDER BY is_canary DESC, repeat_due <> $4 DESC, asset_id) AS place
    FROM lighting_campaign_target t
    WHERE campaign_id = $1 AND (released_at IS NULL AND rejected IS NULL OR repeat_due)
      AND (is_canary OR NOT $2) AND ($5::int[] IS NULL OR asset_id = ANY($5)) AND NOT gateway = ANY($6::text[])) w
JOIN lighting_campaign_target o ON o.campaign_id = $1 AND o.asset_id = w.asset_id
JOIN asset s ON s.id = w.asset_id
LEFT JOIN asset b ON b.id = s.parent_id AND s.latitude IS NULL
LEFT JOIN tenant t ON t.id = s.tenant_id
WHERE place <= $3 ORDER BY o.gateway, place
"""
# Every repetition takes as long again.
RELEASED_SINCE = """
SELECT t.gateway, t.released_at, (t.airtime_us * greatest(1, coalesce(c.attempts, t.attempts)))::int AS airtime_us
FROM lighting_campaign_target t LEFT JOIN lighting_command c ON c.id = t.command_id
WHERE t.released_at > $1
"""
# The same added up: what each gateway has left, and when it falls silent, is all that frames of now depend on.
USED_SINCE = f"""
SELECT gateway, sum(airtime_us)::bigint AS used_us,
       max(released_at + airtime_us * interval '1 microsecond') AS until
FROM ({RELEASED_SINCE}) AS one GROUP BY gateway
"""
LOSSES = """
SELECT gateway, (sum(attempts - 1)::float8 / sum(attempts))::float8 AS loss
FROM (SELECT t.gateway, coalesce(c.attempts, t.attempts) AS attempts
      FROM lighting_campaign_target t LEFT JOIN lighting_command c ON c.id = t.command_id
      WHERE t.released_at > $1 AND t.gateway = ANY($2::text[])) AS one
WHERE attempts > 0 GROUP BY gateway HAVING sum(attempts) >= 20
"""
SET_RELEASED = """
UPDATE lighting_campaign_target SET released_at = $3, command_id = $4 WHERE campaign_id = $1 AND asset_id = $2
"""
# A command that has to be repeated waits for its turn, too, so long as its campaign goes on.
SET_REPEAT_DUE = f"""
UPDATE lighting_campaign_target t SET repeat_due = true
FROM lighting_campaign c
WHERE t.command_id = $1 AND c.id = t.campaign_id AND c.{GOING_ON} AND c.not_after > $2
RETURNING true
"""
SET_REPEATED = """
UPDATE lighting_campaign_target SET released_at = coalesce($3, released_at), repeat_due = false
WHERE campaign_id = $1 AND asset_id = $2
"""
# Of what was sent before, the last word stands.
SET_REJECTED = """
UPDATE lighting_campaign_target SET rejected = $3, state = NULL, repeat_due = false
WHERE campaign_id = $1 AND asset_id = $2
"""
# Until the frame goes out an asset may be given to another tenant, or a grant may end: nobody switches there then.
LOCK_TARGET = "SELECT id FROM asset WHERE id = $1 FOR NO KEY UPDATE"
ACTING_FOR = "SELECT lighting_acting_for($1, $2)"
SERVED_SINCE = """
SELECT EXISTS (
    SELECT FROM assignment g JOIN asset s ON s.id = $1
    WHERE g.device_id = $2 AND g.during @> now() AND lower(g.during) <= $3
      AND (g.asset_id = s.id OR s.kind = 'lighting_circuit' AND g.asset_id = s.parent_id))
"""
# Another tenant that may has asked for light there since; one's own campaigns it suspends itself.
LIT_IN_EMERGENCY = """
SELECT EXISTS (
    SELECT FROM lighting_campaign_target t JOIN lighting_campaign c ON c.id = t.campaign_id
    WHERE t.asset_id = $1 AND c.is_emergency AND c.created_at > $2 AND c.tenant_id <> $3
      AND c.state <> 'cancelled')
"""
# What people have asked of a circuit since a campaign was approved, one by one, was "on" last.
LIT_BY_HAND = """
SELECT coalesce((
    SELECT c.action = 'on' FROM lighting_command c
    WHERE c.asset_id = $1 AND c.created_at > $2 AND NOT c.is_automatic
      AND NOT EXISTS (SELECT FROM lighting_campaign_target t WHERE t.command_id = c.id)
    ORDER BY c.id DESC LIMIT 1), false)
"""


@dataclass(frozen=True, slots=True)
class Target:
    """A circuit of a campaign, and where it stands; `state` of its command or program, None: it has none yet.

    `program_hash` is what its clock reports of the program that it was sent; `is_unprovable`: it reports nothing.
    """

    asset_id: int
    name: str
    gateway: str
    airtime_us: int
    is_canary: bool
    rejected: str | None
    released_at: datetime | None
    command_id: int | None
    state: str | None
    failure: str | None
    program_hash: str | None
    attempts: int
    is_unprovable: bool


@dataclass(frozen=True, slots=True)
class NewTarget:
    """A circuit that is to be commanded."""

    asset_id: int
    gateway: str
    airtime_us: int
    octets: Mapping[str, Any]
    is_canary: bool = False


@dataclass(frozen=True, slots=True)
class WaitingTarget:
    """A circuit whose turn has not come, and where it stands; `attempts`: how often a program was sent to it.

    `command_id`: of the command that is to be repeated. `gateway_us`: of all that waits for its gateway.
    """

    asset_id: int
    gateway: str
    airtime_us: int
    gateway_us: int
    octets: Mapping[str, Any]
    attempts: int
    command_id: int | None
    latitude: float | None
    longitude: float | None
    department: str | None
    timezone: str


async def add_targets(connection: Connection, campaign: Campaign, targets: Sequence[NewTarget]) -> None:
    """The circuits of a new campaign."""
    await connection.execute(
        ADD_TARGETS,
        campaign.id,
        campaign.tenant_id,
        [target.asset_id for target in targets],
        [target.gateway for target in targets],
        [target.airtime_us for target in targets],
        [dict(target.octets) for target in targets],
        [target.is_canary for target in targets],
    )


async def list_targets(connection: Connection, campaign_id: int, *, after: int, most: int) -> list[Target]:
    """The circuits of a campaign by id, beyond `after`."""
    return await fetch_all(connection, Target, TARGETS, campaign_id, after, most)


async def read_waiting(
    connection: Connection,
    campaign_id: int,
    *,
    canary_alone: bool,
    is_emergency: bool,
    most: int,
    of: Sequence[int] | None = None,
    busy: Sequence[str] = (),
) -> dict[str, list[WaitingTarget]]:
    """By gateway, the circuits whose turn is next: `most` of each, of these alone, and none of busy gateways."""
    waiting: dict[str, list[WaitingTarget]] = defaultdict(list)
    given = None if of is None else list(of)
    for target in await fetch_all(
        connection, WaitingTarget, WAITING, campaign_id, canary_alone, most, is_emergency, given, list(busy)
    ):
        waiting[target.gateway].append(target)
    return waiting


async def released_since(connection: Connection | Pool, since: datetime) -> list[tuple[str, datetime, int]]:
    """What campaigns of all tenants sent: gateway, start, microseconds on air."""
    rows = await connection.fetch(RELEASED_SINCE, since)
    return [(row["gateway"], row["released_at"], row["airtime_us"]) for row in rows]


async def used_since(connection: Connection, since: datetime) -> list[tuple[str, int, int]]:
    """The same as one frame of each gateway that ends with its last: gateway, start, microseconds on air."""
    rows = await connection.fetch(USED_SINCE, since)
    return [(row["gateway"], to_us(row["until"]) - row["used_us"], row["used_us"]) for row in rows]


async def read_measured_loss(connection: Connection, gateways: Sequence[str], since: datetime) -> dict[str, float]:
    """Of each gateway, the share of commands of campaigns that had to be repeated; of one with few nothing."""
    return {row["gateway"]: row["loss"] for row in await connection.fetch(LOSSES, since, list(gateways))}


async def set_released(
    connection: Connection, campaign_id: int, asset_id: int, at: datetime, command_id: int
) -> None:
    """A circuit's command was given."""
    await connection.execute(SET_RELEASED, campaign_id, asset_id, at, command_id)


async def set_repeat_due(connection: Connection, command_id: int, now: datetime) -> bool:
    """Have a campaign repeat its command when its turn comes; False: none does, it is repeated at once."""
    return await connection.fetchval(SET_REPEAT_DUE, command_id, now) is True


async def set_repeated(connection: Connection, campaign_id: int, asset_id: int, at: datetime | None) -> None:
    """A circuit's command was repeated; None: it had come to its end meanwhile."""
    await connection.execute(SET_REPEATED, campaign_id, asset_id, at)


async def set_rejected(connection: Connection, campaign_id: int, asset_id: int, why: str) -> None:
    """A circuit could not be commanded when its turn came."""
    await connection.execute(SET_REJECTED, campaign_id, asset_id, why)


async def acting_for(connection: Connection, asset_id: int, tenant_id: int) -> str | None:
    """As whom a tenant commands this asset: empty for its own, its short name by a grant; None: it may not.

    Its own it stays until the end of the transaction.
    """
    await connection.execute(LOCK_TARGET, asset_id)
    return await connection.fetchval(ACTING_FOR, asset_id, tenant_id)


async def is_served_since(connection: Connection, asset_id: int, device_id: int, at: datetime) -> bool:
    """Whether this device has served a circuit since then."""
    return await connection.fetchval(SERVED_SINCE, asset_id, device_id, at)


async def is_lit_by_others(connection: Connection, asset_id: int, campaign: Campaign) -> bool:
    """Whether another tenant has lit everything there since a campaign was prepared."""
    return await connection.fetchval(LIT_IN_EMERGENCY, asset_id, campaign.created_at, campaign.tenant_id)


async def is_lit_by_hand(connection: Connection, asset_id: int, campaign: Campaign) -> bool:
    """Whether somebody has asked for light at this circuit since a campaign was approved."""
    return await connection.fetchval(LIT_BY_HAND, asset_id, campaign.approved_at)
