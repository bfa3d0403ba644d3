"""SQL of teams and their contacts for the API; row security bounds every statement."""

from dataclasses import dataclass
from datetime import datetime, time

from core.runtime.postgres import Connection, Pool
from registry.rows import entity

TEAM_COLUMNS = "id, tenant_id, name, quiet_from, quiet_until, quiet_on_days_off, digest_at, created_at"
CREATE_TEAM = f"""
INSERT INTO team (tenant_id, name, quiet_from, quiet_until, quiet_on_days_off, digest_at)
VALUES ($1, $2, $3, $4, $5, $6) RETURNING {TEAM_COLUMNS}
"""
REPLACE_TEAM = f"""
UPDATE team SET name = $2, quiet_from = $3, quiet_until = $4, quiet_on_days_off = $5, digest_at = $6
WHERE id = $1 RETURNING {TEAM_COLUMNS}
"""
LIST_TEAMS = f"SELECT {TEAM_COLUMNS} FROM team ORDER BY name"
READ_TEAM = f"SELECT {TEAM_COLUMNS} FROM team WHERE id = $1"
DELETE_TEAM = "DELETE FROM team WHERE id = $1 RETURNING true"
CREATE_CONTACT = """
INSERT INTO contact (tenant_id, team_id, name, rung, after_seconds, webhook_endpoint_id)
SELECT m.tenant_id, m.id, $2, $3, $4, e.id FROM team m JOIN webhook_endpoint e ON e.tenant_id = m.tenant_id
WHERE m.id = $1 AND e.id = $5 RETURNING id
"""
LIST_CONTACTS = """
SELECT c.id, c.team_id, c.name, c.rung, c.after_seconds, c.webhook_endpoint_id,
       CASE WHEN e.form = 'email' THEN substr(e.url, length('mailto:') + 1) END AS email, e.state, c.created_at
FROM contact c JOIN webhook_endpoint e ON e.id = c.webhook_endpoint_id
WHERE c.team_id = $1 ORDER BY c.rung, c.id
"""
DELETE_CONTACT = "DELETE FROM contact WHERE id = $2 AND team_id = $1 RETURNING true"


@dataclass(frozen=True, slots=True)
class Hours:
    """How a team is called and when it is not to be disturbed."""

    name: str
    quiet_from: time | None
    quiet_until: time | None
    quiet_on_days_off: bool
    digest_at: time


@dataclass(frozen=True, slots=True)
class Team:
    """A team; its hours are local."""

    id: int
    tenant_id: int
    name: str
    quiet_from: time | None
    quiet_until: time | None
    quiet_on_days_off: bool
    digest_at: time
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Contact:
    """Who is told, on which rung of the ladder: 0 at once, the next after so long without an acknowledgement."""

    id: int
    team_id: int
    name: str
    rung: int
    after_seconds: int
    webhook_endpoint_id: int
    email: str | None
    state: str  # Of the endpoint.
    created_at: datetime


async def create_team(connection: Connection, tenant_id: int, hours: Hours) -> Team:
    """A new team; raises UniqueViolationError when its name is taken."""
    row = await connection.fetchrow(CREATE_TEAM, tenant_id, *_values(hours))
    assert row is not None  # noqa: S101 - RETURNING of an INSERT.
    return entity(Team, row)


async def replace_team(connection: Connection, team_id: int, hours: Hours) -> Team | None:
    """Give a team other hours or another name."""
    row = await connection.fetchrow(REPLACE_TEAM, team_id, *_values(hours))
    return None if row is None else entity(Team, row)


def _values(hours: Hours) -> tuple[object, ...]:
    return (hours.name, hours.quiet_from, hours.quiet_until, hours.quiet_on_days_off, hours.digest_at)


async def list_teams(connection: Connection | Pool) -> list[Team]:
    """Every team of the tenant."""
    return [entity(Team, row) for row in await connection.fetch(LIST_TEAMS)]


async def read_team(connection: Connection | Pool, team_id: int) -> Team | None:
    """One team."""
    row = await connection.fetchrow(READ_TEAM, team_id)
    return None if row is None else entity(Team, row)


async def delete_team(connection: Connection, team_id: int) -> bool:
    """Remove a team with its contacts; what waited for its digest goes to the tenant's endpoints."""
    return await connection.fetchval(DELETE_TEAM, team_id) is True


async def create_contact(
    connection: Connection, team_id: int, name: str, rung: int, after_seconds: int, endpoint_id: int
) -> int | None:
    """A new contact's id; None when there is no such team, or no such endpoint."""
    return await connection.fetchval(CREATE_CONTACT, team_id, name, rung, after_seconds, endpoint_id)


async def list_contacts(connection: Connection | Pool, team_id: int) -> list[Contact]:
    """A team's contacts, up the ladder."""
    return [entity(Contact, row) for row in await connection.fetch(LIST_CONTACTS, team_id)]


async def delete_contact(connection: Connection, team_id: int, contact_id: int) -> bool:
    """Remove a contact; False when the team has none of this id."""
    return await connection.fetchval(DELETE_CONTACT, team_id, contact_id) is True
