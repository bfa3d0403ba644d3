"""A campaign as the API prepares it, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core.runtime.postgres import Connection, Pool
from decoders.territoire.clock import CODEC
from lab.lighting.registered import RegisteredArea
from lighting import campaign_store as store
from lighting import target_store
from lighting.campaign_plan import Reach, frame_airtime_us, neighbours_of, shares_of, targets_of
from lighting.campaign_store import Author
from lighting.campaigns import canary_of
from lighting.compilers import SET_PROGRAM
from lighting.expected import read_lamps
from lighting.octets import DIM, ON, Asked
from lighting.program_targets import encoded_for, find_holders
from lighting.requests import native_octets
from lighting.target_store import NewTarget
from lorawan.instants import from_us, to_us

WITHIN = timedelta(hours=24)
# A night cut that differs by weekday and season; 47 octets, which are on air as long as the most, 48.
PROGRAM: dict[str, Any] = {
    "default": {"night_cut": ["23:30", "05:00"], "dimming": [["21:00", 70], ["22:00", 50], ["06:00", 100]]},
    "rules": [
        {
            "weekdays": [5, 6],
            "schedule": {"night_cut": ["01:30", "05:00"], "dimming": [["22:00", 60], ["06:00", 100]]},
        },
        {
            "from": "06-15",
            "to": "09-05",
            "schedule": {"night_cut": ["00:30", "05:30"], "dimming": [["23:00", 50]]},
        },
        {"from": "12-20", "to": "01-05", "schedule": {"night_cut": ["01:00", "05:00"]}},
    ],
    "coefficient": 0.9,
}
ASSIGN_PROGRAM = """
WITH program AS (INSERT INTO lighting_program (tenant_id, name) VALUES ($1, 'Coupures') RETURNING id),
version AS (
    INSERT INTO lighting_program_version (tenant_id, program_id, version, program, author)
    SELECT $1, id, 1, $2, 'banc' FROM program RETURNING id)
INSERT INTO lighting_assignment (tenant_id, asset_id, version_id, assigned_by)
SELECT $1, a.id, v.id, 'banc' FROM asset a, version v WHERE a.tenant_id = $1 AND a.kind = 'lighting_cabinet'
"""
# The commands of a campaign, or the programs that it sends; `proved_at` by what the device itself said.
READ_OUTCOMES = """
SELECT t.gateway, coalesce(c.state::text, t.state, CASE WHEN t.rejected IS NOT NULL THEN 'rejected' END) AS state,
       coalesce(t.rejected, c.failure, t.failure) AS why, coalesce(c.attempts, t.attempts) AS attempts,
       extract(epoch FROM coalesce(c.applied_at, p.proved_at) - g.approved_at)::float8 AS proved_after_s
FROM lighting_campaign_target t
JOIN lighting_campaign g ON g.id = t.campaign_id
LEFT JOIN lighting_command c ON c.id = t.command_id
LEFT JOIN LATERAL (
    SELECT min(u.received_at) AS proved_at FROM observation.uplink u
    WHERE t.state = 'applied' AND u.device_id = t.device_id AND u.time > g.created_at
      AND u.decoded ->> 'program_hash' = encode(t.program_hash, 'hex')) p ON true
WHERE t.campaign_id = $1
"""
READ_STATE = """
SELECT state, halted_for, extract(epoch FROM ended_at - approved_at)::float8 AS took_s
FROM lighting_campaign WHERE id = $1
"""


@dataclass(frozen=True, slots=True)
class CampaignKind:
    """What all cabinets are sent: `on`, `dim` to a level, or their program."""

    name: str
    action: str
    level: int | None = None
    is_emergency: bool = False


OVERRIDES = CampaignKind("Forçages", DIM, level=70)
PROGRAMS = CampaignKind("Programmes", SET_PROGRAM)
ALL_ON = CampaignKind("Tout allumer", ON, is_emergency=True)


@dataclass(frozen=True, slots=True)
class Begun:
    """A campaign that was approved, and in how many seconds it was said to end."""

    id: int
    began_at: datetime
    predicted_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one cabinet's command or program."""

    gateway: str
    state: str | None
    why: str | None
    attempts: int
    proved_after_s: float | None


