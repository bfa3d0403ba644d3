"""An EUI that another tenant holds is contested, and the operator decides; neither side learns who the other is.

A gateway or device that is moved is not transferred: its name, its place, its keys and what it measured are those
of who held it. Its EUI is freed for who contested it, and reserved: that one registers it as its own, anew.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from core.runtime.postgres import Connection, PostgresError
from registry.rows import fetch_all, fetch_one

Kind = Literal["gateway", "device"]

CONTEST = "SELECT contest_eui($1, $2, $3, $4)"
# What its contester wrote could say who that is.
COLUMNS = """
SELECT c.id, c.tenant_id, c.kind, c.eui,
CASE WHEN c.tenant_id = current_tenant() THEN 'contester' ELSE 'holder' END AS side,
CASE WHEN c.withdrawn_at IS NOT NULL THEN 'withdrawn' WHEN c.decided_at IS NULL THEN 'open'
     WHEN c.moved THEN 'moved' ELSE 'kept' END AS state,
CASE WHEN c.tenant_id = current_tenant() THEN c.reason END AS reason, c.created_at, c.decided_at
FROM eui_claim c
"""
READ = f"{COLUMNS} WHERE c.id = $1 AND current_tenant() IN (c.tenant_id, c.holder_id)"
LIST = f"""
{COLUMNS} WHERE c.id > $1 AND current_tenant() IN (c.tenant_id, c.holder_id) ORDER BY c.id LIMIT $2
"""
WITHDRAW = """
UPDATE eui_claim SET withdrawn_at = now()
WHERE id = $1 AND tenant_id = current_tenant() AND withdrawn_at IS NULL AND decided_at IS NULL RETURNING true
"""
# For the operator, who sees every tenant.
PENDING = """
SELECT c.id, c.kind, c.eui, c.reason, c.created_at, a.slug AS contester, a.name AS contester_name,
       b.slug AS holder, b.name AS holder_name
FROM eui_claim c JOIN tenant a ON a.id = c.tenant_id JOIN tenant b ON b.id = c.holder_id
WHERE c.id > $1 AND c.withdrawn_at IS NULL AND c.decided_at IS NULL ORDER BY c.id LIMIT $2
"""
DECIDE = "SELECT decide_claim($1, $2)"
BEING_COMMANDED = "55006"


@dataclass(frozen=True, slots=True)
class Claim:
    """A contested EUI as one of both sides sees it: that of its contester, or that of its holder."""

    id: int
    tenant_id: int
    kind: str
    eui: bytes
    side: str
    state: str
    reason: str | None
    created_at: datetime
    decided_at: datetime | None


@dataclass(frozen=True, slots=True)
class PendingClaim:
    """A contested EUI as the operator sees it."""

    id: int
    kind: str
    eui: bytes
    reason: str
    created_at: datetime
    contester: str
    contester_name: str
    holder: str
    holder_name: str


class DeviceCommanded(Exception):
    """A lighting command or a downlink is under way: wait for its end."""


async def contest_eui(connection: Connection, kind: Kind, eui: bytes, reason: str, actor: str) -> Claim | None:
    """Contest what another tenant registered under this EUI; None when none did.

    Raises UniqueViolationError while a former claim of this tenant waits.
    """
    claim_id = await connection.fetchval(CONTEST, kind, eui, reason, actor)
    return None if claim_id is None else await read_claim(connection, claim_id)


async def read_claim(connection: Connection, claim_id: int) -> Claim | None:
    """A claim of this tenant, or about what it holds."""
    return await fetch_one(connection, Claim, READ, claim_id)


async def list_claims(connection: Connection, *, after: int = 0, most: int = 100) -> list[Claim]:
    """Claims of this tenant and about what it holds, by id, beyond `after`."""
    return await fetch_all(connection, Claim, LIST, after, most)


async def withdraw_claim(connection: Connection, claim_id: int) -> bool:
    """Withdraw a claim of this tenant's; False when none waits."""
    return await connection.fetchval(WITHDRAW, claim_id) is True


async def list_pending_claims(connection: Connection, *, after: int = 0, most: int = 100) -> list[PendingClaim]:
    """What waits for the operator's decision; after `entering.act_as_operator`."""
    return await fetch_all(connection, PendingClaim, PENDING, after, most)


async def decide_claim(connection: Connection, claim_id: int, *, moves: bool) -> bool:
    """Leave the EUI where it is, or free it for who contested it; both sides' audit says so. False: none waits.

    For the operator (`entering.act_as_operator`). Raises DeviceCommanded while something is under way to a device.
    """
    try:
        return await connection.fetchval(DECIDE, claim_id, moves)
    except PostgresError as refused:
        if refused.sqlstate == BEING_COMMANDED:
            raise DeviceCommanded(f"claim {claim_id}") from None
        raise
