"""SQL of lighting campaigns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.runtime.postgres import Connection, Pool
from lighting.campaigns import Progress, State, TargetCounts
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
class Author:
    """Who writes or approves: the name, and what tells them apart from another of that name."""

    name: str
    id: str


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
READ = f"SELECT {COLUMNS} FROM lighting_campaign WHERE id = $1"
LOCK = f"{READ} FOR NO KEY UPDATE"
LIST = f"""
SELECT {COLUMNS} FROM lighting_campaign
WHERE ($1::int IS NULL OR id < $1) AND ($2::text IS NULL OR state = $2) ORDER BY id DESC LIMIT $3
"""
NEIGHBOURS = "SELECT neighbours FROM lighting_campaign WHERE id = $1"
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
# Nobody approved them in time.
EXPIRE_DRAFTS = """
UPDATE lighting_campaign SET state = 'expired', ended_at = $1 WHERE state = 'draft' AND not_after <= $1
"""
OWNERS = """
SELECT a.tenant_id, min(a.id) AS asset_id, count(*)::int AS targets
FROM lighting_campaign_target t JOIN asset a ON a.id = t.asset_id
WHERE t.campaign_id = $1 GROUP BY a.tenant_id ORDER BY a.tenant_id
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


async def pause_darkening(connection: Connection, asset_ids: Sequence[int], tenant_id: int) -> list[Campaign]:
    """The campaigns of a tenant that would put out what is lit in an emergency: they wait for a person now."""
    return await fetch_all(connection, Campaign, PAUSE_DARKENING, list(asset_ids), tenant_id)


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


async def owners_of(connection: Connection, campaign_id: int) -> list[tuple[int, int, int]]:
    """Whose targets a campaign has: tenant, one asset and how many, of those that are visible."""
    return [tuple(row) for row in await connection.fetch(OWNERS, campaign_id)]


async def reject(connection: Connection, campaign_id: int, why: str) -> Campaign:
    """The proposal is refused, for good."""
    return await insert(connection, Campaign, REJECT, campaign_id, why)
