"""SQL of lighting campaigns."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.runtime.postgres import Connection, Pool
from lighting.campaign_plan import Reach
from lighting.campaigns import Progress, State, TargetCounts
from lighting.circuit_store import FIND_CIRCUITS, Circuit
from lorawan.instants import to_us
from registry.rows import columns_of, entity, fetch_all, fetch_one, insert

# Somebody's later command takes the place of a campaign's, as it does once that is sent.
LIT_SINCE = "quelqu'un a demandé la lumière là depuis l'approbation de cette campagne"
GOING_ON = "state IN ('approved', 'canary', 'running')"


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign as the API shows it."""

    id: int
    tenant_id: int
    name: str
    action: str
    level: int | None
    off_until: datetime | None
    reason: str
    is_emergency: bool
    state: str
    halted_for: str | None
    author: str
    author_id: str
    approved_by: str | None
    approved_at: datetime | None
    not_after: datetime
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    decided_by: int | None
    proposed_by: str
    outside: str | None
    then_decided_by: tuple[int, ...]
    then_outside: tuple[str, ...]
    decided_before: tuple[int, ...]
    refused_for: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """To whom a campaign goes: what fulfils all that is given; nothing given is all that its author owns."""

    asset_ids: Sequence[int] | None = None
    commune: str | None = None
    tag: str | None = None
    program_id: int | None = None  # Those that follow it.
    drifted: bool = False  # Whose clock holds another program than it should.


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes or approves: the name, and what tells them apart from another of that name."""

    name: str
    id: str


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
class Named:
    """An asset by its name, with its tags and those of its cabinet."""

    id: int
    name: str
    tags: tuple[str, ...]


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


COLUMNS = columns_of(Campaign)
CREATE = f"""
INSERT INTO lighting_campaign
    (tenant_id, name, action, level, off_until, reason, is_emergency, state, author, author_id, approved_by,
     approver_id, approved_at, not_after, neighbours, decided_by, proposed_by, outside,
     then_decided_by, then_outside)
VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN $7 THEN 'approved' ELSE 'draft' END, $8, $9,
        CASE WHEN $7 THEN $8 END, CASE WHEN $7 THEN $9 END, CASE WHEN $7 THEN now() END, $10, $11, $12, $13, $14,
        $15, $16)
RETURNING {COLUMNS}
"""
ADD_TARGETS = """
INSERT INTO lighting_campaign_target (campaign_id, tenant_id, asset_id, gateway, airtime_us, octets, is_canary)
SELECT $1, $2, * FROM unnest($3::int[], $4::text[], $5::int[], $6::jsonb[], $7::boolean[])
"""
READ = f"SELECT {COLUMNS} FROM lighting_campaign WHERE id = $1"
LOCK = f"{READ} FOR NO KEY UPDATE"
LIST = f"""
SELECT {COLUMNS} FROM lighting_campaign
WHERE ($1::int IS NULL OR id < $1) AND ($2::text IS NULL OR state = $2) ORDER BY id DESC LIMIT $3
"""
NEIGHBOURS = "SELECT neighbours FROM lighting_campaign WHERE id = $1"
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
APPROVE = f"""
UPDATE lighting_campaign SET state = 'approved', approved_by = $2, approver_id = $3, approved_at = now()
WHERE id = $1
RETURNING {COLUMNS}
"""
# Who has agreed to it is in the audit.
HAND_ON = f"""
UPDATE lighting_campaign
SET decided_before = decided_before || decided_by, decided_by = then_decided_by[1], outside = then_outside[1],
    then_decided_by = then_decided_by[2:], then_outside = then_outside[2:]
WHERE id = $1
RETURNING {COLUMNS}
"""
REJECT = f"""
UPDATE lighting_campaign SET state = 'refused', refused_for = $2, ended_at = now() WHERE id = $1
RETURNING {COLUMNS}
"""
SET_STATE = f"""
UPDATE lighting_campaign SET state = $2, halted_for = $3,
       started_at = CASE WHEN $2 IN ('canary', 'running') THEN coalesce(started_at, now()) ELSE started_at END,
       ended_at = CASE WHEN $2 IN ('ended', 'cancelled', 'expired') THEN now() END
