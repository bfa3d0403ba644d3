"""SQL of teams and their contacts for the API; row security bounds every statement."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any

from core.runtime.postgres import Connection, Pool
from registry.rows import Written, columns_of, fetch_all, fetch_one, insert


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
    sensor_health: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Contact:
    """Who is notified on which rung of the ladder: 0 at once, the next after so long without acknowledgement."""

    id: int
    team_id: int
    name: str
    rung: int
    after_seconds: int
    webhook_endpoint_id: int
    email: str | None
    state: str  # Of the endpoint.
    created_at: datetime


WRITTEN = Written("name, quiet_from, quiet_until, quiet_on_days_off, digest_at, sensor_health")
TEAM_COLUMNS = columns_of(Team)
CREATE_TEAM = f"""
INSERT INTO team (tenant_id, {WRITTEN.columns}) VALUES ($1, {WRITTEN.parameters(2)}) RETURNING {TEAM_COLUMNS}
"""
REPLACE_TEAM = f"""
UPDATE team SET ({WRITTEN.columns}) = ROW({WRITTEN.parameters(2)}) WHERE id = $1 RETURNING {TEAM_COLUMNS}
"""
LIST_TEAMS = f"SELECT {TEAM_COLUMNS} FROM team ORDER BY name"
READ_TEAM = f"SELECT {TEAM_COLUMNS} FROM team WHERE id = $1"
DELETE_TEAM = "DELETE FROM team WHERE id = $1 RETURNING true"
CREATE_CONTACT = """
INSERT INTO contact (tenant_id, team_id, name, rung, after_seconds, webhook_endpoint_id)
SELECT m.tenant_id, m.id, $2, $3, $4, e.id FROM team m JOIN webhook_endpoint e ON e.tenant_id = m.tenant_id
WHERE m.id = $1 AND e.id = $5 AND e.purpose = 'events' RETURNING id
"""
LIST_CONTACTS = """
SELECT c.id, c.team_id, c.name, c.rung, c.after_seconds, c.webhook_endpoint_id,
       CASE WHEN e.form = 'email' THEN substr(e.url, length('mailto:') + 1) END AS email, e.state, c.created_at
FROM contact c JOIN webhook_endpoint e ON e.id = c.webhook_endpoint_id
WHERE c.team_id = $1 ORDER BY c.rung, c.id
"""
DELETE_CONTACT = "DELETE FROM contact WHERE id = $2 AND team_id = $1 RETURNING true"


async def create_team(connection: Connection, tenant_id: int, team: Mapping[str, Any]) -> Team:
    """A new team, of the columns in `WRITTEN`; raises UniqueViolationError when its name is taken."""
    return await insert(connection, Team, CREATE_TEAM, tenant_id, *WRITTEN.values(team))


async def replace_team(connection: Connection, team_id: int, team: Mapping[str, Any]) -> Team | None:
    """Give a team other hours or another name."""
    return await fetch_one(connection, Team, REPLACE_TEAM, team_id, *WRITTEN.values(team))


async def list_teams(connection: Connection | Pool) -> list[Team]:
    """Every team of the tenant."""
    return await fetch_all(connection, Team, LIST_TEAMS)


async def read_team(connection: Connection | Pool, team_id: int) -> Team | None:
    """One team."""
    return await fetch_one(connection, Team, READ_TEAM, team_id)


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
    return await fetch_all(connection, Contact, LIST_CONTACTS, team_id)


async def delete_contact(connection: Connection, team_id: int, contact_id: int) -> bool:
    """Remove a contact; False when the team has none of this id."""
    return await connection.fetchval(DELETE_CONTACT, team_id, contact_id) is True