@dataclass(frozen=True, slots=True)
class CampaignState:
    """Where a campaign stands, and in how many seconds it has ended."""

    state: str
    halted_for: str | None
    took_s: float | None


async def assign_program(connection: Connection, tenant_id: int) -> None:
    """Every cabinet is to follow `PROGRAM`."""
    await connection.execute(ASSIGN_PROGRAM, tenant_id, PROGRAM)


async def begin_campaign(pool: Pool, area: RegisteredArea, kind: CampaignKind, now: datetime) -> Begun:
    """Prepared and previewed as the API does it, and approved at once by somebody who was waiting for it."""
    reached = {one.asset_id: _reach_of(area, place) for place, one in enumerate(area.cabinets)}
    async with pool.acquire() as connection, connection.transaction():
        found = await _targets(connection, reached, kind, now)
        paced = [(number, gateway) for number, gateway, *_ in found]
        canary = frozenset[int]() if kind.is_emergency else canary_of(paced)
        neighbours = neighbours_of(list(reached.values()))
        shares = shares_of(
            [(number, gateway, airtime_us, number in canary) for number, gateway, airtime_us, _ in found],
            neighbours,
            (),
            {},
            to_us(now),
            is_emergency=kind.is_emergency,
        )
        values = {
            "name": kind.name, "action": kind.action, "level": kind.level, "off_until": None, "reason": "banc",
            "is_emergency": kind.is_emergency, "not_after": now + WITHIN,
        }  # fmt: skip
        author = Author("banc", "person 1")
        made = await store.create_campaign(connection, area.tenant_id, values, author, neighbours)
        await target_store.add_targets(connection, made, [NewTarget(*one, one[0] in canary) for one in found])
        if not kind.is_emergency:
            await store.approve(connection, made.id, Author("adjointe", "person 2"))
    ends_at = from_us(max(share.ends_us for share in shares))
    return Begun(made.id, now, (ends_at - now).total_seconds())


def _reach_of(area: RegisteredArea, place: int) -> Reach:
    cabinet = area.cabinets[place].cabinet
    gateways = tuple(area.gateways[gateway].gateway_id.hex() for gateway, _ in cabinet.receptions)
    return Reach(gateways, cabinet.rx2_data_rate, None)


async def _targets(
    connection: Connection, reached: Mapping[int, Reach], kind: CampaignKind, now: datetime
) -> list[tuple[int, str, int, dict[str, Any]]]:
    if kind.action != SET_PROGRAM:
        octets = native_octets(CODEC.name, None, Asked(now, kind.level), ("",))
        return targets_of(dict.fromkeys(reached, octets), reached, kind.action)
    holders = await find_holders(connection, list(reached))
    lamps = await read_lamps(connection, [holders[0].asset_id])
    [row] = lamps.values()
    frame, _ = encoded_for(holders[0], row, now)
    found = ((one.asset_id, reached[one.asset_id]) for one in holders)
    return [(number, reach.gateway, frame_airtime_us(frame, reach.rx2_data_rate), {}) for number, reach in found]


async def read_state(pool: Pool, campaign_id: int) -> CampaignState:
    """Where it stands."""
    row = await pool.fetchrow(READ_STATE, campaign_id)
    if row is None:
        raise LookupError(f"campaign {campaign_id}")
    return CampaignState(row["state"], row["halted_for"], row["took_s"])


async def read_outcomes(pool: Pool, campaign_id: int) -> Sequence[Outcome]:
    """Of each cabinet."""
    rows = await pool.fetch(READ_OUTCOMES, campaign_id)
    return [
        Outcome(row["gateway"], row["state"], row["why"], row["attempts"] or 0, row["proved_after_s"])
        for row in rows
    ]