WHERE id = $1 RETURNING {COLUMNS}
"""
NEXT_GOING_ON = f"""
SELECT {COLUMNS} FROM lighting_campaign WHERE {GOING_ON} AND id > $1 ORDER BY id LIMIT 1
FOR NO KEY UPDATE SKIP LOCKED
"""
# What would put out or dim, later than somebody has asked for light in an emergency; and programs, which take
# the time of its gateways.
PAUSE_DARKENING = f"""
UPDATE lighting_campaign c SET state = 'paused'
WHERE c.tenant_id = $2 AND {GOING_ON} AND c.action <> 'on' AND EXISTS (
    SELECT FROM lighting_campaign_target t
    WHERE t.asset_id = ANY($1::int[]) AND t.campaign_id = c.id
      AND (t.released_at IS NULL AND t.rejected IS NULL OR t.repeat_due))
RETURNING {COLUMNS}
"""
SERVED_SINCE = """
SELECT EXISTS (
    SELECT FROM assignment g JOIN asset s ON s.id = $1
    WHERE g.device_id = $2 AND g.during @> now() AND lower(g.during) <= $3
      AND (g.asset_id = s.id OR s.kind = 'lighting_circuit' AND g.asset_id = s.parent_id))
"""
# What is superseded was decided by somebody since: it is neither a proof nor a failure of the campaign. A lamp of
# which nothing proves that it obeyed is a failure; a clock that nobody can ask for its program is not.
COUNTS = """
SELECT is_canary,
       count(*) FILTER (WHERE released_at IS NULL AND rejected IS NULL)::int AS waiting,
       count(*) FILTER (WHERE state IN ('queued', 'sent', 'acknowledged'))::int AS under_way,
       count(*) FILTER (WHERE state IN ('applied', 'confirmed'))::int AS proved,
       count(*) FILTER (WHERE rejected <> $2 OR state IN ('failed', 'expired')
                        OR state = 'unproven' AND NOT is_program)::int AS failed,
       count(*) FILTER (WHERE rejected = $2 OR state = 'superseded')::int AS superseded,
       count(*) FILTER (WHERE state = 'unproven' AND is_program)::int AS unproven
FROM (SELECT t.is_canary, t.released_at, t.rejected, coalesce(c.state::text, t.state) AS state,
             t.state IS NOT NULL AS is_program
      FROM lighting_campaign_target t LEFT JOIN lighting_command c ON c.id = t.command_id
      WHERE t.campaign_id = $1) AS one
GROUP BY is_canary
"""
# Of targets whose frame went out, those that an alert says have gone dark since.
DARKENED = """
SELECT count(DISTINCT t.asset_id)::int
FROM lighting_campaign_target t
JOIN asset s ON s.id = t.asset_id
JOIN alert a ON a.asset_id IN (s.id, s.parent_id) AND a.opened_at > t.released_at AND a.workflow <> 'resolved'
JOIN alert_rule r ON r.id = a.rule_id AND r.series = 'power_ratio' AND r.schedule = 'lit'
WHERE t.campaign_id = $1 AND t.released_at IS NOT NULL
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
# Nobody approved them in time.
EXPIRE_DRAFTS = """
UPDATE lighting_campaign SET state = 'expired', ended_at = $1 WHERE state = 'draft' AND not_after <= $1
"""
# Until the frame goes out an asset may be given to another tenant, or a grant may end: nobody switches there then.
LOCK_TARGET = "SELECT id FROM asset WHERE id = $1 FOR NO KEY UPDATE"
ACTING_FOR = "SELECT lighting_acting_for($1, $2)"
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
OWNERS = """
SELECT a.tenant_id, min(a.id) AS asset_id, count(*)::int AS targets
FROM lighting_campaign_target t JOIN asset a ON a.id = t.asset_id
WHERE t.campaign_id = $1 GROUP BY a.tenant_id ORDER BY a.tenant_id
"""
# Cabinets; light points that a device of their own serves; of what is named or drifts, circuits, too.
FIND_TARGETS = """
SELECT a.id, a.tenant_id FROM asset a
WHERE (a.tenant_id = $1 OR a.id IN (SELECT operated_lighting())) AND a.archived_at IS NULL
  AND a.kind IN ('lighting_cabinet', 'lighting_circuit', 'light_point')
  AND ($2::int[] IS NULL OR a.id = ANY($2)) AND ($3::text IS NULL OR a.commune = $3)
  AND ($4::text IS NULL OR $4 = ANY(a.tags))
  AND ($5::int IS NULL OR EXISTS (
        SELECT FROM lighting_program_in_force f JOIN lighting_program_version v ON v.id = f.version_id
        WHERE f.asset_id = a.id AND v.program_id = $5))
  AND (NOT $6::boolean OR EXISTS (SELECT FROM lighting_shadow w WHERE w.asset_id = a.id AND w.drifts))
  AND CASE WHEN $2 IS NOT NULL OR $6 THEN true
           WHEN a.kind = 'light_point'
           THEN EXISTS (SELECT FROM assignment g WHERE g.asset_id = a.id AND g.during @> now())
           ELSE a.kind = 'lighting_cabinet' OR $4 IS NOT NULL OR $5 IS NOT NULL END
ORDER BY a.id
"""
# With the tags of its cabinet, too.
NAMES = """
SELECT s.id, s.name, s.tags || coalesce(c.tags, '{}') AS tags
FROM asset s LEFT JOIN asset c ON c.id = s.parent_id AND s.kind = 'lighting_circuit'
WHERE s.id = ANY($1::int[])
"""
PROFILES = "SELECT id, device_profile_id FROM device WHERE id = ANY($1::int[])"
REACHED = "SELECT asset_id, gateways, rx2_data_rate, source_id FROM lighting_reached($1::int[])"
# The circuits of cabinets, and assets that are their own.
CIRCUITS = (
    FIND_CIRCUITS.partition("WHERE CASE")[0]
    + """
WHERE s.archived_at IS NULL AND (s.parent_id = ANY($1::int[]) AND s.kind = 'lighting_circuit' OR s.id = ANY($1)
    AND NOT EXISTS (SELECT FROM asset c WHERE c.parent_id = s.id AND c.kind = 'lighting_circuit'
                    AND c.archived_at IS NULL))
ORDER BY s.id
"""
)
LOSSES = """
SELECT gateway, (sum(attempts - 1)::float8 / sum(attempts))::float8 AS loss
FROM (SELECT t.gateway, coalesce(c.attempts, t.attempts) AS attempts
      FROM lighting_campaign_target t LEFT JOIN lighting_command c ON c.id = t.command_id
      WHERE t.released_at > $1 AND t.gateway = ANY($2::text[])) AS one
WHERE attempts > 0 GROUP BY gateway HAVING sum(attempts) >= 20
"""


async def create_campaign(
    connection: Connection,
    tenant_id: int,
    values: Mapping[str, Any],
    author: Author,
    neighbours: Mapping[str, Sequence[str]],
) -> Campaign:
    """A new campaign without targets: a draft, an emergency approved. `values`: what its author decides."""
    return await insert(
        connection,
        Campaign,
        CREATE,
        tenant_id,
        *(values[name] for name in ("name", "action", "level", "off_until", "reason", "is_emergency")),
        author.name,
        author.id,
        values["not_after"],
        {gateway: list(others) for gateway, others in neighbours.items()},
        values.get("decided_by"),
        values.get("proposed_by", ""),
        values.get("outside"),
        values.get("then_decided_by", []),
        values.get("then_outside", []),
    )


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


async def pause_darkening(connection: Connection, asset_ids: Sequence[int], tenant_id: int) -> list[Campaign]:
    """The campaigns of a tenant that would put out what is lit in an emergency: they wait for a person now."""
    return await fetch_all(connection, Campaign, PAUSE_DARKENING, list(asset_ids), tenant_id)


async def is_served_since(connection: Connection, asset_id: int, device_id: int, at: datetime) -> bool:
    """Whether this device has served a circuit since then."""
    return await connection.fetchval(SERVED_SINCE, asset_id, device_id, at)


async def read_campaign(connection: Connection | Pool, campaign_id: int) -> Campaign | None:
    """One campaign."""
    return await fetch_one(connection, Campaign, READ, campaign_id)


async def lock_campaign(connection: Connection, campaign_id: int) -> Campaign | None:
    """One campaign, which nobody else moves until the end of the transaction."""
    return await fetch_one(connection, Campaign, LOCK, campaign_id)


async def list_campaigns(
    connection: Connection, *, before: int | None, most: int, state: str | None = None
) -> list[Campaign]:
    """Visible campaigns, the newest first."""
    return await fetch_all(connection, Campaign, LIST, before, state, most)


async def list_targets(connection: Connection, campaign_id: int, *, after: int, most: int) -> list[Target]:
    """The circuits of a campaign by id, beyond `after`."""
    return await fetch_all(connection, Target, TARGETS, campaign_id, after, most)


async def approve(connection: Connection, campaign_id: int, approver: Author) -> Campaign:
    """The campaign, which goes on from now."""
    return await insert(connection, Campaign, APPROVE, campaign_id, approver.name, approver.id)


async def hand_on(connection: Connection, campaign_id: int, _: Author) -> Campaign:
    """The proposal, which another has to decide now, too."""
    return await insert(connection, Campaign, HAND_ON, campaign_id)


async def set_state(
    connection: Connection, campaign_id: int, state: State, halted_for: str | None = None
) -> Campaign:
    """The campaign in its new state."""
    return await insert(connection, Campaign, SET_STATE, campaign_id, state, halted_for)


async def expire_drafts(connection: Connection | Pool, now: datetime) -> None:
    """End the drafts that nobody has approved in time."""
    await connection.execute(EXPIRE_DRAFTS, now)


async def lock_next_going_on(connection: Connection, after: int) -> Campaign | None:
    """The next campaign, by id, that goes on and that no other replica holds."""
    return await fetch_one(connection, Campaign, NEXT_GOING_ON, after)


async def read_progress(connection: Connection | Pool, campaign_id: int) -> Progress:
    """How many of its circuits are where, the canary apart."""
    of = {True: TargetCounts(), False: TargetCounts()}
    for row in await connection.fetch(COUNTS, campaign_id, LIT_SINCE):
        of[row["is_canary"]] = entity(TargetCounts, row)
    darkened: int = await connection.fetchval(DARKENED, campaign_id)
    return Progress(of[True], of[False], darkened)


async def read_neighbours(connection: Connection, campaign_id: int) -> dict[str, list[str]]:
    """Of each gateway of a campaign those that hear the same devices."""
    return await connection.fetchval(NEIGHBOURS, campaign_id)


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


async def is_lit_by_others(connection: Connection, asset_id: int, campaign: Campaign) -> bool:
    """Whether another tenant has lit everything there since a campaign was prepared."""
    return await connection.fetchval(LIT_IN_EMERGENCY, asset_id, campaign.created_at, campaign.tenant_id)


async def is_lit_by_hand(connection: Connection, asset_id: int, campaign: Campaign) -> bool:
    """Whether somebody has asked for light at this circuit since a campaign was approved."""
    return await connection.fetchval(LIT_BY_HAND, asset_id, campaign.approved_at)


async def owners_of(connection: Connection, campaign_id: int) -> list[tuple[int, int, int]]:
    """Whose targets a campaign has: tenant, one asset and how many, of those that are visible."""
    return [tuple(row) for row in await connection.fetch(OWNERS, campaign_id)]


async def reject(connection: Connection, campaign_id: int, why: str) -> Campaign:
    """The proposal is refused, for good."""
    return await insert(connection, Campaign, REJECT, campaign_id, why)


async def read_reached(connection: Connection, asset_ids: Sequence[int]) -> dict[int, Reach]:
    """How each circuit is reached; of those that no device serves nothing."""
    rows = await connection.fetch(REACHED, list(asset_ids))
    return {row["asset_id"]: Reach(tuple(row["gateways"]), row["rx2_data_rate"], row["source_id"]) for row in rows}


async def read_measured_loss(connection: Connection, gateways: Sequence[str], since: datetime) -> dict[str, float]:
    """Of each gateway, the share of commands of campaigns that had to be repeated; of one with few nothing."""
    return {row["gateway"]: row["loss"] for row in await connection.fetch(LOSSES, since, list(gateways))}


async def find_circuits_of(connection: Connection, asset_ids: Sequence[int]) -> list[Circuit]:
    """The circuits of these cabinets, circuits and light points, with the device that switches each."""
    return await fetch_all(connection, Circuit, CIRCUITS, list(asset_ids))


async def find_targets(connection: Connection, tenant_id: int, wanted: Wanted) -> list[tuple[int, int]]:
    """Id and owner of the cabinets, light points and circuits that are meant.

    They are the tenant's own, and those that a grant lets it command.
    """
    given = None if wanted.asset_ids is None else list(wanted.asset_ids)
    rows = await connection.fetch(
        FIND_TARGETS, tenant_id, given, wanted.commune, wanted.tag, wanted.program_id, wanted.drifted
    )
    return [(row["id"], row["tenant_id"]) for row in rows]


async def names_of(connection: Connection, asset_ids: Sequence[int]) -> dict[int, Named]:
    """Names and tags of assets, by id."""
    return {one.id: one for one in await fetch_all(connection, Named, NAMES, list(asset_ids))}


async def profiles_of(connection: Connection, device_ids: Sequence[int]) -> dict[int, int]:
    """The profile of each device."""
    return {row["id"]: row["device_profile_id"] for row in await connection.fetch(PROFILES, list(device_ids))}
